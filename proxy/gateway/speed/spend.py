"""Spend: what nobody gets is not computed, and rows are read, measured and put into text no more often than need be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def share_rows() -> None:
    """A request's share in the day's spend is computed for the user, and again, from the same, for the team."""
    from litellm.proxy.db import db_spend_update_writer as writer

    Writer = writer.DBSpendUpdateWriter
    compute = Writer._common_add_spend_log_transaction_to_daily_transaction
    last: tuple[Any, Any] = (None, None)

    async def of_day(self: Any, payload: Any, prisma_client: Any, type: str = "user") -> Any:
        nonlocal last
        if type == "team" and last[0] is payload and writer.daily_spend_entity_ids(payload, type):
            row, last = last[1], (None, None)
            return row and {**row}
        row = await compute(self, payload, prisma_client, type)
        if type == "user":
            last = (payload, row and {**row})
        return row

    Writer._common_add_spend_log_transaction_to_daily_transaction = of_day


def read_metadata_that_say_something() -> None:
    """Whether a request failed, whether LiteLLM itself made it, what guardrails found in it and where an auto-router
    sent it, is read from its row's metadata, some kilobytes of JSON, six times. Here they are read when they hold what
    is looked for, which a look at the text tells."""
    from litellm.proxy.db import model_usage_rollup as rollup
    from litellm.proxy.db.db_spend_update_writer import DBSpendUpdateWriter as Writer
    from litellm.proxy.guardrails import usage_tracking
    from litellm.proxy.utils import PrismaClient

    status_of, is_internal = PrismaClient.get_request_status, rollup._is_internal_call
    guardrails_of = usage_tracking._parse_guardrail_info_from_payload
    note_turn = Writer._enqueue_autorouter_turn_transaction
    failed, internal = saying("status", '"failure"'), saying(rollup.INTERNAL_CALL_ORIGIN_METADATA_KEY)
    guarded, routed = saying("guardrail_information"), saying("routing_decision")

    def get_request_status(self: Any, payload: Any) -> Any:
        return status_of(self, payload) if failed(payload.get("metadata", {})) else "success"

    def is_internal_call(metadata: Any) -> bool:
        return bool(internal(metadata) and is_internal(metadata))

    def guardrails(payload: Any) -> Any:
        return guardrails_of(payload) if guarded(payload.get("metadata")) else []

    async def note_routed_turn(self: Any, payload: Any, *args: Any, **named: Any) -> None:
        if routed(payload.get("metadata")):
            await note_turn(self, payload, *args, **named)

    PrismaClient.get_request_status = get_request_status
    rollup._is_internal_call = is_internal_call
    usage_tracking._parse_guardrail_info_from_payload = guardrails
    Writer._enqueue_autorouter_turn_transaction = note_routed_turn


def saying(name: str, value: str = r"(?!\s|null)") -> Callable[[Any], bool]:
    """Whether a row's metadata, JSON as Python writes it, may have such a value by a name that ends like this. No is
    certain."""
    find = re.compile(rf'{name}"\s*:\s*{value}').search
    return lambda metadata: type(metadata) is not str or find(metadata) is not None


def measure_rows_once() -> None:
    """A row of the spend log is put into text when it is queued, to know how much the queue holds, and again when it
    leaves the queue."""
    from litellm.proxy import utils

    measure = utils.spend_log_row_bytes
    queued: dict[int, tuple[Any, int]] = {}

    def row_bytes(row: Any) -> int:
        known = queued.pop(id(row), None)
        if known is not None and known[0] is row:
            return known[1]
        size: int = measure(row)
        if len(queued) >= _MOST_QUEUED:
            queued.clear()
        queued[id(row)] = (row, size)
        return size

    utils.spend_log_row_bytes = row_bytes


_MOST_QUEUED = 5000


def write_plain_texts_at_once() -> None:
    """A row's metadata are rebuilt value by value, in search of what JSON cannot have, before they are put into text.
    Here that is left to the encoder where they hold nothing else."""
    from litellm.constants import DEFAULT_MAX_RECURSE_DEPTH
    from litellm.proxy.spend_tracking import spend_tracking_utils

    write = spend_tracking_utils.safe_dumps

    def refuse(_: Any) -> Any:
        raise TypeError

    encode = json.JSONEncoder(default=refuse).encode

    def safe_dumps(data: Any, max_depth: int = DEFAULT_MAX_RECURSE_DEPTH, value_transform: Any = None) -> str:
        if value_transform is None and isinstance(data, _NESTED) and is_plain(data, max_depth):
            try:
                text = encode(data)
            except (TypeError, ValueError):
                pass
            else:
                if r"\u0000" not in text:  # Postgres takes none
                    return text
        return str(write(data, max_depth, value_transform))

    spend_tracking_utils.safe_dumps = safe_dumps


_NESTED = (dict, list, tuple)


def is_plain(data: Any, depth: int) -> bool:
    """Whether all keys are text and nothing is nested deeper than this."""
    if depth < 1:
        return False
    if isinstance(data, dict):
        if not all(isinstance(key, str) for key in data):
            return False
        data = data.values()
    return all(is_plain(one, depth - 1) for one in data if isinstance(one, _NESTED))


def skip_savings_of_nothing() -> None:
    """What caches, compression and the auto-router saved is computed from prices, with two copies of the request's
    usage, for each row of daily spend. Where none of them had a part in a request it is 0."""
    from litellm.proxy.db import db_spend_update_writer as writer
    from litellm.proxy.spend_tracking.savings import SavingsSpend

    compute = writer.compute_savings_spend
    nothing = SavingsSpend(0.0, 0.0, 0.0, 0.0)

    def compute_savings_spend(**named: Any) -> Any:
        had_a_part = (
            named["compression_saved_tokens"] > 0
            or named.get("routing_decision")
            or named.get("recorded_autorouter_savings") is not None
            or named.get("recorded_autorouter_savings_estimate") is not None
            or uses_a_cache(named.get("usage_object"))
        )
        return compute(**named) if had_a_part else nothing

    def uses_a_cache(usage: Any) -> bool:
        if not isinstance(usage, Mapping):
            return bool(usage)
        return any(
            uses_a_cache(value) if isinstance(value, Mapping) else value and "cache" in name
            for name, value in usage.items()
        )

    writer.compute_savings_spend = compute_savings_spend


def write_rows_as_json() -> None:
    """The rows of the spend log are written as a query of Prisma's, which prints each of their values into a text, and
    the engine's parser reads it again: a tenth of a request's CPU. Here Postgres gets them as one value of JSON. Rows
    that are other than expected, and whatever goes wrong, are left to LiteLLM, whose way a row that is there is kept.
    """
    from litellm.proxy import utils

    create = utils._create_spend_logs_with_poison_isolation

    async def create_spend_logs(repo: Any, rows: Sequence[Mapping[str, Any]], failure_budget: int) -> int:
        try:
            await repo.table._client.execute_raw(*insertion(rows))
        except Exception:
            left: int = await create(repo, rows, failure_budget)
            return left
        return failure_budget

    utils._create_spend_logs_with_poison_isolation = create_spend_logs


def insertion(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The statement that inserts these rows, and its parameter. Raises ValueError for rows it is not made for."""
    from prisma.builder import serializer

    encode = json.JSONEncoder(default=serializer, ensure_ascii=False).encode
    names = tuple(rows[0])
    if not all(name.isidentifier() for name in names):
        raise ValueError("not the name of a column")

    def text(row: Mapping[str, Any]) -> str:
        if tuple(row) != names:
            raise ValueError("rows of several kinds")
        return "{" + ",".join(f'"{name}":{value(name, row[name])}' for name in names) + "}"

    def value(name: str, one: Any) -> str:
        if name in _JSON_COLUMNS and one is not None:
            if not isinstance(one, str):
                raise ValueError("no JSON")
            return one
        if name in _TIME_COLUMNS and isinstance(one, str) and not one.endswith(("Z", "+00:00")):
            raise ValueError("not in UTC")
        return encode(one)

    columns = ", ".join(f'"{name}"' for name in names)
    now = "now() AT TIME ZONE 'UTC'"
    statement = (
        f'INSERT INTO "LiteLLM_SpendLogs" ({columns}, "created_at", "updated_at") SELECT {columns}, {now}, {now} '  # noqa: S608 - names of columns, checked
        'FROM jsonb_populate_recordset(NULL::"LiteLLM_SpendLogs", $1::jsonb) ON CONFLICT DO NOTHING'
    )
    return statement, "[" + ",".join(map(text, rows)) + "]"


_JSON_COLUMNS = {"metadata", "request_tags", "messages", "response", "proxy_server_request"}
_TIME_COLUMNS = {"startTime", "endTime", "completionStartTime"}

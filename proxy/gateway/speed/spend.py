"""Spend: rows that nobody gets are not computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
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


def read_metadata_once() -> None:
    """Whether a request went well, and was a client's, is read from its row's metadata, some kilobytes of JSON, three
    times."""
    from litellm.proxy.db import model_usage_rollup as rollup
    from litellm.proxy.utils import PrismaClient

    of_text = lru_cache(maxsize=64)(rollup._is_internal_call)
    status_of = PrismaClient.get_request_status
    status_of_text = lru_cache(maxsize=64)(lambda text: status_of(None, {"metadata": text}))

    def get_request_status(self: Any, payload: Any) -> Any:
        metadata = payload.get("metadata", {})
        return status_of_text(metadata) if type(metadata) is str else status_of(self, payload)

    rollup._is_internal_call = of_text
    PrismaClient.get_request_status = get_request_status


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
    from prisma.builder import dumps

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
        return str(dumps(one))

    columns = ", ".join(f'"{name}"' for name in names)
    now = "now() AT TIME ZONE 'UTC'"
    statement = (
        f'INSERT INTO "LiteLLM_SpendLogs" ({columns}, "created_at", "updated_at") SELECT {columns}, {now}, {now} '  # noqa: S608 - names of columns, checked
        'FROM jsonb_populate_recordset(NULL::"LiteLLM_SpendLogs", $1::jsonb) ON CONFLICT DO NOTHING'
    )
    return statement, "[" + ",".join(map(text, rows)) + "]"


_JSON_COLUMNS = {"metadata", "request_tags", "messages", "response", "proxy_server_request"}
_TIME_COLUMNS = {"startTime", "endTime", "completionStartTime"}

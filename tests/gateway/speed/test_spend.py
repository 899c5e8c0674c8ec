"""Spend is what it is without levers, and its rows too."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import litellm
import pytest
from litellm.constants import DEFAULT_MAX_RECURSE_DEPTH
from litellm.proxy import utils
from litellm.proxy.db import db_spend_update_writer as writer
from litellm.proxy.db import model_usage_rollup as rollup
from litellm.proxy.guardrails import usage_tracking
from litellm.proxy.spend_tracking import spend_tracking_utils
from litellm.proxy.utils import PrismaClient

from proxy.gateway.speed import spend
from tests.gateway.speed.conftest import Keep

PAYLOAD = {
    "startTime": datetime(2026, 1, 2, tzinfo=timezone.utc),
    "endTime": datetime(2026, 1, 2, tzinfo=timezone.utc),
    "api_key": "key", "user": "me", "team_id": "us", "model": "gpt-4o", "model_group": "four",
    "custom_llm_provider": "openai", "prompt_tokens": 3, "completion_tokens": 4, "spend": 0.5, "model_id": "one",
    "call_type": "acompletion", "request_tags": "[]", "status": "success",
}  # fmt: skip


def payload(**metadata: Any) -> dict[str, Any]:
    return {**PAYLOAD, "metadata": json.dumps({"status": "success", **metadata})}


def test_rows_of_a_day(keep: Keep) -> None:
    own = writer.DBSpendUpdateWriter()
    database = SimpleNamespace(get_request_status=lambda _: "success")

    def rows() -> list[Any]:
        first, second = payload(), {**payload(usage_object={"prompt_tokens": 9}), "spend": 0.75}
        compute = own._common_add_spend_log_transaction_to_daily_transaction
        asked = [(first, "user"), (first, "team"), (second, "user"), (first, "team"), (second, "org"), (first, "user")]
        found = [asyncio.run(compute(one, database, kind)) for one, kind in asked]  # type: ignore[arg-type]
        found.append(asyncio.run(compute({**first, "team_id": None}, database, "team")))  # type: ignore[arg-type]
        return found

    wanted = rows()
    keep(writer.DBSpendUpdateWriter, "_common_add_spend_log_transaction_to_daily_transaction")
    spend.share_rows()
    found = rows()
    assert found == wanted
    assert len({id(row) for row in found if row}) == len([row for row in found if row])


def test_a_teams_row_is_not_computed_again(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    savings = writer.compute_savings_spend

    def compute_savings(**named: Any) -> Any:
        computed.append(1)
        return savings(**named)

    monkeypatch.setattr(writer, "compute_savings_spend", compute_savings)
    keep(writer.DBSpendUpdateWriter, "_common_add_spend_log_transaction_to_daily_transaction")
    spend.share_rows()
    database, one = SimpleNamespace(get_request_status=lambda _: "success"), payload()
    compute = writer.DBSpendUpdateWriter()._common_add_spend_log_transaction_to_daily_transaction
    for kind in ("user", "team"):
        asyncio.run(compute(one, database, kind))  # type: ignore[arg-type]
    assert len(computed) == 1


def test_metadata_of_rows(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"status": "success", "guardrail_information": None, "routing_decision": None, "usage_object": {"a": 1}}
    guarded = [{"guardrail_name": "one"}]
    texts: list[Any] = [
        *(json.dumps(one) for one in (nothing, {**nothing, "status": "failure"}, {}, [])),
        json.dumps({**nothing, rollup.INTERNAL_CALL_ORIGIN_METADATA_KEY: "x"}),
        json.dumps({**nothing, rollup.INTERNAL_CALL_ORIGIN_METADATA_KEY: None}),
        json.dumps({**nothing, "guardrail_information": guarded}),
        json.dumps({"standard_logging_guardrail_information": guarded}, separators=(",", ":")),
        json.dumps({"inner": {"status": "failure"}, "routing_decision": {"model": "m"}}, indent=1),
        "{",
        "",
    ]
    client: Any = object.__new__(PrismaClient)
    routed: list[Any] = []

    async def note(_: Any, payload: Any) -> None:
        routed.append(payload["metadata"])

    keep(writer.DBSpendUpdateWriter, "_enqueue_autorouter_turn_transaction")
    monkeypatch.setattr(writer.DBSpendUpdateWriter, "_enqueue_autorouter_turn_transaction", note)
    rows = [{"metadata": one} for one in (*texts, None, {"status": "failure"}, {"guardrail_information": guarded}, {})]

    def read() -> list[Any]:
        found: list[Any] = [client.get_request_status(one) for one in [*rows, {}]]
        found += [usage_tracking._parse_guardrail_info_from_payload(one) for one in [*rows, {}]]
        return [*found, *(rollup._is_internal_call(one) for one in texts)]

    wanted = read()
    assert [one for one in wanted if one == "failure"] == ["failure"] * 2
    assert [one for one in wanted if one == guarded] == [guarded] * 3
    assert [one for one in wanted if one is True] == [True]
    keep(rollup, "_is_internal_call")
    keep(PrismaClient, "get_request_status")
    keep(usage_tracking, "_parse_guardrail_info_from_payload")
    spend.read_metadata_that_say_something()
    assert read() == wanted
    for row in rows:
        asyncio.run(writer.DBSpendUpdateWriter()._enqueue_autorouter_turn_transaction(row))  # type: ignore[arg-type, call-arg]
    assert routed == [texts[8], None, {"status": "failure"}, {"guardrail_information": guarded}, {}]
    monkeypatch.setattr(json, "loads", None)  # the first has nothing to say
    assert client.get_request_status(rows[0]) == "success"
    assert usage_tracking._parse_guardrail_info_from_payload(rows[0]) == []


def test_a_row_is_measured_once(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"metadata": "x" * size} for size in (5, 50, 500)]
    wanted, measured = [utils.spend_log_row_bytes(row) for row in rows], []
    measure = utils.spend_log_row_bytes
    keep(utils, "spend_log_row_bytes")
    monkeypatch.setattr(utils, "spend_log_row_bytes", lambda row: measured.append(row) or measure(row))
    spend.measure_rows_once()
    for times in (1, 2):  # a row that could not be written is queued once more
        assert [utils.spend_log_row_bytes(row) for row in rows] == wanted
        assert [utils.spend_log_row_bytes(row) for row in reversed(rows)] == wanted[::-1]
        assert len(measured) == times * len(rows)
    monkeypatch.setattr(spend, "_MOST_QUEUED", 2)
    assert [utils.spend_log_row_bytes(row) for row in rows * 2] == wanted * 2


class Odd(dict[str, Any]):
    pass


def deep(levels: int) -> Any:
    return [deep(levels - 1)] if levels else "end"


def itself() -> Any:
    around: dict[str, Any] = {}
    around["again"] = [around]
    return around


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        ({"a": [1, 2.5, None, True, {"b": "ä\u2028"}], "c": (), "d": (1, "x")}, True),
        ([], True),
        (Odd(a=[Odd()]), True),
        ({1: "no text", "a": 1}, False),
        ({"a": {None: 1}}, False),
        ({"a": "\x00b"}, False),
        ({"a\x00": 1}, False),
        ({"a": {1, 2}}, False),
        ({"a": datetime(2026, 1, 2, tzinfo=timezone.utc)}, False),
        ({"a": litellm.Usage(prompt_tokens=1)}, False),
        (deep(DEFAULT_MAX_RECURSE_DEPTH), True),
        (deep(DEFAULT_MAX_RECURSE_DEPTH + 1), False),
        (deep(DEFAULT_MAX_RECURSE_DEPTH + 9), False),
        (itself(), False),
        ("text", False),
        (float("nan"), False),
    ],
)
def test_texts_of_rows(keep: Keep, monkeypatch: pytest.MonkeyPatch, data: Any, plain: bool) -> None:
    wanted, odd, write = spend_tracking_utils.safe_dumps(data), [], spend_tracking_utils.safe_dumps
    keep(spend_tracking_utils, "safe_dumps")
    monkeypatch.setattr(spend_tracking_utils, "safe_dumps", lambda *given: odd.append(given) or write(*given))
    spend.write_plain_texts_at_once()
    assert spend_tracking_utils.safe_dumps(data) == wanted
    assert bool(odd) is not plain
    assert spend_tracking_utils.safe_dumps(data, 1) == write(data, 1)
    assert spend_tracking_utils.safe_dumps(data, value_transform=lambda *_: "?") == write(
        data, value_transform=lambda *_: "?"
    )


USAGES: list[Any] = [
    None,
    {},
    {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    {"prompt_tokens": 10, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 1}},
    {"prompt_tokens": 5000, "total_tokens": 5000, "prompt_tokens_details": {"cached_tokens": 4000}},
    {"prompt_tokens": 5000, "total_tokens": 5000, "cache_read_input_tokens": 4000},
    {"prompt_tokens": 5000, "total_tokens": 5000, "cache_creation_input_tokens": 4000},
]


@pytest.mark.parametrize("saved", [0, 100])
@pytest.mark.parametrize("recorded", [None, 0.25])
def test_savings(keep: Keep, monkeypatch: pytest.MonkeyPatch, saved: int, recorded: float | None) -> None:
    def savings() -> list[Any]:
        return [
            writer.compute_savings_spend(
                model="claude-opus-4-5-20251101",
                custom_llm_provider="anthropic",
                compression_saved_tokens=saved,
                gateway_injected_cache=True,
                usage_object=usage,
                recorded_autorouter_savings=recorded,
            )
            for usage in USAGES
        ]

    wanted = savings()
    assert any(wanted[-1])
    computed, compute = [], writer.compute_savings_spend
    monkeypatch.setattr(writer, "compute_savings_spend", lambda **named: computed.append(1) or compute(**named))
    keep(writer, "compute_savings_spend")
    spend.skip_savings_of_nothing()
    assert savings() == wanted
    assert len(computed) == (len(USAGES) if saved or recorded else 3)


ROW = {
    "request_id": "1",
    "spend": 4.65e-05,
    "startTime": datetime(2026, 1, 2, 3, 4, 5, 678901),
    "metadata": '{"a": "ü"}',
}


def test_rows_as_json() -> None:
    berlin = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    rows = [
        ROW,
        {**ROW, "request_id": 'a"b', "startTime": "2026-01-02T03:04:05Z", "metadata": None},
        {**ROW, "startTime": berlin},
    ]
    statement, parameter = spend.insertion(rows)
    assert [json.loads(parameter)[at]["startTime"] for at in range(3)] == [
        "2026-01-02T03:04:05.678000+00:00",
        "2026-01-02T03:04:05Z",
        "2026-01-02T02:04:05+00:00",
    ]
    first, second, _ = json.loads(parameter)
    assert first["metadata"] == {"a": "ü"}
    assert first["spend"] == 4.65e-05
    assert (second["request_id"], second["metadata"]) == ('a"b', None)
    assert statement.startswith('INSERT INTO "LiteLLM_SpendLogs" ("request_id", "spend", "startTime", "metadata", ')


@pytest.mark.parametrize(
    "odd",
    [{'a" b': 1}, {"metadata": {}}, {"startTime": "2026-01-02T03:04:05"}, {"startTime": "2026-01-02T03:04:05+01:00"}],
)
def test_odd_rows_are_left_to_litellm(odd: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        spend.insertion([{**ROW, **odd}])
    with pytest.raises(ValueError, match="kinds"):
        spend.insertion([ROW, {**ROW, "more": 1}])


@pytest.mark.parametrize("fails", [False, True])
def test_what_goes_wrong_is_left_to_litellm(keep: Keep, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    written = []

    async def create(_repo: Any, rows: Any, budget: int) -> int:
        written.append(("create", len(rows)))
        return budget - 1

    async def execute_raw(*_: Any) -> int:
        if fails:
            raise ConnectionError
        written.append(("raw", 1))
        return 1

    monkeypatch.setattr(utils, "_create_spend_logs_with_poison_isolation", create)
    keep(utils, "_create_spend_logs_with_poison_isolation")
    spend.write_rows_as_json()
    repo = SimpleNamespace(table=SimpleNamespace(_client=SimpleNamespace(execute_raw=execute_raw)))
    left = asyncio.run(utils._create_spend_logs_with_poison_isolation(repo, [ROW], 5))  # type: ignore[arg-type]
    assert (written, left) == (([("create", 1)], 4) if fails else ([("raw", 1)], 5))

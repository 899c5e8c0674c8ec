"""Work that is left out: only where it changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import litellm
import pytest
from litellm import _internal_context as internal_context
from litellm.caching.dual_cache import DualCache
from litellm.constants import DEFAULT_MAX_RECURSE_DEPTH
from litellm.integrations import prometheus
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.litellm_logging import Logging
from litellm.proxy import utils
from litellm.proxy.db import db_spend_update_writer as writer
from litellm.proxy.db import model_usage_rollup as rollup
from litellm.proxy.guardrails import usage_tracking
from litellm.proxy.spend_tracking import spend_tracking_utils
from litellm.proxy.utils import PrismaClient
from litellm.router import Router
from litellm.types.integrations.prometheus import UserAPIKeyLabelValues as Values
from prometheus_client import CollectorRegistry, Gauge

from proxy.gateway.speed import callbacks, metrics, routing, runtime, spend
from tests.gateway.speed.conftest import Keep

HI = [{"role": "user", "content": "Hi"}]
PROMPTS: list[list[dict[str, Any]]] = [
    HI,
    [{"role": "system", "content": "Be brief. " * 50}, {"role": "user", "name": "me", "content": "Why?"}],
    [{"role": "user", "content": "\N{SNOWMAN} ünïcode \N{PILE OF POO} 日本語のテキスト" * 20}],
    [{"role": "user", "content": ""}] * 40,
    [{"role": "user", "content": "ß\x00\ud800"}],
]
MORE: list[tuple[Any, Any, Mapping[str, Any]]] = [
    (None, "an input", {}),
    (HI, None, {"tools": [{"type": "function"}]}),
    (HI, None, {"system": "Be brief."}),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:..."}}]}], None, {}),
    ([{"role": "assistant", "content": None, "tool_calls": []}], None, {}),
    (["odd"], None, {}),
    ("odd", None, {}),
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_has_no_more_tokens_than_thought(prompt: list[dict[str, Any]]) -> None:
    most = routing.most_tokens(prompt, None, {})
    assert most is not None
    for model in ("", "gpt-4o", "gpt-3.5-turbo-0301", "claude-3-opus-20240229"):
        assert litellm.token_counter(model=model, messages=prompt) <= most


@pytest.mark.parametrize(("messages", "given", "asked"), MORE)
def test_what_is_more_than_texts_is_counted(messages: Any, given: Any, asked: Mapping[str, Any]) -> None:
    assert routing.most_tokens(messages, given, asked) is None


def test_only_prompts_that_may_not_fit_are_counted(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []

    async def count(*_: Any) -> int:
        counted.append(1)
        return 7

    monkeypatch.setattr(Router, "_acount_pre_call_check_tokens", count)
    keep(Router, "_acount_pre_call_check_tokens")
    routing.count_only_long_prompts()
    settings = {"model": "openai/gpt-4o", "api_key": "none"}
    info = {"id": "one", "max_input_tokens": 1000}
    router = Router([{"model_name": "four", "litellm_params": settings, "model_info": info}])

    def tokens(text: str, **asked: Any) -> Any:
        messages = [{"role": "user", "content": text}]
        return asyncio.run(router._acount_pre_call_check_tokens("four", router.model_list, messages, None, asked))

    assert 0 < tokens("short") <= 1000
    assert counted == []
    assert tokens("word " * 300) == 7
    assert tokens("short", tools=[{"type": "function"}]) == 7
    assert len(counted) == 2
    del router.model_list[0]["model_info"]["max_input_tokens"]
    monkeypatch.setattr(Router, "_deployment_max_input_tokens", lambda *_: None)
    assert tokens("short") is None


class Idle(CustomLogger):
    pass


class Logs(CustomLogger):
    async def async_log_success_event(self, *_: Any) -> None: ...


class Hooks(CustomLogger):
    async def async_logging_hook(self, kwargs: Any, result: Any, call_type: Any) -> Any:  # noqa: ARG002
        return kwargs, result


class Called(CustomLogger):
    def __call__(self) -> None: ...


@pytest.fixture
def log() -> Logging:
    return Logging("m", HI, False, "acompletion", datetime.now(), "1", "1")


def test_idle_callbacks_are_passed_over(keep: Keep, log: Logging, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(Logging, "get_combined_callback_list")
    callbacks.skip_idle_callbacks()
    own = Idle()
    own.async_log_success_event = Logs().async_log_success_event  # type: ignore[method-assign]
    ones = [Idle(), Logs(), Hooks(), Called(), own, "langfuse", print]
    monkeypatch.setattr(litellm, "_async_success_callback", ones)
    assert log.get_combined_callback_list([Idle()], litellm._async_success_callback) == ones[1:]
    assert log.get_combined_callback_list(None, ones[:2]) == ones[:2]


def test_no_thread_for_a_cache_that_is_not_there(keep: Keep, log: Logging, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(Logging, "_is_internal_litellm_proxy_callback")
    callbacks.no_thread_for_no_callback()
    monkeypatch.setattr(litellm, "success_callback", ["cache"])
    monkeypatch.setattr(litellm, "cache", None)
    assert log._should_run_sync_callbacks_for_async_calls() is False
    monkeypatch.setattr(litellm, "cache", object())
    assert log._should_run_sync_callbacks_for_async_calls() is True
    monkeypatch.setattr(litellm, "cache", None)
    monkeypatch.setattr(litellm, "success_callback", ["cache", print])
    assert log._should_run_sync_callbacks_for_async_calls() is True


def test_label_values(keep: Keep) -> None:
    given: list[dict[str, Any]] = [
        {},
        {"hashed_api_key": "a", "model": "m", "tags": ["x", "y"], "stream": True, "unknown": 1},
        {"api_key_hash": "b", "custom_metadata_labels": {"l": "v"}, "tags": ()},
    ]

    def made() -> list[Any]:
        ones = [Values(**one) for one in given]
        ones += [prometheus.replace(one, rate_limit_type="requests") for one in ones]
        ones += [prometheus.replace(one, model="n", tags=["z"]) for one in ones]
        return [(one.__dict__.items() and one, one.model_dump()) for one in ones]

    wanted = made()
    keep(Values, "__init__", "model_dump")
    keep(prometheus, "replace")
    metrics.make_labels_directly()
    assert Values.model_dump.__module__ == metrics.__name__
    found = made()
    assert found == wanted
    assert found[1][0] is not found[4][0]
    assert replace(Values(model="m"), team="t").team == "t"


@pytest.mark.parametrize("many", [False, True])
def test_limit_gauges(keep: Keep, monkeypatch: pytest.MonkeyPatch, many: bool) -> None:
    names = ("hashed_api_key", "api_key_alias", "rate_limit_type")
    allowed, used = (Gauge(f"gauge_{name}", "", names, registry=CollectorRegistry()) for name in ("allowed", "used"))
    logger: Any = object.__new__(prometheus.PrometheusLogger)
    logger._bounded_prometheus_series_tracker = prometheus.BoundedPrometheusSeriesTracker()
    logger.get_labels_for_metric = lambda _: list(names)
    asked = []
    set_gauges = prometheus.PrometheusLogger._set_rate_limit_allowed_and_used_gauges
    keep(prometheus.PrometheusLogger, "_set_rate_limit_allowed_and_used_gauges")

    def told(self: Any, **named: Any) -> None:
        asked.append(named["enum_values"].hashed_api_key)
        set_gauges(self, **named)

    prometheus.PrometheusLogger._set_rate_limit_allowed_and_used_gauges = told
    if many:
        monkeypatch.setattr(metrics, "_MOST", 2)
    metrics.leave_gauges_of_the_unlimited_alone()
    limits = {"x-ratelimit-api_key-limit-requests": 5, "x-ratelimit-api_key-remaining-requests": 3}

    def request(key: str, headers: dict[str, int], alias: str = "me", limited: str = "requests") -> None:
        logger._set_rate_limit_allowed_and_used_gauges(
            standard_logging_payload={"hidden_params": {"additional_headers": headers}},
            enum_values=Values(hashed_api_key=key, api_key_alias=alias),
            descriptor_key="api_key",
            header_rate_limit_type=limited,
            metric_name="litellm_api_key_rate_limit_allowed_metric",
            allowed_gauge=allowed,
            used_gauge=used,
            rate_limit_type=limited,
        )

    request("free", {})
    request("a", limits)
    request("b", limits)
    request("a", limits, limited="tokens")  # these limits are of requests
    assert allowed.labels("a", "me", "requests")._value.get() == 5
    assert used.labels("b", "me", "requests")._value.get() == 2
    request("free", {})
    request("a", {}, alias="other")
    assert asked == (["a", "b", "a", "free", "a"] if many else ["a", "b"])
    request("a", {})  # its limits were taken away
    assert list(allowed._metrics) == list(used._metrics) == [("b", "me", "requests")]
    if many:
        request("c", limits)
        assert ("c", "me", "requests") in allowed._metrics


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


class Told(dict[str, Any]):
    """Notes that it is put into text."""

    times = 0

    def __repr__(self) -> str:
        Told.times += 1
        return "{}"


def test_caches_are_read_silently(keep: Keep, caplog: pytest.LogCaptureFixture) -> None:
    keep(DualCache, "async_get_cache")
    runtime.read_caches_silently()
    cache, value = DualCache(), Told(a=1)
    cache.in_memory_cache.cache_dict["key"] = value

    def read(key: str) -> Any:
        found = []

        async def read_it() -> None:  # a result would be put into text by asyncio
            found.append(await cache.async_get_cache(key))

        asyncio.run(read_it())
        return found[0]

    Told.times = 0
    assert read("key") is value
    assert read("none") is None
    assert Told.times == 0
    with caplog.at_level(logging.DEBUG, logger="LiteLLM"):
        assert read("key") is value
    assert Told.times > 0
    asked = []

    class Redis:
        async def async_get_cache(self, key: str, **_: Any) -> str:
            asked.append(key)
            return "from Redis"

    cache.redis_cache = Redis()  # type: ignore[assignment]
    assert (read("key"), read("other"), asked) == (value, "from Redis", ["other"])


def test_targets(keep: Keep) -> None:
    def seen() -> list[Any]:
        found: list[Any] = []
        look = internal_context.current_service_target

        @internal_context.with_service_target("outer")
        async def outer(fails: bool) -> str:
            found.append(look())
            with internal_context.service_target(None):
                found.append(look())
            inner()
            found.append(look())
            if fails:
                raise LookupError
            return "done"

        @internal_context.with_service_target("inner")
        def inner() -> None:
            found.append(look())

        async def both() -> None:
            found.append(await outer(False))
            with contextlib.suppress(LookupError):
                await outer(True)
            found.append(look())

        asyncio.run(both())
        waiting = internal_context.with_service_target("waiting")(asyncio.sleep)(0)
        contextvars.copy_context().run(waiting.send, None)
        waiting.close()  # as Python does with what is left behind
        return [*found, look()]

    wanted = seen()
    assert {"outer", "inner", None, "done"} == set(wanted)
    keep(internal_context, "service_target")
    runtime.name_targets_lightly()
    assert seen() == wanted

"""Work that is left out: only where it changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import litellm
import pytest
from litellm import _internal_context as internal_context
from litellm.caching.dual_cache import DualCache
from litellm.integrations import prometheus
from litellm.litellm_core_utils.litellm_logging import Logging
from litellm.router import Router
from litellm.types.integrations.prometheus import UserAPIKeyLabelValues as Values
from prometheus_client import CollectorRegistry, Gauge

from proxy.gateway.speed import callbacks, metrics, routing, runtime
from tests.gateway.speed.conftest import Keep

HI = [{"role": "user", "content": "Hi"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:..."}}


def said(part: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [part]}]


def called(arguments: str) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}


PROMPTS: list[list[dict[str, Any]]] = [
    HI,
    [{"role": "system", "content": "Be brief. " * 50}, {"role": "user", "name": "me", "content": "Why?"}],
    [{"role": "user", "content": "\N{SNOWMAN} ünïcode \N{PILE OF POO} 日本語のテキスト" * 20}],
    [{"role": "user", "content": ""}] * 40,
    [{"role": "user", "content": "ß\x00\ud800"}],
    [
        {"role": "user", "content": [{"type": "text", "text": "Who, and what? " * 30, "cache_control": {}}, IMAGE]},
        {"role": "assistant", "content": None, "tool_calls": [called(json.dumps({"Zürich": [1] * 9999}))]},
        {"role": "tool", "tool_call_id": "call_1", "content": "It rains. " * 20},
        {"role": "user", "content": [IMAGE] * 30},
    ],
]
DEEP: dict[str, Any] = {"type": "string", "enum": ["ünïcode", "two"], "description": "Of many. " * 40}
for _ in range(30):
    DEEP = {"type": "object", "properties": {"a": DEEP, "b": {"type": "array", "items": {"type": "integer"}}}}
TOOLS: list[Any] = [
    None,
    [],
    [{"type": "function"}],
    [{"type": "function", "function": {"name": "f", "description": "Looks. " * 50, "parameters": DEEP}}] * 3,
    [{"name": "g", "input_schema": DEEP}, {"functionDeclarations": [{"name": "h"}] * 50}, "odd"],
]
MORE: list[tuple[Any, Any, Mapping[str, Any]]] = [
    (None, "an input", {}),
    (HI, None, {"tools": [{"name": "f", "input_schema": {"properties": {"a": None}}}]}),
    (HI, None, {"system": "Be brief."}),
    (said({"type": "image_url", "image_url": {"url": "data:...", "detail": "high"}}), None, {}),
    (said({"type": "document", "source": {}}), None, {}),
    (said("odd"), None, {}),
    (said({"text": "odd"}), None, {}),
    ([{"role": "assistant", "content": None, "tool_calls": ["odd"]}], None, {}),
    ([{"role": "assistant", "content": "", "function_call": {"arguments": "{}"}}], None, {}),
    (["odd"], None, {}),
    ("odd", None, {}),
]


@pytest.mark.parametrize("tools", TOOLS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_has_no_more_tokens_than_thought(prompt: list[dict[str, Any]], tools: Any) -> None:
    most = routing.most_tokens(prompt, None, {"tools": tools})
    assert most is not None
    for model in ("", "gpt-4o", "gpt-3.5-turbo-0301", "claude-3-opus-20240229"):
        assert litellm.token_counter(model=model, messages=prompt, tools=tools) <= most


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
    assert tokens("short", tools=[{"name": "f", "description": "word " * 300}]) == 7
    assert tokens("short", system="Be brief.") == 7
    assert len(counted) == 3
    assert 0 < tokens("short", tools=[{"name": "f"}]) <= 1000
    assert len(counted) == 3
    del router.model_list[0]["model_info"]["max_input_tokens"]
    monkeypatch.setattr(Router, "_deployment_max_input_tokens", lambda *_: None)
    assert tokens("short") is None


@pytest.fixture
def log() -> Logging:
    return Logging("m", HI, False, "acompletion", datetime.now(), "1", "1")


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

"""Faults as the official SDKs meet them, retries off: each raises the SDK's own exception for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors

from tests.simulator.running import Double, drain, make_gemini_client

USER: list[Any] = [{"role": "user", "content": "Hello"}]
CLAUDE = "claude-3-5-sonnet-20241022"
GEMINI = "gemini-1.5-pro"

STATUSES = (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)

REQUESTS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "openai": (
        "/openai/v1/chat/completions",
        {"model": "gpt-4o", "messages": USER},
        {"authorization": "Bearer any"},
    ),
    "anthropic": (
        "/anthropic/v1/messages",
        {"model": CLAUDE, "max_tokens": 200, "messages": USER},
        {"x-api-key": "any", "anthropic-version": "2023-06-01"},
    ),
    "google": (
        f"/gemini/v1beta/models/{GEMINI}:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
        {"x-goog-api-key": "any"},
    ),
}
PROVIDERS = list(REQUESTS)


def ask(double: Double, provider: str, stream: bool = False, timeout: float = 10) -> httpx.Response:
    path, body, headers = REQUESTS[provider]
    if stream and provider == "google":
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
    elif stream:
        body = {**body, "stream": True}
    return double.http.post(path, json=body, headers=headers, timeout=timeout)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", STATUSES)
def test_openai_status(double: Double, openai_client: openai.OpenAI, status: int, stream: bool) -> None:
    named: dict[int, type[openai.APIStatusError]] = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        404: openai.NotFoundError,
        409: openai.ConflictError,
        422: openai.UnprocessableEntityError,
        429: openai.RateLimitError,
    }
    expected = named.get(status, openai.InternalServerError if status >= 500 else openai.APIStatusError)
    double.faults({"kind": "status", "status": status, "times": 1})
    with pytest.raises(expected) as raised:
        openai_client.chat.completions.create(model="gpt-4o", messages=USER, stream=stream)
    assert type(raised.value) is expected
    assert raised.value.status_code == status
    assert raised.value.request_id
    openai_client.chat.completions.create(model="gpt-4o", messages=USER)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", STATUSES)
def test_anthropic_status(double: Double, anthropic_client: anthropic.Anthropic, status: int, stream: bool) -> None:
    expected: dict[int, type[anthropic.APIStatusError]] = {
        400: anthropic.BadRequestError,
        401: anthropic.AuthenticationError,
        403: anthropic.PermissionDeniedError,
        404: anthropic.NotFoundError,
        408: anthropic.RequestTimeoutError,
        409: anthropic.ConflictError,
        413: anthropic.ContentTooLargeError,
        422: anthropic.UnprocessableEntityError,
        429: anthropic.RateLimitError,
        503: anthropic.ServiceUnavailableError,
        504: anthropic.GatewayTimeoutError,
        529: anthropic.OverloadedError,
    }
    double.faults({"kind": "status", "status": status, "times": 1})
    with pytest.raises(anthropic.APIStatusError) as raised:
        anthropic_client.messages.create(model=CLAUDE, max_tokens=9, messages=USER, stream=stream)
    assert type(raised.value) is expected.get(status, anthropic.InternalServerError)
    assert raised.value.status_code == status
    assert raised.value.request_id


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", STATUSES)
def test_gemini_status(double: Double, gemini_client: genai.Client, status: int, stream: bool) -> None:
    double.faults({"kind": "status", "status": status, "times": 1})
    models = gemini_client.models
    ask_once = models.generate_content_stream if stream else models.generate_content
    with pytest.raises(errors.ServerError if status >= 500 else errors.ClientError) as raised:
        list(ask_once(model=GEMINI, contents="Hello"))
    assert raised.value.code == status


@pytest.mark.parametrize(
    ("provider", "status", "said"),
    [
        ("openai", 401, {"type": "invalid_request_error", "param": None, "code": "invalid_api_key"}),
        ("openai", 404, {"type": "invalid_request_error", "param": None, "code": "model_not_found"}),
        ("openai", 429, {"type": "requests", "param": None, "code": "rate_limit_exceeded"}),
        ("openai", 500, {"type": "server_error", "param": None, "code": None}),
        ("anthropic", 401, {"type": "authentication_error"}),
        ("anthropic", 403, {"type": "permission_error"}),
        ("anthropic", 404, {"type": "not_found_error"}),
        ("anthropic", 413, {"type": "request_too_large"}),
        ("anthropic", 429, {"type": "rate_limit_error"}),
        ("anthropic", 500, {"type": "api_error"}),
        ("anthropic", 504, {"type": "timeout_error"}),
        ("anthropic", 529, {"type": "overloaded_error"}),
        ("google", 401, {"code": 401, "status": "UNAUTHENTICATED"}),
        ("google", 403, {"code": 403, "status": "PERMISSION_DENIED"}),
        ("google", 404, {"code": 404, "status": "NOT_FOUND"}),
        ("google", 500, {"code": 500, "status": "INTERNAL"}),
        ("google", 503, {"code": 503, "status": "UNAVAILABLE"}),
        ("google", 504, {"code": 504, "status": "DEADLINE_EXCEEDED"}),
    ],
)
def test_status_bodies(double: Double, provider: str, status: int, said: dict[str, Any]) -> None:
    double.faults({"kind": "status", "status": status})
    answer = ask(double, provider)
    error = answer.json()["error"]
    assert error.pop("message")
    assert error == said


@pytest.mark.parametrize("provider", PROVIDERS)
def test_502_is_a_load_balancers_page(double: Double, provider: str) -> None:
    double.faults({"kind": "status", "status": 502})
    answer = ask(double, provider)
    assert answer.headers["content-type"] == "text/html"
    assert "<title>502 Bad Gateway</title>" in answer.text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_retry_after(double: Double, provider: str) -> None:
    double.faults({"kind": "status", "status": 429, "retry_after": 1.5, "times": 1}, {"kind": "status", "status": 429})
    first, second = ask(double, provider), ask(double, provider)
    assert first.headers["retry-after"] == "1.5"
    assert "retry-after" not in second.headers
    if provider == "google":
        delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}
        assert delay in first.json()["error"]["details"]
        assert first.json()["error"]["status"] == "RESOURCE_EXHAUSTED"


def test_an_error_within_a_stream(
    double: Double, openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic, gemini_client: genai.Client
) -> None:
    double.faults({"kind": "status", "status": 529, "after_chunks": 3})
    chunks: list[Any] = []
    completions = openai_client.chat.completions.create(model="gpt-4o", messages=USER, stream=True)
    with pytest.raises(openai.APIError, match="server had an error"):
        drain(completions, chunks)
    assert len(chunks) == 3
    events: list[Any] = []
    messages = anthropic_client.messages.create(model=CLAUDE, max_tokens=200, messages=USER, stream=True)
    with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
        drain(messages, events)
    assert [event.type for event in events] == ["message_start", "content_block_start"]
    pieces: list[Any] = []
    with pytest.raises(errors.ServerError):
        drain(gemini_client.models.generate_content_stream(model=GEMINI, contents="Hello"), pieces)
    assert len(pieces) == 3
    # A reply in one piece has no middle: the error is its status.
    assert ask(double, "anthropic").status_code == 529


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_drop_resets_the_connection(double: Double, provider: str, stream: bool) -> None:
    double.faults({"kind": "drop", "times": 1})
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        ask(double, provider, stream)
    [entry] = double.wait_for(lambda entries: all(entry["ended_at"] for entry in entries))
    assert (entry["outcome"], entry["status"]) == ("fault:drop", None)
    assert ask(double, provider, stream).status_code == 200


def test_drop_in_the_sdks(
    double: Double, openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic, gemini_client: genai.Client
) -> None:
    double.faults({"kind": "drop"})
    with pytest.raises(openai.APIConnectionError):
        openai_client.chat.completions.create(model="gpt-4o", messages=USER)
    with pytest.raises(anthropic.APIConnectionError):
        anthropic_client.messages.create(model=CLAUDE, max_tokens=9, messages=USER)
    with pytest.raises(Exception, match="reset by peer"):
        gemini_client.models.generate_content(model=GEMINI, contents="Hello")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_cut_half_way_through_a_body(double: Double, provider: str) -> None:
    whole = len(ask(double, provider).content)
    double.faults({"kind": "cut"})
    with pytest.raises(httpx.RemoteProtocolError, match=rf"received {whole // 2} bytes, expected {whole}"):
        ask(double, provider)


@pytest.mark.parametrize(("after", "seen"), [(None, 1), (0, 0), (2, 2), (4, 4), (1000, None)])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_cut_of_a_stream(double: Double, provider: str, after: int | None, seen: int | None) -> None:
    ending = "\r\n\r\n" if provider == "google" else "\n\n"
    whole = ask(double, provider, stream=True).text.split(ending)
    double.faults({"kind": "cut", "after_chunks": after})
    path, body, headers = REQUESTS[provider]
    if provider == "google":
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
    else:
        body = {**body, "stream": True}
    received: list[str] = []
    with double.http.stream("POST", path, json=body, headers=headers) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            drain(answer.iter_text(), received)
    # A stream is never whole after a cut: at the latest its last event is missing.
    assert "".join(received).count(ending) == (len(whole) - 2 if seen is None else seen)


def test_a_client_that_reads_late_sees_the_chunks_before_a_cut(double: Double) -> None:
    # aiohttp, which LiteLLM uses, throws away what was not yet asked for when the connection ends.
    double.faults({"kind": "cut", "after_chunks": 2})
    path, body, headers = REQUESTS["anthropic"]

    async def read() -> bytes:
        received = b""
        async with (
            aiohttp.ClientSession(double.url, headers=headers) as session,
            session.post(path, json={**body, "stream": True}) as answer,
        ):
            await asyncio.sleep(0.002)
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async for part in answer.content.iter_any():
                    received += part
        return received

    assert asyncio.run(read()).count(b"event: ") == 2


def test_cut_in_the_sdks(
    double: Double, openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic, gemini_client: genai.Client
) -> None:
    double.faults({"kind": "cut", "after_chunks": 2})
    broken = httpx.RemoteProtocolError
    chunks: list[Any] = []
    completions = openai_client.chat.completions.create(model="gpt-4o", messages=USER, stream=True)
    with pytest.raises((openai.APIConnectionError, broken)):
        drain(completions, chunks)
    assert len(chunks) == 2
    with pytest.raises(Exception, match=r"incomplete chunked read|Connection error"):
        list(anthropic_client.messages.create(model=CLAUDE, max_tokens=200, messages=USER, stream=True))
    with pytest.raises(Exception, match="incomplete chunked read"):
        list(gemini_client.models.generate_content_stream(model=GEMINI, contents="Hello"))
    with pytest.raises(openai.APIConnectionError):
        openai_client.chat.completions.create(model="gpt-4o", messages=USER)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_malformed(double: Double, provider: str) -> None:
    double.faults({"kind": "malformed"})
    answer = ask(double, provider)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    streamed = ask(double, provider, stream=True)
    assert streamed.status_code == 200
    [line] = [line for line in streamed.text.splitlines() if line.startswith("data: ")]
    with pytest.raises(json.JSONDecodeError):
        json.loads(line.removeprefix("data: "))


def test_malformed_in_the_sdks(
    double: Double, openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic, gemini_client: genai.Client
) -> None:
    double.faults({"kind": "malformed"})
    with pytest.raises(json.JSONDecodeError):
        openai_client.chat.completions.create(model="gpt-4o", messages=USER)
    with pytest.raises(Exception, match=r"JSON|Unterminated"):
        list(openai_client.chat.completions.create(model="gpt-4o", messages=USER, stream=True))
    with pytest.raises(Exception, match=r"JSON|Unterminated"):
        anthropic_client.messages.create(model=CLAUDE, max_tokens=9, messages=USER)
    with pytest.raises(Exception, match=r"JSON|Unterminated"):
        list(anthropic_client.messages.create(model=CLAUDE, max_tokens=9, messages=USER, stream=True))
    with pytest.raises(Exception, match=r"JSON|Unterminated"):
        gemini_client.models.generate_content(model=GEMINI, contents="Hello")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_delay(double: Double, provider: str, stream: bool) -> None:
    double.faults({"kind": "delay", "seconds": 0.2, "times": 1})
    began = time.monotonic()
    assert ask(double, provider, stream).status_code == 200
    assert time.monotonic() - began >= 0.19  # timers may be a millisecond or two early
    [entry] = double.journal()
    assert (entry["outcome"], entry["status"]) == ("fault:delay", 200)
    assert entry["ended_at"] - entry["started_at"] >= 0.19


def test_delay_within_a_stream(double: Double) -> None:
    double.faults({"kind": "delay", "seconds": 0.2, "after_chunks": 2})
    path, body, headers = REQUESTS["openai"]
    began = time.monotonic()
    with double.http.stream("POST", path, json={**body, "stream": True}, headers=headers) as answer:
        texts = list(answer.iter_text())
    assert time.monotonic() - began >= 0.19
    assert texts[0].count("data: ") == 2
    assert "".join(texts).endswith("data: [DONE]\n\n")


def test_hang_until_the_client_gives_up(double: Double) -> None:
    double.faults({"kind": "hang"})
    base, patience = double.bases, 0.2
    with (
        openai.OpenAI(base_url=base["openai"], api_key="any", max_retries=0, timeout=patience) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        client.chat.completions.create(model="gpt-4o", messages=USER)
    with (
        anthropic.Anthropic(base_url=base["anthropic"], api_key="any", max_retries=0, timeout=patience) as claude,
        pytest.raises(anthropic.APITimeoutError),
    ):
        claude.messages.create(model=CLAUDE, max_tokens=9, messages=USER)
    gemini = make_gemini_client(double, timeout_ms=200)
    with pytest.raises(Exception, match="timed out"):
        gemini.models.generate_content(model=GEMINI, contents="Hello")
    entries = double.wait_for(lambda entries: len(entries) == 3 and all(entry["ended_at"] for entry in entries))
    assert [(entry["outcome"], entry["status"]) for entry in entries] == [("fault:hang", None)] * 3


def test_hang_within_a_stream(double: Double) -> None:
    double.faults({"kind": "hang", "after_chunks": 3})
    path, body, headers = REQUESTS["anthropic"]
    received: list[str] = []
    with (
        double.http.stream("POST", path, json={**body, "stream": True}, headers=headers, timeout=1) as answer,
        pytest.raises(httpx.ReadTimeout),
    ):
        drain(answer.iter_text(), received)
    assert "".join(received).count("event: ") == 3
    double.wait_for(lambda entries: entries[-1]["ended_at"] is not None)


def test_rules_pick_by_provider_and_model(double: Double) -> None:
    double.faults(
        {"kind": "status", "status": 503, "provider": "google"},
        {"kind": "status", "status": 500, "model": "gpt-4o"},
        {"kind": "status", "status": 529, "provider": "anthropic", "model": "claude-other"},
    )
    assert [ask(double, provider).status_code for provider in PROVIDERS] == [500, 200, 503]


def test_the_first_rule_with_times_left_strikes(double: Double) -> None:
    double.faults(
        {"kind": "status", "status": 503, "times": 2},
        {"kind": "status", "status": 429, "times": 1},
        {"kind": "status", "status": 500, "model": "gpt-4o"},
    )
    assert [ask(double, "openai").status_code for _ in range(5)] == [503, 503, 429, 500, 500]
    assert [rule["used"] for rule in double.script()["rules"]] == [2, 1, 2]


def test_times_counts_exactly_among_concurrent_requests(double: Double) -> None:
    double.faults({"kind": "status", "status": 503, "times": 23})
    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(lambda _: ask(double, "openai").status_code, range(200)))
    assert (statuses.count(503), statuses.count(200)) == (23, 177)


def test_times_counts_exactly_among_50_at_once(double: Double) -> None:
    # The delays hold the first 20 requests open, so that all 50 are there together.
    double.faults({"kind": "delay", "seconds": 0.3, "times": 20}, {"kind": "status", "status": 503, "times": 17})
    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(lambda _: ask(double, "anthropic").status_code, range(50)))
    assert (statuses.count(503), statuses.count(200)) == (17, 33)
    outcomes = [entry["outcome"] for entry in double.journal()]
    assert {outcome: outcomes.count(outcome) for outcome in outcomes} == {
        "fault:delay": 20,
        "fault:status": 17,
        "ok": 13,
    }


def test_an_outage_takes_requests_without_a_key_too(double: Double) -> None:
    double.faults({"kind": "status", "status": 503, "provider": "openai"})
    path, body, _ = REQUESTS["openai"]
    assert double.http.post(path, json=body).status_code == 503
    assert double.http.post(path, content=b"{").status_code == 503

"""What the providers say of rate limits, and errors within streams that have begun, as the SDKs raise them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors

from proxy.simulator.providers import gemini_errors, openai_errors
from proxy.simulator.providers.wire import Call
from tests.simulator.hearing import CLAUDE, GEMINI, GPT
from tests.simulator.running import Double, drain
from tests.simulator.test_faults import PROVIDERS, STATUSES, USER, ask

ONE_A_MINUTE = {"fault": {"kind": "rate_limit", "requests": 2, "per": "60s"}}


def test_openai_counts_a_limit_down(double: Double, openai_client: openai.OpenAI) -> None:
    double.rules(ONE_A_MINUTE)
    for left in ("1", "0"):
        answer = openai_client.chat.completions.with_raw_response.create(model=GPT, messages=USER)
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == left
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
    with pytest.raises(openai.RateLimitError, match=r"Limit 2, Used 2, Requested 1\. Please try again in") as raised:
        openai_client.chat.completions.create(model=GPT, messages=USER)
    headers = raised.value.response.headers
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert 0 < int(headers["retry-after"]) <= 60
    assert raised.value.code == "rate_limit_exceeded"


def test_anthropic_counts_a_limit_down(double: Double, anthropic_client: anthropic.Anthropic) -> None:
    double.rules(ONE_A_MINUTE)
    before = datetime.now(timezone.utc)
    for left in ("1", "0"):
        answer = anthropic_client.messages.with_raw_response.create(model=CLAUDE, max_tokens=9, messages=USER)
        assert answer.headers["anthropic-ratelimit-requests-limit"] == "2"
        assert answer.headers["anthropic-ratelimit-requests-remaining"] == left
    with pytest.raises(anthropic.RateLimitError, match="rate limit of 2 requests per minute") as raised:
        anthropic_client.messages.create(model=CLAUDE, max_tokens=9, messages=USER)
    headers = raised.value.response.headers
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    reset = datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"].replace("Z", "+00:00"))
    assert 0 < (reset - before).total_seconds() < 75
    assert 0 < int(headers["retry-after"]) <= 60
    assert headers.get_list("anthropic-ratelimit-requests-remaining") == ["0"]
    assert headers["anthropic-ratelimit-tokens-limit"] == "480000"


def test_gemini_names_the_quota(double: Double, gemini_client: genai.Client) -> None:
    double.rules(ONE_A_MINUTE)
    for _ in range(2):
        gemini_client.models.generate_content(model=GEMINI, contents="Hello")
    with pytest.raises(errors.ClientError) as raised:
        gemini_client.models.generate_content(model=GEMINI, contents="Hello")
    assert (raised.value.code, raised.value.status) == (429, "RESOURCE_EXHAUSTED")
    details = {one["@type"].rsplit(".", 1)[1]: one for one in raised.value.details["error"]["details"]}
    assert set(details) == {"Help", "QuotaFailure", "RetryInfo"}
    [violation] = details["QuotaFailure"]["violations"]
    assert violation["quotaValue"] == "2"
    assert violation["quotaDimensions"]["model"] == GEMINI
    assert 0 < float(details["RetryInfo"]["retryDelay"].removesuffix("s")) <= 60
    assert "Please retry in" in str(raised.value.message)


def test_a_plain_429_leaves_nothing_over(double: Double) -> None:
    double.faults({"kind": "status", "status": 429, "retry_after": 90})
    headers = ask(double, "openai").headers
    assert headers.get_list("x-ratelimit-remaining-requests") == ["0"]
    assert headers["x-ratelimit-reset-requests"] == "1m30s"
    headers = ask(double, "anthropic").headers
    assert headers.get_list("anthropic-ratelimit-requests-remaining") == ["0"]


def test_without_a_limit_there_is_much_left(double: Double) -> None:
    assert ask(double, "openai").headers["x-ratelimit-remaining-requests"] == "9999"
    assert ask(double, "anthropic").headers["anthropic-ratelimit-requests-remaining"] == "3999"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.006, "6ms"), (0, "0ms"), (1, "1s"), (8.64, "8.64s"), (60, "1m0s"), (90, "1m30s"), (3600, "1h0m0s")],
)
def test_openai_writes_durations_as_go_does(seconds: float, text: str) -> None:
    assert openai_errors.duration(seconds) == text


@pytest.mark.parametrize("status", STATUSES)
def test_errors_within_a_stream(
    double: Double,
    openai_client: openai.OpenAI,
    anthropic_client: anthropic.Anthropic,
    gemini_client: genai.Client,
    status: int,
) -> None:
    double.rules({"fault": {"kind": "status", "status": status, "message": "It broke.", "after_chunks": 3}})
    chunks: list[Any] = []
    completions = openai_client.chat.completions.create(model=GPT, messages=USER, stream=True)
    with pytest.raises(openai.APIError, match=r"^It broke\.$") as raised:
        drain(completions, chunks)
    assert len(chunks) == 3
    assert raised.value.type == openai_errors.ERRORS.get(status, openai_errors.ERRORS[500])[1]
    events: list[Any] = []
    messages = anthropic_client.messages.create(model=CLAUDE, max_tokens=200, messages=USER, stream=True)
    with pytest.raises(anthropic.APIStatusError, match=r"It broke\.") as failed:
        drain(messages, events)
    assert [event.type for event in events] == ["message_start", "content_block_start"]
    assert isinstance(failed.value.body, dict)
    assert failed.value.body["request_id"].startswith("req_")
    pieces: list[Any] = []
    with pytest.raises(errors.ServerError if status >= 500 else errors.ClientError, match=r"It broke\.") as stopped:
        drain(gemini_client.models.generate_content_stream(model=GEMINI, contents="Hello"), pieces)
    assert stopped.value.code == status
    assert len(pieces) == 3


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_error_within_a_stream_that_is_an_array(double: Double, after: int) -> None:
    double.rules({"fault": {"kind": "status", "status": 503, "after_chunks": after}})
    body = {"contents": [{"parts": [{"text": "Hello"}]}]}
    path = f"/gemini/v1beta/models/{GEMINI}:streamGenerateContent"
    answer = double.http.post(path, json=body, headers={"x-goog-api-key": "any"})
    *pieces, last = answer.json()
    assert last["error"]["status"] == "UNAVAILABLE"
    assert len(pieces) == after


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_message_of_the_scripts_own(double: Double, provider: str) -> None:
    for status in (429, 502, 529):
        double.rules({"fault": {"kind": "status", "status": status, "message": "It {broke}."}})
        answer = ask(double, provider)
        assert answer.status_code == status
        assert answer.json()["error"]["message"] == "It {broke}."


def test_a_code_of_the_doubles_own() -> None:
    call = Call({}, b"", b"", "0" * 32, model="gemini-1.5-pro")
    body = gemini_errors.error(call, 400, None, "Not so.", code="double_no_match").body
    assert b'"reason":"double_no_match"' in body
    assert b'"code":"double_no_match"' in openai_errors.error(call, 400, None, "Not so.", code="double_no_match").body

"""Where a fault strikes: before the headers, after them, after some of a stream; and what answer it strikes."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.conftest import until
from tests.simulator.running import Double, drain
from tests.simulator.test_faults import PROVIDERS, REQUESTS, ask


def streaming(provider: str) -> tuple[str, dict[str, Any], dict[str, str]]:
    path, body, headers = REQUESTS[provider]
    if provider == "google":
        return path.replace(":generateContent", ":streamGenerateContent?alt=sse"), body, headers
    return path, {**body, "stream": True}, headers


def events_of(provider: str, text: str) -> list[str]:
    return [event for event in text.split("\r\n\r\n" if provider == "google" else "\n\n") if event]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_hang_before_the_headers_shows_nothing(double: Double, provider: str) -> None:
    double.rules({"fault": "hang"})
    path, body, headers = streaming(provider)
    with (
        pytest.raises(httpx.ReadTimeout),
        double.http.stream("POST", path, json=body, headers=headers, timeout=0.3),
    ):
        pass


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_hang_after_the_headers(double: Double, provider: str, after: int) -> None:
    double.rules({"fault": {"kind": "hang", "after_chunks": after}})
    path, body, headers = streaming(provider)
    received: list[str] = []
    with double.http.stream("POST", path, json=body, headers=headers, timeout=1) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            drain(answer.iter_text(), received)
    assert len(events_of(provider, "".join(received))) == after


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_delay_after_the_headers(double: Double, provider: str, after: int) -> None:
    whole = events_of(provider, ask(double, provider, stream=True).text)
    double.rules({"fault": {"kind": "delay", "seconds": 0.3, "after_chunks": after}})
    path, body, headers = streaming(provider)
    began = time.monotonic()
    with double.http.stream("POST", path, json=body, headers=headers) as answer:
        pieces = answer.iter_text()
        first = events_of(provider, next(pieces))
        assert len(first) == (after or len(whole))
        received = [*first, *events_of(provider, "".join(pieces))]
    assert time.monotonic() - began >= 0.29
    assert len(received) == len(whole)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_error_after_the_headers_is_the_streams_first_event(double: Double, provider: str) -> None:
    double.rules({"fault": {"status": 500, "after_chunks": 0, "message": "so sorry"}})
    path, body, headers = streaming(provider)
    answer = double.http.post(path, json=body, headers=headers)
    assert answer.status_code == 200
    assert len(events_of(provider, answer.text)) == 1
    assert "so sorry" in answer.text
    [entry] = double.journal()
    assert (entry["status"], entry["outcome"], entry["response"]["chunks"]) == (200, "fault:status", 1)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_malformed_event_after_some(double: Double, provider: str) -> None:
    double.rules({"fault": {"kind": "malformed", "after_chunks": 2}})
    path, body, headers = streaming(provider)
    assert len(events_of(provider, double.http.post(path, json=body, headers=headers).text)) == 3


# -- the answer that is struck -----------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_delay_comes_before_the_answer_of_the_next_rule(double: Double, provider: str) -> None:
    double.rules({"fault": {"kind": "delay", "seconds": 0.05}, "name": "slow"}, {"reply": "scripted words"})
    assert "scripted words" in ask(double, provider).text
    [entry] = double.journal()
    assert (entry["rule"], entry["outcome"], entry["status"]) == ("slow", "fault:delay", 200)
    assert [rule["used"] for rule in double.script()["rules"]] == [1, 1]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_scripted_stream_is_cut(double: Double, provider: str) -> None:
    words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    double.rules({"fault": {"kind": "cut", "after_chunks": 5}, "times": 1}, {"reply": words, "times": 1})
    path, body, headers = streaming(provider)
    received: list[str] = []
    with (
        double.http.stream("POST", path, json=body, headers=headers) as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        drain(answer.iter_text(), received)
    assert "one" in "".join(received)
    # What was cut off has not been had: the next try has it whole.
    assert "fourteen" in ask(double, provider).text


def test_a_paced_stream_goes_on_at_its_pace_after_a_delay(double: Double) -> None:
    timing = {"tokens_per_second": 100}
    double.rules(
        {"fault": {"kind": "delay", "seconds": 0.2, "after_chunks": 3}},
        {"reply": {"text": "word " * 20, "timing": timing}},
    )
    path, body, headers = streaming("openai")
    began = time.monotonic()
    text = double.http.post(path, json=body, headers=headers).text
    # 0.2 s of delay and 20 tokens at 10 ms: neither swallows the other.
    assert time.monotonic() - began >= 0.2 + 0.15
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_timed_reply_takes_its_time(double: Double, provider: str, stream: bool) -> None:
    double.rules({"reply": {"text": "ten words or so of a reply that is timed", "timing": {"first_token": "200ms"}}})
    began = time.monotonic()
    assert ask(double, provider, stream).status_code == 200
    assert time.monotonic() - began >= 0.19
    [entry] = double.journal()
    # Of a stream the headers come at once, of a reply in one piece with it.
    assert (entry["first_byte_at"] - entry["started_at"] >= 0.19) is not stream


def test_a_client_that_leaves_a_timed_stream_ends_it(double: Double) -> None:
    double.rules({"reply": {"text": "word " * 50, "timing": {"tokens_per_second": 0.5}}})
    path, body, headers = streaming("openai")
    with double.http.stream("POST", path, json=body, headers=headers) as answer:
        next(answer.iter_text())
    [entry] = double.wait_for(lambda entries: entries[0]["ended_at"] is not None)
    assert entry["outcome"] == "error"
    assert 1 <= entry["response"]["chunks"] < 10


# -- rate limits -------------------------------------------------------------------------------------------

LEFT = {"openai": "x-ratelimit-remaining-requests", "anthropic": "anthropic-ratelimit-requests-remaining"}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_rate_limit_over_http(double: Double, provider: str) -> None:
    double.rules(
        {"fault": {"kind": "rate_limit", "requests": 2, "per": "10m"}, "name": "limit"},
        {"reply": "let through", "name": "reply"},
    )
    answers = [ask(double, provider) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert all(500 < int(answer.headers["retry-after"]) <= 600 for answer in answers[2:])
    if provider in LEFT:
        assert [answer.headers[LEFT[provider]] for answer in answers] == ["1", "0", "0", "0"]
    assert [(entry["rule"], entry["outcome"]) for entry in double.journal()] == [
        *[("reply", "ok")] * 2,
        *[("limit", "fault:rate_limit")] * 2,
    ]


def test_a_rate_limits_window_ends(double: Double) -> None:
    double.rules({"fault": {"kind": "rate_limit", "requests": 1, "per": "300ms"}})
    for status in (429, 200, 429):
        until(str(status), lambda wanted=status: ask(double, "openai").status_code == wanted, 10)


def test_half_of_many_fail_where_the_chance_is_a_half(double: Double) -> None:
    double.rules({"fault": 503, "probability": 0.5, "seed": 11})
    first = [ask(double, "openai").status_code for _ in range(40)]
    double.rules({"fault": 503, "probability": 0.5, "seed": 11})
    assert [ask(double, "openai").status_code for _ in range(40)] == first
    assert 8 < first.count(503) < 32

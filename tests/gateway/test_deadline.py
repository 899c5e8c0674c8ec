"""The deadline of a whole request, in every state a request can be in when it comes."""

from __future__ import annotations

import asyncio
import json

import pytest

from proxy.gateway.bodies import BodyGuard
from proxy.gateway.deadline import Deadline
from proxy.gateway.overrides import Overrides

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
SECONDS = 0.05


async def never(scope, receive, send):
    await asyncio.Event().wait()


def test_request_within_the_deadline_is_untouched(inner, play):
    answer = play(Deadline(inner, seconds=30), body=CHAT)
    assert (answer.status, answer.body) == (200, b"fine")


def test_no_answer_in_time_is_504_and_the_work_is_cancelled(inner, play):
    inner.answer = never
    answer = play(Deadline(inner, seconds=SECONDS), body=CHAT, method="GET", headers={"content-length": "0"})
    assert answer.status == 504
    assert answer.error["type"] == "timeout_error"
    assert "0.05 seconds" in answer.error["message"]
    assert inner.cancelled


def test_only_what_came_whole_and_has_no_answer_in_time_is_told_as_late(inner, play):
    late = []
    guarded = BodyGuard(inner, overrides=Overrides((), max_timeout=600, max_retries=3), max_body_mb=1, max_nesting=64)

    def deadline(seconds):
        return Deadline(guarded, seconds=seconds, on_late=lambda: late.append(seconds))

    play(deadline(30), body=CHAT)
    play(deadline(SECONDS), chunks=[b'{"model":'], stall=True)
    assert late == []
    inner.answer = never
    assert play(deadline(SECONDS), body=CHAT).status == 504
    assert late == [SECONDS]


def test_body_that_dribbles_in_is_408(inner, play):
    overrides = Overrides((), max_timeout=600, max_retries=3)
    guard = BodyGuard(inner, overrides=overrides, max_body_mb=1, max_nesting=64)
    answer = play(Deadline(guard, seconds=SECONDS), chunks=[b'{"model":'], stall=True)
    assert answer.status == 408
    assert answer.headers["connection"] == "close"
    assert inner.bodies == []


def test_stream_that_dribbles_out_ends_with_an_error_event(inner, play):
    async def dribble(scope, receive, send):
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while True:
            await send({"type": "http.response.body", "body": b'data: {"x": 1}\n\n', "more_body": True})
            await asyncio.sleep(SECONDS / 10)

    inner.answer = dribble
    answer = play(Deadline(inner, seconds=SECONDS), body=CHAT)
    assert answer.status == 200
    assert len(answer.pieces) > 2
    assert answer.complete
    last = answer.pieces[-1].decode()
    assert last.startswith("data: ")
    assert last.endswith("\n\n")
    assert json.loads(last[6:])["error"]["code"] == "timeout"
    assert inner.cancelled


def test_anthropic_stream_ends_with_anthropics_event(inner, play):
    async def hang(scope, receive, send):
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await never(scope, receive, send)

    inner.answer = hang
    answer = play(Deadline(inner, seconds=SECONDS), "/v1/messages", CHAT)
    assert answer.pieces[-1].startswith(b'event: error\ndata: {"type": "error"')
    assert b"timeout_error" in answer.pieces[-1]


def test_answer_cut_short_without_a_stream_is_not_completed(inner, play):
    async def half(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        await never(scope, receive, send)

    inner.answer = half
    answer = play(Deadline(inner, seconds=SECONDS), body=CHAT)
    assert (answer.status, answer.body, answer.complete) == (200, b"12345", False)


def test_client_is_answered_even_if_the_work_will_not_stop(inner, play):
    async def stubborn(scope, receive, send):
        try:
            await never(scope, receive, send)
        except asyncio.CancelledError:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"too late"})

    inner.answer = stubborn
    answer = play(Deadline(inner, seconds=SECONDS), body=CHAT)
    assert (answer.status, answer.error["code"]) == (504, "timeout")


def test_exceptions_pass_through(inner, play):
    async def broken(scope, receive, send):
        raise ValueError("boom")

    inner.answer = broken
    with pytest.raises(ValueError, match="boom"):
        play(Deadline(inner, seconds=30), body=CHAT)

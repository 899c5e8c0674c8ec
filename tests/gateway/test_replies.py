"""What all replies have in common, and what none may hold."""

from __future__ import annotations

import gzip
import json
import logging

import pytest

from proxy.gateway.breaker import NOT_ASKED
from proxy.gateway.probes import FirstProbes, MoreHealth, WithoutPostgres
from proxy.gateway.replies import Replies, seconds_to_next_minute
from proxy.gateway.scrub import Scrubber

TRACEBACK = """litellm.APIError: content is no string
Traceback (most recent call last):
  File "/opt/app/lib/python3.11/site-packages/litellm/main.py", line 5, in completion
    raise ValueError()
          ^^^^^^^^^^
ValueError: bad content

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/usr/lib/python3.11/asyncio/tasks.py", line 1, in <module>
KeyError: 'content'
Received Model Group=gpt-4o"""


@pytest.fixture
def replies(inner):
    return Replies(inner, mode="double", scrubber=Scrubber(["/opt/app", "/home/someone"]))


def answering(status, body, content_type="application/json", headers=()):
    async def answer(scope, receive, send):
        pairs = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *headers]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return answer


def error(message):
    return json.dumps({"error": {"message": message, "type": "x", "param": None, "code": "500"}}).encode()


def test_every_reply_tells_the_mode(replies, inner, play):
    assert play(replies).headers["x-litellm-local-mode"] == "double"
    inner.answer = answering(500, error("no"), headers=[(b"X-LiteLLM-Local-Mode", b"live")])
    assert play(replies).headers["x-litellm-local-mode"] == "double"


def test_traceback_and_paths_leave_errors_and_the_message_stays(replies, inner, play):
    inner.answer = answering(500, error(TRACEBACK))
    answer = play(replies)
    assert answer.error["message"] == (
        "litellm.APIError: content is no string\nValueError: bad content\nKeyError: 'content'\n"
        "Received Model Group=gpt-4o"
    )
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.error["code"] == "500"


def test_compressed_errors_are_looked_into(replies, inner, play):
    squeezed = gzip.compress(error(TRACEBACK))
    inner.answer = answering(400, squeezed, headers=[(b"content-encoding", b"gzip")])
    answer = play(replies)
    assert "Traceback" not in answer.error["message"]
    assert "content-encoding" not in answer.headers
    harmless = gzip.compress(error("no"))
    inner.answer = answering(400, harmless, headers=[(b"content-encoding", b"gzip")])
    assert play(replies).body == harmless


def test_health_names_the_faults_of_its_probes_without_tracebacks(replies, inner, play):
    inner.answer = answering(200, json.dumps({"unhealthy_endpoints": [{"error": TRACEBACK}]}).encode())
    assert b"Traceback" not in play(replies, "/health", method="GET").body


def test_logs_of_failed_requests_lose_their_tracebacks_and_nothing_else(replies, inner, play):
    frames = '  File "/opt/app/main.py", line 5, in completion\n    raise ValueError()'
    log = [{"messages": "read /etc/app.yaml", "error_information": {"traceback": frames, "error_message": TRACEBACK}}]
    inner.answer = answering(200, json.dumps(log).encode())
    (entry,) = json.loads(play(replies, "/spend/logs", method="GET").body)
    assert entry["messages"] == "read /etc/app.yaml"
    assert entry["error_information"]["traceback"] == ""
    assert entry["error_information"]["error_message"].startswith("litellm.APIError: content is no string")
    assert "Traceback" not in entry["error_information"]["error_message"]


def test_what_a_model_said_about_tracebacks_stays(replies, inner, play):
    said = json.dumps({"choices": [{"message": {"content": TRACEBACK}}]}).encode()
    inner.answer = answering(200, said)
    assert play(replies).body == said


def test_errors_in_a_stream_are_scrubbed_but_never_what_a_model_says(replies, inner, play):
    said = b'data: {"choices": [{"delta": {"content": "an \\"error\\": Traceback (most recent call last):"}}]}\n\n'
    failed = b"data: " + error(TRACEBACK) + b"\n\n"
    inner.answer = answering(200, said + failed, "text/event-stream")
    body = play(replies).body
    assert body.startswith(said)
    assert b"site-packages" not in body
    assert b"content is no string" in body


@pytest.mark.parametrize(
    "text",
    ["Invalid route /v1/chat/completions", "see https://docs.litellm.ai/docs/index.py", "a/b", "10 req/s and/or so"],
)
def test_routes_and_addresses_are_no_paths(text):
    assert Scrubber(["/opt/app"]).text(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("cannot open /etc/app/config.yaml", "cannot open <path>"),
        ("in /home/someone/project/x and on", "in <path> and on"),
        ('File "/a/b.py", line 3, in f: oops', ": oops"),
        (repr(TRACEBACK).strip("'"), None),
    ],
)
def test_paths_and_written_out_tracebacks_go(text, clean):
    scrubbed = Scrubber(["/opt/app", "/home/someone"]).text(text)
    assert scrubbed == clean or (clean is None and "/" not in scrubbed and "Traceback" not in scrubbed)


def test_429_says_when_to_come_back(replies, inner, play):
    inner.answer = answering(429, error("over the limit"))
    assert 1 <= int(play(replies).headers["retry-after"]) <= 60
    inner.answer = answering(429, error("over the limit"), headers=[(b"retry-after", b"7")])
    assert play(replies).headers["retry-after"] == "7"
    inner.answer = answering(429, error("the provider's limit"), headers=[(b"llm_provider-retry-after", b"2")])
    assert play(replies).headers["retry-after"] == "2"
    own = error("litellm.RateLimitError: Model rate limit exceeded. RPM limit=4, current usage=4")
    inner.answer = answering(429, own, headers=[(b"llm_provider-retry-after", b"99")])
    assert 1 <= int(play(replies).headers["retry-after"]) <= 60
    inner.answer = answering(429, error("Budget has been exceeded! budget_exceeded"))
    assert "retry-after" not in play(replies).headers


@pytest.mark.parametrize(("now", "seconds"), [(0.0, 60), (59.9, 1), (60.0, 60), (90.5, 30)])
def test_the_limits_minute_is_utcs(now, seconds):
    assert seconds_to_next_minute(now) == seconds


def test_errors_carry_a_request_id(replies, inner, play):
    inner.answer = answering(400, error("no"))
    assert len(play(replies).headers["x-litellm-call-id"]) == 36
    inner.answer = answering(400, error("no"), headers=[(b"x-litellm-call-id", b"abc")])
    assert play(replies).headers["x-litellm-call-id"] == "abc"


def test_unhandled_exception_is_a_500_without_its_text(replies, inner, play, caplog):
    async def broken(scope, receive, send):
        raise RuntimeError("secret /opt/app/x.py")

    inner.answer = broken
    answer = play(replies)
    assert answer.status == 500
    assert answer.error["type"] == "internal_server_error"
    assert b"secret" not in answer.body
    assert answer.headers["x-litellm-local-mode"] == "double"
    assert "secret" in caplog.text


def test_unhandled_exception_in_a_stream_ends_it_with_an_error(replies, inner, play):
    async def broken(scope, receive, send):
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
        raise RuntimeError("secret")

    inner.answer = broken
    answer = play(replies)
    assert answer.complete
    assert b"internal_server_error" in answer.pieces[-1]


def test_log_has_one_line_without_keys(replies, inner, play, caplog):
    caplog.set_level(logging.INFO, "proxy.gateway")
    inner.answer = answering(200, b"{}", headers=[(b"x-litellm-call-id", b"abc")])
    key = "sk-" + "secret123"
    play(replies, f"/key/{key}/regenerate", headers={"authorization": f"Bearer {key}"})
    play(replies, "/health/readiness", method="GET")
    lines = [record.message for record in caplog.records]
    assert len(lines) == 1
    assert lines[0].startswith("POST /key/sk-.../regenerate 200 ")
    assert lines[0].endswith(" ms abc -")


def test_readiness_waits_for_the_first_probes_but_not_for_ever(inner, play):
    results: list[str] = []
    app = FirstProbes(inner, has_results=lambda: bool(results), patience=60)
    ready = {"path": "/health/readiness", "method": "GET"}
    assert play(app, **ready).status == 503
    assert play(app, "/health/liveliness", method="GET").status == 200
    results.append("probed")
    assert play(app, **ready).status == 200
    results.clear()
    assert play(app, **ready).status == 200
    assert play(FirstProbes(inner, has_results=lambda: False, patience=-1), **ready).status == 200


def test_a_503_of_the_breakers_says_when_to_come_back(replies, inner, play):
    inner.answer = answering(503, error(f"gpt-4o {NOT_ASKED.format(seconds=4)}"))
    assert play(replies).headers["retry-after"] == "4"
    inner.answer = answering(503, error(f"gpt-4o {NOT_ASKED.format(seconds=4)}"), headers=[(b"retry-after", b"7")])
    assert play(replies).headers["retry-after"] == "7"
    inner.answer = answering(503, error("overloaded"))
    assert "retry-after" not in play(replies).headers


def test_health_tells_more_than_litellm_does(inner, play):
    more = {"open_breakers": [{"model": "gpt-4o", "provider": "openai", "seconds": 3.0}], "stores_away": []}
    app = MoreHealth(inner, more=lambda: more)
    inner.answer = answering(200, b'{"healthy_count": 8}')
    answer = play(app, "/health", method="GET")
    assert json.loads(answer.body) == {"healthy_count": 8, **more}
    assert answer.headers["content-length"] == str(len(answer.body))
    assert play(app, "/health/readiness", method="GET").body == b'{"healthy_count": 8}'
    for status, body in ((401, b'{"error": {}}'), (200, b"[]"), (200, b"fine")):
        inner.answer = answering(status, body)
        assert play(app, "/health", method="GET").body == body


def test_who_was_ready_stays_so_without_postgres(inner, play):
    lost: list[bool] = []
    app = WithoutPostgres(inner, away=lambda: bool(lost))
    ready = {"path": "/health/readiness", "method": "GET"}
    without = answering(503, b'{"status": "healthy", "db": "disconnected"}')
    inner.answer = without
    assert play(app, **ready).status == 503  # never ready yet: nothing is known here that could be served
    inner.answer = answering(200, b'{"status": "healthy", "db": "connected"}')
    assert play(app, **ready).status == 200
    inner.answer = without
    answer = play(app, **ready)
    assert (answer.status, json.loads(answer.body)["status"]) == (200, "degraded")
    inner.answer = answering(503, b'{"status": "shutting down"}')
    assert play(app, **ready).status == 503
    lost.append(True)
    answer = play(app, **ready)
    assert (answer.status, json.loads(answer.body)["db"]) == (200, "disconnected")
    inner.answer = without
    assert play(app, path="/health/readiness/details", method="GET").status == 503

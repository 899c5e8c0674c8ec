"""Each smoke check sees the fault it is for: the real gateway behind a relay that breaks one thing in its answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.checks import CHECKS, Target, run_checks, smoke
from proxy.secrets import CONTROL_KEY, MASTER_KEY, read_env_file
from tests.conftest import Stack, free_port, until

Break = Callable[[Request, Response], Response]


class Relay:
    """Passes requests on to the gateway and its answers back, broken by `damage`."""

    def __init__(self, stack: Stack) -> None:
        self.damage: Break = lambda _request, answer: answer
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._client = httpx.Client(base_url=stack.url, timeout=60, trust_env=False)
        app = Starlette(routes=[Route("/{path:path}", self._pass_on, methods=["GET", "POST"])])
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)

    async def _pass_on(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        body = await request.body()
        headers = {n: v for n, v in request.headers.items() if n not in ("host", "content-length", "accept-encoding")}
        answer = await run_in_threadpool(
            self._client.request, request.method, str(request.url.path), params=request.query_params, content=body,
            headers=headers,
        )  # fmt: skip
        kept = {n: v for n, v in answer.headers.items() if n not in ("content-length", "content-encoding", "date")}
        return self.damage(request, Response(answer.content, answer.status_code, kept))


@pytest.fixture(scope="module")
def relay(stack: Stack) -> Iterator[Relay]:
    relay = Relay(stack)
    relay.thread.start()
    until("the relay", lambda: relay.server.started)
    yield relay
    relay.server.should_exit = True
    relay.thread.join()


def on(path: str, change: Callable[[Response], Response]) -> Break:
    return lambda request, answer: change(answer) if request.url.path == path else answer


def edited(change: Callable[[Any], None]) -> Callable[[Response], Response]:
    def edit(answer: Response) -> Response:
        try:
            value = json.loads(bytes(answer.body))
            change(value)
        except (ValueError, KeyError, TypeError):
            return answer
        return rebuilt(answer, json.dumps(value).encode())

    return edit


def rebuilt(answer: Response, body: bytes | None = None, status: int | None = None, **headers: str) -> Response:
    kept = {n: v for n, v in answer.headers.items() if n != "content-length"}
    kept.update({n.replace("_", "-"): v for n, v in headers.items()})
    return Response(bytes(answer.body) if body is None else body, status or answer.status_code, kept)


def status(number: int, *, instead_of: int | None = None) -> Callable[[Response], Response]:
    return lambda a: rebuilt(a, status=number) if instead_of in (None, a.status_code) else a


CHAT = "/v1/chat/completions"

DAMAGE: dict[str, list[Break]] = {
    "completion[gpt-4o]": [
        on(CHAT, edited(lambda v: v["choices"][0]["message"].update(content=""))),
        on(CHAT, lambda a: rebuilt(a, x_litellm_attempted_fallbacks="1")),
        on(CHAT, lambda a: rebuilt(a, b"<html>")),
        on(CHAT, status(503)),
    ],
    "streaming[gpt-4o]": [
        on(CHAT, lambda a: rebuilt(a, bytes(a.body).replace(b"data: [DONE]", b""))),
        on(CHAT, lambda a: rebuilt(a, bytes(a.body).replace(b'"content"', b'"other"'))),
        on(CHAT, lambda a: rebuilt(a, b"data: {broken\n\ndata: [DONE]\n\n")),
    ],
    "tool call[gpt-4o]": [on(CHAT, edited(lambda v: v["choices"][0]["message"].pop("tool_calls")))],
    "unknown model is 400": [on(CHAT, status(404)), on(CHAT, lambda a: rebuilt(a, b'{"error": {"message": "no"}}'))],
    "wrong key is 401": [on(path, status(200, instead_of=401)) for path in (CHAT, "/v1/models", "/usage")],
    "GET /health": [
        on("/health", edited(lambda v: v.update(unhealthy_count=1))),
        on("/health", edited(lambda v: v.update(healthy_count=0))),
        on("/health", status(200, instead_of=401)),
    ],
    "GET /health/readiness and /health/liveliness": [
        on("/health/readiness", status(503)),
        on("/health/liveliness", status(503)),
    ],
    "GET /models": [on("/models", edited(lambda v: v["data"].pop()))],
    "GET /usage": [on("/usage", edited(lambda v: v.pop("totals"))), on("/usage", status(200, instead_of=400))],
    "GET /metrics": [on("/metrics", status(307)), on("/metrics", lambda a: rebuilt(a, b"nothing"))],
    "GET /docs": [on("/docs", lambda a: rebuilt(a, b"nothing")), on("/openapi.json", status(500))],
    "GET /ui": [on("/ui/", status(404))],
    "virtual key: make, use, delete": [on("/key/generate", status(500)), on("/v1/models", status(401))],
    "virtual key: budget stop": [on(CHAT, status(200))],
    "spend in /usage": [
        on("/usage", edited(lambda v: v["totals"].update(spend_usd=v["totals"]["spend_usd"] * 1.01))),
        on(CHAT, lambda a: rebuilt(a, x_litellm_response_cost="")),
    ],
    "fallback": [on(CHAT, lambda a: rebuilt(a, x_litellm_attempted_fallbacks="0"))],
}


@pytest.mark.parametrize(("name", "number"), [(name, n) for name, breaks in DAMAGE.items() for n in range(len(breaks))])
def test_a_broken_deployment_fails_the_check(
    stack: Stack, relay: Relay, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    monkeypatch.setattr(smoke, "FLUSH_SECONDS", 3.0)
    values = read_env_file(stack.env_file)
    target = Target(relay.url, values[MASTER_KEY], stack.simulator_url, values[CONTROL_KEY])
    relay.damage = lambda _request, answer: answer
    if number == 0:
        monkeypatch.setattr(smoke, "FLUSH_SECONDS", 30.0)
        (sound,) = run_checks(target, only=[name])
        assert sound.passed, f"fails without any damage: {sound.reason}"
        monkeypatch.setattr(smoke, "FLUSH_SECONDS", 3.0)
    damage = DAMAGE[name][number]
    # The list of models that every run begins with stays whole, so that the check itself is what fails.
    first = iter([True])
    relay.damage = lambda request, answer: (
        answer if request.url.path == "/v1/models" and next(first, False) else damage(request, answer)
    )
    (result,) = run_checks(target, only=[name])
    assert result.failed
    assert result.reason


def test_every_check_was_seen_failing() -> None:
    assert {name.split("[")[0] for name in DAMAGE} == {check.name for check in CHECKS}


def test_a_live_deployment_is_spared_what_costs_money(stack: Stack, relay: Relay) -> None:
    relay.damage = lambda _request, answer: rebuilt(answer, x_litellm_local_mode="live")
    asked = []
    relay.damage = lambda request, answer: (
        asked.append(request.url.path),
        rebuilt(answer, x_litellm_local_mode="live"),
    )[1]
    results = run_checks(Target(relay.url, stack.master_key))
    relay.damage = lambda _request, answer: answer
    left_out = {result.name for result in results if result.outcome == "left out"}
    assert {"completion[gpt-4o]", "streaming[gpt-4o]", "tool call[gpt-4o]", "spend in /usage", "fallback"} <= left_out
    assert all(result.reason for result in results if result.outcome == "left out")
    assert not [result for result in results if result.failed]

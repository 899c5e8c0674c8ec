"""What the gateway adds to LiteLLM's health routes.

Readiness waits for the first health probes, so that /health has a result as soon as it counts: LiteLLM answers that
from a cache which is empty until its first cycle of probes is through. It does not end where Postgres is lost. And
/health tells of the breakers that are open, and of what is away.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEGRADED = {
    "status": "degraded",
    "db": "disconnected",
    "detail": "Postgres does not answer: models and known keys are served, new keys and management are not",
}


class FirstProbes:
    """ASGI middleware: /health/readiness is 503 until `has_results()`, but no longer than `patience` seconds.

    The patience is for a cycle that never ends: a gateway whose providers hang can still serve its cache,
    its keys and the providers that do not.
    """

    def __init__(self, app: ASGIApp, *, has_results: Callable[[], bool], patience: float) -> None:
        self.app = app
        self._has_results = has_results
        self._patience = patience
        self._since: float | None = None
        self._over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._over or scope["type"] != "http" or scope["path"] != "/health/readiness":
            await self.app(scope, receive, send)
            return
        if self._since is None:
            self._since = time.monotonic()
        if self._has_results() or time.monotonic() - self._since > self._patience:
            self._over = True
            await self.app(scope, receive, send)
            return
        starting = {"status": "starting", "detail": "the first health probes are under way"}
        await _send_json(send, 503, starting, (b"retry-after", b"1"))


class WithoutPostgres:
    """ASGI middleware: a gateway that was ready once stays so while Postgres is `away()`, as it can still serve; its
    readiness says `degraded`.

    LiteLLM says 503, by which every replica would leave its Service at once, and be started again a little later.
    """

    def __init__(self, app: ASGIApp, *, away: Callable[[], bool]) -> None:
        self.app = app
        self._away = away
        self._was_ready = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/health/readiness" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        if self._was_ready and self._away():
            await _send_json(send, 200, DEGRADED)
            return
        start, body = await _answer_of(self.app, scope, receive)
        if self._was_ready and start["status"] == 503 and _loaded(body).get("db") in ("disconnected", "stalled"):
            await _send_json(send, 200, DEGRADED)
            return
        self._was_ready = self._was_ready or start["status"] == 200
        await send(start)
        await send({"type": "http.response.body", "body": body, "more_body": False})


class MoreHealth:
    """ASGI middleware: GET /health tells `more()` besides what LiteLLM tells: models that count as down, stores that
    are away."""

    def __init__(self, app: ASGIApp, *, more: Callable[[], dict[str, Any]]) -> None:
        self.app = app
        self._more = more

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/health" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        plain = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
        start, body = await _answer_of(self.app, {**scope, "headers": plain}, receive)
        if start["status"] == 200 and (told := _loaded(body)):
            body = json.dumps({**told, **self._more()}).encode()
            headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
            start = {**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        await send(start)
        await send({"type": "http.response.body", "body": body, "more_body": False})


async def _answer_of(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """The start message and the whole body."""
    held: list[Message] = []

    async def hold(message: Message) -> None:
        held.append(message)

    await app(scope, receive, hold)
    return held[0], b"".join(message.get("body", b"") for message in held[1:])


def _loaded(body: bytes) -> dict[str, Any]:
    """The JSON object; empty where it is none."""
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


async def _send_json(send: Send, status: int, content: object, *more: tuple[bytes, bytes]) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})

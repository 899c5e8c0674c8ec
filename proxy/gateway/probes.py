"""What the gateway adds to LiteLLM's health routes.

Readiness waits for the first health probes, so that /health has a result as soon as it counts: LiteLLM answers that
from a cache which is empty until its first cycle of probes is through. And /health tells of the breakers that are open.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


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
        body = json.dumps({"status": "starting", "detail": "the first health probes are under way"}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", b"1"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


class OpenBreakers:
    """ASGI middleware: GET /health says under `open_breakers` which models count as down, and since when."""

    def __init__(self, app: ASGIApp, *, opened: Callable[[], list[dict[str, Any]]]) -> None:
        self.app = app
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/health" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        plain = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                await self._release(held, send)

        await self.app({**scope, "headers": plain}, receive, hold)

    async def _release(self, held: list[Message], send: Send) -> None:
        start, body = held[0], b"".join(message.get("body", b"") for message in held[1:])
        try:
            told = json.loads(body)
        except ValueError:
            told = None
        if start["status"] == 200 and isinstance(told, dict):
            body = json.dumps({**told, "open_breakers": self._opened()}).encode()
            headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
            start = {**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        await send(start)
        await send({"type": "http.response.body", "body": body, "more_body": False})

"""Readiness that waits for the first health probes, so that /health has a result as soon as it counts.

LiteLLM answers /health from a cache that is empty until its first cycle of probes is through.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


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

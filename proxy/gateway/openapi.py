"""/openapi.json (and so /docs) without the seconds LiteLLM takes to compute it on the event loop.

The schema is computed in a thread once the gateway serves, and kept in a file for the next start.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("proxy.gateway")

_PACKAGES = ("litellm", "fastapi", "pydantic")
_OWN = ("app.py", "usage.py")


class OpenApiCache:
    """ASGI middleware. `fastapi` is the FastAPI app whose schema is meant, `folder` is where it is kept."""

    def __init__(self, app: ASGIApp, fastapi: Any, folder: Path) -> None:
        self.app = app
        self._fastapi = fastapi
        self._file = folder / f"openapi-{_fingerprint(fastapi)}.json"
        self._warmed: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, self._after_startup(send))
            return
        if scope["type"] == "http" and scope["path"] == "/openapi.json" and self._warmed:
            await asyncio.shield(self._warmed)
        await self.app(scope, receive, send)

    def _after_startup(self, send: Send) -> Send:
        async def watching(message: Message) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self._warmed = asyncio.create_task(asyncio.to_thread(self._warm))

        return watching

    def _warm(self) -> None:
        with suppress(OSError, ValueError):
            self._fastapi.openapi_schema = json.loads(self._file.read_text(encoding="utf-8"))
            return
        schema = self._fastapi.openapi()
        try:
            for stale in self._file.parent.glob("openapi-*.json"):
                stale.unlink()
            partial = self._file.with_suffix(".partial")
            partial.write_text(json.dumps(schema), encoding="utf-8")
            partial.replace(self._file)
        except OSError as error:
            log.info("the OpenAPI schema is not kept for the next start: %s", error)


def _fingerprint(fastapi: Any) -> str:
    """Changes with whatever the schema is made from: the packages, the app's own title and text, our route."""
    here = Path(__file__).parent
    parts = [*(f"{name} {version(name)}" for name in _PACKAGES), *((here / name).read_text() for name in _OWN)]
    text = "\n".join([*parts, str(fastapi.title), str(fastapi.description), str(len(fastapi.routes))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]

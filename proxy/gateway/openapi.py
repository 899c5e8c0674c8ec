"""/openapi.json (and so /docs) without the seconds LiteLLM takes to compute it on the event loop, and without the
130 MB that it takes up as Python's objects, half of which stay when it is forgotten.

The schema is computed by a copy of the process while that starts, kept in a file (also for the next start), sent from
there. Where that fails, it is computed in a thread once the gateway serves.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.gateway.waiting import MOST_FILES
from proxy.memory import give_back

log = logging.getLogger("proxy.gateway")

_PACKAGES = ("litellm", "fastapi", "pydantic")
_OWN = ("app.py", "usage.py")
PATIENT = 10  # of 19


class OpenApiCache:
    """ASGI middleware. `fastapi` is the FastAPI app whose schema is meant, `folder` is where it is kept."""

    def __init__(self, app: ASGIApp, fastapi: Any, folder: Path) -> None:
        self.app = app
        self._fastapi = fastapi
        self._file = folder / f"openapi-{_fingerprint(fastapi)}.json"
        self._child: int | None = None
        self._ending = False
        self._warmed: asyncio.Task[None] | None = None
        for route in fastapi.routes:  # within the app: its middleware still adds what it adds to every reply
            if isinstance(route, Route) and route.path == fastapi.openapi_url:
                route.app = self._from_file(route.app)

    def begin(self) -> None:
        """Has a copy of this process compute what is not kept. To be called while there is one thread."""
        if not self._file.is_file() and os.access(self._file.parent, os.W_OK):
            with suppress(OSError):  # a limit of processes or of memory
                self._child = aside(self._keep)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, self._after_startup(send))
        finally:
            self._ending = True
            if (child := self._child) is not None:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                wait_for(child)  # the thread that does may not have begun

    def _after_startup(self, send: Send) -> Send:
        async def watching(message: Message) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self._warmed = asyncio.create_task(asyncio.to_thread(self._warm))

        return watching

    def _from_file(self, otherwise: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if self._warmed:
                await asyncio.shield(self._warmed)
            kept = FileResponse(self._file, media_type="application/json") if self._file.is_file() else otherwise
            await kept(scope, receive, send)

        return answer

    def _warm(self) -> None:
        if self._child is not None:
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOWAIT)  # its number stays taken
            child, self._child = self._child, None
            wait_for(child)
        if not self._file.is_file() and not self._ending:
            try:
                self._keep()
            except OSError as error:
                log.info("the OpenAPI schema is not kept for the next start: %s", error)
            else:
                self._fastapi.openapi_schema = None
        give_back()

    def _keep(self) -> None:
        schema = self._fastapi.openapi()
        for stale in self._file.parent.glob("openapi-*.json"):
            stale.unlink()
        partial = self._file.with_suffix(".partial")
        text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
        partial.write_text(text, encoding="utf-8")
        partial.replace(self._file)


def aside(work: Callable[[], None]) -> int:
    """Does something in a copy of this process, which does it when nothing else is to be done; its process number."""
    child = os.fork()
    if child:
        return child
    status = 1
    with suppress(BaseException):
        os.nice(PATIENT)
        for number in (signal.SIGINT, signal.SIGHUP):  # the terminal's: who began this ends it
            signal.signal(number, signal.SIG_IGN)
        os.closerange(3, MOST_FILES)  # it must not keep a port taken
        work()
        status = 0
    os._exit(status)


def wait_for(child: int) -> None:
    with suppress(ChildProcessError):  # somebody else has waited for it
        os.waitpid(child, 0)


def _fingerprint(fastapi: Any) -> str:
    """Changes with whatever the schema is made from: the packages, the app's own title and text, our route."""
    here = Path(__file__).parent
    parts = [*(f"{name} {version(name)}" for name in _PACKAGES), *((here / name).read_text() for name in _OWN)]
    text = "\n".join([*parts, str(fastapi.title), str(fastapi.description), str(len(fastapi.routes))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""The double's side of the gateway: its control under /_double/, its page, and requests that name a scope.

In double mode only; in live mode nothing of this is there. A script is set and a journal read with the same key that
asks the models, so that a test needs one address and one key. What a call means is the simulator's to know: here it
is settled who asks and about which scope, and the call is handed on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.gateway import internals
from proxy.gateway.errors import Refusal, send_refusal
from proxy.gateway.routes import dialect_of
from proxy.gateway.scopes import controlled_scope, is_control, named_scope, own_scope, upstream_headers
from proxy.gateway.simulator import Answer, ControlCall, Simulator

_STOP_SECONDS = 1.0  # for an answer that is about to be complete when the gateway stops
_PAGE = Path(__file__).parent / "double_page"
_PAGE_FILES = {
    "/_double/": ("page.html", b"text/html; charset=utf-8"),
    "/_double/page.css": ("page.css", b"text/css; charset=utf-8"),
    "/_double/page.js": ("page.js", b"text/javascript; charset=utf-8"),
}
# Nothing from elsewhere, nothing inline: what a client wrote into a message stays text whatever it is.
_PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SCOPES = "/_double/scopes"


class Double:
    """ASGI middleware: `control` gets what is under /_double/; of the rest, the scope a request names is checked."""

    def __init__(self, app: ASGIApp, *, control: ASGIApp) -> None:
        self.app = app
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if is_control(path):
            await self._control(scope, receive, send)
            return
        try:
            named = named_scope(scope["headers"])
        except Refusal as refusal:
            await send_refusal(send, refusal, dialect_of(path))
            return
        if internals.is_pass_through(path):
            scope = await _marked(scope, named)
        await self.app(scope, receive, send)


async def _marked(scope: Scope, named: str | None) -> Scope:
    """The request for a pass-through route, made to carry its scope upstream; as it is where the key is unknown."""
    try:
        token = await internals.known_caller(Request(scope))
    except Refusal:
        return scope  # LiteLLM's to refuse, in the provider's dialect
    headers = internals.mark_pass_through(upstream_headers(token, named, None))
    return {**scope, "headers": [*scope["headers"], *headers]}


class Control:
    """ASGI app for /_double/: the page to anybody, all else to whoever has a key. Errors are JSON.

    `on_new_script(scope)` is called where a scope begins anew: with another script, none, or no scope at all.
    """

    def __init__(
        self, simulator: Simulator, stopping: asyncio.Event, on_new_script: Callable[[str], None] | None = None
    ) -> None:
        self._simulator = simulator
        self._stopping = stopping
        self._on_new_script = on_new_script
        self._page = {path: ((_PAGE / name).read_bytes(), kind) for path, (name, kind) in _PAGE_FILES.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = Answer(send)
        try:
            if scope["path"] == "/_double":
                await answer.whole(307, [(b"location", b"/_double/")])
            elif scope["path"] in self._page:
                await self._show(scope, answer)
            else:
                await self._control(Request(scope, receive), answer)
        except Refusal as refusal:
            if not answer.started:
                await send_refusal(send, refusal, "openai")

    async def _show(self, scope: Scope, answer: Answer) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise Refusal(405, f"{scope['method']} is not for {scope['path']}")
        body, kind = self._page[scope["path"]]
        headers = [
            (b"content-type", kind),
            (b"cache-control", b"no-cache"),
            (b"content-security-policy", _PAGE_POLICY),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]
        await answer.whole(200, headers, body)

    async def _control(self, request: Request, answer: Answer) -> None:
        body = await request.body()
        token = await internals.known_caller(request)
        named = named_scope(request.scope["headers"])
        query = request.query_params.multi_items()
        scope = controlled_scope(token, request.query_params.get("scope"), named)
        path = request.scope["path"]
        if path == "/_double/me":
            await _send_json(answer, {"scope": scope, "all": token is None})
            return
        if path.startswith(f"{_SCOPES}/"):
            controlled_scope(token, path.removeprefix(f"{_SCOPES}/"), named)  # may this key?
        call = ControlCall(
            method=request.method,
            path=request.scope.get("raw_path") or path.encode(),
            query=[*(pair for pair in query if pair[0] != "scope"), ("scope", scope)],
            headers=dict(request.headers),
            body=body,
        )
        if path == _SCOPES and token is not None and request.method == "GET":
            await self._own_scopes(call, {own_scope(token), scope}, answer)
            return
        await self._until_gone(self._simulator.hand_on(call, answer), request.receive, answer)
        if self._on_new_script is not None and (begun := _begun_anew(request.method, path, scope)):
            self._on_new_script(begun)

    async def _own_scopes(self, call: ControlCall, mine: set[str], answer: Answer) -> None:
        """The list of scopes as a virtual key may see it."""
        told = await self._simulator.ask(call)
        if told.status_code != 200:
            await answer.whole(told.status_code, [(b"content-type", b"application/json")], told.content)
            return
        await _send_json(answer, {"scopes": [one for one in told.json()["scopes"] if one["name"] in mine]})

    async def _until_gone(self, handing_on: Any, receive: Receive, answer: Answer) -> None:
        """Carries the call through, or ends it when the client leaves or the gateway stops."""
        work = asyncio.ensure_future(handing_on)
        gone = asyncio.ensure_future(_disconnected(receive))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({work, gone, stop}, return_when=asyncio.FIRST_COMPLETED)
            if stop.done() and not work.done():
                await asyncio.wait({work, gone}, timeout=_STOP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, gone, stop):
                task.cancel()
            await asyncio.gather(work, gone, stop, return_exceptions=True)
        if not work.cancelled():
            work.result()
        elif not gone.cancelled():
            return
        elif answer.started:
            await answer.break_off()
        else:
            raise Refusal(503, "the gateway stops", type="service_unavailable")


def _begun_anew(method: str, path: str, scope: str) -> str | None:
    """The scope that a control call has begin anew, if it does."""
    if method == "DELETE" and path.startswith(f"{_SCOPES}/"):
        return path.removeprefix(f"{_SCOPES}/")
    return scope if path == "/_double/script" and method in ("PUT", "DELETE") else None


async def _send_json(answer: Answer, value: object) -> None:
    await answer.whole(200, [(b"content-type", b"application/json")], json.dumps(value).encode())


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""Fixtures for the guards: one ASGI request, played by hand, so that chunks and times are under control."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Answer:
    """What came back. `pieces` are the body messages one by one."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]


class Inner:
    """Stands where LiteLLM stands: notes what reached it, answers with what it was given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.cancelled = False
        self.answer: Callable[[dict, Callable, Callable], Any] = self.ok

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        try:
            await self.answer(scope, receive, send)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def ok(self, _scope: dict, receive: Callable, send: Callable) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})


def _play(
    app: Any,
    path: str = "/v1/chat/completions",
    body: Any = b"",
    *,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    chunks: list[bytes] | None = None,
    stall: bool = False,
) -> Answer:
    """Sends one request through `app`. `body` is bytes or a value to send as JSON; `chunks` go out one by one
    without a content-length and are taken off the list; `stall` never sends the last of them."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"content-type": "application/json", **(headers or {})}
    if chunks is None:
        sent.setdefault("content-length", str(len(raw)))
        pieces = [raw]
    else:
        sent["transfer-encoding"] = "chunked"
        pieces = chunks
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }
    answer = Answer()

    async def receive() -> dict:
        if pieces:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces) or stall}
        if stall:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        assert not answer.complete, f"sent after the end: {message}"
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.pieces.append(message.get("body", b""))
            answer.complete = not message.get("more_body", False)

    asyncio.run(app(scope, receive, send))
    return answer


@pytest.fixture
def inner() -> Inner:
    return Inner()


@pytest.fixture
def play() -> Callable[..., Answer]:
    return _play

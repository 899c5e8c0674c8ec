"""A proxy before a real gateway that breaks one thing of it, so that a check can be seen to fail."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn

HOP_BY_HOP = {"connection", "content-encoding", "content-length", "date", "host", "keep-alive", "transfer-encoding"}


@dataclass
class Sent:
    """A request on its way to the gateway. `answer`, where it is set, is given instead of the gateway's."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    answer: Got | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"null")

    @json.setter
    def json(self, value: Any) -> None:
        self.body = json.dumps(value).encode()

    @property
    def is_chat(self) -> bool:
        return self.path == "/v1/chat/completions"


@dataclass
class Got:
    """A reply on its way to the client."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @json.setter
    def json(self, value: Any) -> None:
        self.body = json.dumps(value).encode()


class Broken:
    """The proxy. `before` may change a request, `after` a reply; `seen` is what came, `busiest` how much at once."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.seen: list[Sent] = []
        self.busiest = 0
        self._busy = 0
        self.heal()

    def heal(self) -> None:
        """Lets everything through as it is, and forgets what it saw."""
        self.before: Callable[[Sent], None] = lambda _sent: None
        self.after: Callable[[Sent, Got], None] = lambda _sent, _got: None
        self.hold: Callable[[Sent], bool] = lambda _sent: False  # requests that never get an answer
        self.seen.clear()
        self.busiest = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        sent = Sent(scope["method"], scope["path"], scope["query_string"].decode(), headers, body)
        self.seen.append(sent)
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        try:
            if self.hold(sent):
                await receive()
                return
            got = await self._exchange(sent)
        finally:
            self._busy -= 1
        fields = [(name.encode(), value.encode()) for name, value in got.headers.items()]
        fields.append((b"content-length", str(len(got.body)).encode()))
        await send({"type": "http.response.start", "status": got.status, "headers": fields})
        await send({"type": "http.response.body", "body": got.body})

    async def _exchange(self, sent: Sent) -> Got:
        self.before(sent)
        if sent.answer:
            return sent.answer
        async with httpx.AsyncClient(timeout=120, trust_env=False) as client:
            reply = await client.request(
                sent.method,
                f"{self.upstream}{sent.path}" + (f"?{sent.query}" if sent.query else ""),
                headers={name: value for name, value in sent.headers.items() if name not in HOP_BY_HOP},
                content=sent.body,
            )
        kept = {name: value for name, value in reply.headers.items() if name not in HOP_BY_HOP}
        got = Got(reply.status_code, kept, reply.content)
        self.after(sent, got)
        return got


@contextmanager
def serving(app: Broken) -> Iterator[str]:
    """The URL of the proxy, served in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()

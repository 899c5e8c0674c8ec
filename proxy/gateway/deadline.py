"""The deadline of a whole request, from its first byte to its answer's last.

LiteLLM's timeouts count per attempt and per read, so a body that dribbles passes for ever and four models
with four attempts each can take 16 times as long. Here the request as a whole ends: 408 when the client had
not sent all of it, 504 when there is no answer yet, an error event when a stream had begun. The work behind
it is cancelled, which closes the upstream connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.gateway.errors import Refusal, error_event, send_refusal
from proxy.gateway.routes import dialect_of

_CLEANUP_SECONDS = 5.0  # for the cancelled work to tidy up, and for a client that reads slowly


class Deadline:
    """ASGI middleware. `on_late` is called, in the context of the request, for each that came
    whole and has no complete answer in time."""

    def __init__(self, app: ASGIApp, *, seconds: float, on_late: Callable[[], None] = lambda: None) -> None:
        self.app = app
        self._seconds = seconds
        self._on_late = on_late

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        # A task of its own: whatever the work makes of being cancelled, the client has its answer in time.
        work = asyncio.ensure_future(self.app(scope, exchange.receive, exchange.send))
        try:
            done, _ = await asyncio.wait({work}, timeout=self._seconds)
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            raise
        if done:
            work.result()
            return
        exchange.expired = True
        if exchange.is_whole:
            self._on_late()
        work.cancel()
        # A client that does not read must not hold this task: the connection is closed when it returns.
        await asyncio.wait({work, asyncio.ensure_future(exchange.end(self._seconds))}, timeout=_CLEANUP_SECONDS)


class _Exchange:
    """Knows how far request and response have come; after the deadline nothing of the work's gets out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.expired = False
        self._dialect = dialect_of(scope["path"])
        self._receive = receive
        self._send = send
        self._receiving = False
        self._received = False
        self._started = False
        self._is_event_stream = False

    @property
    def is_whole(self) -> bool:
        """Whether all of the request is there."""
        return self._received

    async def receive(self) -> Message:
        self._receiving = not self._received
        message = await self._receive()
        if not message.get("more_body", False):
            self._received, self._receiving = True, False
        return message

    async def send(self, message: Message) -> None:
        if self.expired:
            return
        if message["type"] == "http.response.start":
            self._started = True
            self._is_event_stream = any(
                name.lower() == b"content-type" and value.startswith(b"text/event-stream")
                for name, value in message.get("headers", ())
            )
        await self._send(message)

    async def end(self, seconds: float) -> None:
        """Answers the client in place of the work."""
        if self._receiving and not self._started:
            message = f"The request was not complete after {seconds:g} seconds"
            await send_refusal(self._send, Refusal(408, message, type="timeout_error", code="timeout"), self._dialect)
            return
        late = Refusal(504, f"No complete answer within {seconds:g} seconds", type="timeout_error", code="timeout")
        if not self._started:
            await send_refusal(self._send, late, self._dialect)
        elif self._is_event_stream:
            event = error_event(late, self._dialect)
            await self._send({"type": "http.response.body", "body": event, "more_body": False})

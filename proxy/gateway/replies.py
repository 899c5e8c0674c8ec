"""The outermost middleware: what every reply of the gateway has in common.

Each carries `x-litellm-local-mode` and no traceback; each error an `x-litellm-call-id` and no path; each 429, and each
503 of the breaker's, a `retry-after`; an exception nobody caught becomes a 500 in the caller's dialect. One line per
request goes to the log: method, path, status, milliseconds, call id, address of the client. Never a query, a header or
a body.
"""

from __future__ import annotations

import gzip
import logging
import re
import time
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.gateway.breaker import NOT_ASKED
from proxy.gateway.errors import Refusal, as_gemini, error_event, send_refusal
from proxy.gateway.routes import Api, api_of, dialect_of
from proxy.gateway.scopes import is_control
from proxy.gateway.scrub import Scrubber

log = logging.getLogger("proxy.gateway")

MODE_HEADER = b"x-litellm-local-mode"
CALL_ID_HEADER = b"x-litellm-call-id"
_OWN_LIMIT = b"Model rate limit exceeded"  # LiteLLM's message where requests_per_minute is used up
_DOWN = re.compile(NOT_ASKED.format(seconds=r"(\d+)").encode())
_PROBES = frozenset({"/health/readiness", "/health/liveliness", "/health/liveness"})
_KEY_IN_PATH = re.compile(r"sk-[\w.-]+")


class Replies:
    """ASGI middleware. `mode` is "double" or "live"."""

    def __init__(self, app: ASGIApp, *, mode: str, scrubber: Scrubber) -> None:
        self.app = app
        self._mode = mode.encode()
        self._scrubber = scrubber

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        reply = _Reply(scope, send, self._mode, self._scrubber)
        try:
            await self.app(scope, receive, reply.send)
        except Exception:
            log.exception("unhandled exception in %s %s", scope["method"], _shown_path(scope))
            await reply.fail()
        finally:
            if not (scope["path"] in _PROBES and reply.status == 200):
                milliseconds = (time.perf_counter() - began) * 1000
                log.info(
                    "%s %s %d %.0f ms %s %s",
                    *(scope["method"], _shown_path(scope), reply.status, milliseconds, reply.call_id, _client(scope)),
                )


class _Reply:
    """One response on its way out. `status` is 0 while there is none."""

    def __init__(self, scope: Scope, send: Send, mode: bytes, scrubber: Scrubber) -> None:
        self.status = 0
        self.call_id = "-"
        self._scope = scope
        self._send = send
        self._mode = mode
        self._scrubber = scrubber
        self._held: dict[str, Any] | None = None  # the start of a reply that is looked into, until its body is complete
        self._parts: list[bytes] = []
        self._is_event_stream = False
        # What the double tells is about clients' own texts, which may well hold tracebacks and paths.
        self._is_clean = mode == b"double" and is_control(scope["path"])
        self._complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._start(message)
        elif message["type"] == "http.response.body" and self._held is not None:
            self._parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._release()
        elif message["type"] == "http.response.body" and self._is_event_stream and not self._is_clean:
            self._complete = not message.get("more_body", False)
            await self._send({**message, "body": self._events(message.get("body", b""))})
        else:
            self._complete = not message.get("more_body", False)
            await self._send(message)

    async def fail(self) -> None:
        """Answers for an exception: a 500, or the last event of a stream that had begun."""
        if self._complete:
            return
        dialect = dialect_of(self._scope["path"])
        refusal = Refusal(500, "Internal error; the gateway's log has the cause", type="internal_server_error")
        if self.status == 0 or self._held is not None:
            self.status, self._held = 500, None
            await send_refusal(self.send, refusal, dialect)
        elif self._is_event_stream:
            event = error_event(refusal, dialect)
            await self._send({"type": "http.response.body", "body": event, "more_body": False})

    async def _start(self, message: Message) -> None:
        self.status = message["status"]
        headers = [(MODE_HEADER, self._mode)]
        content_type = b""
        for name, value in message.get("headers", ()):
            name = name.lower()
            if name == CALL_ID_HEADER:
                self.call_id = value.decode("latin-1")
            elif name == b"content-type":
                content_type = value
            if name != MODE_HEADER:
                headers.append((name, value))
        started = {**message, "headers": headers}
        if self.status >= 400 and self.call_id == "-":
            self.call_id = str(uuid.uuid4())
            headers.append((CALL_ID_HEADER, self.call_id.encode()))
        self._is_event_stream = content_type.startswith(b"text/event-stream")
        if self._is_clean:
            await self._send(started)
        elif not self._is_event_stream and (self._is_error or self._may_quote_errors(content_type)):
            self._held = started
        else:
            await self._send(started)

    @property
    def _is_error(self) -> bool:
        # /health answers 200 with the errors of its probes in it
        return self.status >= 400 or self._scope["path"].startswith("/health")

    def _may_quote_errors(self, content_type: bytes) -> bool:
        """The spend log and its like tell of requests that failed."""
        return content_type.startswith(b"application/json") and api_of(self._scope["path"]) is Api.MANAGEMENT

    def _events(self, chunk: bytes) -> bytes:
        """A piece of an event stream, its errors scrubbed and in the caller's dialect."""
        chunk = self._scrubber.events(chunk)
        if b'"error"' not in chunk or dialect_of(self._scope["path"]) != "gemini":
            return chunk
        lines = chunk.split(b"\n")
        return b"\n".join(
            b"data: " + as_gemini(line[6:]) if line.startswith(b'data: {"error"') else line for line in lines
        )

    async def _release(self) -> None:
        """Sends the reply that was held, scrubbed; a changed body goes out uncompressed."""
        assert self._held is not None  # noqa: S101 - for the type checker
        start, body = self._held, b"".join(self._parts)
        self._held = None
        headers = dict(start["headers"])
        plain = gzip.decompress(body) if headers.get(b"content-encoding") == b"gzip" else body
        scrubbed = self._scrubber.error(plain) if self._is_error else self._scrubber.data(plain)
        if self._is_error and dialect_of(self._scope["path"]) == "gemini":
            scrubbed = as_gemini(scrubbed)
        if scrubbed is not plain:
            body = scrubbed
            dropped = (b"content-encoding", b"content-length")
            start["headers"] = [pair for pair in start["headers"] if pair[0] not in dropped]
            start["headers"].append((b"content-length", str(len(body)).encode()))
        if self.status == 429 and b"retry-after" not in headers and b"budget" not in plain:
            # LiteLLM hands a provider's own on under another name, where no client looks for it; for its own limit it
            # says 60 there, whatever is left of the minute.
            told = None if _OWN_LIMIT in plain else headers.get(b"llm_provider-retry-after")
            wait = told or str(seconds_to_next_minute(time.time())).encode()
            start["headers"].append((b"retry-after", wait))
        if self.status == 503 and b"retry-after" not in headers and (down := _DOWN.search(plain)):
            start["headers"].append((b"retry-after", down[1]))  # LiteLLM leaves it out of Anthropic's API
        self._complete = True
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


def seconds_to_next_minute(now: float) -> int:
    """LiteLLM counts requests per UTC minute, so that is when a 429 of its own ends; 1 to 60."""
    return 60 - int(now % 60)


def _client(scope: Scope) -> str:
    """The client's address: the peer's, or what the edge says of it."""
    return scope["client"][0] if scope.get("client") else "-"


def _shown_path(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return _KEY_IN_PATH.sub("sk-...", raw.decode("latin-1"))

"""Serves the simulator: uvicorn, with connections that an application can break off, answers made without a task
where the application can, and a listening socket whose port is known before anything is served. Used by
`python -m proxy.simulator`.
"""

from __future__ import annotations

import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import Scope as Connected
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

BACKLOG = 2048
"""Connections that may wait to be accepted."""

KEEP_ALIVE_SECONDS = 180
"""Longer than LiteLLM's pools keep a connection (120 s), so that none is closed under a request: that attempt would
fail without having been asked."""

CONNECTION = "connection"
BEGUN = "begun"
"""In an ASGI scope's state: the request's Connection, and what `at_once` made of it, if it did not answer."""


class Connection:
    """The TCP connection of a request, in its scope as `state`'s `connection`."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def close(self) -> None:
        """Sends what was written, then ends the connection, whatever was promised of the body."""
        self._transport.close()

    def reset(self) -> None:
        """Ends the connection at once, with a TCP reset."""
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


# Not frozen, for that doubles the time to make one.


@dataclass(slots=True)
class Request:
    """A request but for its body. Names of headers are in lower case, the path is without the query."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    connection: Connection


def request_of(connected: Connected) -> Request:
    """The request of an ASGI scope."""
    return Request(
        connected["method"],
        connected["path"],
        connected["query_string"],
        connected["headers"],
        connected["state"][CONNECTION],
    )


@dataclass(slots=True)
class Whole:
    """A whole answer. `headers` have nothing of its length; `chunked`: it is not told beforehand."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    chunked: bool = False


FAILED = Whole(500, [(b"content-type", b"text/plain; charset=utf-8")], b"Internal Server Error")


class Protocol(HttpToolsProtocol):
    """Asks the application's `at_once`, if it has one, of each request that comes whole: a `Whole` is sent as it is,
    anything else goes the usual way, with that (unless it is None) as BEGUN in its state. Without a task and ASGI's
    messages, a short answer takes a third of the time."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._at_once: Callable[[Request, bytes], Any] | None = getattr(self.config.app, "at_once", None)
        self._held: list[bytes] | None = None  # the body so far of a request that may be answered at once

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._held is not None:  # the rest is still to come
            self._go_the_usual_way()

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        if self._at_once is not None and self._is_free() and self._is_plain():
            self._held = []
        else:
            self._go_the_usual_way()

    def _is_free(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def _is_plain(self) -> bool:
        parser = self.parser
        return not self.expect_100_continue and not parser.should_upgrade() and parser.get_http_version() == "1.1"

    def on_body(self, body: bytes) -> None:
        if self._held is not None:
            self._held.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._held is None:
            super().on_message_complete()
            return
        path, _, query = self.url.partition(b"?")
        method = self.parser.get_method().decode("ascii")
        request = Request(method, path.decode("ascii"), query, self.headers, Connection(self.transport))
        assert self._at_once is not None  # noqa: S101 - nothing is held otherwise
        try:
            answer = self._at_once(request, b"".join(self._held))
        except Exception:  # as uvicorn does with what an application raises
            answer = FAILED
        if isinstance(answer, Whole):
            self._held = None
            self._send(answer)
            return
        self._go_the_usual_way(answer)
        super().on_message_complete()

    def _go_the_usual_way(self, begun: Any = None) -> None:
        """What uvicorn would have done so far."""
        held, self._held = self._held, None
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the scope's
        self.scope["state"] |= {CONNECTION: Connection(self.transport), BEGUN: begun}
        super().on_headers_complete()
        for part in held or ():
            super().on_body(part)

    def _send(self, answer: Whole) -> None:
        sent = [STATUS_LINE[answer.status]]
        for name, value in (*self.server_state.default_headers, *answer.headers):
            sent += (name, b": ", value, b"\r\n")
        keep_alive = self.parser.should_keep_alive()
        if not keep_alive:
            sent.append(b"connection: close\r\n")
        if answer.chunked:
            sent += (b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(answer.body), answer.body, b"\r\n0\r\n\r\n")
        else:
            sent += (b"content-length: %d\r\n\r\n" % len(answer.body), answer.body)
        self.transport.write(b"".join(sent))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()


class Server(uvicorn.Server):
    """Calls `when_ready` once requests are answered."""

    def __init__(self, config: uvicorn.Config, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_ready()


def listen(host: str, port: int) -> socket.socket:
    """A socket listening on `host` and `port` (0: any free one). Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def serve(app: Any, sock: socket.socket, when_ready: Callable[[], None]) -> None:
    """Serves `app` until SIGINT or SIGTERM; then requests in flight have a second to finish."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
        backlog=BACKLOG,
    )
    # uvicorn raises the signal again when it is done; the process then ends by returning.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    Server(config, when_ready).run(sockets=[sock])

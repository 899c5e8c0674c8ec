"""Serves the simulator: uvicorn, with connections that an application can break off, and a listening socket
whose port is known before anything is served. Used by `python -m proxy.simulator`.
"""

from __future__ import annotations

import signal
import socket
import struct
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BACKLOG = 2048
"""Connections that may wait to be accepted."""


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


class Protocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["connection"] = Connection(self.transport)


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
        # Longer than a client's pool keeps a connection, so that none is closed under a request.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        backlog=BACKLOG,
    )
    # uvicorn raises the signal again when it is done; the process then ends by returning.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    Server(config, when_ready).run(sockets=[sock])

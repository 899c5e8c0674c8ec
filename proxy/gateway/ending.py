"""How the gateway stops: whoever has connected by then is still served.

uvicorn closes its sockets and all connections that are between two requests. That resets those that wait to be
accepted, and cuts off those whose request has come but is not read yet: with a busy gateway a few at each stop, which
an edge can't ask elsewhere, as the gateway may have begun with them.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

import uvicorn

SILENT_SECONDS = 1
"""How long a connection may take to its first request while the gateway stops."""


class Server(uvicorn.Server):
    """`stopping` is set when the end begins."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()  # a stream of events would hold the end up for as long as it may
        await self._accept_the_last(sockets or [])
        await self._read_what_has_come()
        await super().shutdown(sockets)

    async def _accept_the_last(self, sockets: list[socket.socket]) -> None:
        own = [one.dup() for one in sockets]  # with which they stay open until all are accepted
        for server in self.servers:
            server.close()
        for one in sockets:
            one.close()
        await asyncio.sleep(0)  # the loop lets go of them
        for one in own:
            for connection in _waiting(one):
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol(), connection)

    async def _read_what_has_come(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + SILENT_SECONDS
        while True:
            await asyncio.sleep(0.01)  # the loop reads
            silent = any(getattr(one, "cycle", one) is None for one in self.server_state.connections)
            if not silent or loop.time() > until:
                return

    def _protocol(self) -> Any:
        protocol: Any = self.config.http_protocol_class
        return partial(protocol, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def _waiting(listener: socket.socket) -> list[socket.socket]:
    """Accepts all, and closes the listener right after the last."""
    accepted = []
    listener.setblocking(False)
    with listener:
        try:
            while True:
                accepted.append(listener.accept()[0])
        except OSError:  # nobody is left
            pass
    for connection in accepted:
        connection.setblocking(False)
    return accepted

"""How replies go out: pieces that are ready together are written together.

Left alone, each event of a stream is a write of its own to the kernel, and so are a reply's head and its body. Here
pieces that come within HELD_SECONDS of what went out last go out in one, at the loop's next turn at the latest; another
goes at once, but for a head, which its body follows.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HELD_SECONDS = 0.005
HELD_BYTES = 64 * 1024
_HEAD = b"HTTP/1.1 "


class GatheringTransport:
    """Stands before an asyncio transport. All but what is written passes through, after what was written before."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0
        self._written = float("-inf")  # when something went out last, in the loop's time
        self._will_flush = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._held.append(data)
        self._size += len(data)
        is_head = data.startswith(_HEAD)  # its body follows at once
        if self._size > HELD_BYTES or (not is_head and self._loop.time() - self._written > HELD_SECONDS):
            self.flush()
        elif not self._will_flush:
            self._will_flush = True
            self._loop.call_soon(self._flush_soon)

    def writelines(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    def write_eof(self) -> None:
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        if self._held:
            held, self._held, self._size = self._held, [], 0
            self._written = self._loop.time()
            if not self._transport.is_closing():  # the client is gone, which uvloop raises at
                self._transport.write(b"".join(held))

    def _flush_soon(self) -> None:
        self._will_flush = False
        self.flush()


class GatheringProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, writing by a GatheringTransport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(GatheringTransport(transport, self.loop))  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()

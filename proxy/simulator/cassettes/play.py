"""A recorded exchange on the wire again: status, headers and bytes as they were, at once or at the recorded pace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from proxy.simulator.cassettes import notation
from proxy.simulator.cassettes.model import Exchange, Failure, Response
from proxy.simulator.providers.wire import Headers
from proxy.simulator.server import Connection


class Wire(Protocol):
    """Where an answer goes: exchange.py's."""

    connection: Connection

    def own_headers(self) -> Headers:
        """What the simulator's every answer carries beside its content type."""

    async def send_start(self, status: int, headers: Headers) -> None: ...

    async def send_body(self, body: bytes, more: bool = False, chunks: int = 0) -> None: ...

    async def wait(self, seconds: float | None) -> None:
        """Waits, for ever with None; raises when the client goes."""

    async def break_off(self) -> None:
        """Ends the connection once what was sent can have been read."""

    async def gone(self) -> None:
        """Until the connection is closed."""


async def play(wire: Wire, exchange: Exchange, *, paced: bool) -> None:
    """Sends what was recorded; `paced`: with the recorded waits."""
    if exchange.response is not None:
        await _answer(wire, exchange.response, paced)
    elif exchange.failure is not None:
        await _fail(wire, exchange.failure, paced)


async def _fail(wire: Wire, failure: Failure, paced: bool) -> None:
    if failure.kind == "left":
        await wire.wait(None)  # the provider had not answered when the client had enough
    if paced:
        await wire.wait(failure.after)
    wire.connection.reset()
    await wire.gone()


async def _answer(wire: Wire, response: Response, paced: bool) -> None:
    if paced:
        await wire.wait(response.after)
    cut = response.ended is not None
    headers = headers_of(response.headers, wire.own_headers())
    if response.chunks is None:
        body = notation.body_bytes(response)
        # Of a body that broke off, more was promised than came.
        length = (b"content-length", b"%d" % (len(body) + cut))
        await wire.send_start(response.status, [length, *headers])
        await wire.send_body(body, more=cut)
    else:
        await wire.send_start(response.status, headers)
        await _stream(wire, response, paced, cut)
    if cut:
        await wire.break_off()


async def _stream(wire: Wire, response: Response, paced: bool, cut: bool) -> None:
    events = [notation.chunk_bytes(response, chunk) for chunk in response.chunks or []]
    if not paced:
        await wire.send_body(b"".join(events), more=cut, chunks=len(events))
        return
    due = time.monotonic()
    for chunk, event in zip(response.chunks or [], events, strict=True):
        due += chunk.after
        if (left := due - time.monotonic()) > 0:
            await wire.wait(left)
        await wire.send_body(event, more=True, chunks=1)
    if not cut:
        await wire.send_body(b"")


def headers_of(recorded: Mapping[str, str], own: Headers) -> Headers:
    """The recorded headers, and of the double's own those that were not recorded."""
    given = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in recorded.items()}
    return [*given.items(), *((name, value) for name, value in own if name.lower() not in given)]

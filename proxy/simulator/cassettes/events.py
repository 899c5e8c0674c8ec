"""The bytes of a stream as they come in -> whole events, each with the time at which it was whole."""

from __future__ import annotations

import re

_SSE_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\n")


class Splitter:
    """Cuts a stream where its events end; a stream that is no server-sent events, where its lines do."""

    def __init__(self, *, events: bool) -> None:
        self._end = _SSE_END if events else _LINE_END
        self._rest = b""
        self._last: float | None = None
        self.pieces: list[tuple[float, bytes]] = []

    def begin(self, now: float) -> None:
        """The headers came at `now`, on a clock that does not jump."""
        self._last = now

    def feed(self, data: bytes, now: float) -> None:
        # Where the part kept from before ends in half of what ends an event, it is looked at again.
        start = max(0, len(self._rest) - 3)
        text, done = self._rest + data, 0
        for found in self._end.finditer(text, start):
            self._keep(text[done : found.end()], now)
            done = found.end()
        self._rest = text[done:]

    def finish(self, now: float) -> None:
        """What is left is a piece too: of a stream that broke off within an event."""
        if self._rest:
            self._keep(self._rest, now)
            self._rest = b""

    def _keep(self, piece: bytes, now: float) -> None:
        before = self._last if self._last is not None else now
        self.pieces.append((max(0.0, now - before), piece))
        self._last = now

"""A stream is cut where its events end, wherever the network cuts it."""

from __future__ import annotations

import pytest

from proxy.simulator.cassettes.events import Splitter

EVENTS = {
    "lf": [b"event: a\ndata: 1\n\n", b"data: 2\n\n", b": 3\n\n"],
    "crlf": [b"event: a\r\ndata: 1\r\n\r\n", b"data: 2\r\n\r\n", b": 3\r\n\r\n"],
    "cr": [b"event: a\rdata: 1\r\r", b"data: 2\r\r"],
}


@pytest.mark.parametrize("ends", EVENTS)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_events_are_whole_however_they_come(ends: str, size: int) -> None:
    stream = b"".join(EVENTS[ends]) + b"data: rest"
    splitter = Splitter(events=True)
    splitter.begin(100.0)
    for start in range(0, len(stream), size):
        splitter.feed(stream[start : start + size], 101.0 + start)
    splitter.finish(101.0 + len(stream))
    assert [piece for _, piece in splitter.pieces] == [*EVENTS[ends], b"data: rest"]
    assert sum(after for after, _ in splitter.pieces) == 1 + len(stream)
    assert all(after >= 0 for after, _ in splitter.pieces)


def test_another_stream_is_cut_at_its_lines() -> None:
    splitter = Splitter(events=False)
    splitter.begin(0.0)
    for part in (b"[{},\r", b"\n{}", b"]"):
        splitter.feed(part, 1.0)
    splitter.finish(2.0)
    assert splitter.pieces == [(1.0, b"[{},\r\n"), (1.0, b"{}]")]

"""When the parts of a reply are sent: a script's Timing as seconds to wait; used by the application."""

from __future__ import annotations

import random

from proxy.simulator.script.model import Timing


def schedule(timing: Timing, events: int, tokens: int) -> list[float]:
    """Seconds to wait before each of a stream's `events`, of which `tokens` tokens are spread evenly.

    The first event comes when the first token would, the last one when the last token would.
    """
    if events < 1:
        return []
    vary = _Jitter(timing)
    waits = [vary(timing.first_token)]
    rate = timing.tokens_per_second
    if rate is None or events == 1:
        return waits + [0.0] * (events - 1)
    gap = max(tokens - 1, 0) / rate / (events - 1)
    return waits + [vary(gap) for _ in range(events - 1)]


def whole(timing: Timing, tokens: int) -> float:
    """Seconds to wait before a reply of `tokens` tokens in one piece: until its last token."""
    return sum(schedule(timing, max(tokens, 1), tokens))


class _Jitter:
    """Waits, each varied by up to the timing's share of it; equal seeds vary equally."""

    def __init__(self, timing: Timing) -> None:
        self._share = timing.jitter
        self._random = random.Random(timing.seed)  # noqa: S311 - repeatable is what is wanted

    def __call__(self, seconds: float) -> float:
        return seconds * (1 + self._share * self._random.uniform(-1, 1)) if self._share else seconds

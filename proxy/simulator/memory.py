"""Remembers what was made of short texts and requests, for scripts and tests say the same again and again."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Generic, TypeVar

MOST = 1_000
LONGEST = 1_000
"""Characters, bytes or tokens."""

Given = TypeVar("Given", str, bytes, tuple[Any, ...])
Made = TypeVar("Made")


def remembering(of: Callable[[Given], Made]) -> Callable[[Given], Made]:
    """`of`, which always makes the same of the same, remembering the MOST latest results. They are shared: nobody may
    change one."""
    remembered = lru_cache(MOST)(of)

    @wraps(of)
    def made(given: Given) -> Made:
        return remembered(given) if len(given) <= LONGEST else of(given)

    return made


class Memory(Generic[Made]):
    """The MOST latest of what was made of short requests, for whose maker needs more than the bytes.
    What is in it is shared: nobody may change it."""

    def __init__(self) -> None:
        self._made: dict[bytes, Made] = {}
        self.recall = self._made.get

    def keep(self, raw: bytes, made: Made) -> Made:
        if len(raw) <= LONGEST:
            if len(self._made) >= MOST:
                del self._made[next(iter(self._made))]
            self._made[raw] = made
        return made

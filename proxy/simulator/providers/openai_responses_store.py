"""The responses the simulator remembers, as OpenAI does unless a request says `store: false`.

For openai_responses.py, and for rules (script/asked.py). A bounded ring: the oldest go first. Ids are made of random
request ids, so tests that run side by side cannot meet in it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

MOST_RESPONSES = 10_000
MOST_BYTES = 64 * 1024 * 1024

ITEM_BYTES = 16
"""What an item counts that an earlier response brought: what keeps the list of it, not the item itself."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """`body` is the response as JSON, `items` the conversation it ends, its own output included."""

    body: bytes
    items: list[Any]
    size: int


class ResponseStore:
    def __init__(self, most_responses: int = MOST_RESPONSES, most_bytes: int = MOST_BYTES) -> None:
        self._responses: OrderedDict[str, Remembered] = OrderedDict()
        self._most_responses = most_responses
        self._most_bytes = most_bytes
        self._bytes = 0

    def keep(self, response_id: str, body: bytes, items: list[Any], request_bytes: int) -> None:
        """Remembers a response; `request_bytes` is what its request counts."""
        size = len(body) + request_bytes + ITEM_BYTES * len(items)
        self._responses[response_id] = Remembered(body, items, size)
        self._bytes += size
        while len(self._responses) > self._most_responses or (
            self._bytes > self._most_bytes and len(self._responses) > 1
        ):
            _, oldest = self._responses.popitem(last=False)
            self._bytes -= oldest.size

    def body(self, response_id: str) -> bytes | None:
        """The response as JSON; None: it is not remembered."""
        found = self._responses.get(response_id)
        return None if found is None else found.body

    def items(self, previous: object) -> list[Any] | None:
        """The conversation up to a request that names `previous`: empty where it is None, None where unknown."""
        if previous is None:
            return []
        found = self._responses.get(previous) if isinstance(previous, str) else None
        return None if found is None else found.items

    def forget(self, response_id: str) -> bool:
        """Whether there was such a response."""
        gone = self._responses.pop(response_id, None)
        if gone is None:
            return False
        self._bytes -= gone.size
        return True


STORE = ResponseStore()

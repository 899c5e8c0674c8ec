"""Every request the simulator was sent, with times and outcome; filled by app.py, read through control.py.

A ring: the oldest go first when there are too many or they hold too much. Bodies are kept as received and
parsed when read, to keep requests cheap.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.simulator.providers.wire import Headers

MOST_ENTRIES = 10_000
MOST_BYTES = 64 * 1024 * 1024

SECRET_HEADERS = {
    b"authorization",
    b"proxy-authorization",
    b"x-api-key",
    b"api-key",
    b"x-goog-api-key",
    b"cookie",
}
SECRET_FIELDS = {"api_key", "apikey", "api-key", "authorization", "access_token", "secret", "password"}
REDACTED = "[redacted]"


@dataclass(slots=True)
class Entry:
    """One request. Times are epoch seconds; `ended_at` is None while it runs, `status` None as long as (or
    because) none was sent. `outcome`: ok, fault:<kind>, or error (refused, or the client went away)."""

    seq: int
    provider: str
    started_at: float
    headers: Headers
    model: str | None = None
    stream: bool = False
    raw: bytes = b""
    ended_at: float | None = None
    status: int | None = None
    outcome: str | None = None

    def end(self, outcome: str) -> None:
        """Marks the request as over. A fault's outcome stands."""
        self.ended_at = time.time()
        self.outcome = self.outcome or outcome

    def shown(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "provider": self.provider,
            "model": self.model,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "stream": self.stream,
            "status": self.status,
            "outcome": self.outcome,
            "request": redacted(self.body()),
            "headers": {
                name.decode("latin-1"): REDACTED if name in SECRET_HEADERS else value.decode("latin-1")
                for name, value in self.headers
            },
        }

    def body(self) -> Any:
        """The request's JSON; where it is none, `{"unparsed": <its beginning>}`."""
        try:
            return orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            return {"unparsed": self.raw[:1000].decode("utf-8", "replace")}


class Journal:
    def __init__(self, most_entries: int = MOST_ENTRIES, most_bytes: int = MOST_BYTES) -> None:
        self._entries: deque[Entry] = deque()
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._bytes = 0
        self._seq = 0

    def begin(self, provider: str, headers: Headers) -> Entry:
        self._seq += 1
        entry = Entry(self._seq, provider, time.time(), headers)
        self._entries.append(entry)
        return entry

    def keep_body(self, entry: Entry, raw: bytes) -> None:
        entry.raw = raw
        self._bytes += len(raw)
        while len(self._entries) > self._most_entries or (self._bytes > self._most_bytes and len(self._entries) > 1):
            self._bytes -= len(self._entries.popleft().raw)

    def clear(self) -> None:
        """Forgets all entries; the count of `seq` goes on."""
        self._entries.clear()
        self._bytes = 0

    def entries(self, since: int = 0, text: str = "") -> list[dict[str, Any]]:
        """Those after `seq` `since` that have `text` in a message, oldest first."""
        return [
            entry.shown()
            for entry in self._entries
            if entry.seq > since and (not text or any(text in one for one in message_texts(entry.body())))
        ]


def redacted(value: Any) -> Any:
    """`value` with what is named like a key blanked out, however deep."""
    if isinstance(value, dict):
        return {
            name: REDACTED if name.lower() in SECRET_FIELDS and isinstance(part, str) else redacted(part)
            for name, part in value.items()
        }
    return [redacted(part) for part in value] if isinstance(value, list) else value


def message_texts(body: Any) -> list[str]:
    """Every text in the messages of a request, whichever provider's: system prompts and tool results too."""
    if not isinstance(body, dict):
        return []
    places = ("input", "instructions", "messages", "system", "contents", "systemInstruction", "system_instruction")
    return [text for place in places for text in _strings(body.get(place))]


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _strings(part)]

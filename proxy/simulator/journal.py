"""Every request the simulator was sent and what it answered; filled by app.py, read through control.py.

A ring over all scopes: the oldest go first when there are too many or they hold too much, and a scope that has more
than half of it makes room with its own. Bodies are kept as they went over the wire, by reference, and parsed when
read, to keep requests cheap. Who waits for requests or watches them has a `Watch`.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from proxy.simulator.answers import shown_answer
from proxy.simulator.providers.wire import Headers
from proxy.simulator.script.match import SECRET_HEADERS, wildcard

MOST_ENTRIES = 10_000
MOST_BYTES = 64 * 1024 * 1024
MOST_UNREAD = 10_000
"""Events that a watcher may be behind; who is further behind is let go."""

SECRET_FIELDS = {"api_key", "apikey", "api-key", "authorization", "access_token", "secret", "password"}
REDACTED = "[redacted]"
ALL_SCOPES = "*"

EventName = Literal["began", "ended", "script", "cleared"]


class Kept:
    """The entries of a scope and the bytes that they hold."""

    __slots__ = ("entries", "size")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.size = 0


@dataclass(slots=True)
class Entry:
    """One request. Times are epoch seconds; `ended_at` is None while it runs, `first_byte_at` and `status` None as
    long as (or because) none was sent. `attempt` counts the upstream calls of one `request_id`. `rule` is the one that
    took it. `outcome`: ok, fault:<kind>, no match, replay, or error (refused, or the client went away). `sent` is what
    was sent of the answer's body, `chunks` how many events of a stream that is."""

    seq: int
    scope: str
    request_id: str | None
    attempt: int
    provider: str
    api: str
    started_at: float
    headers: Headers
    model: str | None = None
    alias: str | None = None
    stream: bool = False
    raw: bytes = b""
    rule: str | None = None
    first_byte_at: float | None = None
    ended_at: float | None = None
    status: int | None = None
    outcome: str | None = None
    sent: list[bytes] = field(default_factory=list)
    chunks: int = 0
    began: int = 0
    ended: int = 0
    size: int = 0
    kept: Kept | None = None

    @classmethod
    def unlisted(cls, provider: str, headers: Headers) -> Entry:
        """One that no journal has."""
        return cls(0, "", None, 0, provider, "", time.time(), headers)

    def shown(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "scope": self.scope,
            "request_id": self.request_id,
            "attempt": self.attempt,
            "provider": self.provider,
            "api": self.api,
            "model": self.model,
            "alias": self.alias,
            "stream": self.stream,
            "rule": self.rule,
            "outcome": self.outcome,
            "status": self.status,
            "started_at": self.started_at,
            "first_byte_at": self.first_byte_at,
            "ended_at": self.ended_at,
            "request": self._request(),
            "headers": {
                name.decode("latin-1"): REDACTED if name in SECRET_HEADERS else value.decode("latin-1")
                for name, value in self.headers
            },
            "response": self._response(),
        }

    def _request(self) -> Any:
        try:
            shown = redacted(self.body())
            orjson.dumps(shown)
        except (RecursionError, TypeError):  # nested deeper than it can be written
            return self._unparsed()
        return shown

    def _response(self) -> dict[str, Any] | None:
        if self.first_byte_at is None:
            return None
        return shown_answer(b"".join(self.sent), self.chunks if self.stream and self.status == 200 else None)

    def body(self) -> Any:
        """The request's JSON; where it is none, `{"unparsed": <its beginning>}`."""
        try:
            return orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            return self._unparsed()

    def _unparsed(self) -> dict[str, str]:
        return {"unparsed": self.raw[:1000].decode("utf-8", "replace")}


@dataclass(frozen=True)
class Query:
    """Which entries: of a scope (`*`: all), after `since`, with a text in a message, of a model (upstream or alias,
    * and ? are wildcards), a provider, a request id; the newest `limit`."""

    scope: str = ALL_SCOPES
    since: int = 0
    text: str = ""
    model: str | None = None
    provider: str | None = None
    request: str | None = None
    limit: int | None = None

    def test(self) -> Callable[[Entry], bool]:
        model = wildcard(self.model) if self.model is not None else None

        def fits(entry: Entry) -> bool:
            return (
                entry.seq > self.since
                and (self.provider is None or entry.provider == self.provider)
                and (self.request is None or entry.request_id == self.request)
                and (model is None or any(model.fullmatch(name or "") for name in (entry.model, entry.alias)))
                and (not self.text or any(self.text in one for one in message_texts(entry.body())))
            )

        return fits


@dataclass(frozen=True, slots=True)
class Event:
    """What a watcher is told. `number` grows with each event of an entry and is 0 for others."""

    name: EventName
    scope: str
    number: int = 0
    entry: Entry | None = None


class Watch:
    """Events of a scope (`*`: of all) as they happen. `behind` is set when one was lost, as too many were unread."""

    def __init__(self, scope: str) -> None:
        self._scope = scope
        self._events: asyncio.Queue[Event] = asyncio.Queue(MOST_UNREAD)
        self.behind = False

    def tell(self, event: Event) -> None:
        if ALL_SCOPES not in (self._scope, event.scope) and self._scope != event.scope:
            return
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            self.behind = True

    async def next(self, seconds: float) -> Event | None:
        """The next event; None where none comes in `seconds`."""
        if not self._events.empty():
            return self._events.get_nowait()
        try:
            return await asyncio.wait_for(self._events.get(), seconds)
        except asyncio.TimeoutError:
            return None


class Journal:
    def __init__(self, most_entries: int = MOST_ENTRIES, most_bytes: int = MOST_BYTES) -> None:
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._scopes: dict[str, Kept] = {}
        self._attempts: dict[tuple[str, str], int] = {}
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._bytes = 0
        self._numbers = 0
        self._watches: set[Watch] = set()
        self.last = 0

    # -- filling -----------------------------------------------------------------------------------------

    def begin(self, scope: str, provider: str, api: str, headers: Headers, request_id: str | None = None) -> Entry:
        self.last += 1
        attempt = 1
        if request_id is not None:
            attempt = self._attempts[(scope, request_id)] = self._attempts.get((scope, request_id), 0) + 1
        kept = self._scopes.get(scope)
        if kept is None:
            kept = self._scopes[scope] = Kept()
        entry = Entry(self.last, scope, request_id, attempt, provider, api, time.time(), headers)
        entry.kept = kept
        self._entries[entry.seq] = entry
        kept.entries.append(entry)
        return entry

    def keep_request(self, entry: Entry, raw: bytes) -> None:
        """Keeps a request's body and tells watchers that it began: model and the like are known by now."""
        entry.raw = raw
        self._grow(entry, len(raw))
        self._numbers += 1
        entry.began = self._numbers
        if self._watches:
            self._tell(Event("began", entry.scope, entry.began, entry))

    def end(self, entry: Entry, outcome: str) -> None:
        """Marks a request as over. An outcome that it has already, such as a fault's, stands."""
        entry.ended_at = time.time()
        entry.outcome = entry.outcome or outcome
        for part in entry.sent:
            self._grow(entry, len(part))
        self._numbers += 1
        entry.ended = self._numbers
        if self._watches:
            self._tell(Event("ended", entry.scope, entry.ended, entry))

    def _grow(self, entry: Entry, size: int) -> None:
        kept = entry.kept
        if kept is None:  # cleared, or pushed out, while it ran
            return
        entry.size += size
        kept.size += size
        self._bytes += size
        while self._bytes > self._most_bytes or len(self._entries) > self._most_entries:
            if len(self._entries) == 1:
                return
            if len(self._entries) > self._most_entries:
                greedy = 2 * len(kept.entries) > len(self._entries)
            else:
                greedy = 2 * kept.size > self._bytes
            self._drop(kept.entries[0] if greedy and kept.entries else next(iter(self._entries.values())))

    def _drop(self, entry: Entry) -> None:
        """Forgets the oldest entry of a scope."""
        del self._entries[entry.seq]
        self._bytes -= entry.size
        kept = self._scopes[entry.scope]
        kept.entries.popleft()
        kept.size -= entry.size
        entry.kept = None
        if not kept.entries:
            del self._scopes[entry.scope]
        if entry.request_id is not None and self._attempts.get((entry.scope, entry.request_id)) == entry.attempt:
            del self._attempts[(entry.scope, entry.request_id)]

    def clear(self, scope: str = ALL_SCOPES) -> None:
        """Forgets the entries of a scope (`*`: all); the count of `seq` goes on."""
        for entry in self._of(scope):
            self._drop(entry)
        self._tell(Event("cleared", scope))

    # -- reading -----------------------------------------------------------------------------------------

    def _of(self, scope: str) -> list[Entry]:
        if scope == ALL_SCOPES:
            return list(self._entries.values())
        kept = self._scopes.get(scope)
        return list(kept.entries) if kept is not None else []

    def find(self, query: Query) -> list[Entry]:
        """The entries asked for, oldest first."""
        fits = query.test()
        found = [entry for entry in self._of(query.scope) if fits(entry)]
        return found if query.limit is None else found[max(0, len(found) - query.limit) :]

    async def wait_for(self, query: Query, number: int, seconds: float) -> list[Entry]:
        """As `find`, once `number` of them have ended, or after `seconds` whatever there is by then."""
        deadline = time.monotonic() + seconds
        fits = query.test()
        with self.watch(query.scope) as watch:
            ended = {entry.seq for entry in self._of(query.scope) if entry.ended_at is not None and fits(entry)}
            while len(ended) < number:
                event = await watch.next(max(0.0, deadline - time.monotonic()))
                if event is None:
                    break
                if event.name == "cleared":
                    ended.clear()
                elif event.name == "ended" and event.entry is not None and fits(event.entry):
                    ended.add(event.entry.seq)
        return self.find(query)

    # -- watching ----------------------------------------------------------------------------------------

    @contextmanager
    def watch(self, scope: str) -> Iterator[Watch]:
        watch = Watch(scope)
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    def script_changed(self, scope: str) -> None:
        self._tell(Event("script", scope))

    def past(self, scope: str, since: int | None = None, after: int | None = None) -> list[Event]:
        """Events of the entries there are, as they happened: of those after the entry `since`, or the events after
        number `after`."""
        events = []
        for entry in self._of(scope):
            if since is not None and entry.seq <= since:
                continue
            for name, number in (("began", entry.began), ("ended", entry.ended)):
                if number and (after is None or number > after):
                    events.append(Event("began" if name == "began" else "ended", entry.scope, number, entry))
        return sorted(events, key=lambda event: event.number)

    def _tell(self, event: Event) -> None:
        for watch in self._watches:
            watch.tell(event)


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
    places = ("messages", "system", "contents", "systemInstruction", "system_instruction", "input", "instructions")
    try:
        return [text for place in places for text in _strings(body.get(place))]
    except RecursionError:  # no message of any provider's is nested so deep
        return []


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _strings(part)]

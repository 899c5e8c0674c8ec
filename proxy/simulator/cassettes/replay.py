"""Answers from a cassette: which recorded exchange a request gets.

A scope has a `Player`; app.py asks it for what no rule takes and lets `play` send the answer.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal
from urllib.parse import unquote

import orjson

from proxy.simulator.cassettes import notation
from proxy.simulator.cassettes.compare import differences, key_of, normalised, told
from proxy.simulator.cassettes.model import Cassette, Exchange
from proxy.simulator.cassettes.scrub import Scrubber
from proxy.simulator.providers.wire import Call

Match = Literal["request", "order"]
Timing = Literal["none", "recorded"]
MATCHES: tuple[Match, ...] = ("request", "order")
TIMINGS: tuple[Timing, ...] = ("none", "recorded")
"""The first of each is the default."""

MOST_COMPARED = 500
"""Exchanges that are looked at for the nearest."""
MOST_TOLD = 3
"""Differences that a miss names."""


class Miss(Exception):
    """No exchange of the cassette answers the request; the message says which is nearest and what differs."""


@dataclass(frozen=True, slots=True)
class Track:
    """One exchange of a cassette, as requests are compared with it."""

    number: int
    exchange: Exchange
    model: str | None
    request: dict[str, Any]
    key: str

    @property
    def place(self) -> tuple[str, str, str | None]:
        return self.exchange.provider, self.exchange.api, self.model


class Tracks:
    """The exchanges of a cassette, made ready once for all the scopes that play it."""

    def __init__(self, cassette: Cassette) -> None:
        self.all = [_track(number, exchange) for number, exchange in enumerate(cassette.all, 1)]
        self.by_key: dict[str, list[Track]] = {}
        self.by_place: dict[tuple[str, str, str | None], list[Track]] = {}
        for track in self.all:
            self.by_key.setdefault(track.key, []).append(track)
            self.by_place.setdefault(track.place, []).append(track)


class Player:
    """Plays a cassette in one scope. `file` is its name, for messages."""

    def __init__(
        self, tracks: Tracks, *, match: Match = "request", timing: Timing = "none", file: str | None = None
    ) -> None:
        self.match = match
        self.timing = timing
        self.file = file
        self._tracks = tracks
        self._played: Counter[int] = Counter()

    def afresh(self) -> Player:
        """The same cassette with nothing played yet."""
        return Player(self._tracks, match=self.match, timing=self.timing, file=self.file)

    def take(self, provider: str, api: str, call: Call) -> Exchange:
        """The exchange that answers; it then counts as played. Raises Miss."""
        request = _request_of(api, call)
        key = _key(provider, api, request)
        track = self._next(provider, api, call.model, request, key) if self.match == "order" else self._equal(key)
        if track is None:
            raise Miss(self._missed(provider, api, call.model, request))
        self._played[track.number] += 1
        return track.exchange

    def shown(self) -> dict[str, Any]:
        rows = [
            {
                "number": track.number,
                "at": track.exchange.at,
                "provider": track.exchange.provider,
                "api": track.exchange.api,
                "model": track.model,
                "status": track.exchange.response.status if track.exchange.response else None,
                "played": self._played[track.number],
            }
            for track in self._tracks.all
        ]
        return {
            "file": self.file,
            "match": self.match,
            "timing": self.timing,
            "exchanges": len(rows),
            "used": [row for row in rows if row["played"]],
            "left": [row for row in rows if not row["played"]],
        }

    def _equal(self, key: str) -> Track | None:
        """The first with this request that is not played yet; when all are, the last again."""
        equal = self._tracks.by_key.get(key, [])
        return next((track for track in equal if not self._played[track.number]), equal[-1] if equal else None)

    def _next(self, provider: str, api: str, model: str | None, request: dict[str, Any], key: str) -> Track | None:
        track = next(
            (one for one in self._tracks.by_place.get((provider, api, model), []) if not self._played[one.number]), None
        )
        if track is None or track.key == key:
            return track
        raise Miss(
            f"the next exchange of {_place(provider, api, model)} is {self._number(track)}: {_how(track, request)}"
        )

    def _missed(self, provider: str, api: str, model: str | None, request: dict[str, Any]) -> str:
        where = self.file or "the cassette"
        same = self._tracks.by_place.get((provider, api, model), [])
        if same and self.match == "order":
            return f"all {len(same)} exchanges of {_place(provider, api, model)} in {where} have been played"
        near = same or [track for track in self._tracks.all if track.place[:2] == (provider, api)]
        if not near:
            counted = Counter(f"{track.exchange.provider} {track.exchange.api}" for track in self._tracks.all)
            there = ", ".join(f"{name} ({count})" for name, count in counted.items()) or "nothing"
            return f"{where} holds no exchange of {provider} {api}; it holds {there}"
        nearest = min(near[:MOST_COMPARED], key=lambda track: _distance(track, request))
        return (
            f"no exchange of {where} has this request; the nearest is {self._number(nearest)}: {_how(nearest, request)}"
        )

    def _number(self, track: Track) -> str:
        return f"number {track.number} of {len(self._tracks.all)}"


def _track(number: int, exchange: Exchange) -> Track:
    request = _recorded_request(exchange)
    model = request.get("model")
    return Track(
        number,
        exchange,
        model if isinstance(model, str) else None,
        request,
        _key(exchange.provider, exchange.api, request),
    )


def _recorded_request(exchange: Exchange) -> dict[str, Any]:
    """A recorded request as `_request_of` tells one that comes in."""
    path, _, query = exchange.path.partition("?")
    if "json_" in exchange.request.model_fields_set:
        body = exchange.request.json_
    else:
        body = notation.request_bytes(exchange.request).decode("utf-8", "replace")
    if exchange.api != "generateContent":
        return _told(body)
    name, _, method = path.rpartition("/")[2].partition(":")
    return _gemini(unquote(name), method == "streamGenerateContent", "alt=sse" in query, body)


def _request_of(api: str, call: Call) -> dict[str, Any]:
    # Recorded bodies have lost the caller's key and what is shaped like one; so must what is compared with them.
    scrubber = Scrubber()
    scrubber.see(call.headers.items(), call.query)
    raw = scrubber.body(call.raw)
    try:
        body = orjson.loads(raw)  # not call.body, which the provider may have completed by then
    except orjson.JSONDecodeError:
        body = raw.decode("utf-8", "replace")
    if api != "generateContent":
        return _told(body)
    return _gemini(call.model or "", call.stream, call.sse, body)


def _told(body: Any) -> dict[str, Any]:
    told = normalised(body)
    return told if isinstance(told, dict) else {"the body": told}


def _gemini(model: str, stream: bool, sse: bool, body: Any) -> dict[str, Any]:
    """What stands in the path of Google's requests, beside the body."""
    ways = {"stream": True, "alt": "sse" if sse else "json"} if stream else {}
    return {"model": model, **ways, **_told(body)}


def _key(provider: str, api: str, request: dict[str, Any]) -> str:
    return key_of([provider, api, request])


def _distance(track: Track, request: dict[str, Any]) -> float:
    """How far a request is from the recorded one: a difference counts 1, of texts up to 1 by how unlike they are."""
    found = itertools.islice(differences(track.request, request), 100)
    return sum(_unlikeness(recorded, asked) for _, recorded, asked in found)


def _unlikeness(recorded: Any, asked: Any) -> float:
    if not (isinstance(recorded, str) and isinstance(asked, str)):
        return 1.0
    return 1.0 - 0.9 * SequenceMatcher(None, recorded[:300], asked[:300]).quick_ratio()


def _how(track: Track, request: dict[str, Any]) -> str:
    found = list(itertools.islice(differences(track.request, request), 100))
    lines = "; ".join(told(one) for one in found[:MOST_TOLD])
    more = len(found) - MOST_TOLD
    return lines + (f"; and {more} more" if more > 0 else "")


def _place(provider: str, api: str, model: str | None) -> str:
    return f"{provider} {api} {model}" if model else f"{provider} {api}"

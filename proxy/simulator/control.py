"""The control calls under `/_double/`: scripts, cassettes, journal, events and scopes, by HTTP, keyed; and `/healthz`,
without a key. Each is about one scope, named by `?scope=` or the header x-double-scope, else `default`.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from proxy.catalog.source import Source
from proxy.simulator.cassettes.load import CassetteError, read
from proxy.simulator.cassettes.replay import MATCHES, TIMINGS, Player, Tracks
from proxy.simulator.journal import ALL_SCOPES, Event, Query
from proxy.simulator.scopes import DEFAULT, BadScope, Scope, Scopes
from proxy.simulator.script.load import ScriptError, read_json, read_yaml, rules_of, script_of

MOST_BYTES = 1024 * 1024
"""The largest body of a control call."""
MOST_CASSETTE_BYTES = 64 * 1024 * 1024
"""The largest cassette."""
MOST_WAIT = 60.0
"""Seconds that a call may wait for requests."""
PING_SECONDS = 15.0
MOST_DIGITS = 15
"""Of a number in a call's address."""

PATHS = (
    "/_double/script",
    "/_double/rules",
    "/_double/cassette",
    "/_double/journal",
    "/_double/events",
    "/_double/scopes",
    "/healthz",
)

_Choice = TypeVar("_Choice", bound=str)


class Refused(Exception):
    """A control call that is not carried out."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """The control calls on `scopes`. `key` None leaves them open."""

    def __init__(self, scopes: Scopes, key: str | None) -> None:
        self._scopes = scopes
        self._journal = scopes.journal
        self._key = key

    def app(self) -> Starlette:
        """The application for all that is no provider."""
        return Starlette(
            routes=[
                Route("/_double/script", self.script, methods=["GET", "PUT", "DELETE"]),
                Route("/_double/rules", self.add_rules, methods=["POST"]),
                Route("/_double/rules/{id}", self.remove_rule, methods=["DELETE"]),
                Route("/_double/cassette", self.cassette, methods=["GET", "PUT", "DELETE"]),
                Route("/_double/journal", self.journal, methods=["GET", "DELETE"]),
                Route("/_double/events", self.events, methods=["GET"]),
                Route("/_double/scopes", self.list_scopes, methods=["GET"]),
                Route("/_double/scopes/{name}", self.forget_scope, methods=["DELETE"]),
                Route("/healthz", self.health),
            ],
            exception_handlers={
                Refused: _refused,
                BadScope: _refused,
                ScriptError: _bad_file,
                CassetteError: _bad_file,
                HTTPException: _no_route,
            },
        )

    # -- scripts -----------------------------------------------------------------------------------------

    async def script(self, request: Request) -> Response:
        self.authorise(request)
        scope = self.scope(request, keep=request.method == "PUT")
        if request.method == "PUT":
            scope.book.replace(script_of(await _body(request)))
        elif request.method == "DELETE":
            scope.book.clear()
        if request.method != "GET":
            self._journal.script_changed(scope.name)
        return _json(_shown(scope))

    async def add_rules(self, request: Request) -> Response:
        self.authorise(request)
        scope = self.scope(request)
        first = _flag(request, "first")
        ids = scope.book.add(rules_of(await _body(request)), first=first)
        self._journal.script_changed(scope.name)
        return _json({"ids": ids})

    async def remove_rule(self, request: Request) -> Response:
        self.authorise(request)
        scope = self.scope(request, keep=False)
        given = request.path_params["id"].removeprefix("#")
        if not given.isdecimal() or len(given) > MOST_DIGITS or not scope.book.remove(int(given)):
            raise Refused(404, f"scope '{scope.name}' has no rule with the id {given!r}")
        self._journal.script_changed(scope.name)
        return _json(_shown(scope))

    # -- cassettes ---------------------------------------------------------------------------------------

    async def cassette(self, request: Request) -> Response:
        self.authorise(request)
        scope = self.scope(request, keep=request.method == "PUT")
        if request.method == "PUT":
            match = _one_of(request, "match", MATCHES)
            timing = _one_of(request, "timing", TIMINGS)
            raw = await _raw(request, MOST_CASSETTE_BYTES)
            # Reading it takes long enough to keep others waiting.
            tracks = await asyncio.to_thread(lambda: Tracks(read(raw)))
            scope.cassette = Player(tracks, match=match, timing=timing, file=request.query_params.get("file"))
        elif request.method == "DELETE":
            scope.cassette = None
        if request.method != "GET":
            self._journal.script_changed(scope.name)
        return _json(_shown_cassette(scope))

    # -- journal -----------------------------------------------------------------------------------------

    async def journal(self, request: Request) -> Response:
        self.authorise(request)
        query = self.query(request)
        if request.method == "DELETE":
            self._journal.clear(query.scope)
            found = []
        elif "wait_for" in request.query_params:
            number = _whole(request, "wait_for", 1)
            found = await self._journal.wait_for(query, number, _seconds(request, "timeout", 10.0))
        else:
            found = self._journal.find(query)
        return _json({"entries": [entry.shown() for entry in found], "last": self._journal.last})

    def query(self, request: Request) -> Query:
        given = request.query_params
        return Query(
            scope=self.scope_name(request),
            since=_whole(request, "since", 0) if "since" in given else 0,
            text=given.get("text", ""),
            model=given.get("model"),
            provider=given.get("provider"),
            request=given.get("request"),
            limit=_whole(request, "limit", 1) if "limit" in given else None,
        )

    async def events(self, request: Request) -> Response:
        self.authorise(request)
        name = self.scope_name(request)
        # A browser that lost the connection says how far it had come.
        seen = request.headers.get("last-event-id", "")
        after = int(seen) if seen.isdecimal() and len(seen) <= MOST_DIGITS else None
        since = _whole(request, "since", 0) if "since" in request.query_params else None
        return StreamingResponse(
            self._events(name, since, after), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    async def _events(self, scope: str, since: int | None, after: int | None) -> AsyncIterator[bytes]:
        with self._journal.watch(scope) as watch:
            yield b": open\n\n"
            told = 0
            if after is not None or since is not None:
                for event in self._journal.past(scope, None if after is not None else since, after):
                    told = event.number
                    yield self._written(event)
            while not watch.behind:
                next_event = await watch.next(PING_SECONDS)
                if next_event is None:
                    yield b": ping\n\n"
                elif not 0 < next_event.number <= told:
                    yield self._written(next_event)

    def _written(self, event: Event) -> bytes:
        data: dict[str, Any] = {"scope": event.scope}
        if event.entry is not None:
            data["entry"] = event.entry.shown()
        elif event.name == "script":
            data["script"] = _shown(self._scopes.seen(event.scope))
        number = b"id: %d\n" % event.number if event.number else b""
        return b"event: %b\n%bdata: %b\n\n" % (event.name.encode(), number, orjson.dumps(data))

    # -- scopes ------------------------------------------------------------------------------------------

    async def list_scopes(self, request: Request) -> Response:
        self.authorise(request)
        return _json({"scopes": self._scopes.shown()})

    async def forget_scope(self, request: Request) -> Response:
        self.authorise(request)
        self._scopes.forget(self._scopes.seen(request.path_params["name"]).name)
        return _json({"scopes": self._scopes.shown()})

    async def health(self, _: Request) -> Response:
        return _json({"status": "ok"})

    # -- what calls have in common -----------------------------------------------------------------------

    def authorise(self, request: Request) -> None:
        if self._key is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._key.encode()):
            raise Refused(401, "the control key is missing or wrong; send it as 'Authorization: Bearer <key>'")

    def scope_name(self, request: Request) -> str:
        """The scope that a call is about; `*` for all where that can be."""
        name = request.query_params.get("scope") or request.headers.get("x-double-scope") or DEFAULT
        return name if name == ALL_SCOPES else self._scopes.seen(name).name

    def scope(self, request: Request, keep: bool = True) -> Scope:
        name = request.query_params.get("scope") or request.headers.get("x-double-scope") or DEFAULT
        return self._scopes.named(name) if keep else self._scopes.seen(name)


def _shown(scope: Scope) -> dict[str, Any]:
    return {"scope": scope.name, **scope.book.shown()}


def _shown_cassette(scope: Scope) -> dict[str, Any]:
    player = scope.player
    if player is None:
        return {"scope": scope.name, "inherited": False, "exchanges": None}
    return {"scope": scope.name, "inherited": scope.cassette is None, **player.shown()}


async def _raw(request: Request, most: int = MOST_BYTES) -> bytes:
    """The body. Raises Refused."""
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > most:
            raise Refused(413, f"the body is larger than {most} bytes")
    return b"".join(parts)


async def _body(request: Request) -> Source:
    """The body as data, read as its content type says. Raises Refused or ScriptError."""
    raw = await _raw(request)
    return read_yaml(raw) if "yaml" in request.headers.get("content-type", "") else read_json(raw)


def _one_of(request: Request, name: str, known: Sequence[_Choice]) -> _Choice:
    """The choice that the call makes, the first where it makes none."""
    given = request.query_params.get(name, known[0])
    for one in known:
        if given == one:
            return one
    raise Refused(400, f"{name}: must be one of {', '.join(known)}, not {given!r}")


def _whole(request: Request, name: str, low: int) -> int:
    given = request.query_params[name]
    if not given.isdecimal() or len(given) > MOST_DIGITS or int(given) < low:
        meant = "the seq of an entry, 0" if name == "since" else f"a whole number, {low}"
        raise Refused(400, f"{name}: must be {meant} or more, not {given!r}")
    return int(given)


def _seconds(request: Request, name: str, default: float) -> float:
    given = request.query_params.get(name)
    try:
        seconds = default if given is None else float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_WAIT:
        raise Refused(400, f"{name}: must be a number of seconds from 0 to {MOST_WAIT:g}, not {given!r}")
    return seconds


def _flag(request: Request, name: str) -> bool:
    given = request.query_params.get(name, "false")
    if given not in ("true", "false", "1", "0"):
        raise Refused(400, f"{name}: must be true or false, not {given!r}")
    return given in ("true", "1")


async def _refused(_: Request, error: Exception) -> Response:
    return _error(error.status if isinstance(error, Refused) else 400, str(error))


async def _bad_file(_: Request, error: Exception) -> Response:
    problems = []
    if isinstance(error, (ScriptError, CassetteError)):
        for one in error.problems:
            line = {"line": one.line} if one.line else {}
            problems.append({"path": one.path, "message": one.message, **line})
    return _error(400, str(error), problems=problems)


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    allow = (error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == 405:
        return _error(405, f"{request.method} is not for {request.url.path}", dict(allow))
    close = get_close_matches(request.url.path, PATHS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return _error(status, f"nothing answers {request.method} {request.url.path}{hint}")


def _error(
    status: int,
    message: str,
    headers: dict[str, str] | None = None,
    problems: list[dict[str, Any]] | None = None,
) -> Response:
    error: dict[str, Any] = {"message": message, "type": "invalid_request_error"}
    if problems:
        error["problems"] = problems
    return _json({"error": error}, status, headers)


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, media_type="application/json")

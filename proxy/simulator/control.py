"""The control calls under `/_double/`: faults and journal, by HTTP, keyed; and `/healthz`, without a key."""

from __future__ import annotations

import hmac
from difflib import get_close_matches

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.simulator.faults import FaultBook, FaultError, parse_faults
from proxy.simulator.journal import Journal

MOST_BYTES = 1024 * 1024
"""The largest body of a control call."""

PATHS = ("/_double/faults", "/_double/journal", "/healthz")


class Refused(Exception):
    """A control call that is not carried out."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def control_app(faults: FaultBook, journal: Journal, key: str | None) -> Starlette:
    """The application for all that is no provider. `key` None leaves the control calls open."""

    def authorise(request: Request) -> None:
        if key is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), key.encode()):
            raise Refused(401, "the control key is missing or wrong; send it as 'Authorization: Bearer <key>'")

    async def on_faults(request: Request) -> Response:
        authorise(request)
        if request.method == "PUT":
            faults.replace(parse_faults(await _body(request)))
        elif request.method == "DELETE":
            faults.replace([])
        return _json({"faults": faults.shown()})

    async def on_journal(request: Request) -> Response:
        authorise(request)
        if request.method == "DELETE":
            journal.clear()
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            raise Refused(400, f"since: must be the seq of an entry, 0 or more, not {since!r}")
        return _json({"entries": journal.entries(int(since), request.query_params.get("text", ""))})

    async def on_health(_: Request) -> Response:
        return _json({"status": "ok"})

    return Starlette(
        routes=[
            Route("/_double/faults", on_faults, methods=["GET", "PUT", "DELETE"]),
            Route("/_double/journal", on_journal, methods=["GET", "DELETE"]),
            Route("/healthz", on_health),
        ],
        exception_handlers={Refused: _refused, FaultError: _refused, HTTPException: _no_route},
    )


async def _body(request: Request) -> object:
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > MOST_BYTES:
            raise Refused(413, f"the body is larger than {MOST_BYTES} bytes")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"the body is no valid JSON: {error}") from error


async def _refused(_: Request, error: Exception) -> Response:
    return _error(error.status if isinstance(error, Refused) else 400, str(error))


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    allow = (error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == 405:
        return _error(405, f"{request.method} is not for {request.url.path}", dict(allow))
    close = get_close_matches(request.url.path, PATHS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return _error(status, f"nothing answers {request.method} {request.url.path}{hint}")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return _json({"error": {"message": message, "type": "invalid_request_error"}}, status, headers)


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, media_type="application/json")

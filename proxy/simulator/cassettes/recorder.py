"""The recorder: an ASGI application between LiteLLM and the real providers that keeps what passes.

It answers on the paths of the simulator and hands every byte on as it comes. What a provider was asked and
answered is put on the tape when the exchange is over, whichever way. Served by server.py; see `__main__`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import sys
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import httpx
import orjson
from starlette.types import Message, Receive, Scope, Send

from proxy.simulator.cassettes import notation
from proxy.simulator.cassettes.events import Splitter
from proxy.simulator.cassettes.model import Exchange, Failure, Request, Response
from proxy.simulator.cassettes.scrub import REQUEST_HEADERS, RESPONSE_HEADERS, Scrubber
from proxy.simulator.cassettes.tape import Tape
from proxy.simulator.server import Connection

Headers = list[tuple[bytes, bytes]]

PREFIXES = {"openai": "/openai/v1", "anthropic": "/anthropic", "google": "/gemini/v1beta"}
"""Provider -> what its paths begin with here; `simulator.api_bases` has the same."""

REAL_BASES = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com/v1beta",
}

CALLS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"/openai/v1/chat/completions"), "openai", "chat"),
    (re.compile(r"/openai/v1/responses"), "openai", "responses"),
    (re.compile(r"/anthropic/v1/messages"), "anthropic", "messages"),
    (
        re.compile(r"/gemini/v1(?:beta)?/models/[^/]+:(?:generateContent|streamGenerateContent)"),
        "google",
        "generateContent",
    ),
)
"""What is recorded, by path; the rest only passes."""

PROBES = b"probes"
"""The scope of LiteLLM's own health probes: they pass, and are not recorded."""

CONNECT_SECONDS = 30.0
LEAVING_SECONDS = 0.5

_HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
}  # fmt: skip
_NOT_FORWARDED = _HOP_BY_HOP | {b"host", b"content-length", b"accept-encoding", b"expect"}


@dataclass
class Take:
    """One exchange as it is going on."""

    order: int
    at: str
    began: float
    provider: str
    api: str
    path: str
    query: bytes
    headers: Headers
    body: bytes
    kept: bool
    """Whether it will be on the tape."""

    status: int | None = None
    answer_headers: Headers | None = None
    after: float = 0.0
    splitter: Splitter | None = None
    parts: list[bytes] | None = None
    complete: bool = False
    failure: Failure | None = None
    cut: bool = False


class Recorder:
    def __init__(self, tape: Tape, bases: Mapping[str, str]) -> None:
        self._tape = tape
        self._bases = {**REAL_BASES, **bases}
        self._scrubber = Scrubber()
        self._orders = itertools.count(1)
        self._problem: str | None = None
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["raw_path"].decode("latin-1")
        target = self._target(path)
        if target is not None:
            await self._pass_on(*target, scope, receive, send)
        elif path == "/healthz":
            await _answer(send, 200, self.state())
        else:
            known = ", ".join(PREFIXES.values())
            message = f"the recorder passes on what is under {known}, not {path}"
            await _answer(send, 404, {"error": {"message": message, "type": "invalid_request_error"}})

    def _target(self, path: str) -> tuple[str, str] | None:
        """The provider that a path is for, and the URL that stands for it there."""
        for name, prefix in PREFIXES.items():
            if path.startswith(f"{prefix}/"):
                return name, self._bases[name] + path[len(prefix) :]
        if path.startswith("/gemini/v1/"):  # Google's own SDK asks for it
            root = self._bases["google"].removesuffix("/v1beta").removesuffix("/v1")
            return "google", root + path[len("/gemini") :]
        return None

    def state(self) -> dict[str, Any]:
        return {
            "status": "ok",
            "file": str(self._tape.file),
            "exchanges": self._tape.before + self._tape.added,
            "recorded": self._tape.added,
            "problem": self._problem,
        }

    def close(self) -> None:
        """The end of the recording: what could not be written so far is tried once more."""
        if self._problem is not None:
            self._write_anew()
        self._tape.close()

    # -- passing on --------------------------------------------------------------------------------------

    async def _pass_on(self, provider: str, url: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return
        take = self._begin(provider, scope, body)
        relay = asyncio.create_task(self._relay(take, url, scope["method"], send))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({relay, gone}, return_when=asyncio.FIRST_COMPLETED)
            # Many clients leave at the last event, before the end of the stream: let it come.
            await asyncio.wait({relay}, timeout=LEAVING_SECONDS)
            relay.cancel()  # and with it the request to the provider
            with contextlib.suppress(asyncio.CancelledError):
                await relay
        except asyncio.CancelledError:  # the recorder is being stopped: no time for a thread
            relay.cancel()
            self._keep(take)
            take.kept = False
            raise
        finally:
            gone.cancel()
        await asyncio.to_thread(self._keep, take)
        if take.failure is not None or take.cut:
            connection: Connection = scope["state"]["connection"]
            if take.cut:
                connection.close()
            else:
                connection.reset()
            await _gone(receive)

    def _begin(self, provider: str, scope: Scope, body: bytes) -> Take:
        path, headers = scope["path"], scope["headers"]
        api = next((api for pattern, _, api in CALLS if pattern.fullmatch(path)), None)
        self._scrubber.see(headers, scope["query_string"])
        probe = (b"x-double-scope", PROBES) in headers
        return Take(
            order=next(self._orders),
            at=datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            began=time.monotonic(),
            provider=provider,
            api=api or "",
            path=path,
            query=scope["query_string"],
            headers=headers,
            body=body,
            kept=api is not None and scope["method"] == "POST" and not probe,
        )

    async def _relay(self, take: Take, url: str, method: str, send: Send) -> None:
        """The request to the provider and its answer back; what goes wrong is noted in `take`."""
        query = f"?{take.query.decode('latin-1')}" if take.query else ""
        request = httpx.Request(
            method,
            f"{url}{query}",
            headers=[
                # Compressed, a stream could not be kept event by event; the provider's answer is the same.
                (b"accept-encoding", b"identity"),
                *((n, v) for n, v in take.headers if n not in _NOT_FORWARDED and not n.startswith(b"x-double-")),
            ],
            content=take.body,
        )
        try:
            answer = await self._client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.ProxyError) as error:
            self._fail(take, "unreachable", error)
            return
        except httpx.TransportError as error:
            self._fail(take, "dropped", error)
            return
        try:
            await self._hand_back(take, answer, send)
        except httpx.TransportError:
            take.cut = True
        finally:
            await answer.aclose()

    async def _hand_back(self, take: Take, answer: httpx.Response, send: Send) -> None:
        began = time.monotonic()
        take.after = began - take.began
        take.status, take.answer_headers = answer.status_code, answer.headers.raw
        self._scrubber.see(take.answer_headers)
        decoder = _Decoder(answer.headers.get("content-encoding", "identity"))
        take.answer_headers = [
            (name, value)
            for name, value in take.answer_headers
            if not (decoder.decodes and name.lower() == b"content-encoding")
        ]
        take.splitter, take.parts = _keeper(take, answer), []
        if take.splitter is not None:
            take.splitter.begin(began)
        headers = [
            (name.lower(), value)
            for name, value in answer.headers.raw
            if name.lower() not in _HOP_BY_HOP and name.lower() != b"date"  # the server has its own
        ]
        start: Message = {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        await send(start)
        async for data in answer.aiter_raw():
            now = time.monotonic()
            await send({"type": "http.response.body", "body": data, "more_body": True})
            if not take.kept:
                continue
            plain = decoder.feed(data)
            if take.splitter is not None:
                take.splitter.feed(plain, now)
            else:
                take.parts.append(plain)
        take.complete = True
        if take.splitter is None:
            take.after = time.monotonic() - take.began
        await send({"type": "http.response.body", "body": b""})

    def _fail(self, take: Take, kind: Any, error: Exception) -> None:
        message = self._scrubber.text(f"{type(error).__name__}: {error}".removesuffix(": "))
        take.failure = Failure(kind=kind, message=message, after=_rounded(time.monotonic() - take.began))

    # -- keeping -----------------------------------------------------------------------------------------

    def _keep(self, take: Take) -> None:
        """Puts the exchange on the tape. A tape that cannot be written stops no request."""
        if not take.kept:
            return
        exchange = self._exchange(take)
        what = f"{take.provider} {take.api} {exchange.path}"
        ended = exchange.response.status if exchange.response else exchange.failure and exchange.failure.kind
        try:
            self._tape.add(take.order, exchange)
        except OSError as error:
            self._note(f"{self._tape.file} cannot be written ({error.strerror or error})")
            return
        self._problem = None
        _say(f"recorded {what}: {ended}")

    def _write_anew(self) -> None:
        try:
            self._tape.flush()
        except OSError as error:
            self._note(f"{self._tape.file} cannot be written ({error.strerror or error}); exchanges are lost")

    def _note(self, problem: str) -> None:
        self._problem = problem
        _say(problem)

    def _exchange(self, take: Take) -> Exchange:
        scrub = self._scrubber
        request = Request(
            headers=scrub.headers(take.headers, REQUEST_HEADERS), **notation.of_request(scrub.body(take.body))
        )
        response, failure = None, take.failure
        if take.status is not None and take.answer_headers is not None:
            response = self._response(take)
        elif failure is None:
            failure = Failure(kind="left", after=_rounded(time.monotonic() - take.began))
        return Exchange(
            at=take.at,
            provider=take.provider,  # type: ignore[arg-type]  # of PREFIXES
            api=take.api,  # type: ignore[arg-type]  # of CALLS
            method="POST",
            path=scrub.path(take.path, take.query),
            request=request,
            response=response,
            failure=failure,
        )

    def _response(self, take: Take) -> Response:
        scrub = self._scrubber
        if take.splitter is not None:
            take.splitter.finish(time.monotonic())
            pieces = [(after, scrub.body(piece)) for after, piece in take.splitter.pieces]
            content = notation.of_chunks(pieces)
        else:
            content = notation.of_body(scrub.body(b"".join(take.parts or [])))
        return Response(
            status=take.status or 0,
            headers=scrub.headers(take.answer_headers or [], RESPONSE_HEADERS),
            after=_rounded(take.after),
            ended=None if take.complete else "cut" if take.cut else "left",
            **content,
        )


def _keeper(take: Take, answer: httpx.Response) -> Splitter | None:
    """A stream is kept in chunks: server-sent events, and Gemini's JSON array that grows line by line."""
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        return Splitter(events=True)
    if answer.status_code == 200 and take.path.endswith(":streamGenerateContent"):
        return Splitter(events=False)
    return None


class _Decoder:
    """For providers that compress although they are asked not to."""

    def __init__(self, encoding: str) -> None:
        self.decodes = encoding.strip().lower() in ("gzip", "x-gzip", "deflate")
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32) if self.decodes else None

    def feed(self, data: bytes) -> bytes:
        if self._inflate is None:
            return data
        try:
            return self._inflate.decompress(data)
        except zlib.error:
            return b""


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, or None where the client goes away before its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message["body"])
        if not message.get("more_body"):
            return b"".join(parts)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, value: Any) -> None:
    body = orjson.dumps(value)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _rounded(seconds: float) -> float:
    return round(seconds, 4)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

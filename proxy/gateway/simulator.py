"""The simulator as the gateway reaches it: control calls handed on, answers handed back as they come."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from starlette.types import Send

from proxy.gateway.errors import Refusal

_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 90.0  # a long poll takes up to 60, a stream of events says something every 15
_PASSED_UP = ("content-type", "accept")
_PASSED_DOWN = ("content-type", "content-length", "cache-control", "allow")


@dataclass(frozen=True)
class ControlCall:
    """What the simulator is asked. `path` as it was sent; `query` in pairs; `headers` in lower case."""

    method: str
    path: bytes
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


class Simulator:
    """`url` None: this gateway has none. Made once; its connections are opened when they are needed."""

    def __init__(self, url: str | None, control_key: str | None) -> None:
        self._url = url
        self._control_key = control_key
        self._client: httpx.AsyncClient | None = None

    async def hand_on(self, call: ControlCall, answer: Answer) -> None:
        """Sends the simulator's answer to `answer`, piece by piece. Raises Refusal (502) where there is none."""
        request = self._request(call)
        try:
            response = await self._connections().send(request, stream=True)
        except httpx.HTTPError as error:
            raise _silent(error) from None
        try:
            told = response.headers
            headers = [(name.encode(), told[name].encode()) for name in _PASSED_DOWN if name in told]
            headers.append((b"x-accel-buffering", b"no"))  # nginx passes events on as they come
            await answer.start(response.status_code, headers)
            async for piece in response.aiter_raw():
                await answer.piece(piece)
            await answer.end()
        except httpx.HTTPError:
            await answer.break_off()
        finally:
            await response.aclose()

    async def ask(self, call: ControlCall) -> httpx.Response:
        """The simulator's whole answer. Raises Refusal (502) where there is none."""
        try:
            return await self._connections().send(self._request(call))
        except httpx.HTTPError as error:
            raise _silent(error) from None

    def _request(self, call: ControlCall) -> httpx.Request:
        if self._url is None:
            raise Refusal(
                502, "there is no simulator: LITELLM_LOCAL_SIMULATOR is not set", type="simulator_unavailable"
            )
        headers = {name: call.headers[name] for name in _PASSED_UP if name in call.headers}
        headers["accept-encoding"] = "identity"
        if self._control_key:
            headers["authorization"] = f"Bearer {self._control_key}"
        query = str(httpx.QueryParams(tuple(call.query))).encode()
        url = httpx.URL(self._url).copy_with(raw_path=call.path + (b"?" + query if query else b""))
        return self._connections().build_request(call.method, url, headers=headers, content=call.body)

    def _connections(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                trust_env=False,
                timeout=httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
                # every page and every waiting test holds one
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            )
        return self._client


class Answer:
    """One answer on its way to the client."""

    def __init__(self, send: Send) -> None:
        self.started = False
        self._send = send
        self._ended = False
        self._is_whole = False  # a length was announced

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        self._is_whole = any(name == b"content-length" for name, _ in headers)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def piece(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        if not self._ended:
            self._ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        await self.start(status, [*headers, (b"content-length", str(len(body)).encode())])
        await self.piece(body)
        await self.end()

    async def break_off(self) -> None:
        """Ends a stream where it is. Where less came than was announced, the server closes the connection."""
        if not self._is_whole:
            await self.end()
        self._ended = True


def _silent(error: Exception) -> Refusal:
    message = f"the simulator does not answer ({type(error).__name__}); see 'litellm-local status'"
    return Refusal(502, message, type="simulator_unavailable")

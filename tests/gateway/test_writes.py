"""What is ready together goes out together: the same bytes, in fewer writes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from websockets.asyncio.client import connect

from proxy.gateway import writes
from proxy.gateway.writes import HELD_BYTES, GatheringProtocol, GatheringTransport

BIG = b"x" * (5 * 1024 * 1024)
EVENTS = [b"data: %d\n\n" % number for number in range(40)]
GET = "%s %s HTTP/1.1\r\nhost: any\r\n%s\r\n"


class Noting:
    """Stands before a transport and notes what it was asked to write."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.transport.write(data)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Noting, GatheringTransport, asyncio.StreamReader]]:
    """A gathering transport, what it writes to, and the other end of the connection."""
    here, there = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
    reader, writer = await asyncio.open_connection(sock=there)
    noting = Noting(transport)
    try:
        yield noting, GatheringTransport(noting, loop), reader  # type: ignore[arg-type]
    finally:
        transport.close()
        writer.close()


def run(test: Callable[[], Any]) -> None:
    """By the loop that the gateway runs on."""
    uvloop.run(asyncio.wait_for(test(), 30))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is at the moment, only the loop's turn ends a wait."""
    monkeypatch.setattr(writes, "HELD_SECONDS", 600)


@pytest.mark.usefixtures("patient")
def test_a_first_piece_goes_at_once_and_those_after_it_together() -> None:
    async def test() -> None:
        async with connected() as (noting, gathering, reader):
            for event in EVENTS:
                gathering.write(event)
            assert noting.written == [EVENTS[0]]
            await asyncio.sleep(0)
            assert noting.written == [EVENTS[0], b"".join(EVENTS[1:])]
            assert await reader.readexactly(len(b"".join(EVENTS))) == b"".join(EVENTS)
            gathering.write(b"one")
            gathering.write(b"two")
            await asyncio.sleep(0)
            assert noting.written[2:] == [b"onetwo"]

    run(test)


def test_a_head_waits_for_its_body() -> None:
    async def test() -> None:
        async with connected() as (noting, gathering, _):
            gathering.write(b"HTTP/1.1 200 OK\r\n\r\n")
            assert noting.written == []
            gathering.write(b"body")
            assert noting.written == [b"HTTP/1.1 200 OK\r\n\r\nbody"]

    run(test)


def test_a_head_without_a_body_goes_in_the_next_turn() -> None:
    async def test() -> None:
        async with connected() as (noting, gathering, _):
            gathering.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await asyncio.sleep(0)
            assert noting.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]

    run(test)


@pytest.mark.usefixtures("patient")
def test_what_waits_too_long_goes_though_the_loop_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with connected() as (noting, gathering, _):
            gathering.write(b"one")
            gathering.write(b"two")
            monkeypatch.setattr(writes, "HELD_SECONDS", -1)  # as in a turn that takes long
            gathering.write(b"three")
            assert noting.written == [b"one", b"twothree"]

    run(test)


@pytest.mark.usefixtures("patient")
def test_many_bytes_do_not_wait() -> None:
    async def test() -> None:
        async with connected() as (noting, gathering, _):
            gathering.write(b"one")
            gathering.write(b"x" * HELD_BYTES)
            assert noting.written == [b"one"]
            gathering.write(b"y")
            assert [len(each) for each in noting.written] == [3, HELD_BYTES + 1]

    run(test)


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_an_end_comes_after_what_waits(end: str) -> None:
    async def test() -> None:
        async with connected() as (_, gathering, reader):
            gathering.write(b"one")
            gathering.writelines([b"two", b"three"])
            getattr(gathering, end)()
            assert await reader.read() == b"onetwothree"

    run(test)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """/whole, /big, /stream, and /echo, which reads the body first."""
    path, body = scope["path"], b""
    if path == "/echo":
        while (message := await receive()).get("more_body"):
            body += message["body"]
        body += message["body"]
    whole = {"/whole": b"whole", "/big": BIG, "/echo": body}.get(path)
    headers = [] if whole is None else [(b"content-length", str(len(whole)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if whole is not None:
        await send({"type": "http.response.body", "body": whole})
        return
    for number, event in enumerate(EVENTS):
        await send({"type": "http.response.body", "body": event, "more_body": True})
        if number == 20:
            await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket that says each text twice, until it is closed."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        for _ in range(2):
            await send({"type": "websocket.send", "text": message["text"]})


@asynccontextmanager
async def served(app: ASGIApp, protocol: type[HttpToolsProtocol]) -> AsyncIterator[tuple[str, int]]:
    """Its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, http=protocol, lifespan="off", log_config=None, date_header=False, server_header=False)
    )
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        await serving


async def exchanged(protocol: type[HttpToolsProtocol], sent: bytes, size: int) -> bytes:
    """What a server answers to these bytes on one connection, up to so many bytes, or its end if there are fewer."""
    async with served(app, protocol) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(sent)
        found = b""
        while len(found) < size and (piece := await reader.read(1 << 20)):
            found += piece
        writer.close()
        return found


@pytest.mark.usefixtures("patient")
def test_the_end_of_a_reply_does_not_wait() -> None:
    held: list[bytes] = []

    class Watched(GatheringProtocol):
        def on_response_complete(self) -> None:
            super().on_response_complete()
            held.extend(self.transport._held)  # type: ignore[attr-defined]
            completed.append(True)

    completed: list[bool] = []

    async def test() -> None:
        sent = GET % ("GET", "/stream", "")
        assert (await exchanged(Watched, sent.encode(), 600)).endswith(b"data: 39\n\n\r\n0\r\n\r\n")

    run(test)
    assert completed == [True]
    assert held == []


@pytest.mark.parametrize(
    "sent",
    [
        GET % ("GET", "/whole", "connection: close\r\n"),
        GET % ("HEAD", "/whole", "connection: close\r\n"),
        GET % ("GET", "/stream", "connection: close\r\n"),
        GET % ("GET", "/big", "connection: close\r\n"),
        GET % ("GET", "/stream", "") + GET % ("GET", "/whole", "") + GET % ("GET", "/stream", "connection: close\r\n"),
        GET % ("POST", "/echo", "content-length: 3\r\nexpect: 100-continue\r\nconnection: close\r\n") + "abc",
        "GET / HTTP/1.1\r\nbad request\r\n\r\n",
    ],
    ids=["whole", "head", "stream", "big", "three on one connection", "100-continue", "invalid"],
)
def test_the_bytes_are_those_of_uvicorn_alone(sent: str) -> None:
    async def test() -> None:
        alone = await exchanged(HttpToolsProtocol, sent.encode(), len(BIG) * 2)
        assert alone.startswith(b"HTTP/1.1 ")
        assert await exchanged(GatheringProtocol, sent.encode(), len(BIG) * 2) == alone

    run(test)


def test_a_reply_on_a_connection_that_stays_is_complete() -> None:
    async def test() -> None:
        whole = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole"
        sent = (GET % ("GET", "/whole", "")).encode()
        assert await exchanged(GatheringProtocol, sent, len(whole)) == whole

    run(test)


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """Two events in each turn of the loop until the client is gone."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    gone = asyncio.create_task(_gone(receive))
    while not gone.done():
        for event in EVENTS[:2]:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(0)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def test_a_client_that_leaves_a_stream_leaves_no_error() -> None:
    said: list[dict[str, Any]] = []

    async def test() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: said.append(context))
        async with served(endless, GatheringProtocol) as address:
            for _ in range(10):
                reader, writer = await asyncio.open_connection(*address)
                writer.write((GET % ("GET", "/", "")).encode())
                await reader.readuntil(EVENTS[1])
                writer.transport.abort()

    run(test)
    assert said == []


def test_a_websocket_is_as_ever() -> None:
    async def test() -> None:
        async with served(echo, GatheringProtocol) as (host, port), connect(f"ws://{host}:{port}/") as websocket:
            for text in ("one", "x" * HELD_BYTES * 2):
                await websocket.send(text)
                assert [await websocket.recv(), await websocket.recv()] == [text, text]

    run(test)

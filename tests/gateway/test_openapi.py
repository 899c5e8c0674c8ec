"""The OpenAPI schema: computed off the event loop, once per installation."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import socket
import threading
import time
from contextlib import suppress

import pytest
from fastapi import FastAPI

from proxy.gateway.openapi import OpenApiCache
from tests.conftest import until


def serve_schema(folder, fastapi, *, begin=False):
    """One start of the app and one request for the schema; returns the body."""
    app = OpenApiCache(fastapi, fastapi, folder)
    if begin:
        app.begin()
    bodies: list[bytes] = []

    async def run() -> None:
        messages: asyncio.Queue = asyncio.Queue()
        started = asyncio.Event()

        async def noted(message):
            if message["type"] == "lifespan.startup.complete":
                started.set()

        async def send(message):
            bodies.append(message.get("body", b""))

        lifespan = asyncio.create_task(app({"type": "lifespan", "state": {}}, messages.get, noted))
        await messages.put({"type": "lifespan.startup"})
        await started.wait()
        scope = {"type": "http", "method": "GET", "path": "/openapi.json", "root_path": "", "headers": []}
        await app({**scope, "query_string": b""}, messages.get, send)
        await messages.put({"type": "lifespan.shutdown"})
        await lifespan

    asyncio.run(run())
    return b"".join(bodies)


def test_schema_is_computed_in_a_thread_and_kept_for_the_next_start(tmp_path):
    computed_in = []

    def make(title="one"):
        fastapi = FastAPI(title=title)
        original = fastapi.openapi

        def openapi():
            if not fastapi.openapi_schema:
                computed_in.append(threading.current_thread())
            return original()

        fastapi.openapi = openapi
        fastapi.setup()
        return fastapi

    first = serve_schema(tmp_path, make())
    assert b'"title":"one"' in first
    assert len(computed_in) == 1
    assert computed_in[0] is not threading.main_thread()
    assert serve_schema(tmp_path, make()) == first
    assert len(computed_in) == 1
    assert b'"title":"two"' in serve_schema(tmp_path, make("two"))
    assert len(list(tmp_path.iterdir())) == 1  # what is out of date is not kept


def test_schema_is_served_where_nothing_can_be_written(tmp_path):
    assert b'"title":"one"' in serve_schema(tmp_path / "missing", FastAPI(title="one"))


class Aside(FastAPI):
    """Computes its schema as `child` says where that is asked in another process than this one."""

    def __init__(self, child=lambda: None):
        self.child, self.parent, self.computed_here = child, os.getpid(), 0
        super().__init__(title="aside")

    def openapi(self):
        if os.getpid() != self.parent:
            self.child()
        elif not self.openapi_schema:
            self.computed_here += 1
        return super().openapi()


def test_a_copy_of_the_process_computes_the_schema(tmp_path):
    fastapi = Aside()
    assert b'"title":"aside"' in serve_schema(tmp_path, fastapi, begin=True)
    assert fastapi.computed_here == 0
    again = OpenApiCache(fastapi, fastapi, tmp_path)
    again.begin()
    assert again._child is None


@pytest.mark.parametrize(
    "child", [lambda: 1 / 0, lambda: os.kill(os.getpid(), signal.SIGKILL)], ids=["raises", "is killed"]
)
def test_where_the_copy_fails_a_thread_computes_it(tmp_path, child):
    fastapi = Aside(child)
    assert b'"title":"aside"' in serve_schema(tmp_path, fastapi, begin=True)
    assert fastapi.computed_here == 1


def test_where_there_can_be_no_copy_a_thread_computes_it(tmp_path, monkeypatch):
    def fork():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    fastapi = Aside()
    assert b'"title":"aside"' in serve_schema(tmp_path, fastapi, begin=True)
    assert fastapi.computed_here == 1


def test_there_is_no_copy_where_nothing_can_be_written(tmp_path):
    fastapi = Aside()
    app = OpenApiCache(fastapi, fastapi, tmp_path / "missing")
    app.begin()
    assert app._child is None


def test_the_copy_ends_with_the_gateway_and_holds_no_port(tmp_path):
    reading, writing = os.pipe()

    def hang():
        (tmp_path / "began").touch()
        time.sleep(30)
        (tmp_path / "went on").touch()

    fastapi = Aside(hang)
    app = OpenApiCache(fastapi, fastapi, tmp_path)
    listener = socket.create_server(("127.0.0.1", 0))
    app.begin()
    child = app._child
    os.close(writing)
    assert select.select([reading], [], [], 20)[0]  # its end, though the copy lives: that holds nothing open
    os.close(reading)
    address = listener.getsockname()
    listener.close()
    socket.create_server(address).close()

    async def run():
        messages = asyncio.Queue()
        started = asyncio.Event()

        async def send(message):
            if message["type"] == "lifespan.startup.complete":
                started.set()

        lifespan = asyncio.create_task(app({"type": "lifespan", "state": {}}, messages.get, send))
        await messages.put({"type": "lifespan.startup"})
        await started.wait()
        await asyncio.to_thread(until, "the copy at work", (tmp_path / "began").exists)
        await messages.put({"type": "lifespan.shutdown"})
        await lifespan

    try:
        asyncio.run(run())
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
        assert not (tmp_path / "went on").exists()
        assert fastapi.computed_here == 0
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)

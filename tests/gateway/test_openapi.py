"""The OpenAPI schema: computed off the event loop, once per installation."""

from __future__ import annotations

import asyncio
import threading

from fastapi import FastAPI

from proxy.gateway.openapi import OpenApiCache


def serve_schema(folder, fastapi):
    """One start of the app and one request for the schema; returns the body."""
    app = OpenApiCache(fastapi, fastapi, folder)
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

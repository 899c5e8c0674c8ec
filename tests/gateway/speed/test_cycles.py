"""What a request has made is gone with it, without a search for garbage."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import httpx
import litellm
import pytest
from httpx._client import BoundAsyncStream
from litellm.router import Router

from proxy.gateway.speed import cycles
from tests.gateway.speed.conftest import Keep

HI: Any = [{"role": "user", "content": "Hi"}]


@pytest.fixture(autouse=True)
def no_search() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def a_stream() -> tuple[list[str], weakref.ref[Any]]:
    """The texts of a stream through the router, and whether what it was read from is still there."""
    model = {
        "model_name": "m",
        "litellm_params": {"model": "openai/gpt-4o", "api_key": "-", "mock_response": "one two"},
    }
    streams: list[Any] = []
    iterate = Router._acompletion_streaming_iterator

    async def told(self: Any, **named: Any) -> Any:
        streams.append(weakref.ref(named["model_response"]))
        return await iterate(self, **named)

    Router._acompletion_streaming_iterator = told  # type: ignore[method-assign, assignment]
    try:
        stream = await litellm.Router(model_list=[model]).acompletion(model="m", messages=HI, stream=True)
        texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    finally:
        Router._acompletion_streaming_iterator = iterate  # type: ignore[method-assign]
    return texts, streams[0]


def test_streams(keep: Keep) -> None:
    wanted, stays = asyncio.run(a_stream())
    assert "".join(wanted) == "one two"
    assert stays() is not None
    keep(Router, "_acompletion_streaming_iterator")
    cycles.let_streams_go()
    found, gone = asyncio.run(a_stream())
    assert found == wanted
    assert gone() is None


class Bytes(httpx.AsyncByteStream):
    closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"all"

    async def aclose(self) -> None:
        self.closed += 1


def test_replies(keep: Keep) -> None:
    sent = Bytes()

    async def ask() -> weakref.ref[Any]:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=sent))
        async with httpx.AsyncClient(transport=transport) as client:
            reply = await client.get("http://one/")
        assert reply.text == "all"
        assert reply.elapsed > timedelta(0)
        await reply.stream.aclose()  # type: ignore[union-attr]
        return weakref.ref(reply)

    assert asyncio.run(ask())() is not None
    keep(BoundAsyncStream, "aclose")
    cycles.let_replies_go()
    assert asyncio.run(ask())() is None
    assert sent.closed == 4

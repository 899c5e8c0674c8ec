"""What a request has made is gone with it, without a search for garbage."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import httpx
import litellm
import pytest
from httpx._client import BoundAsyncStream
from litellm.router import Router

from proxy.gateway.speed import cycles
from tests.gateway.speed.conftest import Keep
from tests.gateway.upstream import Upstream

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


async def a_reply(base: str, how: str) -> tuple[Any, weakref.ref[httpx.Response]]:
    """What a caller sees of a reply that is read, left in the midst or cut off, and whether it is still there."""
    body = {"model": "m", "stream": how != "read", "messages": [{"content": {"left": "dribble"}.get(how, how)}]}
    async with (
        httpx.AsyncClient(trust_env=False, base_url=base) as client,
        client.stream("POST", "/chat/completions", json=body) as reply,
    ):
        found = b""
        try:
            async for piece in reply.aiter_bytes():
                found += piece[:1] if how == "left" else piece  # more may have come at once
                if how == "left":
                    break
        except httpx.RemoteProtocolError as error:
            found += str(error).encode()
    await reply.aclose()  # once more
    return (reply.status_code, found, reply.is_closed, reply.elapsed.total_seconds() > 0), weakref.ref(reply)


@pytest.mark.parametrize("how", ["read", "left", "cut"])
def test_replies(how: str, keep: Keep) -> None:
    with Upstream().running() as base:
        wanted, stays = asyncio.run(a_reply(base, how))
        assert wanted[0] == 200
        assert wanted[1]
        assert wanted[2:] == (True, True)
        assert stays() is not None
        keep(BoundAsyncStream, "aclose")
        cycles.let_replies_go()
        found, gone = asyncio.run(a_reply(base, how))
        assert found == wanted
        assert gone() is None

"""What a request has made is gone with it, without a search for garbage."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import litellm
import pytest
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

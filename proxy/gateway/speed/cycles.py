"""What a request leaves in cycles, which only a search for garbage finds: here the cycles are cut when it is done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


def let_streams_go() -> None:
    """For each stream the router makes a class, which as every class refers to itself, and holds by its constructor
    the stream with all its chunks, 600 objects."""
    from litellm.router import Router

    iterate = Router._acompletion_streaming_iterator
    inside = f"{iterate.__qualname__}.<locals>."

    async def acompletion_streaming_iterator(self: Any, *args: Any, **named: Any) -> Any:
        stream = await iterate(self, *args, **named)
        kind: Any = type(stream)
        if kind.__qualname__.startswith(inside) and "__init__" in vars(kind):
            del kind.__init__  # its only object is made
        return stream

    Router._acompletion_streaming_iterator = acompletion_streaming_iterator


def let_replies_go() -> None:
    """httpx binds the stream of a provider's reply to the reply that holds it, to note there how long it took: 75
    objects, which are one with the other."""
    from httpx._client import BoundAsyncStream

    kind: Any = BoundAsyncStream
    close = kind.aclose

    async def aclose(self: Any) -> None:
        try:
            await close(self)
        finally:
            self._response = SimpleNamespace()  # the time is noted

    kind.aclose = aclose

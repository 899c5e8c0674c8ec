"""The end of a stream: its chunks are put together once, for log, spend and usage."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

_WHOLE = "_speed_whole"
_MOST_CHUNKS = 300
"""Of a stream that is put together in a moment, by the event loop."""


def put_streams_together_once() -> None:
    """LiteLLM puts the chunks of a stream together to tell the usage, and again for log and spend, each time in a
    thread, with two copies for a cache that is not there, and looks for the usage in each chunk three times over.
    Here it is done once, and by the event loop where the stream is short and brings its usage, so that nothing has to
    be counted."""
    import litellm
    from litellm.litellm_core_utils.streaming_chunk_builder_utils import ChunkProcessor
    from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
    from litellm.types.utils import ModelResponseStream

    finalize = CustomStreamWrapper._finalize_completed_stream
    extract: Any = ChunkProcessor._extract_usage_chunk

    async def finalize_completed_stream(self: Any, cache_hit: bool) -> Any:
        whole = await put_together(self) if self.sent_last_chunk is True and litellm.cache is None else None
        if whole is None:
            return await finalize(self, cache_hit)
        self._propagate_usage_cost_to_hidden_params(whole, self.custom_llm_provider)
        if self.send_stream_usage is True and self.sent_stream_usage is False:
            self.sent_stream_usage = True
            return chunk_of_usage(self, whole)
        if self.stream_options is None and self._last_returned_hidden_params is not None:
            self._last_returned_hidden_params["usage"] = whole.usage
        log = self.logging_obj
        if getattr(log, "_on_deferred_stream_complete", None) is None:
            named = {"start_time": None, "end_time": None, "prefer_async_handlers": True}
            asyncio.create_task(log.dispatch_success_handlers(whole, cache_hit=cache_hit, **named))  # noqa: RUF006
        else:
            log._deferred_stream_complete_args = (whole, cache_hit)
        self._restore_consumer_correlation_context()
        raise StopAsyncIteration

    def extract_usage_chunk(chunk: Any) -> Any:
        if type(chunk) is ModelResponseStream and not brings_usage(chunk):
            return None
        return extract(chunk)

    CustomStreamWrapper._finalize_completed_stream = finalize_completed_stream
    ChunkProcessor._extract_usage_chunk = staticmethod(extract_usage_chunk)


async def put_together(stream: Any) -> Any:
    """As LiteLLM does, once for the same chunks; None where that fails, which it knows to handle."""
    import litellm
    from litellm.litellm_core_utils.asyncify import asyncify

    number, whole = stream.__dict__.get(_WHOLE, (0, None))
    if number == len(stream.chunks):
        return whole
    build = partial(
        litellm.stream_chunk_builder,
        chunks=stream.chunks,
        messages=stream.messages,
        logging_obj=stream.logging_obj,
        count_prompt_tokens=stream.count_prompt_tokens,
    )
    try:
        whole = build() if is_short(stream.chunks) else await asyncify(build)()
    except Exception:
        whole = None
    stream.__dict__[_WHOLE] = (len(stream.chunks), whole)
    return whole


def is_short(chunks: list[Any]) -> bool:
    """Whether these chunks are few and one of the last brings the usage."""
    return len(chunks) <= _MOST_CHUNKS and any(getattr(chunk, "usage", None) is not None for chunk in chunks[-2:])


def chunk_of_usage(stream: Any, whole: Any) -> Any:
    """The chunk that tells a client the usage of its stream; it shares nothing with the whole."""
    chunk = stream.model_response_creator()
    chunk.usage = whole.usage.model_copy(deep=True)
    tier = getattr(whole, "service_tier", None)
    if isinstance(tier, str) and tier:
        chunk.service_tier = tier
    return chunk


def brings_usage(chunk: Any) -> bool:
    """Whether a chunk of LiteLLM's has a usage, or one hidden."""
    if "usage" in chunk.__dict__ or "usage" in (chunk.__pydantic_extra__ or ()):
        return True
    hidden = (chunk.__pydantic_private__ or {}).get("_hidden_params")
    return type(hidden) is not dict or "usage" in hidden

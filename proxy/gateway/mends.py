"""What LiteLLM 1.106.2 gets wrong, put right in its own code; for chat completions in chat_mends.py. Used by app.py.

tests/e2e/test_front_doors.py and tests/gateway/test_ending.py tell when one of these is no longer needed, or no longer
fits.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from proxy.gateway.chat_mends import mend_chat
from proxy.gateway.made_for import fits

MOST_COUNTERS = 100_000
"""Entries of each of LiteLLM's caches of counters and keys: a few for each key in use, some hundred bytes each."""


def mend() -> None:
    """Mends the LiteLLM these were made for."""
    if not fits("what was mended of it is left out (proxy/gateway/mends.py)"):
        return
    ask_gemini_before_streaming()
    mend_generate_content()
    tell_parallel_calls_apart()
    name_fallbacks_of_limited_keys()
    count_for_many_keys()
    mend_chat()
    tell_of_deleted_keys()
    log_before_the_end()


def ask_gemini_before_streaming() -> None:
    """Has LiteLLM open a stream of Gemini's before it hands the stream on, as it does with the other providers'.

    Left to itself it asks when the first chunk is read. By then /v1/messages and /v1/responses have answered 200 and
    are past retries and fallbacks, and through all APIs a refusal counts as none of LiteLLM's own errors: it is
    retried where it should not be, and quoted as Python's bytes.
    """
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import VertexLLM

    begin_stream = VertexLLM.async_streaming

    async def async_streaming(self: Any, *arguments: Any, **named: Any) -> Any:
        stream = await begin_stream(self, *arguments, **named)
        await stream.fetch_stream()
        return stream

    VertexLLM.async_streaming = async_streaming


def mend_generate_content() -> None:
    """Has LiteLLM's generateContent routes serve every model as its other APIs do.

    Left to itself LiteLLM drops the temperature a model has here. And models of other providers than Google's, which
    are asked for a chat completion behind the scenes, get 500 and retries for every error of theirs; their streams
    say that no tokens were used, which is also what budgets then count.
    """
    from litellm.google_genai.adapters.handler import GenerateContentToCompletionHandler as Handler
    from litellm.google_genai.adapters.transformation import GoogleGenAIAdapter as Adapter
    from litellm.google_genai.main import GenerateContentHelper as Helper

    set_up, prepare, handle = (
        Helper.setup_generate_content_call,
        Handler._prepare_completion_kwargs,
        Handler.async_generate_content_handler,
    )
    translate = Adapter.translate_streaming_completion_to_generate_content

    def setup_generate_content_call(*arguments: Any, **named: Any) -> Any:
        if named.get("temperature") is not None:
            named["config"] = {"temperature": named["temperature"], **(named.get("config") or {})}
        return set_up(*arguments, **named)

    def prepare_completion_kwargs(*arguments: Any, **named: Any) -> Any:
        completion = prepare(*arguments, **named)
        if completion.get("stream"):
            completion.setdefault("stream_options", {"include_usage": True})
        return completion

    async def async_generate_content_handler(*arguments: Any, **named: Any) -> Any:
        try:
            return await handle(*arguments, **named)
        except ValueError as error:
            cause = error.__context__
            if cause is not None and hasattr(cause, "status_code"):
                raise cause from None
            raise

    def translate_streaming(self: Any, response: Any, wrapper: Any) -> Any:
        chunk, usage = translate(self, response, wrapper), getattr(response, "usage", None)
        if usage:
            chunk = {**(chunk or {}), "usageMetadata": self._map_usage(usage)}
        elif chunk:
            chunk.pop("usageMetadata", None)
        return chunk

    Helper.setup_generate_content_call = staticmethod(setup_generate_content_call)
    Handler._prepare_completion_kwargs = staticmethod(prepare_completion_kwargs)
    Handler.async_generate_content_handler = staticmethod(async_generate_content_handler)
    Adapter.translate_streaming_completion_to_generate_content = translate_streaming


def tell_parallel_calls_apart() -> None:
    """Has a stream of /v1/messages open a block for each call of a tool where several come in one chunk, as Gemini's
    do. Left to itself LiteLLM puts the arguments of all into the first one's."""
    from litellm.llms.anthropic.pass_through.adapters.streaming_iterator import _CombinedChunkSplitter as Splitter

    split = Splitter._split_by_payload_kind

    def split_by_payload_kind(chunk: Any) -> tuple[Any, ...]:
        return tuple(piece for part in split(chunk) for piece in one_call_each(part))

    def one_call_each(chunk: Any) -> list[Any]:
        calls = (chunk.choices[0].delta.tool_calls or []) if len(chunk.choices) == 1 else []
        if len(calls) < 2 or not all(call.function and call.function.name for call in calls):
            return [chunk]
        pieces = []
        for call in calls:
            piece = copy.deepcopy(chunk)
            piece.choices[0].delta.tool_calls = [call]
            pieces.append(piece)
        return pieces

    Splitter._split_by_payload_kind = staticmethod(split_by_payload_kind)


def name_fallbacks_of_limited_keys() -> None:
    """Has LiteLLM ask by its name for the fallback of a model for which a virtual key is at its limit.

    Left to itself it puts an entry of the router's chains, an object with settings, in place of the request's model,
    and answers 400 "'model' must be a string." instead of 429 or the fallback's reply.
    """
    from litellm.proxy.common_request_processing import ProxyBaseLLMRequestProcessing as Processing

    resolve = Processing._resolve_fallback_models

    def resolve_fallback_models(model: str, fallbacks: list[Any]) -> list[str] | None:
        found = resolve(model=model, fallbacks=fallbacks)
        return found and [entry["model"] if isinstance(entry, dict) else entry for entry in found]

    Processing._resolve_fallback_models = staticmethod(resolve_fallback_models)


def tell_of_deleted_keys() -> None:
    """Has LiteLLM tell the other gateways of a deleted key, as it does of one that is blocked or changed. Left to
    itself it forgets the key in this process alone, and every other one lets it in for up to a minute."""
    from litellm.proxy.common_utils.auth_cache_invalidation_pubsub import publish_auth_cache_invalidation
    from litellm.proxy.management_endpoints import key_management_endpoints as endpoints

    delete = endpoints.delete_verification_tokens

    async def delete_verification_tokens(*arguments: Any, **named: Any) -> Any:
        result = await delete(*arguments, **named)
        for key in result[1]:
            if key.token is not None:
                await publish_auth_cache_invalidation(cache_key=key.token)
        return result

    endpoints.delete_verification_tokens = delete_verification_tokens


def count_for_many_keys() -> None:
    """Has LiteLLM keep count of more than some sixty keys at a time.

    What it counts for limits and budgets is in caches of 200 entries, a few for each key, and of a full one those go
    first that end first: the counters of the minute. With a hundred keys in use, no key's limit holds any more, without
    a word.
    """
    from litellm.proxy import proxy_server

    usage = proxy_server.proxy_logging_obj.internal_usage_cache.dual_cache
    keys = proxy_server.user_api_key_cache
    for cache in (usage, keys, keys.key_object_cache, proxy_server.spend_counter_cache):
        cache.in_memory_cache.max_size_in_memory = MOST_COUNTERS


def log_before_the_end() -> None:
    """Has LiteLLM, told to stop, finish logging the requests it has just answered before it writes their spend.

    Left to itself it writes what is logged by then, and closes the database: what is logged a moment later is lost.
    Streams are logged by tasks of their own, the rest by its worker.
    """
    from litellm.litellm_core_utils.litellm_logging import Logging
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
    from litellm.proxy.shutdown.graceful_shutdown_manager import GracefulShutdownManager as Manager

    wait_for_requests = Manager.wait_for_drain
    of_a_stream = Logging.dispatch_success_handlers.__qualname__

    async def wait_for_drain(*arguments: Any, **named: Any) -> int:
        waited_for: int = await wait_for_requests(*arguments, **named)
        streams = [one for one in asyncio.all_tasks() if getattr(one.get_coro(), "__qualname__", "") == of_a_stream]
        await asyncio.wait([asyncio.create_task(GLOBAL_LOGGING_WORKER.flush()), *streams], timeout=LOGGING_SECONDS)
        return waited_for

    Manager.wait_for_drain = staticmethod(wait_for_drain)


LOGGING_SECONDS = 3
"""What logging to others may hold up the end."""

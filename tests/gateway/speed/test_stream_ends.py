"""Streams are put together once: what the client gets, and what is logged, is as when LiteLLM does it twice."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import litellm
import pytest
from litellm.litellm_core_utils.litellm_logging import Logging
from litellm.litellm_core_utils.streaming_chunk_builder_utils import ChunkProcessor
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from litellm.types.utils import ModelResponseStream, Usage

from proxy.gateway.speed import stream_ends
from tests.gateway.speed.conftest import Keep
from tests.gateway.speed.test_streams import FIRST, LAST, STREAMS, USAGE, USED, chunk, shown, stream, texts

ASKED: dict[str, Any] = {"stream_options": {"include_usage": True}}
PLAIN = STREAMS["texts and usage"]
MORE_STREAMS = {
    **STREAMS,
    "calls and usage": [*STREAMS["calls"], USED],
    "usage at the end": [FIRST, *texts(3), chunk("stop", rest={"usage": USAGE})],
    "usage in each": [FIRST, *[{**one, "usage": USAGE} for one in texts(3)], LAST, USED],
    "usage in the first": [{**FIRST, "usage": USAGE}, *texts(3), LAST],
    "no end": [FIRST, *texts(3), USED],
    "another tier": [{**one, "service_tier": "flex"} for one in PLAIN],
    "one": [LAST],
}

Logged = list[tuple[Any, dict[str, Any]]]
Built = list[threading.Thread]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Logged:
    """What LiteLLM is given to log: replies, and how."""
    found: Logged = []

    async def dispatch(self: Any, result: Any = None, **named: Any) -> None:
        found.append((result, named))

    monkeypatch.setattr(Logging, "dispatch_success_handlers", dispatch)
    return found


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    """The threads that have put a stream together."""
    by: Built = []
    build = litellm.stream_chunk_builder

    def noting(*args: Any, **named: Any) -> Any:
        by.append(threading.current_thread())
        return build(*args, **named)

    monkeypatch.setattr(litellm, "stream_chunk_builder", noting)
    return by


@pytest.fixture
def once(keep: Keep) -> None:
    keep(CustomStreamWrapper, "_finalize_completed_stream")
    keep(ChunkProcessor, "_extract_usage_chunk")
    stream_ends.put_streams_together_once()


def run(chunks: list[dict[str, Any]], **options: Any) -> list[Any]:
    async def to_the_end() -> list[Any]:
        found = await stream(chunks, **options)
        await asyncio.sleep(0)  # what is logged is a task of its own
        return found

    return asyncio.run(to_the_end())


def of(logged: Logged) -> list[Any]:
    return [
        (
            result and {**result.model_dump(), "created": 0},
            result and {name: value for name, value in result._hidden_params.items() if name != "created_at"},
            result and type(result.usage),
            named,
        )
        for result, named in logged
    ]


@pytest.mark.parametrize("options", [{}, ASKED], ids=["", "usage"])
@pytest.mark.parametrize("kind", MORE_STREAMS)
def test_replies_and_logs(keep: Keep, logged: Logged, kind: str, options: dict[str, Any]) -> None:
    wanted, wanted_log = shown(run(MORE_STREAMS[kind], **options)), of(logged)
    assert len(wanted_log) == 1
    logged.clear()
    keep(CustomStreamWrapper, "_finalize_completed_stream")
    keep(ChunkProcessor, "_extract_usage_chunk")
    stream_ends.put_streams_together_once()
    assert shown(run(MORE_STREAMS[kind], **options)) == wanted
    assert of(logged) == wanted_log


@pytest.mark.parametrize("options", [{}, ASKED], ids=["", "usage"])
@pytest.mark.usefixtures("once", "logged")
def test_once_and_by_the_loop(built: Built, options: dict[str, Any]) -> None:
    run(PLAIN, **options)
    assert built == [threading.current_thread()]


@pytest.mark.parametrize("options", [{}, ASKED], ids=["", "usage"])
@pytest.mark.parametrize("kind", ["texts", "usage in the first"])
@pytest.mark.usefixtures("once", "logged")
def test_what_may_have_to_be_counted_has_a_thread(built: Built, kind: str, options: dict[str, Any]) -> None:
    run(MORE_STREAMS[kind], **options)
    assert len(built) == 1
    assert built[0] is not threading.current_thread()


@pytest.mark.parametrize("options", [{}, ASKED], ids=["", "usage"])
@pytest.mark.usefixtures("once", "logged")
def test_a_long_stream_has_a_thread(built: Built, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    monkeypatch.setattr(stream_ends, "_MOST_CHUNKS", 5)
    run(PLAIN, **options)
    assert len(built) == 1
    assert built[0] is not threading.current_thread()


@pytest.mark.usefixtures("once", "logged")
def test_a_cache_gets_its_copies(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    cached: list[Any] = []

    async def cache(self: Any, processed_chunk: Any, cache_hit: bool) -> None:
        cached.append(processed_chunk)

    monkeypatch.setattr(CustomStreamWrapper, "async_cache_streaming_response", cache)
    run(PLAIN)
    assert cached == []
    monkeypatch.setattr(litellm, "cache", object())
    run(PLAIN)
    assert len(cached) == 1


@pytest.mark.usefixtures("once")
def test_a_client_gets_a_usage_of_its_own(logged: Logged) -> None:
    usage = run(PLAIN, **ASKED)[-1].usage
    usage.prompt_tokens = 1000
    usage.prompt_tokens_details.cached_tokens = 1000
    (whole, _), = logged  # fmt: skip
    assert (whole.usage.prompt_tokens, whole.usage.prompt_tokens_details.cached_tokens) == (1, 0)


@pytest.mark.parametrize("options", [{}, ASKED], ids=["", "usage"])
def test_a_stream_that_cannot_be_put_together(
    keep: Keep, logged: Logged, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ValueError("cannot be put together")

    monkeypatch.setattr(litellm, "stream_chunk_builder", fails)
    wanted, wanted_log = shown(run(PLAIN, **options)), [(result.usage, named) for result, named in logged]
    assert wanted_log[0][0].total_tokens == 3
    logged.clear()
    keep(CustomStreamWrapper, "_finalize_completed_stream")
    keep(ChunkProcessor, "_extract_usage_chunk")
    stream_ends.put_streams_together_once()
    assert shown(run(PLAIN, **options)) == wanted
    assert [(result.usage, named) for result, named in logged] == wanted_log


@pytest.mark.usefixtures("once")
def test_a_log_that_waits_for_guardrails(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[Logging] = []
    create = Logging.__init__

    def made(self: Any, *args: Any, **named: Any) -> None:
        create(self, *args, **named)
        self._on_deferred_stream_complete = print
        waiting.append(self)

    monkeypatch.setattr(Logging, "__init__", made)
    run(PLAIN, **ASKED)
    assert logged == []
    whole, cache_hit = waiting[0]._deferred_stream_complete_args  # type: ignore[misc]
    assert (whole.choices[0].message.content, cache_hit) == (" word 0 word 1 word 2 word 3 word 4", False)


def test_where_a_usage_is(keep: Keep) -> None:
    plain, declared, hidden, none_hidden, dumb = (ModelResponseStream() for _ in range(5))
    declared.usage = Usage(prompt_tokens=1, completion_tokens=2)  # type: ignore[attr-defined]
    hidden._hidden_params = {"usage": Usage(prompt_tokens=3, completion_tokens=4)}
    none_hidden._hidden_params = {}
    dumb._hidden_params = None
    chunks = [plain, declared, hidden, none_hidden, {"usage": USAGE}, {}, {"choices": []}]
    extract = ChunkProcessor._extract_usage_chunk
    wanted = [extract(one) for one in chunks]  # type: ignore[arg-type]
    assert [bool(one) for one in wanted] == [False, True, True, False, True, False, False]
    keep(CustomStreamWrapper, "_finalize_completed_stream")
    keep(ChunkProcessor, "_extract_usage_chunk")
    stream_ends.put_streams_together_once()
    assert [ChunkProcessor._extract_usage_chunk(one) for one in chunks] == wanted  # type: ignore[arg-type]
    assert stream_ends.brings_usage(dumb)


@pytest.mark.usefixtures("once", "logged")
def test_the_log_of_the_consumer_is_its_own_again(monkeypatch: pytest.MonkeyPatch) -> None:
    restored: list[dict[str, Any]] = []
    monkeypatch.setattr(
        CustomStreamWrapper, "_restore_consumer_correlation_context", lambda _, **named: restored.append(named)
    )
    run(PLAIN, **ASKED)
    assert restored.count({}) == 1  # with names, it is called when the stream is no more

"""Chunks and replies made the short way are those that are made the long way, by OpenAI's SDK and LiteLLM."""

from __future__ import annotations

import asyncio
import copy
import json
import uuid
from datetime import datetime
from typing import Any

import httpx
import litellm
import openai
import pytest
from litellm.litellm_core_utils.litellm_logging import Logging
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from openai import not_given, omit
from openai._base_client import BaseClient
from openai._models import construct_type
from openai.resources.chat.completions import completions
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage, chat_completion
from openai.types.chat import chat_completion_chunk as chunk_module
from openai.types.chat import completion_create_params as params

from proxy.gateway.speed import openai_sdk, streams
from tests.gateway.speed.conftest import Keep

CALL = {"index": 0, "id": "call", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OBFUSCATED = {"obfuscation": "y"}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0}}


def chunk(finish: str | None = None, *, rest: dict[str, Any] | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    top = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024", "usage": None}
    return {**top, "system_fingerprint": "fp", "service_tier": "default", "choices": [choice], **(rest or {})}


def texts(number: int) -> list[dict[str, Any]]:
    return [chunk(content=f" word {at}", rest={"obfuscation": f"x{at}"}) for at in range(number)]


FIRST, LAST = chunk(role="assistant", content=""), chunk("stop")
USED = chunk(rest={"choices": [], "usage": USAGE})
STREAMS: dict[str, list[dict[str, Any]]] = {
    "texts": [FIRST, *texts(5), LAST],
    "texts and usage": [FIRST, *texts(5), LAST, USED],
    "no first role": [*texts(4), LAST],
    "calls": [FIRST, *texts(3), chunk(tool_calls=[CALL]), *texts(2), chunk("tool_calls")],
    "refusal": [FIRST, chunk(refusal="I "), chunk(refusal="won't"), LAST],
    "another fingerprint": [
        FIRST,
        *texts(3),
        chunk(content="x", rest={**OBFUSCATED, "system_fingerprint": "other"}),
        *texts(2),
        LAST,
    ],
    "another model": [FIRST, *texts(3), chunk(content="x", rest={**OBFUSCATED, "model": "other"}), *texts(2), LAST],
    "more attributes": [FIRST, *texts(3), chunk(content="x", rest={"more": {"a": 1}}), *texts(2), LAST],
    "text and call": [FIRST, *texts(3), chunk(content="x", tool_calls=[CALL], rest=OBFUSCATED), *texts(2), LAST],
    "text and refusal": [FIRST, *texts(3), chunk(content="x", refusal="no", rest=OBFUSCATED), *texts(2), LAST],
    "text and role": [FIRST, *texts(3), chunk(content="x", role="assistant", rest=OBFUSCATED), *texts(2), LAST],
    "empty texts": [FIRST, *texts(2), chunk(content=""), chunk(content=None), *texts(2), LAST],
    "end with a text": [FIRST, *texts(3), chunk("length", content="end")],
    "odd delta": [FIRST, *texts(3), chunk(content="x", reasoning_content="hm"), *texts(2), LAST],
    "one text again and again": [FIRST, *[chunk(content="same text")] * 8, LAST],
}


async def stream(chunks: list[dict[str, Any]], **options: Any) -> list[Any]:
    logging = Logging(
        model="gpt-4o",
        messages=[{"role": "user", "content": "x"}],
        stream=True,
        call_type="acompletion",
        start_time=datetime.now(),
        litellm_call_id="1",
        function_id="1",
    )
    logging.model_call_details["litellm_params"] = {}

    async def source() -> Any:
        for one in copy.deepcopy(chunks):
            yield construct_type(type_=ChatCompletionChunk, value=one)

    wrapper = CustomStreamWrapper(source(), "gpt-4o", logging, "openai", **options)
    return [one async for one in wrapper]


def shown(chunks: list[Any]) -> list[Any]:
    found = []
    for one in chunks:
        hidden = {name: value for name, value in one._hidden_params.items() if name != "created_at"}
        dumps = [one.model_dump(), json.loads(one.model_dump_json(exclude_none=True, exclude_unset=True))]
        for dump in dumps:
            dump.pop("created", None)
        found.append((type(one), dumps, one.model_fields_set, str(hidden)))
    return found


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}], ids=["", "usage"])
@pytest.mark.parametrize("kind", STREAMS)
def test_chunks_of_a_stream(keep: Keep, kind: str, options: dict[str, Any]) -> None:
    wanted = shown(asyncio.run(stream(STREAMS[kind], **options)))
    keep(CustomStreamWrapper, "chunk_creator")
    streams.repeat_plain_chunks()
    chunks = asyncio.run(stream(STREAMS[kind], **options))
    assert shown(chunks) == wanted
    times = [one._hidden_params["created_at"] for one in chunks]
    assert times == sorted(times)


def test_most_chunks_of_text_are_copies(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    create = CustomStreamWrapper.chunk_creator
    monkeypatch.setattr(CustomStreamWrapper, "chunk_creator", lambda self, chunk: made.append(1) or create(self, chunk))
    keep(CustomStreamWrapper, "chunk_creator")
    streams.repeat_plain_chunks()
    asyncio.run(stream([FIRST, *texts(40), LAST]))
    assert len(made) < 6


def test_chunks_share_nothing(keep: Keep) -> None:
    keep(CustomStreamWrapper, "chunk_creator")
    streams.repeat_plain_chunks()
    chunks = asyncio.run(stream([FIRST, *texts(4), LAST]))[1:5]
    for one in chunks:
        one._hidden_params["mine"] = True
        one.choices[0].delta.content = "changed"
        assert [other.choices[0].delta.content for other in chunks].count("changed") == chunks.index(one) + 1
        assert sum("mine" in other._hidden_params for other in chunks) == chunks.index(one) + 1


def test_a_stream_that_repeats_itself_is_ended_all_the_same(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "REPEATED_STREAMING_CHUNK_LIMIT", 5)
    keep(CustomStreamWrapper, "chunk_creator")
    streams.repeat_plain_chunks()
    with pytest.raises(litellm.exceptions.MidStreamFallbackError, match="repeating the same chunk"):
        asyncio.run(stream([FIRST, *[chunk(content="same text")] * 9, LAST]))


MESSAGE = {"role": "assistant", "content": "Hi", "refusal": None, "annotations": []}
WHOLE = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE, "service_tier": "default"}
REPLIES: list[dict[str, Any]] = [
    {**WHOLE, "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop", "logprobs": None}]},
    {**WHOLE, "choices": [{"index": 0, "message": {**MESSAGE, "tool_calls": [CALL]}, "finish_reason": "tool_calls"}]},
    {**WHOLE, "choices": [{"index": 0, "message": {**MESSAGE, "odd": [1]}, "finish_reason": "new"}], "more": {"a": 1}},
    {**WHOLE, "choices": [{"index": "0", "message": None, "finish_reason": None}], "service_tier": "unheard of"},
    {"choices": None, "usage": {"prompt_tokens": "many"}, "created": "now"},
    {"choices": [None, "odd"], "model": 5},
]
CHUNKS = [one for chunks in STREAMS.values() for one in chunks]


@pytest.fixture
def planned(keep: Keep) -> None:
    kinds = (ChatCompletion, ChatCompletionChunk, ChatCompletionMessage)
    for kind in (*kinds, chat_completion.Choice, chunk_module.Choice, chunk_module.ChoiceDelta):
        keep(kind, "construct", "model_construct")
    keep(BaseClient, "_process_response_data")


@pytest.mark.usefixtures("planned")
def test_replies_are_read_as_the_sdk_reads_them() -> None:
    def read() -> list[Any]:
        found = [construct_type(type_=ChatCompletion, value=copy.deepcopy(one)) for one in REPLIES]
        return found + [construct_type(type_=ChatCompletionChunk, value=copy.deepcopy(one)) for one in CHUNKS]

    wanted = read()
    openai_sdk.read_replies_by_plan()
    assert "fast_construct" in repr(ChatCompletionChunk.construct)
    for found, one in zip(read(), wanted, strict=True):
        assert found == one
        assert found.model_dump(warnings=False) == one.model_dump(warnings=False)
        assert found.model_dump(exclude_unset=True, warnings=False) == one.model_dump(
            exclude_unset=True, warnings=False
        )
        assert repr(found) == repr(one)


def test_what_a_reply_is_made_into(keep: Keep) -> None:
    reply = httpx.Response(200, request=httpx.Request("POST", "http://one"))
    clients = [openai.OpenAI(api_key="-"), openai.OpenAI(api_key="-", _strict_response_validation=True)]
    asked = [
        (client, kind, copy.deepcopy(data))
        for client in clients
        for kind in (ChatCompletion, ChatCompletionChunk, ChatCompletionMessage, object)
        for data in (CHUNKS[0], {}, [CHUNKS[0]], "text", None)
    ]

    def made() -> list[Any]:
        found = []
        for client, kind, data in asked:
            try:
                one = client._process_response_data(data=data, cast_to=kind, response=reply)
            except openai.APIResponseValidationError:
                one = "refused"
            found.append((type(one), one))
        return found

    wanted = made()
    assert any(one == "refused" for _, one in wanted)
    keep(BaseClient, "_process_response_data")
    made_by_sdk: list[Any] = []
    process = BaseClient._process_response_data
    BaseClient._process_response_data = lambda self, **named: made_by_sdk.append(named) or process(self, **named)  # type: ignore[method-assign, assignment, func-returns-value]
    openai_sdk.construct_directly({ChatCompletion, ChatCompletionChunk})
    assert made() == wanted
    assert len(made_by_sdk) == len(asked) - 4


ASKED: list[dict[str, Any]] = [
    {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5, "stop": omit, "n": not_given},
    {"model": "m", "messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}], "stream": True},
    {"model": "m", "messages": [ChatCompletionMessage(role="assistant", content="Hi")], "tools": []},
    {"model": "m", "messages": ({"role": "user", "content": "a tuple"},), "metadata": {"a": "b"}},
    {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}], "tools": [{"a": [1]}]},
]


@pytest.mark.parametrize("kind", [params.CompletionCreateParamsNonStreaming, params.CompletionCreateParamsStreaming])
def test_requests_are_sent_as_the_sdk_sends_them(keep: Keep, kind: Any) -> None:
    def transformed() -> list[Any]:
        return [asyncio.run(completions.async_maybe_transform(one, kind)) for one in ASKED]  # type: ignore[attr-defined]

    wanted = transformed()
    keep(completions, "async_maybe_transform")
    openai_sdk.send_plain_requests_as_they_are()
    found = transformed()
    assert found == wanted
    assert found[0]["messages"] is ASKED[0]["messages"]


def test_ids_are_random_and_each_another(keep: Keep) -> None:
    keep(BaseClient, "_idempotency_key")
    openai_sdk.make_ids_in_stock()
    client = object.__new__(BaseClient)
    ids = [client._idempotency_key() for _ in range(600)]
    assert len(set(ids)) == len(ids)
    assert all(one.startswith("stainless-python-retry-") for one in ids)
    assert {uuid.UUID(one[len("stainless-python-retry-") :]).version for one in ids} == {4}


def test_addresses(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (openai.AsyncOpenAI(api_key="-", base_url=f"http://{name}/v1") for name in ("one", "other"))
    paths = ["/chat/completions", "files?a=1", "http://elsewhere/x", "/chat/completions"]
    prepare, prepared = BaseClient._prepare_url, []

    def told(self: Any, url: str) -> httpx.URL:
        prepared.append(url)
        return prepare(self, url)

    wanted = [str(client._prepare_url(path)) for client in (one, other) for path in paths]
    keep(BaseClient, "_prepare_url")
    monkeypatch.setattr(BaseClient, "_prepare_url", told)
    openai_sdk.remember_addresses()
    for _ in range(2):
        assert [str(client._prepare_url(path)) for client in (one, other) for path in paths] == wanted
    assert prepared == paths[:3] * 2
    one.base_url = "http://third"
    assert str(one._prepare_url("/chat/completions")) == "http://third/chat/completions"
    monkeypatch.setattr(openai_sdk, "_MOST_ADDRESSES", 1)
    assert str(one._prepare_url("/models")) == "http://third/models"
    assert str(one._prepare_url("/models")) == "http://third/models"


def test_cookies_that_are_set_are_kept(keep: Keep) -> None:
    keep(httpx.Cookies, "extract_cookies")
    openai_sdk.look_for_cookies_where_there_are_some()

    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"Set-Cookie": "a=b"} if request.url.path == "/set" else {}
        return httpx.Response(200, headers=headers, text=request.headers.get("cookie", "none"))

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        said = [client.get(f"https://example.com{path}").text for path in ("/", "/set", "/")]
    assert said == ["none", "none", "a=b"]

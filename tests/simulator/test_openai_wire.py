"""The simulator as OpenAI, seen through OpenAI's own SDK."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel, Field

from tests.simulator.running import Double

USER: list[Any] = [{"role": "user", "content": "What is the weather in Turin?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
            "required": ["city"],
        },
    },
}
CLOCK: Any = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}

MISSING = "missing_required_parameter"


class Person(BaseModel):
    name: str
    age: int = Field(ge=18, lt=20)


def test_completion(openai_client: openai.OpenAI) -> None:
    raw = openai_client.chat.completions.with_raw_response.create(model="gpt-4o", messages=USER)
    reply = raw.parse()
    assert reply.object == "chat.completion"
    assert reply.id.startswith("chatcmpl-")
    assert reply.model == "gpt-4o-2024-08-06"
    assert [choice.finish_reason for choice in reply.choices] == ["stop"]
    assert "gpt-4o" in (reply.choices[0].message.content or "")
    assert "weather in Turin" in (reply.choices[0].message.content or "")
    assert reply.usage is not None
    # 3 for the reply, 4 for the message, 7 for its words in o200k_base
    assert reply.usage.prompt_tokens == 14
    assert reply.usage.completion_tokens > 20
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert raw.headers["x-request-id"].startswith("req_")
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.headers["x-ratelimit-limit-requests"] == "10000"
    assert raw.headers["content-type"] == "application/json"


def test_stream_has_openais_events(double: Double) -> None:
    body = {"model": "gpt-4o", "messages": USER, "stream": True, "stream_options": {"include_usage": True}}
    answer = double.http.post("/openai/v1/chat/completions", json=body, headers={"authorization": "Bearer any"})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, done, end = answer.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    first, *middle, last, usage = chunks
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert all(list(chunk["choices"][0]["delta"]) == ["content"] for chunk in middle)
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in middle)
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert all(chunk["usage"] is None for chunk in [first, *middle, last])
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == len(middle)


def test_stream_says_what_the_whole_reply_says(openai_client: openai.OpenAI) -> None:
    whole = openai_client.chat.completions.create(model="gpt-4o-mini", messages=USER, n=2)
    streamed = ["", ""]
    for chunk in openai_client.chat.completions.create(model="gpt-4o-mini", messages=USER, n=2, stream=True):
        assert chunk.usage is None
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == [choice.message.content for choice in whole.choices]
    assert streamed[0] != streamed[1]


def test_async_client(double: Double) -> None:
    async def ask() -> tuple[str | None, str]:
        base = double.bases["openai"]
        async with openai.AsyncOpenAI(base_url=base, api_key="any", max_retries=0) as client:
            whole = await client.chat.completions.create(model="gpt-4o", messages=USER)
            stream = await client.chat.completions.create(model="gpt-4o", messages=USER, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            return whole.choices[0].message.content, text

    whole, streamed = asyncio.run(ask())
    assert whole == streamed


def test_tool_call_then_text_after_its_result(openai_client: openai.OpenAI) -> None:
    asked = openai_client.chat.completions.create(model="gpt-4o", messages=USER, tools=[WEATHER, CLOCK])
    choice = asked.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    assert call.id.startswith("call_")
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert isinstance(arguments["city"], str)
    assert arguments["days"] >= 2
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    turns: list[Any] = [*USER, choice.message.model_dump(exclude_none=True), result]
    told = openai_client.chat.completions.create(model="gpt-4o", messages=turns, tools=[WEATHER])
    assert told.choices[0].finish_reason == "stop"
    assert told.choices[0].message.content


def test_tool_call_streamed(openai_client: openai.OpenAI) -> None:
    with openai_client.chat.completions.stream(model="gpt-4o", messages=USER, tools=[WEATHER]) as stream:
        names = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in names
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert json.loads(calls[0].function.arguments)["city"] == "example city"
    assert final.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("choice", "called", "finish"),
    [
        ("none", None, "stop"),
        ("auto", "get_weather", "tool_calls"),
        ("required", "get_weather", "tool_calls"),
        ({"type": "function", "function": {"name": "get_time"}}, "get_time", "stop"),
    ],
)
def test_tool_choice(openai_client: openai.OpenAI, choice: Any, called: str | None, finish: str) -> None:
    reply = openai_client.chat.completions.create(
        model="gpt-4o", messages=USER, tools=[WEATHER, CLOCK], tool_choice=choice
    ).choices[0]
    calls: list[Any] = reply.message.tool_calls or []
    assert [call.function.name for call in calls] == ([] if called is None else [called])
    assert reply.finish_reason == finish


def test_tool_required_after_a_result_too(openai_client: openai.OpenAI) -> None:
    function = {"name": "get_weather", "arguments": "{}"}
    asked = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    turns: Any = [*USER, asked, {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}]
    reply = openai_client.chat.completions.create(
        model="gpt-4o", messages=turns, tools=[WEATHER], tool_choice="required"
    )
    assert reply.choices[0].message.tool_calls


def test_structured_output(openai_client: openai.OpenAI) -> None:
    parsed = openai_client.chat.completions.parse(model="gpt-4o", messages=USER, response_format=Person)
    person = parsed.choices[0].message.parsed
    assert person is not None
    assert 18 <= person.age < 20


def test_json_mode_gives_an_object(openai_client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Answer as JSON."}]
    reply = openai_client.chat.completions.create(
        model="gpt-4o", messages=messages, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)


@pytest.mark.parametrize(
    "fence",
    [
        """{"type": "object", "properties": {"n": {"const": 7}}}""",
        """{'type': 'object', 'properties': {'n': {'const': 7}}}""",
    ],
)
def test_json_mode_follows_a_schema_in_the_prompt(openai_client: openai.OpenAI, fence: str) -> None:
    messages: Any = [{"role": "user", "content": f"Use this JSON schema:\n```json\n{fence}\n```"}]
    reply = openai_client.chat.completions.create(
        model="gpt-4o", messages=messages, response_format={"type": "json_object"}
    )
    assert json.loads(reply.choices[0].message.content or "") == {"n": 7}


@pytest.mark.parametrize(
    ("model", "limit"),
    [("gpt-4o", "max_tokens"), ("gpt-4o", "max_completion_tokens"), ("gpt-5-mini", "max_completion_tokens")],
)
def test_token_limit(openai_client: openai.OpenAI, model: str, limit: str) -> None:
    settings: Any = {limit: 5}
    reply = openai_client.chat.completions.create(model=model, messages=USER, **settings)
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 5
    full = openai_client.chat.completions.create(model=model, messages=USER).choices[0].message.content
    assert (full or "").startswith(reply.choices[0].message.content or "-")


def test_token_limit_cuts_a_character_nowhere(openai_client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "🏳️‍🌈👩‍👩‍👧𒐫 ꙮ" * 3}]
    texts = set()
    for limit in range(1, 40):
        whole = openai_client.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=limit)
        stream = openai_client.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=limit, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert text == whole.choices[0].message.content
        assert "\ufffd" not in text
        texts.add(text)
    assert len(texts) > 20


@pytest.mark.parametrize("stop", ["MARK", ["never", "MARK"]])
def test_stop(openai_client: openai.OpenAI, stop: Any) -> None:
    messages: Any = [{"role": "user", "content": "before MARK after"}]
    reply = openai_client.chat.completions.create(model="gpt-4o", messages=messages, stop=stop)
    assert (reply.choices[0].message.content or "").endswith('"before ')
    assert reply.choices[0].finish_reason == "stop"


def test_image_and_file_parts_are_taken(openai_client: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    messages: Any = [{"role": "user", "content": parts}]
    reply = openai_client.chat.completions.create(model="gpt-4o", messages=messages)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 3 + 4 + 1 + 765


def test_unknown_fields_are_tolerated(openai_client: openai.OpenAI) -> None:
    openai_client.chat.completions.create(model="gpt-4o", messages=USER, extra_body={"surprise": {"a": 1}})


def test_models(openai_client: openai.OpenAI) -> None:
    assert {"gpt-4o", "gpt-4o-mini", "gpt-5-mini-2025-08-07"} <= {model.id for model in openai_client.models.list()}


@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/openai/v1/models"])
@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer"}, {"authorization": "Basic abc"}])
def test_no_key_is_401(double: Double, path: str, header: dict[str, str]) -> None:
    method = "GET" if path.endswith("models") else "POST"
    answer = double.http.request(method, path, json={"model": "gpt-4o", "messages": USER}, headers=header)
    assert answer.status_code == 401
    assert "You didn't provide an API key" in answer.json()["error"]["message"]


def test_unknown_model_is_404(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        openai_client.chat.completions.create(model="claude-3-opus", messages=USER)
    assert refused.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": None}, "messages", "invalid_type"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": ["hi"]}, "messages[0]", "invalid_type"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, "messages[0].content[0].type", "invalid_value"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "hi"}]}, "messages.[0].role", None),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}, "messages.[1].role", None),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"max_tokens": "5"}, "max_tokens", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"n": True}, "n", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"stop": [1]}, "stop", "invalid_type"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
        ({"tools": {}}, "tools", "invalid_type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        ({"tool_choice": "required"}, "tool_choice", None),
        ({"tools": [WEATHER], "tool_choice": "maybe"}, "tool_choice", "invalid_value"),
        ({"tools": [WEATHER], "tool_choice": {"function": {"name": "other"}}}, "tool_choice", None),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_object"}}, "messages", None),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "odd"}}}},
            "response_format",
            None,
        ),
        ({"tools": [CLOCK], "tool_choice": {"type": "odd"}}, "tool_choice.type", "invalid_value"),
        ({"tools": [CLOCK], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools", MISSING),
        (
            {"tools": [CLOCK], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "odd", "tools": []}}},
            "tool_choice.allowed_tools.mode",
            "invalid_value",
        ),
        ({"model": "gpt-5-mini", "temperature": 0.7}, "temperature", "unsupported_value"),
        ({"model": "o3", "temperature": 0}, "temperature", "unsupported_value"),
        ({"model": "gpt-5-mini-2025-08-07", "max_tokens": 5}, "max_tokens", "unsupported_parameter"),
        ({"model": "gpt-5", "stop": "x"}, "stop", "unsupported_parameter"),
        ({"model": "gpt-5", "top_p": 0.5}, "top_p", "unsupported_parameter"),
    ],
)
def test_bad_requests_are_400(openai_client: openai.OpenAI, body: dict[str, Any], param: str, code: str | None) -> None:
    sent = {"model": "gpt-4o", "messages": USER, **body}
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.post("/chat/completions", body=sent, cast_to=httpx.Response)
    assert (refused.value.param, refused.value.code) == (param, code)
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "We could not parse the JSON body of your request."),
        (b"[]", "We could not parse the JSON body of your request."),
        (b"[" * 5000, "We could not parse the JSON body of your request."),
        (b'{"messages": []}', "you must provide a model parameter"),
        (b'{"model": "gpt-4o"}', "Missing required parameter: 'messages'."),
    ],
)
def test_bodies_that_are_none_are_400(double: Double, body: bytes, message: str) -> None:
    answer = double.http.post("/openai/v1/chat/completions", content=body, headers={"authorization": "Bearer any"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(message)


def test_default_temperature_is_fine_with_gpt_5(openai_client: openai.OpenAI) -> None:
    reply = openai_client.chat.completions.create(model="gpt-5-mini", messages=USER, temperature=1)
    assert reply.model == "gpt-5-mini-2025-08-07"


def test_a_body_too_large_is_413(double: Double) -> None:
    huge = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * (33 * 1024 * 1024)}]}
    answer = double.http.post("/openai/v1/chat/completions", json=huge, headers={"authorization": "Bearer any"})
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "invalid_request_error"

"""The simulator as Anthropic, seen through Anthropic's own SDK."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import httpx
import pytest
from pydantic import BaseModel

from tests.simulator.running import Double

MODEL = "claude-3-5-sonnet-20241022"
USER: list[Any] = [{"role": "user", "content": "What is the weather in Turin?"}]
WEATHER: Any = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
        "required": ["city"],
    },
}
CLOCK: Any = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}
HEADERS = {"x-api-key": "any", "anthropic-version": "2023-06-01"}


class Person(BaseModel):
    name: str
    age: int


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    parsed = []
    for event in text.strip().split("\n\n"):
        name, data = event.split("\n")
        parsed.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return parsed


def test_message(anthropic_client: anthropic.Anthropic) -> None:
    raw = anthropic_client.messages.with_raw_response.create(model=MODEL, max_tokens=200, messages=USER)
    reply = raw.parse()
    assert (reply.type, reply.role, reply.model) == ("message", "assistant", MODEL)
    assert reply.id.startswith("msg_01")
    assert reply.stop_reason == "end_turn"
    assert reply.stop_sequence is None
    assert reply.content[0].type == "text"
    assert MODEL in reply.content[0].text
    assert reply.usage.input_tokens == 14
    assert reply.usage.output_tokens > 20
    assert raw.headers["request-id"].startswith("req_")
    assert raw.headers["anthropic-ratelimit-requests-limit"] == "4000"
    assert raw.headers["anthropic-ratelimit-output-tokens-reset"].endswith("Z")


def test_system_prompt_counts(anthropic_client: anthropic.Anthropic) -> None:
    reply = anthropic_client.messages.create(model=MODEL, max_tokens=9, messages=USER, system="Be brief and clear.")
    assert reply.usage.input_tokens == 14 + 5


def test_stream_has_anthropics_events(double: Double) -> None:
    body = {"model": MODEL, "max_tokens": 200, "messages": USER, "stream": True}
    answer = double.http.post("/anthropic/v1/messages", json=body, headers=HEADERS)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = events_of(answer.text)
    names = [name for name, _ in events]
    deltas = names.count("content_block_delta")
    assert deltas > 5
    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert all(data["type"] == name for name, data in events)
    start, end = events[0][1]["message"], events[-2][1]
    assert (start["content"], start["stop_reason"]) == ([], None)
    assert start["usage"]["input_tokens"] == 14
    assert end["delta"] == {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None}
    assert end["usage"]["output_tokens"] > 20


def test_stream_says_what_the_whole_reply_says(anthropic_client: anthropic.Anthropic) -> None:
    whole = anthropic_client.messages.create(model=MODEL, max_tokens=200, messages=USER)
    with anthropic_client.messages.stream(model=MODEL, max_tokens=200, messages=USER) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert whole.content[0].type == "text"
    assert text == whole.content[0].text
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.id != whole.id


def test_async_client(double: Double) -> None:
    async def ask() -> tuple[Any, str]:
        base = double.bases["anthropic"]
        async with anthropic.AsyncAnthropic(base_url=base, api_key="any", max_retries=0) as client:
            whole = await client.messages.create(model=MODEL, max_tokens=200, messages=USER)
            async with client.messages.stream(model=MODEL, max_tokens=200, messages=USER) as stream:
                text = "".join([part async for part in stream.text_stream])
            return whole.content[0], text

    block, streamed = asyncio.run(ask())
    assert block.text == streamed


def test_tool_use_then_text_after_its_result(anthropic_client: anthropic.Anthropic) -> None:
    asked = anthropic_client.messages.create(model=MODEL, max_tokens=200, messages=USER, tools=[WEATHER, CLOCK])
    assert asked.stop_reason == "tool_use"
    block = asked.content[0]
    assert block.type == "tool_use"
    assert block.id.startswith("toolu_01")
    assert block.name == "get_weather"
    assert block.input == {"city": "example city", "days": 2}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}]}
    turns: Any = [*USER, {"role": "assistant", "content": [block.model_dump(exclude_none=True)]}, result]
    told = anthropic_client.messages.create(model=MODEL, max_tokens=200, messages=turns, tools=[WEATHER])
    assert told.stop_reason == "end_turn"
    assert told.content[0].type == "text"
    assert "weather in Turin" in told.content[0].text


def test_tool_use_streamed(anthropic_client: anthropic.Anthropic) -> None:
    with anthropic_client.messages.stream(model=MODEL, max_tokens=200, messages=USER, tools=[WEATHER]) as stream:
        deltas = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert len(deltas) > 1
    assert final.content[0].type == "tool_use"
    assert final.content[0].input == {"city": "example city", "days": 2}
    assert final.stop_reason == "tool_use"


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "none"}, None),
        ({"type": "auto"}, "get_weather"),
        ({"type": "any"}, "get_weather"),
        ({"type": "tool", "name": "get_time"}, "get_time"),
    ],
)
def test_tool_choice(anthropic_client: anthropic.Anthropic, choice: Any, called: str | None) -> None:
    reply = anthropic_client.messages.create(
        model=MODEL, max_tokens=200, messages=USER, tools=[WEATHER, CLOCK], tool_choice=choice
    )
    assert [block.name for block in reply.content if block.type == "tool_use"] == ([called] if called else [])


def test_tools_of_the_provider_are_not_called(anthropic_client: anthropic.Anthropic) -> None:
    search: Any = {"type": "web_search_20250305", "name": "web_search"}
    reply = anthropic_client.messages.create(model=MODEL, max_tokens=200, messages=USER, tools=[search])
    assert reply.content[0].type == "text"


def test_structured_output(anthropic_client: anthropic.Anthropic) -> None:
    reply = anthropic_client.messages.parse(model=MODEL, max_tokens=200, messages=USER, output_format=Person)
    assert reply.parsed_output == Person(name="example name", age=1)


def test_max_tokens(anthropic_client: anthropic.Anthropic) -> None:
    reply = anthropic_client.messages.create(model=MODEL, max_tokens=5, messages=USER)
    assert (reply.stop_reason, reply.usage.output_tokens) == ("max_tokens", 5)


def test_max_tokens_within_a_tools_input(anthropic_client: anthropic.Anthropic) -> None:
    reply = anthropic_client.messages.create(model=MODEL, max_tokens=3, messages=USER, tools=[WEATHER])
    assert reply.stop_reason == "max_tokens"
    assert reply.content[0].type == "tool_use"
    assert reply.content[0].input == {}


def test_stop_sequence(anthropic_client: anthropic.Anthropic) -> None:
    messages: Any = [{"role": "user", "content": "before MARK after"}]
    reply = anthropic_client.messages.create(
        model=MODEL, max_tokens=200, messages=messages, stop_sequences=["never", "MARK"]
    )
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", "MARK")
    assert reply.content[0].type == "text"
    assert reply.content[0].text.endswith('"before ')


def test_unknown_fields_are_tolerated(anthropic_client: anthropic.Anthropic) -> None:
    anthropic_client.messages.create(model=MODEL, max_tokens=9, messages=USER, extra_body={"surprise": 1})


def test_a_bearer_token_is_a_key_too(double: Double) -> None:
    headers = {"authorization": "Bearer any", "anthropic-version": "2023-06-01"}
    body = {"model": MODEL, "max_tokens": 9, "messages": USER}
    assert double.http.post("/anthropic/v1/messages", json=body, headers=headers).status_code == 200


@pytest.mark.parametrize("key", [{}, {"x-api-key": ""}, {"authorization": "Bearer"}])
def test_no_key_is_401(double: Double, key: dict[str, str]) -> None:
    body = {"model": MODEL, "max_tokens": 9, "messages": USER}
    headers = {**key, "anthropic-version": "2023-06-01"}
    answer = double.http.post("/anthropic/v1/messages", json=body, headers=headers)
    assert answer.status_code == 401
    said = answer.json()
    assert said["type"] == "error"
    assert said["error"] == {"type": "authentication_error", "message": "x-api-key header is required"}
    assert said["request_id"] == answer.headers["request-id"]


def test_unknown_model_is_404(anthropic_client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model: gpt-4o"):
        anthropic_client.messages.create(model="gpt-4o", max_tokens=9, messages=USER)


def turn(content: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content}]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"max_tokens": ...}, "max_tokens: Field required"),
        ({"messages": ...}, "messages: Field required"),
        ({"model": ...}, "model: Field required"),
        ({"model": 5}, "model: Input should be a valid string"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"messages": "hi"}, "messages: Input should be a valid list"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": ["hi"]}, "messages.0: Input should be an object"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        (turn("hi", "system"), 'messages: Unexpected role "system"'),
        (turn("hi", "robot"), 'messages: Unexpected role "robot"'),
        (turn(7), "messages.0.content: Input should be a valid list"),
        (turn(""), "messages.0: all messages must have non-empty content"),
        (turn([{"type": "odd"}]), "messages.0.content.0: Input tag 'odd' found"),
        (turn([{"type": "text", "text": ""}]), "messages: text content blocks must be non-empty"),
        (turn([{"type": "tool_result", "tool_use_id": "t"}]), "messages.0.content.0: unexpected `tool_use_id`"),
        ({"temperature": 1.5}, "temperature: range: 0..1"),
        ({"temperature": "hot"}, "temperature: Input should be a valid number"),
        ({"stop_sequences": "x"}, "stop_sequences: Input should be a valid list of strings"),
        ({"stop_sequences": [" "]}, "stop_sequences: each stop sequence must contain non-whitespace"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
        ({"system": 5}, "system: Input should be a valid list"),
        ({"tools": [{"name": "t"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tool_choice": {"type": "any"}}, "tool_choice: tool_choice may only be specified while providing tools."),
        ({"tools": [CLOCK], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice: Tool 'x' not found"),
        ({"tools": [CLOCK], "tool_choice": "any"}, "tool_choice: Input tag does not match"),
        ({"tools": [{"name": "t", "input_schema": {"$ref": "#/a"}}]}, "tools.0.custom.input_schema: $ref '#/a'"),
    ],
)
def test_bad_requests_are_400(anthropic_client: anthropic.Anthropic, body: dict[str, Any], message: str) -> None:
    sent = {"model": MODEL, "max_tokens": 9, "messages": USER, **body}
    sent = {name: value for name, value in sent.items() if value is not ...}
    with pytest.raises(anthropic.BadRequestError) as refused:
        anthropic_client.post("/v1/messages", body=sent, cast_to=httpx.Response)
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["error"]["type"] == "invalid_request_error"
    assert refused.value.body["error"]["message"].startswith(message)


def test_tool_use_without_its_result_is_400(anthropic_client: anthropic.Anthropic) -> None:
    called = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "x", "input": {}}]}
    turns: Any = [*USER, called, *USER]
    with pytest.raises(anthropic.BadRequestError, match="without `tool_result` blocks immediately after: toolu_1"):
        anthropic_client.messages.create(model=MODEL, max_tokens=9, messages=turns)


def test_the_version_header_is_required(double: Double) -> None:
    body = {"model": MODEL, "max_tokens": 9, "messages": USER}
    answer = double.http.post("/anthropic/v1/messages", json=body, headers={"x-api-key": "any"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "anthropic-version: header is required"


@pytest.mark.parametrize("body", [b"{", b"[]", b"[" * 5000])
def test_bodies_that_are_none_are_400(double: Double, body: bytes) -> None:
    answer = double.http.post("/anthropic/v1/messages", content=body, headers=HEADERS)
    assert answer.status_code == 400
    assert "not valid JSON" in answer.json()["error"]["message"]

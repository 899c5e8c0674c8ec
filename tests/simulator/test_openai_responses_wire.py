"""The simulator's Responses API, seen through OpenAI's own SDK."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseReasoningItem
from pydantic import BaseModel, Field

from proxy.simulator.providers.openai_responses_store import ResponseStore
from tests.simulator.running import Double, drain

ASKED = "What is the weather in Turin?"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
        "required": ["city"],
    },
}
CLOCK: Any = {"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {}}}
KEY = {"authorization": "Bearer any"}


class Person(BaseModel):
    name: str
    age: int = Field(ge=18, lt=20)


def sent(double: Double, **body: Any) -> list[dict[str, Any]]:
    """The events of a stream, as they are on the wire."""
    answer = double.http.post("/openai/v1/responses", json={"stream": True, "input": ASKED, **body}, headers=KEY)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, end = answer.text.split("\n\n")
    assert end == ""
    read = []
    for number, event in enumerate(events):
        name, data = event.split("\n")
        fields = json.loads(data.removeprefix("data: "))
        assert name == f"event: {fields['type']}"
        assert fields["sequence_number"] == number
        read.append(fields)
    return read


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The events' types, equal ones side by side counted once."""
    named = [event["type"].removeprefix("response.") for event in events]
    return [kind for before, kind in zip(["", *named], named, strict=False) if kind != before]


def test_response(openai_client: openai.OpenAI) -> None:
    raw = openai_client.responses.with_raw_response.create(model="gpt-4o", input=ASKED, metadata={"a": "b"})
    reply = raw.parse()
    assert reply.object == "response"
    assert reply.id.startswith("resp_")
    assert reply.model == "gpt-4o-2024-08-06"
    assert (reply.status, reply.error, reply.incomplete_details) == ("completed", None, None)
    assert (reply.temperature, reply.top_p, reply.tool_choice, reply.metadata) == (1.0, 1.0, "auto", {"a": "b"})
    assert [item.type for item in reply.output] == ["message"]
    assert "weather in Turin" in reply.output_text
    assert reply.usage is not None
    # 3 for the reply, 4 for the message, 7 for its words in o200k_base
    assert reply.usage.input_tokens == 14
    assert reply.usage.output_tokens > 20
    assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["x-ratelimit-limit-requests"] == "10000"


def test_equal_requests_get_equal_replies_under_new_ids(openai_client: openai.OpenAI) -> None:
    one, other = (openai_client.responses.create(model="gpt-4o", input=ASKED) for _ in range(2))
    assert one.id != other.id
    assert one.model_dump(exclude={"id"}) == other.model_dump(exclude={"id"})


def test_a_string_says_what_an_item_says(openai_client: openai.OpenAI) -> None:
    items: Any = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": ASKED}]}]
    plain = openai_client.responses.create(model="gpt-4o", input=ASKED)
    itemised = openai_client.responses.create(model="gpt-4o", input=items)
    assert plain.usage == itemised.usage
    assert plain.output_text == itemised.output_text
    assert '"What is the weather in Turin?"' in itemised.output_text


def test_stream_has_openais_events(double: Double) -> None:
    events = sent(double, model="gpt-4o")
    assert kinds(events) == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    created, completed = events[0]["response"], events[-1]["response"]
    assert (created["status"], created["output"], created["usage"]) == ("in_progress", [], None)
    assert completed["id"] == created["id"]
    text = completed["output"][0]["content"][0]["text"]
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == text
    item_ids = {event["item_id"] for event in events if "item_id" in event}
    assert item_ids == {completed["output"][0]["id"]}
    deltas = sum(event["type"] == "response.output_text.delta" for event in events)
    assert completed["usage"]["output_tokens"] == deltas


def test_stream_says_what_the_whole_reply_says(openai_client: openai.OpenAI) -> None:
    whole = openai_client.responses.create(model="gpt-4o-mini", input=ASKED)
    with openai_client.responses.stream(model="gpt-4o-mini", input=ASKED) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert final.usage == whole.usage


def test_async_client(double: Double) -> None:
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=double.bases["openai"], api_key="any", max_retries=0) as client:
            whole = await client.responses.create(model="gpt-4o", input=ASKED)
            stream = await client.responses.create(model="gpt-4o", input=ASKED, stream=True)
            parts = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            return whole.output_text, "".join(parts)

    whole, streamed = asyncio.run(ask())
    assert whole == streamed


def called(reply: Any) -> list[ResponseFunctionToolCall]:
    return [item for item in reply.output if item.type == "function_call"]


def test_tool_call_then_text_after_its_result(openai_client: openai.OpenAI) -> None:
    asked = openai_client.responses.create(model="gpt-4o", input=ASKED, tools=[WEATHER, CLOCK])
    assert [item.type for item in asked.output] == ["function_call"]
    call = called(asked)[0]
    assert (call.name, call.status) == ("get_weather", "completed")
    assert call.call_id.startswith("call_")
    assert json.loads(call.arguments)["days"] >= 2
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    items: Any = [{"role": "user", "content": ASKED}, *asked.output, output]
    told = openai_client.responses.create(model="gpt-4o", input=items, tools=[WEATHER])
    assert "sunny" in told.output_text
    remembered: Any = [output]
    again = openai_client.responses.create(
        model="gpt-4o", input=remembered, previous_response_id=asked.id, tools=[WEATHER]
    )
    assert "sunny" in again.output_text


def test_tool_call_streamed(double: Double, openai_client: openai.OpenAI) -> None:
    assert kinds(sent(double, model="gpt-4o", tools=[WEATHER]))[2:-1] == [
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done")
    ]
    with openai_client.responses.stream(model="gpt-4o", input=ASKED, tools=[WEATHER]) as stream:
        drain(stream, [])
        final = stream.get_final_response()
    assert json.loads(called(final)[0].arguments)["city"] == "example city"


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("none", []),
        ("auto", ["get_weather"]),
        ("required", ["get_weather"]),
        ({"type": "function", "name": "get_time"}, ["get_time"]),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_time"}]}, ["get_time"]),
        ({"type": "web_search_preview"}, []),
    ],
)
def test_tool_choice(openai_client: openai.OpenAI, choice: Any, names: list[str]) -> None:
    tools: Any = [WEATHER, CLOCK, {"type": "web_search_preview"}]
    reply = openai_client.responses.create(model="gpt-4o", input=ASKED, tools=tools, tool_choice=choice)
    assert [call.name for call in called(reply)] == names
    assert bool(reply.output_text) is (not names)


@pytest.mark.parametrize("stream", [False, True])
def test_scripted_calls_are_items_of_their_own(double: Double, openai_client: openai.OpenAI, stream: bool) -> None:
    calls = [{"name": "get_weather", "arguments": {"city": "Oslo"}}, {"name": "get_weather"}, {"name": "get_time"}]
    double.rules({"reply": {"text": "Let me see.", "tool_calls": calls}})
    if stream:
        with openai_client.responses.stream(model="gpt-4o", input=ASKED, tools=[WEATHER, CLOCK]) as events:
            drain(events, [])
            reply: Any = events.get_final_response()
    else:
        reply = openai_client.responses.create(model="gpt-4o", input=ASKED, tools=[WEATHER, CLOCK])
    assert [item.type for item in reply.output] == ["message", "function_call", "function_call", "function_call"]
    assert reply.output_text == "Let me see."
    assert [call.name for call in called(reply)] == ["get_weather", "get_weather", "get_time"]
    assert json.loads(called(reply)[0].arguments) == {"city": "Oslo"}
    assert len({call.call_id for call in called(reply)}) == len({call.id for call in called(reply)}) == 3


def test_structured_output(openai_client: openai.OpenAI) -> None:
    parsed = openai_client.responses.parse(model="gpt-4o", input=ASKED, text_format=Person)
    assert parsed.output_parsed is not None
    assert 18 <= parsed.output_parsed.age < 20


def test_json_mode_gives_an_object(openai_client: openai.OpenAI) -> None:
    reply = openai_client.responses.create(
        model="gpt-4o", input="Answer as JSON.", text={"format": {"type": "json_object"}}
    )
    assert isinstance(json.loads(reply.output_text), dict)


@pytest.mark.parametrize("tools", [[], [WEATHER]])
def test_token_limit_leaves_it_incomplete(double: Double, openai_client: openai.OpenAI, tools: list[Any]) -> None:
    double.rules(
        {
            "when": {"tool": "get_weather"},
            "reply": {"tool_calls": [{"name": "get_weather", "arguments": {"city": "x " * 40}}]},
        }
    )
    reply = openai_client.responses.create(model="gpt-4o", input=ASKED, max_output_tokens=16, tools=tools)
    assert reply.status == "incomplete"
    assert reply.incomplete_details is not None
    assert reply.incomplete_details.reason == "max_output_tokens"
    last: Any = reply.output[-1]
    assert (last.type, last.status) == ("function_call" if tools else "message", "incomplete")
    assert reply.usage is not None
    assert reply.usage.output_tokens == 16
    assert kinds(sent(double, model="gpt-4o", max_output_tokens=16, tools=tools))[-1] == "incomplete"


def test_content_filter_leaves_it_incomplete(double: Double, openai_client: openai.OpenAI) -> None:
    double.rules({"reply": {"text": "It is", "finish_reason": "content_filter"}})
    reply = openai_client.responses.create(model="gpt-4o", input=ASKED)
    assert reply.incomplete_details is not None
    assert (reply.status, reply.incomplete_details.reason) == ("incomplete", "content_filter")


def test_refusal(double: Double, openai_client: openai.OpenAI) -> None:
    double.rules({"reply": {"refusal": "I can't help with that."}})
    message = openai_client.responses.create(model="gpt-4o", input=ASKED).output[0]
    assert isinstance(message, ResponseOutputMessage)
    part = message.content[0]
    assert part.type == "refusal"
    assert part.refusal == "I can't help with that."
    events = sent(double, model="gpt-4o")
    assert kinds(events)[3:-1] == [
        *("content_part.added", "refusal.delta", "refusal.done", "content_part.done", "output_item.done")
    ]
    assert "".join(e["delta"] for e in events if e["type"] == "response.refusal.delta") == part.refusal


def test_reasoning_models_have_an_item_for_it(double: Double, openai_client: openai.OpenAI) -> None:
    double.rules({"reply": {"text": "Sunny.", "reasoning_tokens": 128}})
    reply = openai_client.responses.create(
        model="gpt-5-mini", input=ASKED, include=["reasoning.encrypted_content"], reasoning={"summary": "auto"}
    )
    reasoning, message = reply.output
    assert isinstance(reasoning, ResponseReasoningItem)
    assert reasoning.summary[0].text
    assert reasoning.encrypted_content
    assert message.type == "message"
    assert reply.usage is not None
    assert reply.usage.output_tokens_details.reasoning_tokens == 128
    assert reply.usage.output_tokens == 128 + 2
    events = sent(double, model="gpt-5-mini", reasoning={"summary": "auto"})
    assert kinds(events)[2:8] == [
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
    ]


def test_effort_counts_tokens_without_showing_thoughts(openai_client: openai.OpenAI) -> None:
    low, high = (
        openai_client.responses.create(model="gpt-5-mini", input=ASKED, reasoning={"effort": effort})
        for effort in ("low", "high")
    )
    assert low.usage is not None
    assert high.usage is not None
    assert 0 < low.usage.output_tokens_details.reasoning_tokens < high.usage.output_tokens_details.reasoning_tokens
    assert isinstance(low.output[0], ResponseReasoningItem)
    assert low.output[0].summary == []


def test_logprobs_where_asked(double: Double, openai_client: openai.OpenAI) -> None:
    reply = openai_client.responses.create(
        model="gpt-4o", input=ASKED, include=["message.output_text.logprobs"], top_logprobs=3
    )
    part: Any = reply.output[0].content[0] if isinstance(reply.output[0], ResponseOutputMessage) else None
    assert "".join(token.token for token in part.logprobs) == reply.output_text
    assert {len(token.top_logprobs) for token in part.logprobs} == {3}
    events = sent(double, model="gpt-4o", include=["message.output_text.logprobs"], top_logprobs=3)
    streamed = [e["logprobs"][0]["token"] for e in events if e["type"] == "response.output_text.delta"]
    assert streamed == [token.token for token in part.logprobs]


def test_image_and_file_parts_are_taken(openai_client: openai.OpenAI) -> None:
    parts = [
        {"type": "input_text", "text": "See"},
        {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"},
        {"type": "input_file", "file_id": "file-1"},
    ]
    items: Any = [{"role": "user", "content": parts}]
    reply = openai_client.responses.create(model="gpt-4o", input=items)
    assert reply.usage is not None
    assert reply.usage.input_tokens == 3 + 4 + 1 + 85 + 800


def test_a_conversation_by_the_previous_responses_id(double: Double, openai_client: openai.OpenAI) -> None:
    first = openai_client.responses.create(model="gpt-4o", input="My name is Ada.", instructions="Be brief.")
    second = openai_client.responses.create(model="gpt-4o", input="And now?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert first.usage is not None
    assert second.usage is not None
    # All that was said counts; the instructions are not carried over.
    items: Any = [
        {"role": "user", "content": "My name is Ada."},
        *first.output,
        {"role": "user", "content": "And now?"},
    ]
    spelt_out = openai_client.responses.create(model="gpt-4o", input=items)
    assert spelt_out.usage is not None
    assert spelt_out.usage.input_tokens == second.usage.input_tokens


def test_the_same_conversation_is_answered_the_same_again(openai_client: openai.OpenAI) -> None:
    texts = []
    for _ in range(2):
        first = openai_client.responses.create(model="gpt-4o", input="My name is Ada.")
        with openai_client.responses.stream(model="gpt-4o", input="And?", previous_response_id=first.id) as stream:
            drain(stream, [])
            second = stream.get_final_response()
        third = openai_client.responses.create(model="gpt-4o", input="So?", previous_response_id=second.id)
        texts.append((second.output_text, third.output_text))
    assert texts[0] == texts[1]


def test_rules_see_turn_text_system_and_results(double: Double, openai_client: openai.OpenAI) -> None:
    double.rules(
        {"when": {"turn": 3, "text": "last"}, "reply": "third turn"},
        {"when": {"tool_result": "get_weather"}, "reply": {"text": "told"}},
        {"when": {"system": "brief", "tool": "get_weather"}, "reply": {"tool_calls": [{"name": "get_weather"}] * 2}},
        strict=True,
    )
    asked = openai_client.responses.create(model="gpt-4o", input=ASKED, instructions="Be brief.", tools=[WEATHER])
    results: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in called(asked)
    ]
    told = openai_client.responses.create(model="gpt-4o", input=results, previous_response_id=asked.id)
    assert told.output_text == "told"
    last = openai_client.responses.create(model="gpt-4o", input="the last", previous_response_id=told.id)
    assert last.output_text == "third turn"
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.responses.create(model="gpt-4o", input="else")
    assert refused.value.code == "double_no_match"
    assert [entry["api"] for entry in double.journal()] == ["responses"] * 4


def test_responses_can_be_fetched_and_deleted(openai_client: openai.OpenAI) -> None:
    made = openai_client.responses.create(model="gpt-4o", input=ASKED)
    assert openai_client.responses.retrieve(made.id) == made
    openai_client.responses.delete(made.id)
    for look in (openai_client.responses.retrieve, openai_client.responses.delete):
        with pytest.raises(openai.NotFoundError, match="not found"):
            look(made.id)
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.responses.create(model="gpt-4o", input="And?", previous_response_id=made.id)
    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")


def test_what_is_not_stored_is_not_found(openai_client: openai.OpenAI) -> None:
    made = openai_client.responses.create(model="gpt-4o", input=ASKED, store=False)
    with pytest.raises(openai.NotFoundError):
        openai_client.responses.retrieve(made.id)


def test_the_store_forgets_the_oldest() -> None:
    store = ResponseStore(most_responses=2, most_bytes=1000)
    for name in ("a", "b", "c"):
        store.keep(name, b"{}", [], 10)
    assert (store.body("a"), store.body("b")) == (None, b"{}")
    store.keep("d", b"x" * 985, [{}], 0)
    assert store.items("c") is None
    assert store.items("d") == [{}]
    assert store.forget("d")
    store.keep("e", b"x" * 900, [], 0)
    store.keep("f", b"x" * 90, [], 0)
    assert store.body("e") is not None


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_no_key_is_401(double: Double, method: str) -> None:
    path = "/openai/v1/responses" + ("" if method == "POST" else "/resp_1")
    body = {"model": "gpt-4o", "input": ASKED} if method == "POST" else None
    answer = double.http.request(method, path, json=body)
    assert answer.status_code == 401
    assert "You didn't provide an API key" in answer.json()["error"]["message"]


def item(**fields: Any) -> dict[str, Any]:
    return {"input": [fields]}


def message(role: str, *content: dict[str, Any]) -> dict[str, Any]:
    return item(role=role, content=list(content))


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": "claude-3-opus"}, "model", "model_not_found"),
        ({"input": None}, None, "missing_required_parameter"),
        ({"input": 3}, "input", "invalid_type"),
        ({"input": ["hi"]}, "input[0]", "invalid_type"),
        (item(content="hi"), "input[0].type", "missing_required_parameter"),
        (item(type="odd"), "input[0].type", "invalid_value"),
        (item(role="tool", content="hi"), "input[0].role", "invalid_value"),
        (item(role="user"), "input[0].content", "missing_required_parameter"),
        (message("user", {"type": "text", "text": "hi"}), "input[0].content[0].type", "invalid_value"),
        (message("assistant", {"type": "input_text", "text": "hi"}), "input[0].content[0].type", "invalid_value"),
        (message("user", {"type": "input_text"}), "input[0].content[0].text", "missing_required_parameter"),
        (item(type="function_call_output", call_id="x", output="y"), "input", None),
        (item(type="function_call", call_id="x", name="f", arguments="{}"), "input", None),
        (item(type="function_call", call_id="x", name="f"), "input[0].arguments", "missing_required_parameter"),
        ({"previous_response_id": "chatcmpl-1"}, "previous_response_id", "invalid_value"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "previous_response_not_found"),
        ({"messages": []}, None, "unsupported_parameter"),
        ({"max_tokens": 5}, None, "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, None, "unsupported_parameter"),
        ({"max_output_tokens": 5}, "max_output_tokens", "integer_below_min_value"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"store": 1}, "store", "invalid_type"),
        ({"stream_options": {}}, "stream_options", None),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        ({"include": "all"}, "include", "invalid_type"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name", "missing_required_parameter"),
        ({"tools": [{"type": "odd"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name", "invalid_value"),
        ({"tools": [WEATHER], "tool_choice": "maybe"}, "tool_choice", "invalid_value"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "other"}}, "tool_choice", None),
        ({"tool_choice": "required"}, "tool_choice", None),
        ({"tools": [{**WEATHER, "parameters": {"type": "odd"}}]}, "tools[0].parameters", "invalid_function_parameters"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
        ({"text": {"format": {"type": "json_object"}}}, "input", None),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name", "missing_required_parameter"),
        (
            {"text": {"format": {"type": "json_schema", "name": "n"}}},
            "text.format.schema",
            "missing_required_parameter",
        ),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "odd"}}}},
            "text.format.schema",
            "invalid_json_schema",
        ),
        ({"reasoning": {"effort": "low"}}, "reasoning.effort", "unsupported_parameter"),
        ({"model": "gpt-5-mini", "reasoning": {"effort": "odd"}}, "reasoning.effort", "invalid_value"),
        ({"model": "gpt-5-mini", "temperature": 0.7}, "temperature", "unsupported_parameter"),
        ({"model": "o3", "top_p": 0.5}, "top_p", "unsupported_parameter"),
    ],
)
def test_bad_requests_are_400(
    openai_client: openai.OpenAI, body: dict[str, Any], param: str | None, code: str | None
) -> None:
    body = {"model": "gpt-4o", "input": ASKED, **body}
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.post("/responses", body=body, cast_to=httpx.Response)
    assert (refused.value.param, refused.value.code) == (param, code)
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize("body", [{"conversation": "conv_1"}, {"prompt": {"id": "pmpt_1"}}])
def test_what_is_kept_at_openai_only_is_404(openai_client: openai.OpenAI, body: dict[str, Any]) -> None:
    with pytest.raises(openai.NotFoundError, match="not found"):
        openai_client.post("/responses", body={"model": "gpt-4o", **body}, cast_to=httpx.Response)


def test_default_sampling_is_fine_with_gpt_5(openai_client: openai.OpenAI) -> None:
    reply = openai_client.responses.create(model="gpt-5-mini", input=ASKED, temperature=1, top_p=1)
    assert reply.model == "gpt-5-mini-2025-08-07"


ERRORS: list[tuple[int, type[openai.APIStatusError]]] = [
    (400, openai.BadRequestError),
    (401, openai.AuthenticationError),
    (403, openai.PermissionDeniedError),
    (404, openai.NotFoundError),
    (409, openai.ConflictError),
    (422, openai.UnprocessableEntityError),
    (429, openai.RateLimitError),
    (500, openai.InternalServerError),
    (502, openai.InternalServerError),
    (503, openai.InternalServerError),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "raised"), ERRORS)
def test_each_status_raises_its_own(
    double: Double, openai_client: openai.OpenAI, status: int, raised: type[openai.APIStatusError], stream: bool
) -> None:
    double.faults({"kind": "status", "status": status})
    with pytest.raises(raised) as caught:
        openai_client.responses.create(model="gpt-4o", input=ASKED, stream=stream)
    assert type(caught.value) is raised


@pytest.mark.parametrize(("status", "code"), [(500, "server_error"), (429, "rate_limit_exceeded")])
def test_an_error_within_a_stream(double: Double, openai_client: openai.OpenAI, status: int, code: str) -> None:
    double.faults({"kind": "status", "status": status, "after_chunks": 6, "message": "It broke."})
    events = sent(double, model="gpt-4o")
    assert kinds(events)[-2:] == ["error", "failed"]
    assert (events[-2]["error"]["code"], events[-2]["error"]["message"]) == (code, "It broke.")
    assert events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["error"] == {"code": code, "message": "It broke."}
    came: list[Any] = []
    with pytest.raises(openai.APIError, match=r"It broke\."):
        drain(openai_client.responses.create(model="gpt-4o", input=ASKED, stream=True), came)
    assert len(came) == 6


def test_a_stream_that_does_not_parse(double: Double, openai_client: openai.OpenAI) -> None:
    double.faults({"kind": "malformed", "after_chunks": 4})
    came: list[Any] = []
    with pytest.raises(json.JSONDecodeError):
        drain(openai_client.responses.create(model="gpt-4o", input=ASKED, stream=True), came)
    assert len(came) == 4


def test_a_stream_cut_off(double: Double, openai_client: openai.OpenAI) -> None:
    double.faults({"kind": "cut", "after_chunks": 5})
    came: list[Any] = []
    with pytest.raises(httpx.RemoteProtocolError):
        drain(openai_client.responses.create(model="gpt-4o", input=ASKED, stream=True), came)
    assert len(came) == 5

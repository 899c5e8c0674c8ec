"""What rules see of a request: the same of every provider, and something of whatever body."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.simulator.providers.wire import Call
from proxy.simulator.script.asked import READERS, Asked, read

CHAT = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "How is the weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
                {"id": "2", "type": "function", "function": {"name": "get_time", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "rain"},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "noon"}]},
    ],
    "tools": [
        {"type": "function", "function": {"name": "get_weather"}},
        {"type": "function", "function": {"name": "get_time"}},
    ],
}
MESSAGES = {
    "system": [{"type": "text", "text": "Be kind."}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "How is"}, {"type": "text", "text": "the weather?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "1", "name": "get_weather", "input": {}},
                {"type": "tool_use", "id": "2", "name": "get_time", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "2", "content": [{"type": "text", "text": "noon"}]},
            ],
        },
    ],
    "tools": [{"name": "get_weather"}, {"name": "get_time"}],
}
CONTENTS = {
    "systemInstruction": {"parts": [{"text": "Be kind."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "How is"}, {"text": "the weather?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "get_weather"}}, {"functionCall": {"name": "get_time"}}]},
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "get_weather", "response": "rain"}},
                {"function_response": {"name": "get_time", "response": {"at": "noon"}}},
            ],
        },
    ],
    "tools": [{"functionDeclarations": [{"name": "get_weather"}, {"name": "get_time"}]}],
}
INPUT = {
    "instructions": "Be kind.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "How is the weather?"}]},
        {"type": "function_call", "call_id": "1", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "get_time", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "rain"},
        {"type": "function_call_output", "call_id": "2", "output": "noon"},
    ],
    "tools": [{"type": "function", "name": "get_weather"}, {"type": "function", "name": "get_time"}],
}
BODIES = {"chat": CHAT, "messages": MESSAGES, "generateContent": CONTENTS, "responses": INPUT}


def seen(api: str, body: Any) -> Asked:
    raw = orjson.dumps(body)
    return read(api, Call({b"x-a": b"b"}, b"", raw, "id", model="m", stream=True, body=body), ("alias",))


@pytest.mark.parametrize("api", BODIES)
def test_a_conversation_is_the_same_of_every_provider(api: str) -> None:
    request = seen(api, BODIES[api])
    assert (request.text, request.system) == ("How is the weather?", "Be kind.")
    assert request.tools == ("get_weather", "get_time")
    assert [name for name, _ in request.tool_results] == ["get_weather", "get_time"]
    assert [("rain" in text, "noon" in text) for _, text in request.tool_results] == [(True, False), (False, True)]
    assert (request.turn, request.model, request.aliases, request.stream) == (2, "m", ("alias",), True)
    assert request.headers == {b"x-a": b"b"}


def test_the_provider_follows_from_the_api() -> None:
    assert [seen(api, {}).provider for api in READERS] == ["openai", "anthropic", "google", "openai"]


@pytest.mark.parametrize("api", BODIES)
def test_a_result_counts_only_where_it_ends_the_conversation(api: str) -> None:
    body = dict(BODIES[api])
    place = {"generateContent": "contents", "responses": "input"}.get(api, "messages")
    more = {"role": "user", "content": "Thanks", "parts": [{"text": "Thanks"}]}
    body[place] = [*body[place], more]
    request = seen(api, body)
    assert (request.text, request.tool_results) == ("Thanks", ())


ODD: list[Any] = [
    None,
    [],
    "text",
    5,
    {},
    {"messages": None, "contents": None, "input": None, "tools": None, "system": None},
    {"messages": "hi", "contents": "hi", "input": 5, "tools": "hi", "system": 5, "systemInstruction": "hi"},
    {"messages": [None, 5, "x", []], "contents": [None, 5], "input": [None, 5], "tools": [None, 5, {}]},
    {
        "messages": [{"role": "user", "content": 5}, {"role": "tool"}, {"role": 5}, {}],
        "contents": [{"parts": 5}, {"role": "model"}, {"parts": [{"functionResponse": 5}, None]}],
        "input": [{"type": "function_call_output"}, {"role": 5, "content": 5}],
        "tools": [{"function": 5}, {"function": {"name": 5}}, {"functionDeclarations": 5}, {"name": 5}],
    },
    {
        "messages": [{"role": "assistant", "tool_calls": [{"id": 5, "function": {}}, {"function": 5}, 5]}],
        "previous_response_id": 5,
    },
    {"messages": [{"role": "user", "content": [{"type": "text"}, {"text": 5}, {"type": "tool_result"}, 5]}]},
]


@pytest.mark.parametrize("api", BODIES)
@pytest.mark.parametrize("body", ODD, ids=lambda body: orjson.dumps(body).decode()[:40])
def test_whatever_a_body_holds_it_can_be_looked_at(api: str, body: Any) -> None:
    request = seen(api, body)
    assert all(isinstance(text, str) for text in (request.text, request.system, *request.tools))
    assert all(isinstance(part, str) for result in request.tool_results for part in result)

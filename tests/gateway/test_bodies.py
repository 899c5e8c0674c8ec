"""The body guard: what it refuses, how it says so, and that nothing refused goes further."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.gateway.bodies import BodyGuard, is_deeper
from proxy.gateway.overrides import Overrides

USER = [{"role": "user", "content": "hi"}]
CHAT = {"model": "gpt-4o", "messages": USER}


@pytest.fixture
def guard(inner: Any) -> BodyGuard:
    overrides = Overrides({"api_key", "model_info", "metadata", "timeout"}, max_timeout=600, max_retries=3)
    return BodyGuard(inner, overrides=overrides, max_body_mb=0.01, max_nesting=64)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def chat_with(**fields: Any) -> dict[str, Any]:
    return {**CHAT, **fields}


def messages(*entries: Any) -> dict[str, Any]:
    return chat_with(messages=list(entries))


# -- size ------------------------------------------------------------------------------------------------


def test_body_over_the_limit_is_413_by_its_announced_length(guard, inner, play):
    answer = play(guard, body=b"x", headers={"content-length": "999999999"})
    assert answer.status == 413
    assert answer.error["code"] == "request_too_large"
    assert "0.01 MB" in answer.error["message"]
    assert inner.bodies == []


def test_body_over_the_limit_is_413_while_it_is_read_in_chunks(guard, inner, play):
    chunks = [b"x" * 1024] * 1000
    answer = play(guard, chunks=chunks)
    assert answer.status == 413
    assert len(chunks) >= 989  # eleven KB of it were read, no more
    assert inner.bodies == []


def test_body_up_to_the_limit_passes_unchanged(guard, inner, play):
    body = json.dumps(chat_with(user="x" * 9000)).encode()
    assert play(guard, chunks=[body[:100], body[100:5000], body[5000:]]).status == 200
    assert inner.bodies == [body]


def test_upload_is_only_measured(guard, inner, play):
    upload = {"content-type": "multipart/form-data; boundary=x"}
    assert play(guard, "/v1/files", b"\xff\x00" * 100, headers=upload).status == 200
    assert play(guard, "/v1/files", b"\xff" * 20000, headers=upload).status == 413


# -- JSON ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[]", "not an array"),
        (b'"hi"', "not a string"),
        (b"null", "not null"),
        (b"5", "not a number"),
        (b"true", "not a boolean"),
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"model": "gpt-4o", "messages": "\xff"}', "not valid JSON"),
        (b'{"temperature": NaN}', "not valid JSON"),
        (b'{"temperature": 1e999}', "not valid JSON"),
        (b'{"a": ' + nested(64) + b"}", "more than 64 levels"),
        (b'{"a": ' + nested(5000) + b"}", "more than 64 levels"),
    ],
)
def test_what_is_no_json_object_is_400(guard, inner, play, body, says):
    answer = play(guard, body=body)
    assert answer.status == 400
    assert says in answer.error["message"]
    assert answer.error["type"] == "invalid_request_error"
    assert inner.bodies == []


def test_form_on_a_json_api_is_told_which_header_to_send(guard, play):
    answer = play(guard, body=CHAT, headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status == 400
    assert "Content-Type: application/json" in answer.error["message"]


def test_management_routes_take_any_object_but_only_an_object(guard, inner, play):
    body = {"api_key": "x", "messages": "hi", "model_info": {}}
    assert play(guard, "/model/new", body).status == 200
    assert play(guard, "/key/generate", b"[]").status == 400
    assert play(guard, "/key/generate", b"").status == 200
    assert len(inner.bodies) == 2


def test_agents_and_tools_speak_json_of_their_own(guard, play):
    assert play(guard, "/mcp", b'[{"jsonrpc": "2.0"}]').status == 200


def test_depth_is_counted_by_containers():
    assert not is_deeper(json.loads(nested(64)), 64)
    assert is_deeper(json.loads(nested(65)), 64)
    assert is_deeper({"a": {"b": [1]}}, 2)
    assert not is_deeper({"a": {"b": 1}}, 2)
    assert not is_deeper("text", 0)


# -- shape -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": USER}, "model"),
        (chat_with(model=5), "model"),
        ({"model": "gpt-4o"}, "messages"),
        (chat_with(messages="hi"), "messages"),
        (chat_with(messages=[]), "messages"),
        (messages("hi"), "messages[0]"),
        (messages(None), "messages[0]"),
        (messages({"content": "hi"}), "messages[0].role"),
        (messages({"role": "robot", "content": "hi"}), "messages[0].role"),
        (messages(USER[0], {"role": "user", "content": 5}), "messages[1].content"),
        (messages({"role": "user"}), "messages[0].content"),
        (messages({"role": "user", "content": None}), "messages[0].content"),
        (messages({"role": "user", "content": ["hi"]}), "messages[0].content[0]"),
        (messages({"role": "user", "content": [{"text": "hi"}]}), "messages[0].content[0].type"),
        (messages({"role": "user", "content": [{"type": "text"}]}), "messages[0].content[0].text"),
        (messages({"role": "assistant", "content": None, "tool_calls": "x"}), "messages[0].tool_calls"),
        (chat_with(max_tokens="5"), "max_tokens"),
        (chat_with(max_tokens=True), "max_tokens"),
        (chat_with(max_tokens=1.5), "max_tokens"),
        (chat_with(temperature="hot"), "temperature"),
        (chat_with(temperature=False), "temperature"),
        (chat_with(n="2"), "n"),
        (chat_with(stream="yes"), "stream"),
        (chat_with(stream=1), "stream"),
        (chat_with(stop=5), "stop"),
        (chat_with(tools={}), "tools"),
        (chat_with(tools=["x"]), "tools[0]"),
        (chat_with(tools=[{"type": "function", "function": {}}]), "tools[0].function.name"),
        (chat_with(response_format="json"), "response_format"),
        (chat_with(metadata="x"), "metadata"),
        (chat_with(timeout="60"), "timeout"),
    ],
)
def test_wrong_shape_is_400_and_names_the_field(guard, inner, play, body, param):
    answer = play(guard, body=body)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert answer.error["message"].startswith(param)
    assert answer.error["type"] == "invalid_request_error"
    assert inner.bodies == []


@pytest.mark.parametrize(
    "body",
    [
        CHAT,
        chat_with(temperature=1, top_p=0.5, max_tokens=None, stop=["a"], stream=True, seed=1, n=1),
        messages({"role": "system", "content": "be kind"}, {"role": "developer", "content": "x"}, *USER),
        messages({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]}),
        messages(
            *USER,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "42"},
        ),
        chat_with(tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}], tool_choice="auto"),
        chat_with(something_new={"from": "a provider"}, timeout=30, num_retries=0, metadata={"tags": ["a"]}),
    ],
)
def test_right_shape_passes(guard, inner, play, body):
    assert play(guard, body=body).status == 200
    assert json.loads(inner.bodies[0]) == body


def test_model_may_be_in_the_path(guard, play):
    for path in ("/engines/gpt-4o/chat/completions", "/openai/deployments/gpt-4o/chat/completions"):
        assert play(guard, path, {"messages": USER}).status == 200
        assert play(guard, path, {"messages": "hi"}).status == 400


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/chat/completions", chat_with(messages=5), "messages"),
        ("/v1/completions", {"model": "m"}, "prompt"),
        ("/v1/completions", {"model": "m", "prompt": {}}, "prompt"),
        ("/v1/embeddings", {"model": "m", "input": []}, "input"),
        ("/embeddings", {"model": "m", "input": [{}]}, "input[0]"),
        ("/v1/responses", {"model": "m", "input": 5}, "input"),
        ("/v1/responses", {"model": "m", "input": "x", "max_output_tokens": "5"}, "max_output_tokens"),
    ],
)
def test_other_openai_apis_have_their_shapes(guard, play, path, body, param):
    answer = play(guard, path, body)
    assert (answer.status, answer.error["param"]) == (400, param)


def test_anthropic_callers_get_anthropics_errors(guard, play):
    answer = play(guard, "/v1/messages", {"model": "m", "max_tokens": "5", "messages": USER})
    assert answer.status == 400
    assert json.loads(answer.body) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "max_tokens: must be an integer"},
    }
    assert play(guard, "/v1/messages", {"model": "m", "max_tokens": 5, "messages": USER}).status == 200


def test_gemini_callers_get_geminis_errors(guard, play):
    answer = play(guard, "/v1beta/models/gemini-2.5-pro:generateContent", {"contents": "hi"})
    assert answer.status == 400
    assert answer.error == {"code": 400, "message": "contents: must be an array", "status": "INVALID_ARGUMENT"}
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert play(guard, "/v1beta/models/gemini-2.5-pro:generateContent", body).status == 200

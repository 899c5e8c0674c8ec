"""Whatever a body holds, the answer is the provider's own: 200 or 400, never a crash."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest

from tests.simulator.running import Double

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string", "minLength": 2}, "b": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
    "required": ["a"],
}
DOCUMENT = {
    "type": "document",
    "source": {"type": "content", "content": [{"type": "text", "text": "x"}]},
    "cache_control": {"type": "ephemeral"},
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

REQUESTS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "openai": (
        "/openai/v1/chat/completions",
        {"authorization": "Bearer any"},
        {
            "model": "gpt-4o",
            "messages": [
                {"role": "system", "content": "Be brief, in JSON."},
                {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {}}]},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "done"},
                {"role": "user", "content": "Go on"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
            "temperature": 0.5,
            "max_tokens": 20,
            "stop": ["x"],
            "n": 2,
            "logprobs": True,
            "top_logprobs": 2,
            "reasoning_effort": "low",
            "service_tier": "flex",
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    "openai responses": (
        "/openai/v1/responses",
        {"authorization": "Bearer any"},
        {
            "model": "gpt-5-mini",
            "instructions": "Be brief, in JSON.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Hi"}, {"type": "input_image"}]},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
                {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "Hi"}]},
                {"role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
                {"role": "user", "content": "Go on"},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}, {"type": "web_search"}],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}, "verbosity": "low"},
            "reasoning": {"effort": "low", "summary": "auto"},
            "include": ["message.output_text.logprobs"],
            "top_logprobs": 0,
            "max_output_tokens": 300,
            "metadata": {"a": "b"},
            "store": True,
            "stream": True,
            "stream_options": {"include_obfuscation": False},
        },
    ),
    "anthropic": (
        "/anthropic/v1/messages",
        {"x-api-key": "any", "anthropic-version": "2023-06-01"},
        {
            "model": "claude-x",
            "max_tokens": 20,
            "system": [{"type": "text", "text": "Be brief."}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image", "source": {}}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [DOCUMENT]}]},
            ],
            "tools": [{"name": "f", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}}],
            "tool_choice": {"type": "tool", "name": "f"},
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
            "stop_sequences": ["x"],
            "temperature": 0.5,
            "stream": True,
        },
    ),
    "openai with allowed tools": (
        "/openai/v1/chat/completions",
        {"authorization": "Bearer any"},
        {
            "model": "gpt-5",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "file", "file": {"file_data": "x"}},
                        {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}},
                    ],
                }
            ],
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": SCHEMA}},
                {"type": "custom", "custom": {"name": "c"}},
            ],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [
                        {"type": "function", "function": {"name": "f"}},
                        {"type": "custom", "custom": {"name": "c"}},
                    ],
                },
            },
            "reasoning_effort": "low",
        },
    ),
    "anthropic with thinking": (
        "/anthropic/v1/messages",
        {"x-api-key": "any", "anthropic-version": "2023-06-01"},
        {
            "model": "claude-x",
            "max_tokens": 2000,
            "messages": [{"role": "user", "content": [DOCUMENT]}],
            "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
            "thread": {"type": "create"},
            "tools": [{"name": "f", "input_schema": SCHEMA}, {"type": "bash_20250124", "name": "bash"}],
        },
    ),
    "google with thinking": (
        "/gemini/v1beta/models/gemini-1.5-pro:generateContent",
        {"x-goog-api-key": "any"},
        {
            "contents": [
                {"role": "user", "parts": [{"fileData": {"mimeType": "audio/wav", "fileUri": "x"}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "x"}}}]},
            ],
            "generationConfig": {
                "responseLogprobs": True,
                "logprobs": 2,
                "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 100, "thinkingLevel": "LOW"},
            },
        },
    ),
    "google": (
        "/gemini/v1beta/models/gemini-1.5-pro:streamGenerateContent?alt=sse",
        {"x-goog-api-key": "any"},
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Hi"}, {"inlineData": {"mimeType": "image/png", "data": ""}}]},
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
            ],
            "tools": [{"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}},
            "generationConfig": {
                "responseMimeType": "application/json",
                "responseSchema": SCHEMA,
                "maxOutputTokens": 20,
                "candidateCount": 2,
                "stopSequences": ["x"],
                "temperature": 0.5,
            },
        },
    ),
}

ODD: tuple[Any, ...] = (None, True, 0, -1, 2.5, 10**30, "", "odd", [], [None], ["odd"], [[]], {}, {"type": "odd"}, [{}])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything in `value`."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, part in inner for found in [(*path, key), *places(part, (*path, key))]]


def altered(body: Any, path: tuple[Any, ...], odd: Any) -> Any:
    changed = copy.deepcopy(body)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = odd
    return changed


@pytest.mark.parametrize("provider", REQUESTS)
def test_every_place_with_odd_values(double: Double, provider: str) -> None:
    path, headers, body = REQUESTS[provider]
    assert double.http.post(path, headers=headers, json=body).status_code == 200
    for place, odd in itertools.product(places(body), ODD):
        answer = double.http.post(path, headers=headers, json=altered(body, place, odd))
        expected = (200, 400, 404) if place == ("model",) else (200, 400)
        assert answer.status_code in expected, (place, odd, answer.status_code, answer.text)
        if answer.status_code == 400:
            assert answer.json()["error"]["message"], (place, odd)

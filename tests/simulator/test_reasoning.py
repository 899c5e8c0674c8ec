"""Reasoning: counted, and shown where a client asks for it."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests.simulator.conftest import Clients
from tests.simulator.hearing import ASKED, CLAUDE, GEMINI
from tests.simulator.running import Double

USER: list[Any] = [{"role": "user", "content": ASKED}]


def test_openai_reasons_where_asked_to(openai_client: openai.OpenAI) -> None:
    counted = []
    for effort in ("minimal", "low", "high"):
        usage = openai_client.chat.completions.create(model="gpt-5-mini", messages=USER, reasoning_effort=effort).usage
        assert usage is not None
        assert usage.completion_tokens_details is not None
        counted.append(usage.completion_tokens_details.reasoning_tokens or 0)
        assert usage.completion_tokens > counted[-1]
    assert counted[0] == 0 < counted[1] < counted[2]


THINKING: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


def test_anthropic_thinks_where_enabled(anthropic_client: anthropic.Anthropic) -> None:
    settings: dict[str, Any] = {"model": CLAUDE, "max_tokens": 2000, "messages": USER, **THINKING}
    whole = anthropic_client.messages.create(**settings)
    with anthropic_client.messages.stream(**settings) as stream:
        deltas = [event.type for event in stream]
        streamed = stream.get_final_message()
    assert {"thinking", "signature", "text"} <= set(deltas)
    for reply in (whole, streamed):
        thought, said = reply.content
        assert thought.type == "thinking"
        assert said.type == "text"
        assert ASKED in thought.thinking
        assert len(thought.signature) > 40
        assert reply.usage.output_tokens_details is not None
        assert 0 < reply.usage.output_tokens_details.thinking_tokens < reply.usage.output_tokens
    assert streamed.to_dict()["content"] == whole.to_dict()["content"]


def test_anthropics_thoughts_may_be_omitted(anthropic_client: anthropic.Anthropic) -> None:
    thinking: Any = {"type": "adaptive", "display": "omitted"}
    settings: dict[str, Any] = {"model": CLAUDE, "max_tokens": 2000, "messages": USER, "thinking": thinking}
    whole = anthropic_client.messages.create(**settings)
    with anthropic_client.messages.stream(**settings) as stream:
        streamed = stream.get_final_message()
    assert whole.content[0].type == "thinking"
    assert (whole.content[0].thinking, bool(whole.content[0].signature)) == ("", True)
    assert streamed.to_dict()["content"] == whole.to_dict()["content"]


def test_anthropic_thinks_as_much_as_the_script_says(double: Double, anthropic_client: anthropic.Anthropic) -> None:
    double.rules({"reply": {"text": "Done.", "reasoning_tokens": 900}})
    reply = anthropic_client.messages.create(model=CLAUDE, max_tokens=2000, messages=USER, **THINKING)
    assert [block.type for block in reply.content] == ["thinking", "text"]
    assert reply.usage.output_tokens_details is not None
    assert reply.usage.output_tokens_details.thinking_tokens == 900
    double.rules({"reply": {"text": "Done.", "reasoning_tokens": 0}})
    reply = anthropic_client.messages.create(model=CLAUDE, max_tokens=2000, messages=USER, **THINKING)
    assert [block.type for block in reply.content] == ["text"]


def test_anthropic_thinks_before_it_calls_a_tool_and_takes_its_thoughts_back(clients: Clients, double: Double) -> None:
    tools: Any = [{"name": "get_time", "input_schema": {"type": "object", "properties": {}}}]
    settings: dict[str, Any] = {"model": CLAUDE, "max_tokens": 2000, "tools": tools, **THINKING}
    reply = clients.anthropic.messages.create(messages=USER, **settings)
    assert [block.type for block in reply.content] == ["thinking", "tool_use"]
    call = reply.content[1]
    assert call.type == "tool_use"
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "noon"}]}
    last = clients.anthropic.messages.create(messages=[*USER, reply.to_param(), result], **settings)
    assert last.content[-1].type == "text"
    assert '"noon"' in last.content[-1].text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "greater than or equal to 1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 9000}}, "`max_tokens` must be greater than"),
        ({**THINKING, "extra_body": {"temperature": 0.5}}, "`temperature` may only be set to 1"),
        (
            {**THINKING, "tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "any"}},
            "Thinking may not be enabled when tool_choice forces tool use",
        ),
        ({"thinking": {"type": "odd"}}, "thinking: Input tag does not match"),
    ],
)
def test_anthropic_refuses_odd_thinking(anthropic_client: anthropic.Anthropic, settings: Any, message: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=message):
        anthropic_client.messages.create(model=CLAUDE, max_tokens=2000, messages=USER, **settings)


def test_gemini_thinks_where_asked_to(gemini_client: genai.Client) -> None:
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    whole = gemini_client.models.generate_content(model=GEMINI, contents=ASKED, config=config)
    assert whole.candidates is not None
    assert whole.candidates[0].content is not None
    thought, said = whole.candidates[0].content.parts or ()
    assert (thought.thought, said.thought) == (True, None)
    assert whole.text == said.text
    assert whole.usage_metadata is not None
    assert (whole.usage_metadata.thoughts_token_count or 0) > 0
    pieces = list(gemini_client.models.generate_content_stream(model=GEMINI, contents=ASKED, config=config))
    assert "".join(piece.text or "" for piece in pieces) == whole.text
    assert pieces[-1].usage_metadata == whole.usage_metadata


@pytest.mark.parametrize(
    ("thinking", "some"),
    [
        ({"thinking_budget": 0}, False),
        ({"thinking_budget": 100}, True),
        ({"thinking_budget": -1}, True),
        ({"thinking_level": "LOW"}, True),
        ({}, False),
    ],
)
def test_gemini_counts_thoughts_that_it_does_not_show(gemini_client: genai.Client, thinking: Any, some: bool) -> None:
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(**thinking))
    reply = gemini_client.models.generate_content(model=GEMINI, contents=ASKED, config=config)
    assert reply.usage_metadata is not None
    assert bool(reply.usage_metadata.thoughts_token_count) == some
    assert "Turin" in (reply.text or "")


def test_geminis_calls_carry_the_signature_of_its_thoughts(double: Double, gemini_client: genai.Client) -> None:
    double.rules({"reply": {"tool_calls": [{"name": "f"}, {"name": "g"}], "reasoning_tokens": 50}})
    reply = gemini_client.models.generate_content(model=GEMINI, contents=ASKED)
    assert reply.candidates is not None
    assert reply.candidates[0].content is not None
    first, second = reply.candidates[0].content.parts or ()
    assert first.thought_signature
    assert second.thought_signature is None

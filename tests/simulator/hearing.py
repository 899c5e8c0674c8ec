"""One question put to each provider through its official SDK, and the answer in words that all three share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
from anthropic.types import Message
from google import genai
from google.genai import types

from tests.simulator.conftest import Clients

GPT, CLAUDE, GEMINI = "gpt-4o", "claude-opus-4-5-20251101", "gemini-2.5-flash"

ASKED = "What is the weather in Turin?"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: dict[str, dict[str, Any]] = {"get_weather": CITY, "get_time": {"type": "object", "properties": {}}}


@dataclass
class Heard:
    """`finish` is the provider's own word, `said` how many pieces the text came in."""

    text: str = ""
    refusal: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    finish: str | None = None
    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    said: int = 0


Ask = Callable[..., Heard]
"""(tools=False, **settings of the SDK) -> what is heard."""


def ask_openai(client: openai.OpenAI, stream: bool, tools: bool = False, **settings: Any) -> Heard:
    sent: dict[str, Any] = {"model": GPT, "messages": [{"role": "user", "content": ASKED}], **settings}
    if tools:
        sent["tools"] = [
            {"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in TOOLS.items()
        ]
    if not stream:
        reply = client.chat.completions.create(**sent)
        choice = reply.choices[0]
        calls = [call for call in choice.message.tool_calls or () if call.type == "function"]
        return _counted(
            Heard(
                choice.message.content or "",
                choice.message.refusal or "",
                [(call.function.name, json.loads(call.function.arguments)) for call in calls],
                [call.id for call in calls],
                choice.finish_reason,
            ),
            reply.usage,
        )
    heard, names, arguments = Heard(), list[str](), list[str]()
    for chunk in client.chat.completions.create(**sent, stream=True, stream_options={"include_usage": True}):
        if chunk.usage is not None:
            _counted(heard, chunk.usage)
        for choice in chunk.choices:
            delta = choice.delta
            heard.text += delta.content or ""
            heard.said += bool(delta.content)
            heard.refusal += delta.refusal or ""
            heard.finish = choice.finish_reason or heard.finish
            for call in delta.tool_calls or ():
                assert call.function is not None
                if call.id is not None:
                    assert call.index == len(names)
                    heard.ids.append(call.id)
                    names.append(call.function.name or "")
                    arguments.append("")
                arguments[call.index] += call.function.arguments or ""
    heard.calls = [(name, json.loads(text)) for name, text in zip(names, arguments, strict=True)]
    return heard


def _counted(heard: Heard, usage: Any) -> Heard:
    heard.prompt, heard.completion = usage.prompt_tokens, usage.completion_tokens
    details = usage.completion_tokens_details
    heard.reasoning = (details.reasoning_tokens or 0) if details is not None else 0
    assert usage.total_tokens == heard.prompt + heard.completion
    return heard


def ask_anthropic(client: anthropic.Anthropic, stream: bool, tools: bool = False, **settings: Any) -> Heard:
    sent: dict[str, Any] = {
        "model": CLAUDE,
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": ASKED}],
        **settings,
    }
    if tools:
        sent["tools"] = [{"name": name, "input_schema": schema} for name, schema in TOOLS.items()]
    heard = Heard()
    if stream:
        with client.messages.stream(**sent) as events:
            heard.said = len(list(events.text_stream))
            reply: Message = events.get_final_message()
    else:
        reply = client.messages.create(**sent)
    for block in reply.content:
        if block.type == "text":
            heard.text += block.text
        elif block.type == "tool_use":
            heard.calls.append((block.name, block.input))
            heard.ids.append(block.id)
    if reply.stop_details is not None:
        heard.refusal = reply.stop_details.explanation or ""
    heard.finish = reply.stop_reason
    heard.prompt, heard.completion = reply.usage.input_tokens, reply.usage.output_tokens
    if reply.usage.output_tokens_details is not None:
        heard.reasoning = reply.usage.output_tokens_details.thinking_tokens
    return heard


def ask_gemini(client: genai.Client, stream: bool, tools: bool = False, **settings: Any) -> Heard:
    contents = settings.pop("contents", ASKED)
    if tools:
        declared = [
            types.FunctionDeclaration(name=name, parameters_json_schema=schema) for name, schema in TOOLS.items()
        ]
        settings["tools"] = [types.Tool(function_declarations=declared)]
    config = types.GenerateContentConfig(
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True), **settings
    )
    sent: dict[str, Any] = {"model": GEMINI, "contents": contents, "config": config}
    replies = (
        list(client.models.generate_content_stream(**sent)) if stream else [client.models.generate_content(**sent)]
    )
    heard = Heard()
    for reply in replies:
        assert reply.candidates is not None
        for candidate in reply.candidates:
            for part in (candidate.content.parts if candidate.content else None) or ():
                if part.text and not part.thought:
                    heard.text += part.text
                    heard.said += 1
                if part.function_call is not None:
                    heard.calls.append((part.function_call.name or "", part.function_call.args))
            heard.finish = candidate.finish_reason.value if candidate.finish_reason else heard.finish
            heard.refusal += candidate.finish_message or ""
        usage = reply.usage_metadata
        assert usage is not None
        heard.prompt = usage.prompt_token_count or 0
        heard.reasoning = usage.thoughts_token_count or 0
        heard.completion = (usage.candidates_token_count or 0) + heard.reasoning
        assert usage.total_token_count == heard.prompt + heard.completion
    return heard


ASKERS: dict[str, Callable[..., Heard]] = {"openai": ask_openai, "anthropic": ask_anthropic, "google": ask_gemini}


def asker(provider: str, stream: bool, clients: Clients) -> Ask:
    client = {"openai": clients.openai, "anthropic": clients.anthropic, "google": clients.gemini}[provider]

    def ask(tools: bool = False, **settings: Any) -> Heard:
        return ASKERS[provider](client, stream, tools, **settings)

    return ask

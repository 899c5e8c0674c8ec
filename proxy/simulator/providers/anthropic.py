"""Anthropic's wire format: POST /v1/messages.

Shapes follow https://docs.anthropic.com/en/api/messages; `anthropic_request.py` checks what comes in,
`anthropic_errors.py` has errors and headers.
"""

from __future__ import annotations

from typing import Any

import orjson

from proxy.simulator.providers import anthropic_threads
from proxy.simulator.providers.anthropic_errors import broken_event as broken_event
from proxy.simulator.providers.anthropic_errors import error as error
from proxy.simulator.providers.anthropic_errors import error_event as error_event
from proxy.simulator.providers.anthropic_errors import headers as headers
from proxy.simulator.providers.anthropic_errors import refuse
from proxy.simulator.providers.anthropic_errors import schema_error as schema_error
from proxy.simulator.providers.anthropic_request import check, custom_tools, is_thinking
from proxy.simulator.providers.anthropic_tokens import prompt_tokens
from proxy.simulator.providers.wire import Answer, Call, ProviderError, dumps
from proxy.simulator.replies.reply import (
    Choice,
    Prompt,
    Reply,
    Tool,
    ToolChoice,
    ToolUse,
    identifier,
    request_key,
    tool_to_call,
)

NAME = "anthropic"

GROUP = 4
"""Tokens to a text delta."""

FINISH = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool": "tool_use",
    "refusal": "refusal",
    "content_filter": "refusal",
}


def authorise(call: Call) -> None:
    scheme, _, token = call.headers.get(b"authorization", b"").partition(b" ")
    if not call.headers.get(b"x-api-key", b"").strip() and not (scheme.lower() == b"bearer" and token.strip()):
        raise refuse(call, "x-api-key header is required", status=401)


def read(call: Call) -> Prompt:
    anthropic_threads.check(call)
    body = check(call)
    model: str = body["model"]
    if not model.startswith("claude-"):
        raise ProviderError(error(call, 404, None))
    messages = body["messages"]
    offered = tuple(Tool(tool["name"], tool.get("input_schema") or {}) for tool in custom_tools(body))
    results = _results(messages[-1])
    return Prompt(
        model=model,
        key=request_key(model, _without_thread(body), call.raw),
        last_text=next((text for m in reversed(messages) if m["role"] == "user" and (text := _text(m["content"]))), ""),
        prompt_tokens=prompt_tokens(body),
        limit=body["max_tokens"],
        stop=tuple(body.get("stop_sequences") or ()),
        tool=_tool(body, offered) if offered else None,
        schema=_schema(body),
        offered=offered,
        results=results,
        thinking=is_thinking(body, after_tools=bool(results)),
    )


def _without_thread(body: dict[str, Any]) -> dict[str, Any]:
    """The same conversation gets the same reply, whether it is kept here or sent whole."""
    return {name: value for name, value in body.items() if name != "thread"} if "thread" in body else body


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(block["text"] for block in content if block["type"] == "text")


def _results(message: dict[str, Any]) -> tuple[str, ...]:
    """The texts of the tools' results in a message."""
    if isinstance(message["content"], str):
        return ()
    results = [block for block in message["content"] if block["type"] == "tool_result"]
    return tuple(_text(block.get("content") or "") for block in results)


def _tool(body: dict[str, Any], offered: tuple[Tool, ...]) -> Tool | None:
    choice = body.get("tool_choice") or {"type": "auto"}
    how: ToolChoice = choice["type"] if choice["type"] in ("auto", "none") else "required"
    last = body["messages"][-1]
    users_turn = last["role"] == "user" and (
        isinstance(last["content"], str) or all(block["type"] != "tool_result" for block in last["content"])
    )
    return tool_to_call(list(offered), how, choice.get("name"), users_turn)


def _schema(body: dict[str, Any]) -> Any:
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format")
    return wanted.get("schema", {}) if wanted and wanted.get("type") == "json_schema" else None


def write(call: Call, prompt: Prompt, reply: Reply) -> Answer:
    choice = reply.choices[0]
    content = _content(call, prompt, choice)
    if "thread" in call.body:
        anthropic_threads.keep(call.body, _id(call), content)
    body = _message(call, prompt, reply, content, reply.completion_tokens)
    body.update(_ended(choice))
    body["usage"].update(_details(choice))
    return Answer(200, dumps(body))


def _id(call: Call) -> str:
    return "msg_01" + identifier(call.request_id.encode(), "reply", 22)


def _message(call: Call, prompt: Prompt, reply: Reply, content: list[dict[str, Any]], output: int) -> dict[str, Any]:
    """A message that has not ended."""
    return {
        "model": prompt.model,
        "id": _id(call),
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": reply.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output,
            "service_tier": "standard",
        },
    }


def _ended(choice: Choice) -> dict[str, Any]:
    """Why a message ended. A refusal's words are its explanation, and its text too, where clients look for one."""
    reason = FINISH[choice.finish]
    details: dict[str, Any] | None = None
    if reason == "refusal":
        explanation = choice.text if choice.refused else None
        details = {"type": "refusal", "category": None, "explanation": explanation}
    return {"stop_reason": reason, "stop_sequence": choice.stopped_by, "stop_details": details}


def _details(choice: Choice) -> dict[str, Any]:
    return {"output_tokens_details": {"thinking_tokens": choice.reasoning}} if choice.reasoning else {}


def _content(call: Call, prompt: Prompt, choice: Choice) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if choice.thoughts is not None:
        shown = "" if _is_omitted(call) else choice.thoughts.text
        blocks.append({"type": "thinking", "thinking": shown, "signature": _signature(prompt)})
    if choice.text or not (blocks or choice.tools):
        blocks.append({"type": "text", "text": choice.text})
    for number, use in enumerate(choice.tools):
        # Input cut off by max_tokens is no JSON, so nothing of it can be shown in one piece.
        blocks.append(
            {**_tool_use(prompt, use, number), "input": orjson.loads(use.arguments.text) if use.whole else {}}
        )
    return blocks


def _is_omitted(call: Call) -> bool:
    """Whether the client wants thinking blocks without the thoughts."""
    return bool(call.body["thinking"].get("display") == "omitted")


def _signature(prompt: Prompt) -> str:
    """What a client hands back with the thoughts, as opaque as the real one."""
    return "EqoB" + identifier(prompt.key, "signature", 40) + identifier(prompt.key, "signature 2", 40)


def _tool_use(prompt: Prompt, use: ToolUse, number: int) -> dict[str, Any]:
    made = identifier(prompt.key, f"tool {number}" if number else "tool", 22)
    return {"type": "tool_use", "id": "toolu_01" + made, "name": use.name, "input": {}}


def stream(call: Call, prompt: Prompt, reply: Reply) -> list[bytes]:
    choice = reply.choices[0]
    if "thread" in call.body:
        anthropic_threads.keep(call.body, _id(call), _content(call, prompt, choice))
    events = [_event("message_start", message=_message(call, prompt, reply, [], 1))]
    for index, (block, deltas) in enumerate(_blocks(call, prompt, choice)):
        events.append(_event("content_block_start", index=index, content_block=block))
        if index == 0:
            events.append(_event("ping"))
        events += [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
        events.append(_event("content_block_stop", index=index))
    usage = {
        "input_tokens": reply.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": reply.completion_tokens,
        **_details(choice),
    }
    return [*events, _event("message_delta", delta=_ended(choice), usage=usage), _event("message_stop")]


def _blocks(call: Call, prompt: Prompt, choice: Choice) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The content's blocks: each as it starts, and what is added to it."""
    made: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if choice.thoughts is not None:
        pieces = [] if _is_omitted(call) else choice.thoughts.parts(GROUP)
        deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": part} for part in pieces]
        deltas.append({"type": "signature_delta", "signature": _signature(prompt)})
        made.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    if choice.text or not (made or choice.tools):
        deltas = [{"type": "text_delta", "text": part} for part in choice.words.parts(GROUP)]
        made.append(({"type": "text", "text": ""}, deltas))
    for number, use in enumerate(choice.tools):
        pieces = ["", *use.arguments.parts(GROUP)]
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in pieces]
        made.append((_tool_use(prompt, use, number), deltas))
    return made


def _event(name: str, **fields: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + dumps({"type": name, **fields}) + b"\n\n"


def stream_type(_call: Call) -> bytes:
    return b"text/event-stream; charset=utf-8"

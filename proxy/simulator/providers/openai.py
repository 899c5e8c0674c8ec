"""OpenAI's wire format: POST /v1/chat/completions and GET /v1/models.

Shapes follow https://platform.openai.com/docs/api-reference/chat; `openai_request.py` checks what comes in,
`openai_errors.py` has errors and headers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import zip_longest
from typing import Any

from proxy.simulator.memory import Memory
from proxy.simulator.providers.openai_errors import broken_event as broken_event
from proxy.simulator.providers.openai_errors import error as error
from proxy.simulator.providers.openai_errors import error_event as error_event
from proxy.simulator.providers.openai_errors import headers as headers
from proxy.simulator.providers.openai_errors import refuse
from proxy.simulator.providers.openai_errors import schema_error as schema_error
from proxy.simulator.providers.openai_request import check, is_known, texts
from proxy.simulator.providers.openai_tokens import prompt_tokens, reasoning
from proxy.simulator.providers.wire import Answer, Call, ProviderError, dumps, event
from proxy.simulator.replies import tokens
from proxy.simulator.replies.logprobs import TokenLogprob, logprobs
from proxy.simulator.replies.reply import (
    Choice,
    Prompt,
    Reply,
    Tool,
    ToolChoice,
    ToolUse,
    identifier,
    json_mode_schema,
    moment,
    request_key,
    tool_to_call,
)

NAME = "openai"

SNAPSHOTS = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5-nano": "gpt-5-nano-2025-08-07",
    "o3": "o3-2025-04-16",
    "o4-mini": "o4-mini-2025-04-16",
}
"""The dated model that answers for an alias; replies name it."""

NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the "
    "API from your browser and are prompted for a username and password. You can obtain an API key from "
    "https://platform.openai.com/account/api-keys."
)

FINISH = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool": "tool_calls",
    "refusal": "stop",
    "content_filter": "content_filter",
}


def authorise(call: Call) -> None:
    scheme, _, key = call.headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not key.strip():
        raise refuse(NO_KEY, status=401)


def read(call: Call) -> Prompt:
    prompt = PROMPTS.recall(call.raw) or PROMPTS.keep(call.raw, _read(call))
    if not is_known(prompt.model):
        raise ProviderError(error(call, 404, None))
    return prompt


PROMPTS: Memory[Prompt] = Memory()


def _read(call: Call) -> Prompt:
    body = check(call.body)
    model: str = body["model"]
    messages = body["messages"]
    last_text = next((" ".join(texts(m.get("content"))) for m in reversed(messages) if m["role"] == "user"), "")
    limit = body.get("max_completion_tokens")
    offered = _offered(body)
    return Prompt(
        model=model,
        key=request_key(model, body, call.raw),
        last_text=last_text,
        prompt_tokens=prompt_tokens(body),
        limit=limit if limit is not None else body.get("max_tokens"),
        stop=_stop(body.get("stop")),
        tool=_tool(body, offered) if offered else None,
        schema=_schema(body.get("response_format"), last_text),
        choices=body.get("n") or 1,
        offered=offered,
        results=_results(messages) if messages[-1]["role"] == "tool" else (),
        reasoning=reasoning(body),
        logprobs=(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
    )


def _stop(stop: Any) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def _offered(body: dict[str, Any]) -> tuple[Tool, ...]:
    functions = [tool["function"] for tool in body.get("tools") or () if tool["type"] == "function"]
    return tuple(Tool(function["name"], function.get("parameters") or {}) for function in functions)


def _tool(body: dict[str, Any], offered: tuple[Tool, ...]) -> Tool | None:
    choice: Any = body.get("tool_choice") or "auto"
    how, name, usable = choice, None, list(offered)
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice["allowed_tools"]
        how = allowed["mode"]
        names = [tool[tool["type"]]["name"] for tool in allowed["tools"]]
        usable = [tool for tool in offered if tool.name in names]
    elif isinstance(choice, dict):
        how, name = "required", choice[choice.get("type", "function")]["name"]
    mode: ToolChoice = how
    return tool_to_call(usable, mode, name, users_turn=body["messages"][-1]["role"] == "user")


def _results(messages: list[dict[str, Any]]) -> tuple[str, ...]:
    """The texts of the tools' results at the end."""
    found = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        found.append(" ".join(texts(message["content"])))
    return tuple(reversed(found))


def _schema(response_format: Any, last_text: str) -> Any:
    if not response_format or response_format["type"] == "text":
        return None
    if response_format["type"] == "json_object":
        return json_mode_schema(last_text)
    return response_format["json_schema"].get("schema", {})


def write(call: Call, prompt: Prompt, reply: Reply) -> Answer:
    body = {
        **_head(call, prompt, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": _message(prompt, choice, index),
                "logprobs": _logprobs(choice, _tokens(prompt, choice, index)),
                "finish_reason": _finish(call, choice),
            }
            for index, choice in enumerate(reply.choices)
        ],
        "usage": _usage(reply),
        **_tail(call, prompt),
    }
    return Answer(200, dumps(body))


def _head(call: Call, prompt: Prompt, kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-" + call.request_id[:29],
        "object": kind,
        "created": moment(prompt.key),
        "model": SNAPSHOTS.get(prompt.model, prompt.model),
    }


def _tail(call: Call, prompt: Prompt) -> dict[str, Any]:
    asked = call.body.get("service_tier")
    tier = asked if asked in ("flex", "priority", "scale") else "default"
    return {"service_tier": tier, "system_fingerprint": _fingerprint(prompt.model)}


@lru_cache(256)
def _fingerprint(model: str) -> str:
    return "fp_" + identifier(model.encode(), "fingerprint", 10).lower()


def _message(prompt: Prompt, choice: Choice, index: int) -> dict[str, Any]:
    text = choice.text
    if choice.refused:
        return {"role": "assistant", "content": None, "refusal": text, "annotations": []}
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if choice.tools:
        message["content"] = text or None
        message["tool_calls"] = [
            {
                "id": _call_id(prompt, index, number),
                "type": "function",
                "function": {"name": use.name, "arguments": use.arguments.text},
            }
            for number, use in enumerate(choice.tools)
        ]
    return message


def _call_id(prompt: Prompt, index: int, number: int) -> str:
    return "call_" + identifier(prompt.key, f"tool {index}" + (f" {number}" if number else ""), 24)


def _finish(call: Call, choice: Choice) -> str:
    # A function that the client forces by name ends with "stop".
    if choice.finish == "tool" and not choice.finish_given:
        forced = call.body.get("tool_choice")
        if isinstance(forced, dict) and forced.get("type") != "allowed_tools":
            return "stop"
    return FINISH[choice.finish]


def _usage(reply: Reply) -> dict[str, Any]:
    completion = reply.completion_tokens
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": reply.prompt_tokens + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reply.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _tokens(prompt: Prompt, choice: Choice, index: int) -> list[TokenLogprob] | None:
    """What is told of the text's tokens, where the client asks for it."""
    if prompt.logprobs is None:
        return None
    return logprobs(prompt.key, index, choice.words.encoded, prompt.logprobs)


def _logprobs(choice: Choice, listed: list[TokenLogprob] | None) -> dict[str, Any] | None:
    """They are told of the text or of the refusal; of tool calls they never are."""
    if not listed:
        return None
    content = [
        {**_logprob(token), "top_logprobs": [_logprob(other) for other in token.alternatives]} for token in listed
    ]
    return {"content": None, "refusal": content} if choice.refused else {"content": content, "refusal": None}


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.raw)}


def stream(call: Call, prompt: Prompt, reply: Reply) -> list[bytes]:
    head = {**_head(call, prompt, "chat.completion.chunk"), **_tail(call, prompt)}
    with_usage = (call.body.get("stream_options") or {}).get("include_usage") is True
    tail = {"usage": None} if with_usage else {}
    spoken: list[list[bytes]] = []
    for index, choice in enumerate(reply.choices):

        def chunk(delta: dict[str, Any], told: Any = None, finish: str | None = None, index: int = index) -> bytes:
            part = {"index": index, "delta": delta, "logprobs": told, "finish_reason": finish}
            return event({**head, "choices": [part], **tail})

        spoken.append([*_chunks(prompt, choice, index, chunk), chunk({}, None, _finish(call, choice))])
    # Several choices come side by side.
    events = spoken[0] if len(spoken) == 1 else [one for row in zip_longest(*spoken) for one in row if one is not None]
    if with_usage:
        events.append(event({**head, "choices": [], "usage": _usage(reply)}))
    events.append(b"data: [DONE]\n\n")
    return events


SLOT = "\0"
"""Stands in an event for a text that is put there later."""


def _chunks(prompt: Prompt, choice: Choice, index: int, chunk: Callable[..., bytes]) -> Iterator[bytes]:
    """A choice's chunks up to the last, which says why it ended; `chunk` makes one of a delta and its logprobs."""
    name = "refusal" if choice.refused else "content"
    calls = [delta for number, use in enumerate(choice.tools) for delta in _call_deltas(prompt, use, index, number)]
    if choice.refused:
        yield chunk({"role": "assistant", "content": None, "refusal": ""})
    elif calls and not choice.text:
        # The first call is opened in the first chunk.
        yield chunk({"role": "assistant", "content": None, **calls.pop(0), "refusal": None})
    else:
        yield chunk({"role": "assistant", "content": "", "refusal": None})
    if prompt.logprobs is None:
        before, _, after = chunk({name: SLOT}).partition(dumps(SLOT))
        for text in tokens.quoted(choice.words.encoded):
            yield before + text + after
    else:
        told = _tokens(prompt, choice, index) or []
        for part, at, end in choice.words.spans():
            yield chunk({name: part}, _logprobs(choice, told[at:end]))
    for delta in calls:
        yield chunk(delta)


def _call_deltas(prompt: Prompt, use: ToolUse, index: int, number: int) -> Iterator[dict[str, Any]]:
    opened = {
        "index": number,
        "id": _call_id(prompt, index, number),
        "type": "function",
        "function": {"name": use.name, "arguments": ""},
    }
    yield {"tool_calls": [opened]}
    for part in use.arguments.parts():
        yield {"tool_calls": [{"index": number, "function": {"arguments": part}}]}


def stream_type(_call: Call) -> bytes:
    return b"text/event-stream; charset=utf-8"


def models() -> Answer:
    """GET /v1/models: the aliases and dated models known by name."""
    names = sorted({*SNAPSHOTS, *SNAPSHOTS.values()})
    listed = [{"id": name, "object": "model", "created": 1_735_689_600, "owned_by": "system"} for name in names]
    return Answer(200, dumps({"object": "list", "data": listed}))

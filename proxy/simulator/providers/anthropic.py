"""Anthropic's wire format: POST /v1/messages.

Shapes follow https://docs.anthropic.com/en/api/messages; `anthropic_request.py` checks what comes in.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import orjson

from proxy.simulator.providers.anthropic_request import ERROR_TYPES, check, custom_tools, prompt_tokens, refusal, refuse
from proxy.simulator.providers.wire import (
    HTML,
    Answer,
    Call,
    Headers,
    ProviderError,
    bad_gateway_page,
    dumps,
    retry_headers,
)
from proxy.simulator.replies.reply import (
    Choice,
    Prompt,
    Reply,
    Tool,
    ToolChoice,
    identifier,
    request_key,
    tool_to_call,
)

NAME = "anthropic"

GROUP = 4
"""Tokens to a text delta."""

MESSAGES = {
    400: "Invalid request.",
    401: "invalid x-api-key",
    403: "Your API key does not have permission to use the specified resource.",
    404: "model: {model}",
    408: "Request timed out.",
    409: "The request conflicts with another one.",
    413: "Request exceeds the maximum size",
    422: "Unprocessable request.",
    429: "This request would exceed your organization's rate limit of 4,000 requests per minute. For details, refer "
    "to: https://docs.anthropic.com/en/api/rate-limits. You can see the response headers for current usage.",
    500: "Internal server error",
    503: "Service unavailable",
    504: "Request timed out. Please try again.",
    529: "Overloaded",
}
"""status -> message. 502 comes from the load balancer, as HTML."""

FINISH = {"stop": "end_turn", "stop_sequence": "stop_sequence", "length": "max_tokens", "tool": "tool_use"}

LIMITS = (("requests", 4000), ("input-tokens", 400_000), ("output-tokens", 80_000), ("tokens", 480_000))


def authorise(call: Call) -> None:
    scheme, _, token = call.headers.get(b"authorization", b"").partition(b" ")
    if not call.headers.get(b"x-api-key", b"").strip() and not (scheme.lower() == b"bearer" and token.strip()):
        raise refuse(call, "x-api-key header is required", status=401)


def read(call: Call) -> Prompt:
    body = check(call)
    model: str = body["model"]
    if not model.startswith("claude-"):
        raise ProviderError(error(call, 404, None))
    messages = body["messages"]
    return Prompt(
        model=model,
        key=request_key(model, body, call.raw),
        last_text=next((text for m in reversed(messages) if m["role"] == "user" and (text := _text(m))), ""),
        prompt_tokens=prompt_tokens(body),
        limit=body["max_tokens"],
        stop=tuple(body.get("stop_sequences") or ()),
        tool=_tool(body),
        schema=_schema(body),
    )


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return " ".join(block["text"] for block in content if block["type"] == "text")


def _tool(body: dict[str, Any]) -> Tool | None:
    offered = [Tool(tool["name"], tool.get("input_schema", {})) for tool in custom_tools(body)]
    choice = body.get("tool_choice") or {"type": "auto"}
    how: ToolChoice = choice["type"] if choice["type"] in ("auto", "none") else "required"
    last = body["messages"][-1]
    users_turn = last["role"] == "user" and (
        isinstance(last["content"], str) or all(block["type"] != "tool_result" for block in last["content"])
    )
    return tool_to_call(offered, how, choice.get("name"), users_turn)


def _schema(body: dict[str, Any]) -> Any:
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format")
    return wanted.get("schema", {}) if wanted and wanted.get("type") == "json_schema" else None


def write(call: Call, prompt: Prompt, reply: Reply) -> Answer:
    choice = reply.choices[0]
    body = _message(
        call,
        prompt,
        content=[_block(prompt, choice)],
        stop_reason=FINISH[choice.finish],
        stop_sequence=choice.stopped_by,
        output_tokens=reply.completion_tokens,
    )
    return Answer(200, dumps(body))


def _message(
    call: Call,
    prompt: Prompt,
    content: list[dict[str, Any]],
    stop_reason: str | None,
    stop_sequence: str | None,
    output_tokens: int,
) -> dict[str, Any]:
    return {
        "model": prompt.model,
        "id": "msg_01" + identifier(call.request_id.encode(), "reply", 22),
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "usage": {
            "input_tokens": prompt.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output_tokens,
            "service_tier": "standard",
        },
    }


def _block(prompt: Prompt, choice: Choice) -> dict[str, Any]:
    if choice.tool is None:
        return {"type": "text", "text": choice.text}
    # Input cut off by max_tokens is no JSON, so nothing of it can be shown in one piece.
    whole = choice.finish == "tool"
    return {**_tool_use(prompt, choice.tool), "input": orjson.loads(choice.text) if whole else {}}


def _tool_use(prompt: Prompt, name: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_01" + identifier(prompt.key, "tool", 22), "name": name, "input": {}}


def stream(call: Call, prompt: Prompt, reply: Reply) -> list[bytes]:
    choice = reply.choices[0]
    started = _message(call, prompt, content=[], stop_reason=None, stop_sequence=None, output_tokens=1)
    if choice.tool is None:
        block: dict[str, Any] = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": part} for part in choice.parts(GROUP)]
    else:
        block = _tool_use(prompt, choice.tool)
        pieces = ["", *choice.parts(GROUP)]
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in pieces]
    ended = {"stop_reason": FINISH[choice.finish], "stop_sequence": choice.stopped_by}
    usage = {
        "input_tokens": prompt.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": reply.completion_tokens,
    }
    return [
        _event("message_start", message=started),
        _event("content_block_start", index=0, content_block=block),
        _event("ping"),
        *(_event("content_block_delta", index=0, delta=delta) for delta in deltas),
        _event("content_block_stop", index=0),
        _event("message_delta", delta=ended, usage=usage),
        _event("message_stop"),
    ]


def _event(name: str, **fields: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + dumps({"type": name, **fields}) + b"\n\n"


def stream_type(_call: Call) -> bytes:
    return b"text/event-stream; charset=utf-8"


def headers(call: Call, _elapsed_ms: int) -> Headers:
    reset = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    made = [
        (b"request-id", b"req_" + call.request_id.encode()),
        (b"anthropic-organization-id", b"00000000-0000-4000-8000-000000000000"),
    ]
    for name, limit in LIMITS:
        prefix = b"anthropic-ratelimit-" + name.encode()
        made += [
            (prefix + b"-limit", b"%d" % limit),
            (prefix + b"-remaining", b"%d" % (limit - 1)),
            (prefix + b"-reset", reset),
        ]
    return made


def schema_error(prompt: Prompt, reason: str) -> ProviderError:
    where = "tools.0.custom.input_schema" if prompt.tool is not None else "output_config.format.schema"
    return ProviderError(Answer(400, dumps(refusal(None, "invalid_request_error", f"{where}: {reason}"))))


def error(call: Call, status: int, retry_after: float | None) -> Answer:
    extra = retry_headers(retry_after)
    if status == 502:
        return Answer(status, bad_gateway_page(status, "Bad Gateway", "cloudflare"), HTML, extra)
    return Answer(status, dumps(refusal(call, _type(status), _text_of(call, status))), headers=extra)


def _type(status: int) -> str:
    return ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def _text_of(call: Call, status: int) -> str:
    return MESSAGES.get(status, MESSAGES[500 if status >= 500 else 400]).format(model=call.model)


def error_event(call: Call, status: int) -> bytes:
    return _event("error", error={"type": _type(status), "message": _text_of(call, status)})


def broken_event(_call: Call) -> bytes:
    return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"ty\n\n'

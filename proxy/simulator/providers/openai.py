"""OpenAI's wire format: POST /v1/chat/completions and GET /v1/models.

Shapes follow https://platform.openai.com/docs/api-reference/chat; `openai_request.py` checks what comes in.
"""

from __future__ import annotations

from typing import Any

from proxy.simulator.providers.openai_request import check, is_known, prompt_tokens, refuse
from proxy.simulator.providers.wire import (
    HTML,
    Answer,
    Call,
    Headers,
    ProviderError,
    bad_gateway_page,
    dumps,
    event,
    retry_headers,
)
from proxy.simulator.replies.reply import (
    Choice,
    Prompt,
    Reply,
    Tool,
    ToolChoice,
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

ERRORS: dict[int, tuple[str, str, str | None]] = {
    400: ("Invalid request.", "invalid_request_error", None),
    401: (
        "Incorrect API key provided: sk-*****. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        "invalid_request_error",
        "invalid_api_key",
    ),
    403: (
        "Country, region, or territory not supported",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
    404: (
        "The model `{model}` does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
    ),
    408: (
        "Timed out generating response. Please try again with a shorter prompt or with `max_tokens` set to a lower "
        "value.",
        "internal_error",
        "request_timeout",
    ),
    409: ("The request conflicts with another one. Please try again.", "invalid_request_error", "conflict"),
    413: ("Maximum content size limit (26214400) exceeded", "invalid_request_error", None),
    422: ("Unprocessable request.", "invalid_request_error", None),
    429: (
        "Rate limit reached for {model} in organization org-simulated on requests per min (RPM): Limit 10000, "
        "Used 10000, Requested 1. Please try again in {wait}. Visit "
        "https://platform.openai.com/account/rate-limits to learn more.",
        "requests",
        "rate_limit_exceeded",
    ),
    500: (
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
        None,
    ),
    503: ("The engine is currently overloaded, please try again later", "server_error", "engine_overloaded"),
}
"""status -> message, type, code. 502 and 504 come from the load balancer, as HTML."""

NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the "
    "API from your browser and are prompted for a username and password. You can obtain an API key from "
    "https://platform.openai.com/account/api-keys."
)

LIMITS: Headers = [
    (b"x-ratelimit-limit-requests", b"10000"),
    (b"x-ratelimit-limit-tokens", b"30000000"),
    (b"x-ratelimit-remaining-tokens", b"29999000"),
    (b"x-ratelimit-reset-requests", b"6ms"),
    (b"x-ratelimit-reset-tokens", b"2ms"),
    (b"openai-organization", b"org-simulated"),
    (b"openai-project", b"proj_simulated"),
    (b"openai-version", b"2020-10-01"),
]

FINISH = {"stop": "stop", "stop_sequence": "stop", "length": "length", "tool": "tool_calls"}


def authorise(call: Call) -> None:
    scheme, _, key = call.headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not key.strip():
        raise refuse(NO_KEY, status=401)


def read(call: Call) -> Prompt:
    body = check(call.body)
    model: str = body["model"]
    if not is_known(model):
        raise ProviderError(error(call, 404, None))
    messages = body["messages"]
    last_text = next((_text(m) for m in reversed(messages) if m["role"] == "user"), "")
    limit = body.get("max_completion_tokens")
    return Prompt(
        model=model,
        key=request_key(model, body, call.raw),
        last_text=last_text,
        prompt_tokens=prompt_tokens(body),
        limit=limit if limit is not None else body.get("max_tokens"),
        stop=_stop(body.get("stop")),
        tool=_tool(body),
        schema=_schema(body.get("response_format"), last_text),
        choices=body.get("n") or 1,
    )


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content or () if part["type"] == "text")


def _stop(stop: Any) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def _tool(body: dict[str, Any]) -> Tool | None:
    functions = [tool["function"] for tool in body.get("tools") or () if tool["type"] == "function"]
    offered = [Tool(function["name"], function.get("parameters", {})) for function in functions]
    given: Any = body.get("tool_choice") or "auto"
    how: ToolChoice = "required" if isinstance(given, dict) else given
    name = given["function"]["name"] if isinstance(given, dict) else None
    return tool_to_call(offered, how, name, users_turn=body["messages"][-1]["role"] == "user")


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
                "logprobs": None,
                "finish_reason": _finish(call, choice),
            }
            for index, choice in enumerate(reply.choices)
        ],
        "usage": _usage(prompt, reply),
        **_tail(prompt),
    }
    return Answer(200, dumps(body))


def _head(call: Call, prompt: Prompt, kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-" + identifier(call.request_id.encode(), "reply", 29),
        "object": kind,
        "created": moment(prompt.key),
        "model": SNAPSHOTS.get(prompt.model, prompt.model),
    }


def _tail(prompt: Prompt) -> dict[str, Any]:
    fingerprint = "fp_" + identifier(prompt.model.encode(), "fingerprint", 10).lower()
    return {"service_tier": "default", "system_fingerprint": fingerprint}


def _message(prompt: Prompt, choice: Choice, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []}
    if choice.tool is not None:
        message["content"] = None
        message["tool_calls"] = [
            {
                "id": _call_id(prompt, index),
                "type": "function",
                "function": {"name": choice.tool, "arguments": choice.text},
            }
        ]
    return message


def _call_id(prompt: Prompt, index: int) -> str:
    return "call_" + identifier(prompt.key, f"tool {index}", 24)


def _finish(call: Call, choice: Choice) -> str:
    # A function that the client forces by name ends with "stop".
    if choice.finish == "tool" and isinstance(call.body.get("tool_choice"), dict):
        return "stop"
    return FINISH[choice.finish]


def _usage(prompt: Prompt, reply: Reply) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": prompt.prompt_tokens + reply.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def stream(call: Call, prompt: Prompt, reply: Reply) -> list[bytes]:
    head = {**_head(call, prompt, "chat.completion.chunk"), **_tail(prompt)}
    with_usage = (call.body.get("stream_options") or {}).get("include_usage") is True
    tail = {"usage": None} if with_usage else {}
    events: list[bytes] = []
    for index, choice in enumerate(reply.choices):
        for delta, finish in _deltas(call, prompt, choice, index):
            part = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            events.append(event({**head, "choices": [part], **tail}))
    if with_usage:
        events.append(event({**head, "choices": [], "usage": _usage(prompt, reply)}))
    events.append(b"data: [DONE]\n\n")
    return events


def _deltas(call: Call, prompt: Prompt, choice: Choice, index: int) -> list[tuple[dict[str, Any], str | None]]:
    """A choice's chunks: the delta and the finish reason of each."""
    first: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    middle: list[dict[str, Any]]
    if choice.tool is None:
        middle = [{"content": part} for part in choice.parts()]
    else:
        function = {"name": choice.tool, "arguments": ""}
        opened = {"index": 0, "id": _call_id(prompt, index), "type": "function", "function": function}
        first = {"role": "assistant", "content": None, "tool_calls": [opened], "refusal": None}
        middle = [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in choice.parts()]
    return [(first, None), *((delta, None) for delta in middle), ({}, _finish(call, choice))]


def stream_type(_call: Call) -> bytes:
    return b"text/event-stream; charset=utf-8"


def headers(call: Call, elapsed_ms: int) -> Headers:
    return [
        (b"x-request-id", b"req_" + call.request_id.encode()),
        (b"openai-processing-ms", b"%d" % elapsed_ms),
        *LIMITS,
    ]


def schema_error(prompt: Prompt, reason: str) -> ProviderError:
    if prompt.tool is not None:
        message, param = f"Invalid schema for function '{prompt.tool.name}': {reason}", "tools[0].function.parameters"
        return refuse(message, param, "invalid_function_parameters")
    return refuse(f"Invalid schema for response_format: {reason}", "response_format")


def error(call: Call, status: int, retry_after: float | None) -> Answer:
    extra = retry_headers(retry_after)
    if status in (502, 504):
        phrase = "Bad Gateway" if status == 502 else "Gateway Time-out"
        return Answer(status, bad_gateway_page(status, phrase, "cloudflare"), HTML, extra)
    extra.append((b"x-ratelimit-remaining-requests", b"0" if status == 429 else b"9999"))
    return Answer(status, dumps(_error(call, status, retry_after)), headers=extra)


def _error(call: Call, status: int, retry_after: float | None) -> dict[str, Any]:
    unlisted = ERRORS[500] if status > 500 else ERRORS[400]
    message, kind, code = ERRORS.get(status, unlisted)
    wait = "6ms" if retry_after is None else f"{retry_after:g}s"
    message = message.format(model=call.model, wait=wait)
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_event(call: Call, status: int) -> bytes:
    return event(_error(call, status, None))


def broken_event(_call: Call) -> bytes:
    return b'data: {"id":"chatcmpl-broken","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"con\n\n'


def models() -> Answer:
    """GET /v1/models: the aliases and dated models known by name."""
    names = sorted({*SNAPSHOTS, *SNAPSHOTS.values()})
    listed = [{"id": name, "object": "model", "created": 1_735_689_600, "owned_by": "system"} for name in names]
    return Answer(200, dumps({"object": "list", "data": listed}))

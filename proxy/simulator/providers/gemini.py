"""Gemini's wire format: POST /v1beta/models/{model}:generateContent and :streamGenerateContent.

Shapes follow https://ai.google.dev/api/generate-content; `gemini_request.py` checks what comes in. A stream is
server-sent events with `alt=sse`, else one JSON array sent piece by piece.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import orjson

from proxy.simulator.providers.gemini_request import (
    check,
    declarations,
    either,
    json_schema,
    prompt_tokens,
    refusal,
    refuse,
    texts,
)
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
    identifier,
    json_mode_schema,
    request_key,
    tool_to_call,
)

NAME = "google"

JSON_UTF8 = b"application/json; charset=UTF-8"

GROUP = 8
"""Tokens to a chunk."""

MESSAGES = {
    400: "Request contains an invalid argument.",
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
    403: "The caller does not have permission",
    404: "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call ListModels "
    "to see the list of available models and their supported methods.",
    408: "The request timed out.",
    409: "The operation was aborted.",
    413: "Request payload size exceeds the limit: 20971520 bytes.",
    422: "Request contains an invalid argument.",
    429: "You exceeded your current quota, please check your plan and billing details. For more information on this "
    "error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.",
    500: "An internal error has occurred. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting",
    503: "The model is overloaded. Please try again later.",
    504: "The request timed out. Please try again.",
}
"""status -> message. 502 comes from the load balancer, as HTML."""

NO_KEY = (
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
    "form of API consumer identity to call this API."
)

HEADERS: Headers = [
    (b"vary", b"Origin, X-Origin, Referer"),
    (b"server", b"scaffolding on HTTPServer2"),
    (b"x-xss-protection", b"0"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-content-type-options", b"nosniff"),
]


def authorise(call: Call) -> None:
    key = call.headers.get(b"x-goog-api-key", b"").strip()
    bearer = call.headers.get(b"authorization", b"").strip()
    if not key and not bearer and not parse_qs(call.query).get(b"key"):
        raise refuse(NO_KEY, status=403)


def read(call: Call) -> Prompt:
    model = call.model or ""
    if not model.startswith(("gemini-", "gemma-")):
        raise ProviderError(error(call, 404, None))
    body = check(call.body)
    contents = body["contents"]
    config = either(body, "generationConfig", "generation_config") or {}
    users = [content for content in contents if content.get("role", "user") != "model"]
    last_text = next((text for content in reversed(users) if (text := " ".join(texts(content)))), "")
    return Prompt(
        model=model,
        key=request_key(model, body, call.raw),
        last_text=last_text,
        prompt_tokens=prompt_tokens(body),
        limit=either(config, "maxOutputTokens", "max_output_tokens"),
        stop=tuple(either(config, "stopSequences", "stop_sequences") or ()),
        tool=_tool(body),
        schema=_schema(config, last_text),
        choices=either(config, "candidateCount", "candidate_count") or 1,
    )


def _tool(body: dict[str, Any]) -> Tool | None:
    calling = either(body, "toolConfig", "tool_config") or {}
    calling = either(calling, "functionCallingConfig", "function_calling_config") or {}
    allowed = either(calling, "allowedFunctionNames", "allowed_function_names")
    offered = [
        Tool(declared["name"], _parameters(declared))
        for declared in declarations(body)
        if not allowed or declared["name"] in allowed
    ]
    last = body["contents"][-1]
    users_turn = last.get("role", "user") == "user" and all(
        either(part, "functionResponse", "function_response") is None for part in last["parts"]
    )
    mode = str(calling.get("mode") or "AUTO").upper()
    if mode == "ANY":
        return tool_to_call(offered, "required", None, users_turn)
    return tool_to_call(offered, "none" if mode == "NONE" else "auto", None, users_turn)


def _parameters(declared: dict[str, Any]) -> Any:
    schema = either(declared, "parametersJsonSchema", "parameters_json_schema")
    if schema is not None:
        return schema
    return json_schema(declared.get("parameters") or {"type": "OBJECT"})


def _schema(config: dict[str, Any], last_text: str) -> Any:
    if either(config, "responseMimeType", "response_mime_type") != "application/json":
        return None
    plain = either(config, "responseJsonSchema", "response_json_schema")
    if plain is not None:
        return plain
    schema = either(config, "responseSchema", "response_schema")
    if schema is None:
        return json_mode_schema(last_text)
    return json_schema(schema)


def write(call: Call, prompt: Prompt, reply: Reply) -> Answer:
    candidates = [_candidate(index, _parts(choice), _finish(choice)) for index, choice in enumerate(reply.choices)]
    return Answer(200, dumps(_response(call, prompt, candidates, reply.completion_tokens)), JSON_UTF8)


def _parts(choice: Choice) -> list[dict[str, Any]]:
    if choice.tool is None:
        return [{"text": choice.text}]
    # Arguments cut off by maxOutputTokens are no JSON: the call is left out.
    whole = choice.finish == "tool"
    return [{"functionCall": {"name": choice.tool, "args": orjson.loads(choice.text)}}] if whole else []


def _finish(choice: Choice) -> str:
    return "MAX_TOKENS" if choice.finish == "length" else "STOP"


def _candidate(index: int, parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}}
    if finish is not None:
        candidate["finishReason"] = finish
    candidate["index"] = index
    return candidate


def _response(call: Call, prompt: Prompt, candidates: list[dict[str, Any]], tokens: int) -> dict[str, Any]:
    return {
        "candidates": candidates,
        "usageMetadata": {
            "promptTokenCount": prompt.prompt_tokens,
            "candidatesTokenCount": tokens,
            "totalTokenCount": prompt.prompt_tokens + tokens,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt.prompt_tokens}],
        },
        "modelVersion": prompt.model,
        "responseId": identifier(call.request_id.encode(), "reply", 22),
    }


def stream(call: Call, prompt: Prompt, reply: Reply) -> list[bytes]:
    pieces: list[tuple[dict[str, Any], int]] = []
    for index, choice in enumerate(reply.choices):
        finish = _finish(choice)
        groups = choice.parts(GROUP) if choice.tool is None else []
        pieces += [(_candidate(index, [{"text": text}], None), GROUP) for text in groups[:-1]]
        parts = [{"text": groups[-1]}] if groups else _parts(choice)
        pieces.append((_candidate(index, parts, finish), reply.completion_tokens))
    spent, chunks = 0, []
    for candidate, tokens in pieces:
        spent = min(spent + tokens, reply.completion_tokens)
        chunks.append(dumps(_response(call, prompt, [candidate], spent)))
    if call.sse:
        return [b"data: " + chunk + b"\r\n\r\n" for chunk in chunks]
    opened = [(b"[" if number == 0 else b",\r\n") + chunk for number, chunk in enumerate(chunks)]
    return [*opened, b"]"]


def stream_type(call: Call) -> bytes:
    return b"text/event-stream" if call.sse else JSON_UTF8


def headers(_call: Call, elapsed_ms: int) -> Headers:
    return [*HEADERS, (b"server-timing", b"gfet4t7; dur=%d" % elapsed_ms)]


def schema_error(prompt: Prompt, reason: str) -> ProviderError:
    where = "tools[0].function_declarations[0].parameters" if prompt.tool else "generation_config.response_schema"
    return refuse(f"* GenerateContentRequest.{where}: {reason}\n")


def error(call: Call, status: int, retry_after: float | None) -> Answer:
    extra = retry_headers(retry_after)
    if status == 502:
        return Answer(status, bad_gateway_page(status, "Bad Gateway", "Google Frontend"), HTML, extra)
    body = _error(call, status, retry_after)
    # A stream that is a JSON array is one for its errors too.
    return Answer(status, dumps([body] if call.stream and not call.sse else body), JSON_UTF8, extra)


def _error(call: Call, status: int, retry_after: float | None) -> dict[str, Any]:
    message = MESSAGES.get(status, MESSAGES[500 if status >= 500 else 400]).format(model=call.model)
    details: list[dict[str, Any]] = []
    if status == 429:
        quota = {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "quotaDimensions": {"model": call.model}}
        details.append({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota]})
    if retry_after is not None:
        delay = f"{retry_after:g}s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    return refusal(message, status, details)


def error_event(call: Call, status: int) -> bytes:
    body = dumps(_error(call, status, None))
    return b"data: " + body + b"\r\n\r\n" if call.sse else b",\r\n" + body + b"]"


def broken_event(call: Call) -> bytes:
    broken = b'{"candidates":[{"content":{"parts":[{"te'
    return b"data: " + broken + b"\r\n\r\n" if call.sse else b"[" + broken

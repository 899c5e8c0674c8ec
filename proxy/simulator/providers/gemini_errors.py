"""What Gemini says beside its replies: the headers of every answer, and its errors; used by gemini*.py."""

from __future__ import annotations

from typing import Any

from proxy.simulator.providers.wire import (
    HTML,
    Answer,
    Call,
    Headers,
    LimitState,
    ProviderError,
    bad_gateway_page,
    dumps,
    retry_headers,
    schema_of_tool,
)
from proxy.simulator.replies.reply import Prompt

JSON_UTF8 = b"application/json; charset=UTF-8"

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

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

QUOTA_METRIC = "generativelanguage.googleapis.com/generate_content_paid_tier_requests"
QUOTA_ID = "GenerateRequestsPerMinutePerProjectPerModel"
HELP = {
    "@type": "type.googleapis.com/google.rpc.Help",
    "links": [
        {
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }
    ],
}

HEADERS: Headers = [
    (b"vary", b"Origin, X-Origin, Referer"),
    (b"server", b"scaffolding on HTTPServer2"),
    (b"x-xss-protection", b"0"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-content-type-options", b"nosniff"),
]


def refusal(message: str, status: int, details: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    name = STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    body: dict[str, Any] = {"code": status, "message": message, "status": name}
    if details:
        body["details"] = details
    return {"error": body}


def refuse(message: str, status: int = 400) -> ProviderError:
    return ProviderError(Answer(status, dumps(refusal(message, status)), JSON_UTF8))


def headers(_call: Call, elapsed_ms: int, limit: LimitState | None = None) -> Headers:
    """Gemini's headers tell nothing of limits; its error's details do."""
    del limit
    return [*HEADERS, (b"server-timing", b"gfet4t7; dur=%d" % elapsed_ms)]


def schema_error(prompt: Prompt, reason: str) -> ProviderError:
    of_tool = schema_of_tool(prompt) is not None
    where = "tools[0].function_declarations[0].parameters" if of_tool else "generation_config.response_schema"
    return refuse(f"* GenerateContentRequest.{where}: {reason}\n")


def error(
    call: Call,
    status: int,
    retry_after: float | None,
    message: str | None = None,
    limit: LimitState | None = None,
    code: str | None = None,
) -> Answer:
    extra = retry_headers(retry_after, limit)
    if status == 502 and message is None:
        return Answer(status, bad_gateway_page(status, "Bad Gateway", "Google Frontend"), HTML, extra)
    if retry_after is None and limit is not None:
        retry_after = limit.reset_seconds
    body = _error(call, status, message, retry_after, limit, code)
    # A stream that is a JSON array is one for its errors too.
    return Answer(status, dumps([body] if call.stream and not call.sse else body), JSON_UTF8, extra)


def _error(
    call: Call,
    status: int,
    message: str | None,
    retry_after: float | None = None,
    limit: LimitState | None = None,
    code: str | None = None,
) -> dict[str, Any]:
    details: list[dict[str, Any]] = []
    if code is not None:
        reason = {"reason": code, "domain": "generativelanguage.googleapis.com"}
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", **reason})
    if status == 429:
        quota: dict[str, Any] = {
            "quotaMetric": QUOTA_METRIC,
            "quotaId": QUOTA_ID,
            "quotaDimensions": {"location": "global", "model": call.model},
        }
        if limit is not None:
            quota["quotaValue"] = str(limit.limit)
        details += [HELP, {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota]}]
    if retry_after is not None:
        delay = f"{retry_after:.9g}s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    if message is None:
        message = MESSAGES.get(status, MESSAGES[500 if status >= 500 else 400]).format(model=call.model)
        if status == 429 and limit is not None:
            message += f"\n* Quota exceeded for metric: {QUOTA_METRIC}, limit: {limit.limit}, model: {call.model}"
        if status == 429 and retry_after is not None:
            message += f"\nPlease retry in {retry_after:.9g}s."
    return refusal(message, status, details)


def error_event(call: Call, status: int, message: str | None = None) -> bytes:
    body = dumps(_error(call, status, message))
    return b"data: " + body + b"\r\n\r\n" if call.sse else _opening(call) + body + b"]"


def broken_event(call: Call) -> bytes:
    broken = b'{"candidates":[{"content":{"parts":[{"te'
    return b"data: " + broken + b"\r\n\r\n" if call.sse else _opening(call) + broken


def _opening(call: Call) -> bytes:
    """What stands before the next element of a stream that is a JSON array."""
    return b",\r\n" if call.sent else b"["

"""What Anthropic says beside its replies: the headers of every answer, and its errors; used by anthropic*.py."""

from __future__ import annotations

import math
import time
from datetime import datetime, timezone
from functools import lru_cache
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

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

MESSAGES = {
    400: "Invalid request.",
    401: "invalid x-api-key",
    403: "Your API key does not have permission to use the specified resource.",
    404: "model: {model}",
    408: "Request timed out.",
    409: "The request conflicts with another one.",
    413: "Request exceeds the maximum size",
    422: "Unprocessable request.",
    429: "This request would exceed your organization's rate limit of {limit:,} requests per minute. For details, "
    "refer to: https://docs.anthropic.com/en/api/rate-limits. You can see the response headers for current usage.",
    500: "Internal server error",
    503: "Service unavailable",
    504: "Request timed out. Please try again.",
    529: "Overloaded",
}
"""status -> message. 502 comes from the load balancer, as HTML."""

REQUESTS = 4000
TOKENS = (("input-tokens", 400_000), ("output-tokens", 80_000), ("tokens", 480_000))


def refusal(call: Call | None, kind: str, message: str) -> dict[str, Any]:
    request_id = {"request_id": "req_" + call.request_id} if call is not None else {}
    return {"type": "error", "error": {"type": kind, "message": message}, **request_id}


def refuse(call: Call, message: str, status: int = 400) -> ProviderError:
    return ProviderError(Answer(status, dumps(refusal(call, ERROR_TYPES[status], message))))


def headers(call: Call, _elapsed_ms: int, limit: LimitState | None = None) -> Headers:
    state = limit or call.limit
    now = time.time()
    made = [
        (b"request-id", b"req_" + call.request_id.encode()),
        (b"anthropic-organization-id", b"00000000-0000-4000-8000-000000000000"),
        *_usual_limits(int(now)),
    ]
    if state is not None:
        made[2:5] = _limit("requests", state.limit, state.remaining, math.ceil(now + state.reset_seconds))
    return made


@lru_cache(maxsize=2)
def _usual_limits(second: int) -> Headers:
    made = _limit("requests", REQUESTS, REQUESTS - 1, second)
    for name, limit in TOKENS:
        made += _limit(name, limit, limit - 1000, second)
    return made


def _limit(name: str, limit: int, remaining: int, reset: int) -> Headers:
    prefix = b"anthropic-ratelimit-" + name.encode()
    moment = datetime.fromtimestamp(reset, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        (prefix + b"-limit", b"%d" % limit),
        (prefix + b"-remaining", b"%d" % remaining),
        (prefix + b"-reset", moment.encode()),
    ]


def schema_error(prompt: Prompt, reason: str) -> ProviderError:
    of_tool = schema_of_tool(prompt) is not None
    where = "tools.0.custom.input_schema" if of_tool else "output_config.format.schema"
    return ProviderError(Answer(400, dumps(refusal(None, "invalid_request_error", f"{where}: {reason}"))))


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
        return Answer(status, bad_gateway_page(status, "Bad Gateway", "cloudflare"), HTML, extra)
    if status == 429:
        call.limit = limit = limit or LimitState(REQUESTS, 0, retry_after or 0)
    return Answer(
        status, dumps(refusal(call, code or _type(status), message or _text(call, status, limit))), headers=extra
    )


def _type(status: int) -> str:
    return ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def _text(call: Call, status: int, limit: LimitState | None = None) -> str:
    usual = MESSAGES.get(status, MESSAGES[500 if status >= 500 else 400])
    return usual.format(model=call.model, limit=limit.limit if limit is not None else REQUESTS)


def error_event(call: Call, status: int, message: str | None = None) -> bytes:
    body = refusal(call, _type(status), message or _text(call, status))
    return b"event: error\ndata: " + dumps(body) + b"\n\n"


def broken_event(_call: Call) -> bytes:
    return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"ty\n\n'

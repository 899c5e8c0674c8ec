"""What OpenAI says beside its replies: the headers of every answer, and its errors; used by openai*.py."""

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
    event,
    kind,
    retry_headers,
    schema_of_tool,
)
from proxy.simulator.replies.reply import Prompt

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
        "Rate limit reached for {model} in organization org-simulated on requests per min (RPM): Limit {limit}, "
        "Used {limit}, Requested 1. Please try again in {wait}. Visit "
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

USUAL = LimitState(10000, 9999, 0.006)
"""What headers say of requests where no limit is reached."""

LIMITS: Headers = [
    (b"x-ratelimit-limit-tokens", b"30000000"),
    (b"x-ratelimit-remaining-tokens", b"29999000"),
    (b"x-ratelimit-reset-tokens", b"2ms"),
    (b"openai-organization", b"org-simulated"),
    (b"openai-project", b"proj_simulated"),
    (b"openai-version", b"2020-10-01"),
]


def refuse(message: str, param: str | None = None, code: str | None = None, status: int = 400) -> ProviderError:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}
    return ProviderError(Answer(status, dumps(body)))


def missing(param: str) -> ProviderError:
    return refuse(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def wrong_type(param: str, expected: str, value: Any) -> ProviderError:
    message = f"Invalid type for '{param}': expected {expected}, but got {kind(value)} instead."
    return refuse(message, param, "invalid_type")


def wrong_value(param: str, value: Any, supported: tuple[str, ...]) -> ProviderError:
    listed = ", ".join(f"'{one}'" for one in supported[:-1]) + f", and '{supported[-1]}'"
    return refuse(f"Invalid value: '{value}'. Supported values are: {listed}.", param, "invalid_value")


def headers(call: Call, elapsed_ms: int, limit: LimitState | None = None) -> Headers:
    state = limit or call.limit
    return [
        (b"x-request-id", b"req_" + call.request_id.encode()),
        (b"openai-processing-ms", b"%d" % elapsed_ms),
        *(USUAL_REQUESTS if state is None else _requests(state)),
        *LIMITS,
    ]


def _requests(state: LimitState) -> Headers:
    return [
        (b"x-ratelimit-limit-requests", b"%d" % state.limit),
        (b"x-ratelimit-remaining-requests", b"%d" % state.remaining),
        (b"x-ratelimit-reset-requests", duration(state.reset_seconds).encode()),
    ]


def duration(seconds: float) -> str:
    """As Go prints it: 6ms, 1.5s, 2m0s."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes or hours else "") + f"{round(rest, 3):g}s"


USUAL_REQUESTS = _requests(USUAL)


def schema_error(prompt: Prompt, reason: str) -> ProviderError:
    tool = schema_of_tool(prompt)
    if tool is not None:
        message, param = f"Invalid schema for function '{tool.name}': {reason}", "tools[0].function.parameters"
        return refuse(message, param, "invalid_function_parameters")
    return refuse(f"Invalid schema for response_format: {reason}", "response_format")


def error(
    call: Call,
    status: int,
    retry_after: float | None,
    message: str | None = None,
    limit: LimitState | None = None,
    code: str | None = None,
) -> Answer:
    extra = retry_headers(retry_after, limit)
    if status in (502, 504) and message is None:
        phrase = "Bad Gateway" if status == 502 else "Gateway Time-out"
        return Answer(status, bad_gateway_page(status, phrase, "cloudflare"), HTML, extra)
    if status == 429:
        reset = USUAL.reset_seconds if retry_after is None else retry_after
        call.limit = limit = limit or LimitState(USUAL.limit, 0, reset)
    return Answer(status, dumps({"error": error_fields(call, status, message, limit, code)}), headers=extra)


def error_fields(
    call: Call, status: int, message: str | None, limit: LimitState | None = None, code: str | None = None
) -> dict[str, Any]:
    """What is in the error for `status`."""
    unlisted = ERRORS[500] if status > 500 else ERRORS[400]
    usual, type_, usual_code = ERRORS.get(status, unlisted)
    if message is None:
        state = limit or USUAL
        message = usual.format(model=call.model, limit=state.limit, wait=duration(state.reset_seconds))
    return {"message": message, "type": type_, "param": None, "code": code or usual_code}


def error_event(call: Call, status: int, message: str | None = None) -> bytes:
    return event({"error": error_fields(call, status, message)})


def broken_event(_call: Call) -> bytes:
    return b'data: {"id":"chatcmpl-broken","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"con\n\n'

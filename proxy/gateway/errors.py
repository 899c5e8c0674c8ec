"""Errors as the caller's own SDK expects them: OpenAI's, Anthropic's or Gemini's shape.

Used by every guard. A guard raises `Refusal`; `send_refusal` turns it into one complete ASGI response.
"""

from __future__ import annotations

import json
from typing import Literal

from starlette.types import Send

Dialect = Literal["openai", "anthropic", "gemini"]

# https://docs.anthropic.com/en/api/errors and https://cloud.google.com/apis/design/errors
_ANTHROPIC_TYPES = {408: "timeout_error", 413: "request_too_large", 500: "api_error", 504: "timeout_error"}
_GEMINI_STATUSES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Refusal(Exception):
    """A request the gateway answers itself.

    `param` names the field at fault ("messages[0].role"), `code` is OpenAI's short word for the fault.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        type: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.type = type


# The answer to paths that are not for the outside (edge.closed_paths); smoke knows it by its code.
CLOSED = Refusal(404, "There is nothing for you at this path", code="not_found_here", type="not_found_error")


def error_body(refusal: Refusal, dialect: Dialect) -> bytes:
    """The JSON body of an error in the caller's dialect."""
    error: dict[str, object]
    if dialect == "anthropic":
        kind = _ANTHROPIC_TYPES.get(refusal.status, refusal.type)
        return _json({"type": "error", "error": {"type": kind, "message": refusal.message}})
    if dialect == "gemini":
        status = _GEMINI_STATUSES.get(refusal.status, "INVALID_ARGUMENT")
        return _json({"error": {"code": refusal.status, "message": refusal.message, "status": status}})
    error = {"message": refusal.message, "type": refusal.type, "param": refusal.param, "code": refusal.code}
    return _json({"error": error})


def error_event(refusal: Refusal, dialect: Dialect) -> bytes:
    """The same error as the last event of a stream that has already begun."""
    prefix = b"event: error\n" if dialect == "anthropic" else b""
    return prefix + b"data: " + error_body(refusal, dialect) + b"\n\n"


def as_gemini(body: bytes) -> bytes:
    """An error of OpenAI's shape in Gemini's; what is no such error comes back as it is.

    LiteLLM writes its errors for generateContent as OpenAI does, the status as text in `code`, on which Google's SDK
    breaks.
    """
    try:
        value = json.loads(body)
    except ValueError:
        return body
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return body
    status = int(error["code"]) if error["code"].isdecimal() else 500
    return error_body(Refusal(status, str(error.get("message"))), "gemini")


async def send_refusal(send: Send, refusal: Refusal, dialect: Dialect) -> None:
    """Sends the error as one complete response. What is left of the request body is not read."""
    body = error_body(refusal, dialect)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body must not be taken for a next request
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")

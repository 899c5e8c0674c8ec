"""What the double itself has to say to a request, in the shape of the provider's errors."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.simulator.providers.wire import Answer, dumps

NO_MATCH = "double_no_match"
BAD_SCOPE = "double_bad_scope"


def own_words(answer: Answer, message: str, code: str) -> Answer:
    """A provider's error with `message` in place of its own, and `code` where clients look for a reason: OpenAI's
    `code`, Anthropic's `type`, the `reason` in Google's details."""
    body: Any = orjson.loads(answer.body)
    error = (body[0] if isinstance(body, list) else body)["error"]
    error["message"] = message
    if "status" in error:
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "domain": "litellm-local"}
        error["details"] = [info]
    else:
        error["code" if "code" in error else "type"] = code
    return Answer(answer.status, dumps(body), answer.content_type, answer.headers)

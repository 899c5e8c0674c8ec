"""What the wire formats and the application share: a call as it came in, an answer as it goes out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from proxy.simulator.replies.reply import Prompt, Reply, Tool

Headers = list[tuple[bytes, bytes]]

JSON = b"application/json"
HTML = b"text/html"


@dataclass(frozen=True, slots=True)
class LimitState:
    """A rate limit as its headers tell it: requests in a window, what is left of them, seconds until it ends."""

    limit: int
    remaining: int
    reset_seconds: float


@dataclass(slots=True)
class Call:
    """One request to a provider. `body` is the parsed JSON, whatever it is (None: it is no JSON);
    `model` is None where the request does not say; `sse` is False for Gemini's streams as a JSON array.
    `limit` is set by an error that is about a limit, for the headers that go with it; `sent` is how many events of a
    stream are out, for the error that ends it."""

    headers: Mapping[bytes, bytes]
    query: bytes
    raw: bytes
    request_id: str
    model: str | None = None
    stream: bool = False
    sse: bool = True
    body: Any = None
    limit: LimitState | None = None
    sent: int = 0


@dataclass(slots=True)  # not frozen, for that doubles the time to make one
class Answer:
    """An HTTP response with its whole body."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: Headers = field(default_factory=list)


class ProviderError(Exception):
    """The provider refuses the request; `answer` is how it says so."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Provider(Protocol):
    """A wire format: a module with these names (what it has no use for is named with an underscore there)."""

    NAME: str
    """As in faults and the journal."""

    def authorise(self, call: Call, /) -> None:
        """Raises ProviderError where there is no key."""

    def read(self, call: Call, /) -> Prompt:
        """Checks the request as the provider does. Raises ProviderError."""

    def write(self, call: Call, prompt: Prompt, reply: Reply, /) -> Answer:
        """The reply in one piece."""

    def stream(self, call: Call, prompt: Prompt, reply: Reply, /) -> list[bytes]:
        """The reply as the stream's events, each ready to send."""

    def stream_type(self, call: Call, /) -> bytes:
        """The content type of a stream."""

    def headers(self, call: Call, elapsed_ms: int, /, limit: LimitState | None = None) -> Headers:
        """What the provider's every answer carries beside its content type; `limit` instead of its usual limits."""

    def schema_error(self, prompt: Prompt, reason: str, /) -> ProviderError:
        """The refusal of a schema that has no instance."""

    def error(
        self,
        call: Call,
        status: int,
        retry_after: float | None,
        /,
        message: str | None = None,
        limit: LimitState | None = None,
        code: str | None = None,
    ) -> Answer:
        """The provider's own way to say `status` (400 to 599). `message` and `code` (or what the provider has like
        it: a type, a reason) are said instead of its own; `limit` is the one that was reached."""

    def error_event(self, call: Call, status: int, /, message: str | None = None) -> bytes:
        """The same within a stream that has begun."""

    def broken_event(self, call: Call, /) -> bytes:
        """An event that does not parse."""


def dumps(value: Any) -> bytes:
    return orjson.dumps(value)


def event(value: Any) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def retry_headers(retry_after: float | None, limit: LimitState | None = None) -> Headers:
    """Retry-After: the seconds given, else whole ones until `limit` is lifted."""
    if retry_after is None:
        if limit is None:
            return []
        retry_after = max(math.ceil(limit.reset_seconds), 1)
    return [(b"retry-after", f"{retry_after:g}".encode())]


def schema_of_tool(prompt: Prompt) -> Tool | None:
    """The tool whose schema it is that has no instance; None: it is that of the JSON to answer with."""
    if prompt.tool is None and prompt.schema is None:  # a script calls a tool that the request alone would not
        return next(iter(prompt.offered), None)
    return prompt.tool


def bad_gateway_page(status: int, phrase: str, server: str) -> bytes:
    """What a load balancer in front of a provider says when it has no answer from behind."""
    return (
        f"<html>\r\n<head><title>{status} {phrase}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status} {phrase}</h1></center>\r\n<hr><center>{server}</center>\r\n</body>\r\n</html>\r\n"
    ).encode()


def kind(value: Any) -> str:
    """The JSON type of a value with its article, as the providers' messages name it."""
    if value is None:
        return "null"
    names = ((bool, "a boolean"), (int, "an integer"), (float, "a decimal"), (str, "a string"), (list, "an array"))
    return next((name for python, name in names if isinstance(value, python)), "an object")


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

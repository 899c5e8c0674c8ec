"""The shape of a cassette: one frozen pydantic model a part.

Bytes are written the way a person reads them best (`notation` chooses): `json` as YAML where the bytes come back
exactly from it in one of the `style`s, else `text`, else `base64`.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

VERSION = 1

ProviderName = Literal["openai", "anthropic", "google"]
Api = Literal["chat", "responses", "messages", "generateContent"]
Style = Literal[
    "compact", "spaced", "colon", "indented", "compact-ascii", "spaced-ascii", "colon-ascii", "indented-ascii"
]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


def _version(number: int) -> int:
    if number != VERSION:
        raise ValueError(f"this litellm-local reads cassettes of version {VERSION}, not {number}")
    return number


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"this is no base64: {error}") from None
    return text


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Content(_Part):
    """Bytes, written in one of three ways."""

    json_: Any = Field(default=None, alias="json", description="JSON, written as YAML.")
    text: str | None = Field(default=None, description="Text as it is.")
    base64: Annotated[str, AfterValidator(_base64)] | None = Field(
        default=None, description="What is no text, in base64."
    )

    def ways(self) -> list[str]:
        """The names of the ways that are given."""
        fields = type(self).model_fields
        return [fields[name].alias or name for name in self._ways() if name in self.model_fields_set]

    def _ways(self) -> tuple[str, ...]:
        return ("json_", "text", "base64")

    def _check_ways(self, least: int) -> None:
        names = [type(self).model_fields[name].alias or name for name in self._ways()]
        if not least <= len(self.ways()) <= 1:
            raise ValueError(f"give one of {', '.join(names)}")


class Chunk(_Content):
    """An event of a stream, or a piece of one that is no event.

    `json` and `data` are the data of a server-sent event, `event` its name; `text` and `base64` are all of the bytes.
    """

    after: Seconds = Field(description="Seconds since the chunk before it, or since the headers.")
    event: str | None = Field(default=None, pattern=r"^[^\r\n]*$", description="The event's name.")
    data: str | None = Field(default=None, pattern=r"^[^\r\n]*$", description="The event's data that is no JSON.")
    style: Style | None = Field(default=None, description="How the JSON is spaced, where unlike the rest.")
    padding: int = Field(default=0, ge=0, le=10_000, strict=True, description="Spaces before the last brace.")

    def _ways(self) -> tuple[str, ...]:
        return ("json_", "data", "text", "base64")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        self._check_ways(1)
        if self.event is not None and self.ways()[0] not in ("json", "data"):
            raise ValueError("an event has json or data; text and base64 are the whole chunk, its name included")
        return self


class Request(_Content):
    """What the provider was sent. Keys are not among the headers."""

    headers: dict[str, str] = {}

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        self._check_ways(0)
        return self


class Response(_Content):
    """What the provider answered: a body in one piece, or the chunks of a stream."""

    status: int = Field(ge=100, le=599, strict=True)
    headers: dict[str, str] = {}
    after: Seconds = Field(
        default=0.0, description="Seconds from the request to the headers; to the end, of a body in one piece."
    )
    ended: Literal["cut", "left"] | None = Field(
        default=None,
        description="cut: the provider broke off here; left: the client went away. Replayed as a cut.",
    )
    style: Style = Field(default="compact", description="How JSON is spaced.")
    ending: str = Field(default="", description="What follows the JSON of a body.")
    newline: Literal["lf", "crlf"] = Field(default="lf", description="The line ends of a stream's events.")
    chunks: list[Chunk] | None = None

    def _ways(self) -> tuple[str, ...]:
        return ("json_", "text", "base64", "chunks")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        self._check_ways(0)
        return self


class Failure(_Part):
    """No answer at all."""

    kind: Literal["unreachable", "dropped", "left"] = Field(
        description="unreachable: no connection was had; dropped: it was lost before any answer; left: the client "
        "went away before any answer."
    )
    message: str = ""
    after: Seconds = Field(default=0.0, description="Seconds from the request.")


class Exchange(_Part):
    """A request and what came of it."""

    at: str = Field(description="When the request was made.")
    provider: ProviderName
    api: Api
    method: Literal["POST"]
    path: str = Field(pattern=r"^/\S+$", description="As the simulator serves it, without keys.")
    request: Request
    response: Response | None = None
    failure: Failure | None = None

    @model_validator(mode="after")
    def _has_one_end(self) -> Self:
        if (self.response is None) == (self.failure is None):
            raise ValueError("an exchange has a response or a failure, and not both")
        return self


class Cassette(_Part):
    """The whole file."""

    version: Annotated[int, Field(strict=True), AfterValidator(_version)]
    exchanges: list[Exchange] | None = Field(default=None, description="In the order of their requests.")

    @property
    def all(self) -> list[Exchange]:
        return self.exchanges or []

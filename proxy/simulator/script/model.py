"""The shape of a script: one frozen pydantic model a part. What a rule means is told here, field by field.

A rule is looked at in order of `priority` (highest first), then in the order given; the first that fits a request
and is in force takes it. Durations are seconds, or text such as "500ms", "30s", "2m".
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Self

ProviderName = Literal["openai", "anthropic", "google"]
FaultKind = Literal["status", "delay", "hang", "drop", "cut", "malformed", "rate_limit"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

FAULT_FIELDS: dict[str, tuple[str, ...]] = {
    "status": ("status", "retry_after", "message", "after_chunks"),
    "delay": ("seconds", "after_chunks"),
    "hang": ("after_chunks",),
    "drop": (),
    "cut": ("after_chunks",),
    "malformed": ("after_chunks",),
    "rate_limit": ("requests", "per"),
}
"""kind -> the fields that say more about it."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)")


def _seconds(given: Any) -> Any:
    """`30`, `0.5`, "30s" -> seconds; anything else is left for pydantic to refuse."""
    if isinstance(given, str):
        found = _DURATION.fullmatch(given.strip())
        if found is None:
            raise ValueError(f"{given!r} is no duration; write seconds (30) or 500ms, 30s, 2m, 1h")
        return float(found[1]) * _UNITS[found[2]]
    return given


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _text_match(given: Any) -> Any:
    if isinstance(given, (bool, int, float)):
        raise ValueError(f"must be text, or a mapping with equals, contains or matches; put {given} in quotes")
    return {"contains": given} if isinstance(given, str) else given


def _reply(given: Any) -> Any:
    """`reply: Hello`."""
    if isinstance(given, (bool, int, float)):
        raise ValueError(f"must be text, or a mapping such as text: Hello; put {given} in quotes")
    return {"text": given} if isinstance(given, str) else given


def _fault(given: Any) -> Any:
    """`fault: 503`, `fault: hang`; of a mapping with a status, the kind goes without saying."""
    if isinstance(given, int) and not isinstance(given, bool):
        return {"kind": "status", "status": given}
    if isinstance(given, dict) and "status" in given and "kind" not in given:
        return {"kind": "status", **given}
    return {"kind": given} if isinstance(given, str) else given


Duration = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=float | str),
    Field(ge=0, le=86_400, allow_inf_nan=False),
]
Count = Annotated[int, Field(ge=1, strict=True)]
BareKind = Literal["hang", "drop", "cut", "malformed"]
BareStatus = Annotated[int, Field(ge=400, le=599)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextMatch(_Part):
    """What a text must be: all that is given must hold. A bare string means `contains`. Letter case counts."""

    equals: str | None = Field(default=None, description="All of the text.")
    contains: str | None = Field(default=None, description="Anywhere in the text.")
    matches: str | None = Field(default=None, description="A regular expression, searched for anywhere in the text.")

    @model_validator(mode="after")
    def _is_something(self) -> Self:
        if self.equals is None and self.contains is None and self.matches is None:
            raise ValueError("give one of equals, contains, matches")
        if self.matches is not None:
            try:
                re.compile(self.matches)
            except re.error as error:
                raise ValueError(f"matches: {self.matches!r} is no regular expression: {error}") from None
        return self


Text = Annotated[TextMatch, BeforeValidator(_text_match, json_schema_input_type=TextMatch | str)]
Names = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=list[str] | str), Field(min_length=1)]
Providers = Annotated[
    list[ProviderName],
    BeforeValidator(_listed, json_schema_input_type=list[ProviderName] | ProviderName),
    Field(min_length=1),
]


class When(_Part):
    """Which requests a rule is for; what is left out may be anything."""

    provider: Providers | None = Field(default=None, description="One or more of openai, anthropic, google.")
    model: Names | None = Field(default=None, description="Alias or upstream name, one or more; * and ? are wildcards.")
    text: Text | None = Field(default=None, description="The last text of the user's.")
    system: Text | None = Field(default=None, description="The system prompt.")
    tool: str | None = Field(default=None, description="A tool of this name is offered.")
    tool_result: Text | None = Field(
        default=None,
        description="The last message is a tool's result, and this is the tool's name or in the result's text.",
    )
    header: dict[str, Text] | None = Field(default=None, description="Headers of the upstream request, by name.")
    stream: bool | None = Field(default=None, description="Whether a stream is asked for.")
    turn: Count | None = Field(
        default=None, description="The turn of the conversation: 1 + the assistant's messages so far."
    )
    call: Count | None = Field(default=None, description="Only the n-th call, in its scope, that fits all the rest.")


class ToolCall(_Part):
    """A call of a tool. Without `arguments`, they are an instance of the schema that the client offered."""

    name: str = Field(min_length=1, description="The tool's.")
    arguments: dict[str, Any] | None = Field(
        default=None, description="Left out, an instance of the schema that was offered."
    )


class Timing(_Part):
    """When a reply's parts are sent. A reply in one piece is sent when its last token would be."""

    first_token: Duration = Field(default=0.0, description="Until the first token.")
    tokens_per_second: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="After the first; left out, all at once."
    )
    jitter: float = Field(default=0.0, ge=0, le=1, description="Each wait varies by up to this share of it.")
    seed: int = Field(default=0, description="Equal seeds vary equally.")


class Reply(_Part):
    """What to answer. Left empty, the simulator's own deterministic answer, with what is given here changed.

    `text` with `tool_calls` gives both; `json` is sent as text. A request's own `max_tokens` and `stop` hold.
    """

    text: str | None = Field(default=None, description="What the assistant says.")
    tool_calls: list[ToolCall] | None = Field(default=None, description="The tools that it calls, side by side.")
    json_: Any = Field(default=None, alias="json", description="A value sent as JSON text.")
    refusal: str | None = Field(default=None, description="Says this in refusing to answer.")
    finish_reason: FinishReason | None = Field(
        default=None, description="Instead of the one that follows from the reply."
    )
    reasoning_tokens: int | None = Field(
        default=None, ge=0, strict=True, description="Counted on top of the text's tokens."
    )
    prompt_tokens: int | None = Field(
        default=None, ge=0, strict=True, description="Instead of the request's own count."
    )
    timing: Timing | None = Field(default=None, description="When its parts are sent; left out, at once.")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [name for name in ("text", "json_", "refusal") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of text, json, refusal, not {' and '.join(given).replace('json_', 'json')}")
        if self.refusal is not None and self.tool_calls:
            raise ValueError("a refusal calls no tools")
        return self


class Fault(_Part):
    """What goes wrong.

    `status`: the provider's own body for it. `delay`: waits, then answers. `hang`: never answers. `drop`: resets the
    connection before any answer. `cut`: breaks off within a stream, or half-way through a body. `malformed`: 200 with
    what does not parse. `rate_limit`: lets `requests` through in each window of `per`, then 429 until it ends.
    """

    kind: FaultKind = Field(default="status", description="What goes wrong; may be left out where `status` is given.")
    status: int | None = Field(default=None, ge=400, le=599, strict=True, description="HTTP's.")
    message: str | None = Field(default=None, description="Instead of the provider's usual words.")
    retry_after: Duration | None = Field(default=None, description="The header Retry-After.")
    seconds: Duration | None = Field(default=None, description="How long a delay is.")
    after_chunks: int | None = Field(
        default=None,
        ge=0,
        strict=True,
        description="Strikes a stream after so many events; 0: after its headers. Left out, before (cut: after one).",
    )
    requests: Count | None = Field(default=None, description="How many a rate limit lets through in each window.")
    per: Duration | None = Field(default=None, description="A rate limit's window; left out, a minute.")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if "kind" not in self.model_fields_set:
            raise ValueError(f"give its kind, one of {', '.join(FAULT_FIELDS)}")
        allowed = FAULT_FIELDS[self.kind]
        for name in sorted(self.model_fields_set - {"kind", *allowed}):
            if getattr(self, name) is not None:
                takes = ", ".join(allowed) or "no other field"
                raise ValueError(f"{name} has no meaning for kind {self.kind} (it takes {takes})")
        if self.per == 0:
            raise ValueError("per must be more than 0")
        for kind, name in (("status", "status"), ("delay", "seconds"), ("rate_limit", "requests")):
            if self.kind == kind and getattr(self, name) is None:
                raise ValueError(f"kind {kind} needs {name}")
        return self


class Flapping(_Part):
    """In force for `down`, then out of force for `up`, and so on, beginning with `down` when it comes into force."""

    down: Duration = Field(description="How long it is in force each time.")
    up: Duration = Field(description="How long it is out of force each time.")

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.down == 0 or self.up == 0:
            raise ValueError("down and up must be more than 0; a rule that is always in force needs no flapping")
        return self


class Rule(_Part):
    """One rule: `when` it is asked, `reply` or `fault`."""

    name: str | None = Field(default=None, description="For the journal and for messages; else the rule's number.")
    when: When = Field(default=When(), description="Which requests it is for; left out, all.")
    reply: Annotated[Reply, BeforeValidator(_reply, json_schema_input_type=Reply | str)] | None = Field(
        default=None, description="What to answer; bare text is its `text`."
    )
    fault: Annotated[Fault, BeforeValidator(_fault, json_schema_input_type=Fault | BareKind | BareStatus)] | None = (
        Field(default=None, description="What goes wrong; a bare word is its `kind`, a bare number its `status`.")
    )
    times: Count | None = Field(default=None, description="How often it is used; then it is passed over.")
    for_: Duration | None = Field(
        default=None,
        alias="for",
        description="How long it is in force, from when it is set, or from when `after` is over.",
    )
    after: Duration | None = Field(default=None, description="How long from when it is set until it is in force.")
    flapping: Flapping | None = Field(default=None, description="In and out of force by turns.")
    probability: float | None = Field(default=None, ge=0, le=1, description="Takes this share of what fits; see seed.")
    seed: int = Field(default=0, description="Equal seeds let `probability` take the same ones of a sequence of calls.")
    priority: int = Field(default=0, description="The highest is looked at first; among equals, the one given first.")

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if (self.reply is None) == (self.fault is None):
            raise ValueError("a rule has a reply or a fault, and not both")
        return self


class Script(_Part):
    """A scope's script. `strict`: a request that no rule takes is an error. `inherit`: after its own rules, those of
    the scope `default` are looked at."""

    strict: bool = Field(default=False, description="A request that no rule takes is an error.")
    inherit: bool = Field(default=True, description="The rules of the scope `default` are looked at after its own.")
    rules: list[Rule] = Field(default=[], description="Looked at in order; the first that fits takes the request.")

"""The kinds of fault a drill goes through, what is promised of each, and where LiteLLM is known to do otherwise.

Pure data and functions on it; cases.py walks the chains of a catalogue with them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from proxy.catalog import Catalog

Moment = Literal["before", "first", "midway"]
"""When a fault strikes: instead of an answer; once a stream's headers are out but no event of it; within a stream."""

Ending = Literal["reply", "error", "error event", "empty reply", "short reply", "null"]
"""What a client can be left with; the last three with status 200, as if all were well."""

MIDWAY_EVENTS = 6  # every provider has sent text by then, and has more to send
DELAY_SECONDS = 1.0

LASTING = (400, 401, 404, 413, 422)
"""Statuses that asking again cannot change: one attempt, then the next model."""
PASSING = (403, 408, 409, 429, 500, 502, 503, 504, 529)


@dataclass(frozen=True)
class Kind:
    """One kind of fault. `fault` is the double's; `whole` and `stream` are the moments it is tried at."""

    name: str
    fault: Mapping[str, Any] = field(hash=False)
    lasting: bool = False
    whole: tuple[Moment, ...] = ("before",)
    stream: tuple[Moment, ...] = ("before",)

    def at(self, moment: Moment) -> dict[str, Any]:
        """The double's fault for that moment."""
        events = {"before": {}, "first": {"after_chunks": 0}, "midway": {"after_chunks": MIDWAY_EVENTS}}
        return {**self.fault, **events[moment]}


def kinds(catalog: Catalog) -> list[Kind]:
    """Every kind; a Retry-After is a second longer than the pause that is made without one."""
    statuses = sorted((*LASTING, *PASSING))
    found = [Kind(str(status), {"kind": "status", "status": status}, status in LASTING) for status in statuses]
    found.append(Kind("429+retry-after", {"kind": "status", "status": 429, "retry_after": retry_after(catalog)}))
    found.append(Kind("delay", {"kind": "delay", "seconds": DELAY_SECONDS}))
    found.append(Kind("drop", {"kind": "drop"}))
    found.append(Kind("cut", {"kind": "cut"}, stream=("first", "midway")))
    found.append(Kind("malformed", {"kind": "malformed"}, stream=("first", "midway")))
    found.append(Kind("error-event", {"kind": "status", "status": 500}, whole=(), stream=("first", "midway")))
    return found


def retry_after(catalog: Catalog) -> int:
    return math.ceil(catalog.limits.retry_delay_seconds) + 1


@dataclass(frozen=True)
class Handling:
    """What becomes of a fault at one model.

    `attempts`, with `gap` seconds between two of them, each asking upstream `calls` times. Then the next model is
    asked, unless `ends` says what the client is left with at once, or so many `fallbacks` were. `status` is the
    client's where no model answers; None: any of the 5xx.
    """

    attempts: int
    gap: float
    status: int | None
    calls: int = 1
    ends: Ending | None = None
    fallbacks: int | None = None


@dataclass(frozen=True)
class Deviation:
    """LiteLLM is known to do otherwise: `change` is what differs of the promised Handling, `words` say it."""

    words: str
    api: tuple[str, ...]
    kind: tuple[str, ...]
    change: Mapping[str, Any]
    stream: bool | None = None
    moment: tuple[Moment, ...] = ("before", "first", "midway")

    def fits(self, api: str, kind: str, stream: bool, moment: Moment) -> bool:
        return api in self.api and kind in self.kind and self.stream in (None, stream) and moment in self.moment


ALL = ("openai", "anthropic", "gemini")
# Measured with LiteLLM 1.106.2.
DEVIATIONS = (
    Deviation(
        "an Anthropic or Gemini connection that drops is opened a second time at once, with each attempt",
        *(("anthropic", "gemini"), ("drop",), {"calls": 2}),
    ),
    Deviation("an Anthropic 403 is not tried again", ("anthropic",), ("403",), {"attempts": 1}),
    Deviation("an Anthropic 413 reaches the client as 400", ("anthropic",), ("413",), {"status": 400}),
    Deviation("an Anthropic 504 reaches the client as 408", ("anthropic",), ("504",), {"status": 408}),
    Deviation("an Anthropic 529 reaches the client as 500", ("anthropic",), ("529",), {"status": 500}),
    Deviation("a Gemini 502 or 503 reaches the client as 500", ("gemini",), ("502", "503"), {"status": 500}),
    Deviation(
        "a Gemini reply that is no JSON is not tried again, and reaches the client as 422",
        *(("gemini",), ("malformed",), {"attempts": 1, "status": 422}),
        stream=False,
    ),
    Deviation(
        "a stream that fails before its first event is not tried again, and of the chain only the next model is asked",
        *(ALL, ("cut", "malformed", "error-event"), {"attempts": 1, "fallbacks": 1}),
        stream=True,
        moment=("first",),
    ),
    Deviation(
        "what cannot be read in a stream of Anthropic's or Gemini's is taken for its end: an empty reply",
        *(("anthropic", "gemini"), ("malformed",), {"ends": "empty reply", "status": 200}),
        stream=True,
        moment=("first",),
    ),
    Deviation(
        "what cannot be read in a stream of Anthropic's or Gemini's is taken for its end: a reply cut short",
        *(("anthropic", "gemini"), ("malformed",), {"ends": "short reply", "status": 200}),
        stream=True,
        moment=("midway",),
    ),
)


def promised(catalog: Catalog, kind: Kind, moment: Moment) -> Handling:
    """What proxy.yaml and the README promise of a fault at one model."""
    limits = catalog.limits
    if kind.name == "delay":
        return Handling(1, 0.0, 200, ends="reply")
    if moment == "midway":
        return Handling(1, 0.0, 200, ends="error event")
    gap = max(limits.retry_delay_seconds, kind.fault.get("retry_after", 0.0))
    status = kind.fault["status"] if kind.fault["kind"] == "status" and moment == "before" else None
    return Handling(1 if kind.lasting else limits.retries + 1, gap, status)


def known(
    catalog: Catalog, api: str, kind: Kind, stream: bool, moment: Moment
) -> tuple[Handling, tuple[Deviation, ...]]:
    """What LiteLLM is known to do with it, and by which deviations that differs from what is promised."""
    handling = promised(catalog, kind, moment)
    found = tuple(one for one in DEVIATIONS if one.fits(api, kind.name, stream, moment))
    for deviation in found:
        handling = replace(handling, **deviation.change)
    return handling, found

"""`When` against `Asked`: whether a request is one that a rule is for, and where not, what differs, in words.

A `Matcher` is made once for a rule and asked for every request of its scope; the words are only for a request that no
rule takes. Used by `book`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

from proxy.simulator.script.asked import Asked
from proxy.simulator.script.model import TextMatch, When

SHOWN = 60
"""Characters of a text that a difference quotes."""
BROAD = 0.5
"""The weight of what says little of a request: its provider, its model, whether it is a stream."""
COMPARED = 200
"""Characters of a text that are compared to tell the nearer of two rules."""

SECRET_HEADERS = frozenset(
    {b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie"}
)
"""Headers whose values are repeated nowhere."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One field of a `when`. `differs` says what it wants and what is there instead; `likeness` of a request for which
    it does not hold, 0 to 1, tells near misses from far ones. `weight` is less where many requests are alike in it."""

    holds: Callable[[Asked], bool]
    differs: Callable[[Asked], str]
    likeness: Callable[[Asked], float] = lambda _: 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Difference:
    """How a request misses a rule: the words for each condition that does not hold, and how much it is alike."""

    misses: list[str]
    alike: float


class Matcher:
    def __init__(self, when: When) -> None:
        self._conditions = list(_conditions(when))

    def fits(self, asked: Asked) -> bool:
        return all(condition.holds(asked) for condition in self._conditions)

    def difference(self, asked: Asked) -> Difference:
        misses, alike = [], 0.0
        for condition in self._conditions:
            if condition.holds(asked):
                alike += condition.weight
            else:
                misses.append(condition.differs(asked))
                alike += condition.weight * condition.likeness(asked)
        return Difference(misses, alike)


def wildcard(pattern: str) -> re.Pattern[str]:
    """A pattern with * and ? as the expression that the whole of a name must match."""
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(letter) or re.escape(letter) for letter in pattern), re.DOTALL)


def text_fits(match: TextMatch) -> Callable[[str], bool]:
    equals, contains = match.equals, match.contains
    matches = re.compile(match.matches) if match.matches is not None else None

    def fits(text: str) -> bool:
        return (
            (equals is None or text == equals)
            and (contains is None or contains in text)
            and (matches is None or matches.search(text) is not None)
        )

    return fits


def _conditions(when: When) -> Iterable[Condition]:
    if when.provider is not None:
        yield _provider(tuple(when.provider))
    if when.model is not None:
        yield _model(when.model)
    if when.text is not None:
        yield _text("text", when.text, lambda asked: asked.text)
    if when.system is not None:
        yield _text("a system prompt", when.system, lambda asked: asked.system)
    if when.tool is not None:
        yield _tool(when.tool)
    if when.tool_result is not None:
        yield _tool_result(when.tool_result)
    for name, match in (when.header or {}).items():
        yield _header(name, match)
    if when.stream is not None:
        yield _stream(when.stream)
    if when.turn is not None:
        yield _turn(when.turn)


def _provider(wanted: tuple[str, ...]) -> Condition:
    return Condition(
        lambda asked: asked.provider in wanted,
        lambda asked: f"wants provider {' or '.join(wanted)}, but it is {asked.provider}",
        weight=BROAD,
    )


def _model(wanted: list[str]) -> Condition:
    patterns = [wildcard(name) for name in wanted]

    def holds(asked: Asked) -> bool:
        names = (*asked.aliases, asked.model or "")
        return any(pattern.fullmatch(name) for pattern in patterns for name in names)

    def differs(asked: Asked) -> str:
        also = f" (alias {', '.join(asked.aliases)})" if asked.aliases else ""
        there = f"it is {asked.model}{also}" if asked.model else "none is named"
        return f"wants model {' or '.join(wanted)}, but {there}"

    def likeness(asked: Asked) -> float:
        names = (*asked.aliases, asked.model or "")
        return max(_alike(one, name) for one in wanted for name in names)

    return Condition(holds, differs, likeness, BROAD)


def _text(what: str, match: TextMatch, of: Callable[[Asked], str]) -> Condition:
    fits = text_fits(match)
    wanted = _described(match)
    sought = match.equals or match.contains or match.matches or ""

    def differs(asked: Asked) -> str:
        text = of(asked)
        return f"wants {what} {wanted}, but " + (f"it is {_quoted(text)}" if text else "there is none")

    return Condition(lambda asked: fits(of(asked)), differs, lambda asked: _alike(sought, of(asked)))


def _tool(wanted: str) -> Condition:
    def differs(asked: Asked) -> str:
        offered = ", ".join(f"'{name}'" for name in asked.tools)
        return f"wants the tool '{wanted}' offered, but " + (f"offered is {offered}" if offered else "none is")

    return Condition(
        lambda asked: wanted in asked.tools,
        differs,
        lambda asked: max((_alike(wanted, name) for name in asked.tools), default=0.0),
    )


def _tool_result(match: TextMatch) -> Condition:
    fits = text_fits(match)
    wanted = _described(match)

    def differs(asked: Asked) -> str:
        if not asked.tool_results:
            return f"wants a tool's result {wanted}, but the last message is none"
        given = ", ".join(f"of '{name}': {_quoted(text)}" for name, text in asked.tool_results)
        return f"wants a tool's result {wanted}, but it is {given}"

    return Condition(lambda asked: any(fits(name) or fits(text) for name, text in asked.tool_results), differs)


def _header(name: str, match: TextMatch) -> Condition:
    key = name.lower().encode("latin-1", "replace")
    fits = text_fits(match)
    wanted = _described(match)

    def holds(asked: Asked) -> bool:
        value = asked.headers.get(key)
        return value is not None and fits(value.decode("latin-1"))

    def differs(asked: Asked) -> str:
        value = asked.headers.get(key)
        if value is None:
            return f"wants header {name} {wanted}, but it is missing"
        there = "another" if key in SECRET_HEADERS else _quoted(value.decode("latin-1"))
        return f"wants header {name} {wanted if key not in SECRET_HEADERS else 'of a certain value'}, but it is {there}"

    return Condition(holds, differs)


def _stream(wanted: bool) -> Condition:
    words = "wants a stream, but it is none" if wanted else "wants no stream, but it is one"
    return Condition(lambda asked: asked.stream is wanted, lambda _: words, weight=BROAD)


def _turn(wanted: int) -> Condition:
    return Condition(
        lambda asked: asked.turn == wanted, lambda asked: f"wants turn {wanted}, but it is turn {asked.turn}"
    )


def _described(match: TextMatch) -> str:
    given = (("equal to", match.equals), ("containing", match.contains), ("matching", match.matches))
    return " and ".join(f"{verb} {_quoted(value)}" for verb, value in given if value is not None)


def _quoted(text: str) -> str:
    text = " ".join(text[: 4 * SHOWN].split())
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 4] + " ...")


def _alike(wanted: str, there: str) -> float:
    return SequenceMatcher(None, wanted[:COMPARED], there[:COMPARED]).ratio()

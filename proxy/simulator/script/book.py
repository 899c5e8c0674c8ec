"""The rules in force in a scope, and which of them takes a request.

Pure but for the clock, which tests turn by hand. Used from one event loop without awaits, so that `times`, `call`
and rate limits count exactly. A Book looks at its own rules first, then at those of its parent, with counters of its
own for both: what one scope uses up of an inherited rule, another still has.
"""

from __future__ import annotations

import copy
import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from proxy.simulator.providers.wire import LimitState
from proxy.simulator.script.asked import Asked
from proxy.simulator.script.match import Matcher
from proxy.simulator.script.model import Fault, Reply, Rule, Script

WINDOW_SECONDS = 60.0
"""A rate limit's window where its rule does not say."""

ANSWERED_KINDS = ("delay", "cut", "malformed")
"""Faults that come with an answer: late, broken off or spoilt."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule of a book: its number, and when (on the book's clock) it was set."""

    id: int
    rule: Rule
    set_at: float
    matcher: Matcher

    @property
    def label(self) -> str:
        """Its name, else its number, for the journal and for messages."""
        return self.rule.name if self.rule.name is not None else f"#{self.id}"


@dataclass(slots=True)
class Counters:
    """What a scope has had of a rule: how often it was used, how many calls fitted it, its chances drawn, and the
    requests let through in the running window."""

    used: int = 0
    calls: int = 0
    draws: random.Random | None = None
    left_out: bool = False
    window_began: float | None = None
    passed: int = 0


@dataclass(slots=True)  # not frozen, for that doubles the time to make one
class Verdict:
    """What becomes of a request. `taker` is the rule that took it, None where none did. A `fault` may come with the
    `reply` that it delays or breaks. `limit` is that of a rate limit on the request, whoever took it."""

    taker: Placed | None = None
    reply: Reply | None = None
    fault: Fault | None = None
    limit: LimitState | None = None


NOTHING = Verdict()


class Book:
    """`numbers` gives rules their ids, unique beyond this book, so that a stale id never means another rule."""

    def __init__(
        self,
        parent: Book | None = None,
        clock: Callable[[], float] = time.monotonic,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self.strict = False
        self.inherit = True
        self.changes = 0
        self._parent = parent
        self._clock = clock
        self._numbers = numbers if numbers is not None else itertools.count(1)
        self._own: list[Placed] = []
        self._counters: dict[int, Counters] = {}
        self._ordered = Ordered()

    # -- what is in it -----------------------------------------------------------------------------------

    def replace(self, script: Script) -> list[int]:
        """Sets the whole script, all counters at nothing; the ids of its rules."""
        self.strict, self.inherit = script.strict, script.inherit
        self._own, self._counters = [], {}
        return self.add(script.rules)

    def add(self, rules: Iterable[Rule], first: bool = False) -> list[int]:
        """Puts rules after those there are, or before them; their ids."""
        now = self._clock()
        placed = [Placed(next(self._numbers), rule, now, Matcher(rule.when)) for rule in rules]
        self._own = [*placed, *self._own] if first else [*self._own, *placed]
        self.changes += 1
        return [one.id for one in placed]

    def remove(self, number: int) -> bool:
        """Takes a rule out; whether there was one of that id."""
        kept = [placed for placed in self._own if placed.id != number]
        found = len(kept) < len(self._own)
        self._own = kept
        self.changes += 1
        return found

    def clear(self) -> None:
        """Back to no rules, not strict, inheriting."""
        self.replace(Script())

    def __len__(self) -> int:
        return len(self._own)

    @property
    def is_bare(self) -> bool:
        """Whether no request can meet anything here, so that none need be looked at."""
        return not (self.strict or self._own or (self.inherit and self._parent is not None and self._parent._own))

    @property
    def is_untouched(self) -> bool:
        """Whether it is as a new one, but for counters."""
        return not self._own and not self.strict and self.inherit

    def shown(self) -> dict[str, Any]:
        """The script as it was given, and where each of its rules stands."""
        now = self._clock()
        return {
            "strict": self.strict,
            "inherit": self.inherit,
            "rules": [self._shown_rule(placed, now) for placed in self._own],
        }

    def _shown_rule(self, placed: Placed, now: float) -> dict[str, Any]:
        rule, counters = placed.rule, self._counted(placed)
        left = None if rule.times is None else rule.times - counters.used
        expires_in = None
        if rule.for_ is not None:
            expires_in = round(max(0.0, placed.set_at + (rule.after or 0.0) + rule.for_ - now), 3)
        return {
            **rule.model_dump(mode="json", by_alias=True, exclude_unset=True),
            "id": placed.id,
            "used": counters.used,
            "in_force": left != 0 and _out_of_force(placed, now) is None,
            "left": left,
            "expires_in": expires_in,
        }

    # -- taking ------------------------------------------------------------------------------------------

    def take(self, asked: Asked) -> Verdict:
        """What becomes of a request, counted as used."""
        now = self._clock()
        taker: Placed | None = None
        reply: Reply | None = None
        fault: Fault | None = None
        limit: LimitState | None = None
        done = False
        for placed in self._in_order():
            rule = placed.rule
            # A rule for the n-th call counts them all, those too that another rule takes.
            if (done and rule.when.call is None) or not placed.matcher.fits(asked):
                continue
            counters = self._counted(placed)
            counters.calls += 1
            if done or (fault is not None and rule.reply is None) or not self._stands(placed, counters, now):
                continue
            if rule.fault is None:
                # What a fault breaks has not been had: the next try still gets it.
                if fault is None or fault.kind == "delay":
                    counters.used += 1
                taker, reply, done = taker or placed, rule.reply, True
                continue
            if rule.fault.kind == "rate_limit":
                state, through = _pass(rule.fault, counters, now)
                if limit is None or not through or state.remaining < limit.remaining:
                    limit = state
                if through:
                    continue
            counters.used += 1
            taker, fault = placed, rule.fault
            done = not _is_answered(fault, asked)
        return Verdict(taker, reply, fault, limit)

    def look(self, asked: Asked) -> Verdict:
        """What would become of a request, counted nowhere."""
        counters = self._counters
        self._counters = copy.deepcopy(counters)
        try:
            return self.take(asked)
        finally:
            self._counters = counters

    def _stands(self, placed: Placed, counters: Counters, now: float) -> bool:
        """Whether a rule that fits may be used just now. Draws its chance."""
        rule = placed.rule
        if rule.times is not None and counters.used >= rule.times:
            return False
        if rule.when.call is not None and counters.calls != rule.when.call:
            return False
        if _out_of_force(placed, now) is not None:
            return False
        if rule.probability is None:
            return True
        if counters.draws is None:
            counters.draws = random.Random(rule.seed)  # noqa: S311 - chance that can be repeated, no secret
        counters.left_out = counters.draws.random() >= rule.probability
        return not counters.left_out

    def _in_order(self) -> list[Placed]:
        parent = self._parent if self.inherit else None
        state = (self.changes, self.inherit, parent.changes if parent is not None else 0)
        if self._ordered.state != state:
            rules = [*_by_priority(self._own), *(_by_priority(parent._own) if parent is not None else ())]
            self._ordered = Ordered(state, rules)
            known = {placed.id for placed in rules}
            self._counters = {number: one for number, one in self._counters.items() if number in known}
        return self._ordered.rules

    def _counted(self, placed: Placed) -> Counters:
        counters = self._counters.get(placed.id)
        if counters is None:
            counters = self._counters[placed.id] = Counters()
        return counters

    # -- telling -----------------------------------------------------------------------------------------

    def nearest(self, asked: Asked) -> str:
        """Why no rule took a request: the nearest rule and what differs. To be asked right after `take`."""
        rules = self._in_order()
        if not rules:
            return "it has no rules"
        now = self._clock()
        found = [(placed, placed.matcher.difference(asked)) for placed in rules]
        placed, difference = min(found, key=lambda one: (len(one[1].misses), -one[1].alike))
        label = f"'{placed.rule.name}'" if placed.rule.name is not None else placed.label
        whose = "" if placed in self._own else " of scope 'default'"
        why = ", and ".join(difference.misses) or self._idle(placed, now)
        return f"the nearest, {label}{whose}, {why}"

    def _idle(self, placed: Placed, now: float) -> str:
        """Why a rule that fits did not take the request."""
        rule, counters = placed.rule, self._counted(placed)
        if rule.times is not None and counters.used >= rule.times:
            return f"fits, but is used up (times: {rule.times})"
        if rule.when.call is not None and counters.calls != rule.when.call:
            return f"is for call {rule.when.call} of those that fit, but this is call {counters.calls}"
        out = _out_of_force(placed, now)
        if out is not None:
            return f"fits, but {out}"
        if counters.left_out:
            return f"fits, but left this one out (probability: {rule.probability:g})"
        return "fits, but lets this one through"


@dataclass(frozen=True, slots=True)
class Ordered:
    """Rules in the order in which they are looked at, own and inherited, and the state of the books they are of."""

    state: tuple[int, bool, int] | None = None
    rules: list[Placed] = field(default_factory=list)


def _by_priority(placed: list[Placed]) -> list[Placed]:
    return sorted(placed, key=lambda one: -one.rule.priority)


def _out_of_force(placed: Placed, now: float) -> str | None:
    """Why a rule is not in force at a time; None: it is."""
    rule = placed.rule
    since = now - placed.set_at - (rule.after or 0.0)
    if since < 0:
        return f"comes into force in {-since:.3g} s"
    if rule.for_ is not None and since >= rule.for_:
        return f"is in force no longer (for: {rule.for_:g} s)"
    if rule.flapping is not None:
        within = since % (rule.flapping.down + rule.flapping.up)
        if within >= rule.flapping.down:
            return f"is out of force for another {rule.flapping.down + rule.flapping.up - within:.3g} s (flapping)"
    return None


def _pass(fault: Fault, counters: Counters, now: float) -> tuple[LimitState, bool]:
    """One request at a rate limit: how the limit stands after it, and whether it was let through."""
    per = fault.per if fault.per is not None else WINDOW_SECONDS
    most = fault.requests or 0
    if counters.window_began is None or now >= counters.window_began + per:
        counters.window_began, counters.passed = now, 0
    through = counters.passed < most
    counters.passed += through
    return LimitState(most, most - counters.passed, counters.window_began + per - now), through


def _is_answered(fault: Fault, asked: Asked) -> bool:
    return fault.kind in ANSWERED_KINDS or (asked.stream and fault.after_chunks is not None)

"""The cases of a drill: which chain meets which fault, what must come of it, and what did. Pure.

What is expected is worked out from the catalogue, model by model along the chain; nothing of it is written down.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from proxy.catalog import Catalog
from proxy.checks.drill.faults import Ending, Kind, Moment, kinds, known, promised

PASSES = "503"  # the kind that is tried with an end to it, after which the model answers itself
WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"


def reply_text(alias: str) -> str:
    """What the double lets a model say in a drill, so that the client's answer tells who gave it."""
    return f"answered by {alias}: {WORDS}"


@dataclass(frozen=True)
class Case:
    """A request to the first of `models`, of which the first `failing` have the fault; `times`: how often each."""

    models: tuple[str, ...]
    kind: Kind
    stream: bool
    moment: Moment
    failing: int
    times: int | None = None

    @property
    def model(self) -> str:
        return self.models[0]

    @property
    def how(self) -> str:
        """The case in words, less its model and its kind."""
        shape = "stream" if self.stream else "whole"
        moment = {"before": "", "first": " before its first event", "midway": " cut into"}[self.moment]
        if self.times is not None:
            return f"{shape}, {self.times} times only"
        if self.failing == len(self.models):
            return f"{shape}{moment}, all fail" if self.failing > 1 else f"{shape}{moment}"
        return f"{shape}{moment}, all but the last fail" if self.failing > 1 else f"{shape}{moment}, the first fails"

    @property
    def name(self) -> str:
        return f"{self.model} {self.kind.name} {self.how}"


def cases(catalog: Catalog, *, models: Collection[str] = (), only: Collection[str] = ()) -> Iterator[Case]:
    """Every case, or those of the chains that begin with one of `models` and the kinds named in `only`."""
    for alias in catalog.models:
        if models and alias not in models:
            continue
        chain = (alias, *catalog.fallbacks.get(alias, ()))
        for kind in kinds(catalog):
            if only and kind.name not in only:
                continue
            for stream, moments in ((False, kind.whole), (True, kind.stream)):
                for moment in moments:
                    yield from _cases(catalog, chain, kind, stream, moment)


def _cases(catalog: Catalog, chain: tuple[str, ...], kind: Kind, stream: bool, moment: Moment) -> Iterator[Case]:
    if kind.name == "delay" or moment == "midway":  # ends with the first model, whatever the others would do
        yield Case(chain, kind, stream, moment, 1)
        return
    if len(chain) > 1:
        yield Case(chain, kind, stream, moment, len(chain) - 1)
    yield Case(chain, kind, stream, moment, len(chain))
    if kind.name == PASSES and catalog.limits.retries:
        yield Case(chain, kind, stream, moment, 1, times=catalog.limits.retries)


# -- what must come of it ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turn:
    """A model's turn: `attempts` at it, `gap` seconds apart, each of so many `calls` upstream that take `lasts` seconds
    at least."""

    model: str
    attempts: int
    gap: float
    calls: int = 1
    lasts: float = 0.0

    @property
    def asked(self) -> int:
        return self.attempts * self.calls


@dataclass(frozen=True)
class Answer:
    """What a client got: `by` is the model whose reply it is. `status` None, as expected: any of the 5xx."""

    ending: Ending
    status: int | None
    by: str | None = None

    def __str__(self) -> str:
        if self.ending == "reply":
            return f"reply by {self.by}"
        status = self.status or "5xx"
        return str(status) if self.ending == "error" else f"{status} {self.ending}"

    def fits(self, other: Answer) -> bool:
        """Whether `other` is what is expected by this."""
        if self.status is None and other.status is not None and 500 <= other.status < 600:
            return (self.ending, self.by) == (other.ending, other.by)
        return self == other


@dataclass(frozen=True)
class Expected:
    turns: tuple[Turn, ...]
    answer: Answer

    def __str__(self) -> str:
        shown = [
            f"{turn.model} ×{turn.asked}" + (f" {turn.gap:g} s apart" if turn.attempts > 1 else "")
            for turn in self.turns
        ]
        return f"{' → '.join(shown)}; {self.answer}"

    @property
    def seconds(self) -> float:
        """How long it takes, about: LiteLLM makes the pause after a turn's last attempt too."""
        return sum(turn.attempts * turn.gap for turn in self.turns if turn.attempts > 1)


def as_promised(catalog: Catalog, case: Case) -> Expected:
    """What proxy.yaml promises."""
    return _walk(catalog, case, deviating=False)[0]


def as_known(catalog: Catalog, case: Case) -> tuple[Expected, tuple[str, ...]]:
    """What LiteLLM is known to do, and by which deviations (in words) where that is something else."""
    return _walk(catalog, case, deviating=True)


def _walk(catalog: Catalog, case: Case, *, deviating: bool) -> tuple[Expected, tuple[str, ...]]:
    turns: list[Turn] = []
    words: list[str] = []
    first: int | None = None
    for index, alias in enumerate(case.models):
        if index >= case.failing:
            turns.append(Turn(alias, 1, 0.0))
            return Expected(tuple(turns), Answer("reply", 200, alias)), tuple(words)
        handling = promised(catalog, case.kind, case.moment)
        if deviating:
            api = catalog.providers[catalog.models[alias].provider].api
            handling, found = known(catalog, api, case.kind, case.stream, case.moment)
            words += [one.words for one in found if one.words not in words]
        if case.times is not None and case.times < handling.attempts:
            turns.append(Turn(alias, case.times + 1, handling.gap, handling.calls))
            return Expected(tuple(turns), Answer("reply", 200, alias)), tuple(words)
        lasts = case.kind.fault.get("seconds", 0.0)
        turns.append(Turn(alias, handling.attempts, handling.gap, handling.calls, lasts))
        if handling.ends:
            by = alias if handling.ends == "reply" else None
            return Expected(tuple(turns), Answer(handling.ends, handling.status, by)), tuple(words)
        if index == 0:  # the client is told of the first model's failure, not of the last one's
            first = handling.status
        if handling.fallbacks is not None and index >= handling.fallbacks:
            break
    return Expected(tuple(turns), Answer("error", first)), tuple(words)


# -- what did ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """An upstream call: `began` and `ended` in seconds since the request was sent; where it is not `over`, it was still
    under way when this was asked."""

    model: str
    began: float
    ended: float
    over: bool = True


@dataclass(frozen=True)
class Observed:
    calls: tuple[Call, ...]
    answer: Answer


def asked_of(calls: Sequence[Call]) -> str:
    """Who was asked, and when: `gpt-4o 0.0 2.0 4.0 6.0 → gpt-4o-mini 8.1`."""
    shown = [f"{model} {' '.join(f'{call.began:.1f}' for call in turn)}" for model, turn in _by_turn(calls)]
    return " → ".join(shown) or "nobody"


def _by_turn(calls: Sequence[Call]) -> list[tuple[str, list[Call]]]:
    return [(model, list(group)) for model, group in groupby(calls, key=lambda call: call.model)]


def read_answer(status: int, body: str, stream: bool) -> Answer:
    """What a client makes of a response to a chat completion."""
    if status != 200:
        return Answer("error", status)
    if body.strip() == "null":
        return Answer("null", status)
    if not stream:
        try:
            text = json.loads(body)["choices"][0]["message"]["content"] or ""
        except (ValueError, LookupError, TypeError):
            return Answer("error", status)
        return _by_text(text, status)
    events = [line[5:].strip() for line in body.splitlines() if line.startswith("data:")]
    done = bool(events) and events[-1] == "[DONE]"
    text, failed = "", False
    for event in events[: -1 if done else None]:
        try:
            chunk = json.loads(event)
            failed = failed or "error" in chunk
            text += "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", ()))
        except (ValueError, LookupError, TypeError, AttributeError):
            failed = True
    if failed and not done:
        return Answer("error event", status)
    return _by_text(text, status) if done and not failed else Answer("short reply", status)


def _by_text(text: str, status: int) -> Answer:
    if not text:
        return Answer("empty reply", status)
    alias = text.removeprefix("answered by ").split(":")[0]
    # As the double was told to say it, to the last word.
    whole = text == reply_text(alias)
    return Answer("reply", status, alias) if whole else Answer("short reply", status)


@dataclass(frozen=True)
class Pause:
    """The `number`-th pause of a model's turn: `seconds` where `promised` were promised."""

    model: str
    number: int
    seconds: float
    promised: float

    @property
    def too_short(self) -> bool:
        return self.seconds < self.promised - SOONER

    @property
    def too_long(self) -> bool:
        """What a busy machine may be to blame for: see `soonest`."""
        return self.seconds > self.promised + LATER

    def __str__(self) -> str:
        return f"{self.model} was asked again after {self.seconds:.2f} s instead of {self.promised:g} s"


SOONER = 0.05  # seconds; two clocks, and a timer's grain
LATER = 0.9  # of a busy machine: what holds up one may hold up all that wait at that moment


def pauses(expected: Expected, observed: Observed) -> list[Pause]:
    """The pauses between the attempts of each turn; none where others were asked than expected."""
    turns = _by_turn(observed.calls)
    if not _asked_as_expected(expected, observed):
        return []
    return [
        # Calls of one attempt follow each other at once: the pause is before the first call of the next one.
        Pause(turn.model, number, calls[index].began - calls[index - 1].ended, turn.gap)
        for turn, (_, calls) in zip(expected.turns, turns, strict=True)
        for number, index in enumerate(range(turn.calls, len(calls), turn.calls), 1)
    ]


def differences(expected: Expected, observed: Observed) -> list[str]:
    """What is otherwise than expected, in words, but for pauses that are too long."""
    wrong: list[str] = []
    if _asked_as_expected(expected, observed):
        wrong += [str(pause) for pause in pauses(expected, observed) if pause.too_short][:1]
        wrong += [
            f"{turn.model} answered after {calls[0].ended - calls[0].began:.2f} s instead of {turn.lasts:g} s"
            for turn, (_, calls) in zip(expected.turns, _by_turn(observed.calls), strict=True)
            if calls[0].ended - calls[0].began < turn.lasts - SOONER
        ]
    else:
        was = " → ".join(f"{model} ×{len(calls)}" for model, calls in _by_turn(observed.calls)) or "nobody"
        wrong.append(f"asked {was}")
    if not expected.answer.fits(observed.answer):
        wrong.append(f"the client got: {observed.answer}")
    return wrong


def _asked_as_expected(expected: Expected, observed: Observed) -> bool:
    asked = [(model, len(calls)) for model, calls in _by_turn(observed.calls)]
    return asked == [(turn.model, turn.asked) for turn in expected.turns]


def soonest(tried: Iterable[tuple[Case, Sequence[Pause]]]) -> dict[Case, list[str]]:
    """The cases whose pauses were too long, and the words for it.

    A machine that is busy makes some of them long, never all: a pause counts as too long only where the same one (the
    second, say) was so every time that this model was asked, or every time that a fault of this kind was met.
    """
    by_model: dict[tuple[str, int], float] = {}
    by_kind: dict[tuple[str, int], float] = {}
    tried = list(tried)
    for case, found in tried:
        for pause in found:
            excess = pause.seconds - pause.promised
            for least, key in ((by_model, (pause.model, pause.number)), (by_kind, (case.kind.name, pause.number))):
                least[key] = min(excess, least.get(key, excess))
    late: dict[Case, list[str]] = {}
    for case, found in tried:
        for pause in found:
            best = max(by_model[pause.model, pause.number], by_kind[case.kind.name, pause.number])
            if pause.too_long and best > LATER:
                late.setdefault(case, []).append(str(pause))
    return late

"""What came of a drill, in words, as JSON and as the Results that JUnit is made of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Literal

from proxy.catalog import Catalog
from proxy.checks.report import Result

Verdict = Literal["as promised", "known", "differs", "left out"]
MARKS: dict[Verdict, str] = {"as promised": "✓", "known": "~", "differs": "✗", "left out": "-"}


@dataclass(frozen=True)
class Outcome:
    """One case and what came of it.

    `asked` is who was asked, and when, in seconds since the request; `answer` what the client got. `deviations` are
    the known ones that showed, `differences` what is otherwise than both promised and known, or why it was left out.
    """

    model: str
    kind: str
    how: str
    verdict: Verdict
    seconds: float
    promised: str
    asked: str = ""
    answer: str = ""
    differences: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.model} {self.kind} {self.how}"

    @property
    def differs(self) -> bool:
        return self.verdict == "differs"


def as_json(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    return [{"name": outcome.name, **asdict(outcome)} for outcome in outcomes]


def results(outcomes: Iterable[Outcome]) -> list[Result]:
    """For `junit`: a known deviation has passed, for it is what this LiteLLM does."""
    return [
        Result(
            outcome.name,
            "failed" if outcome.differs else "left out" if outcome.verdict == "left out" else "passed",
            outcome.seconds,
            reason(outcome) if outcome.verdict in ("differs", "left out") else "",
        )
        for outcome in outcomes
    ]


def reason(outcome: Outcome) -> str:
    return "; ".join(outcome.differences) + (f" (promised: {outcome.promised})" if outcome.promised else "")


def promise(catalog: Catalog, model: str) -> str:
    """What proxy.yaml says of a model and its chain, as the heading of its cases."""
    limits = catalog.limits
    chain = " → ".join((model, *catalog.fallbacks.get(model, ())))
    times = f"{limits.retries + 1} attempts, {limits.retry_delay_seconds:g} s apart" if limits.retries else "1 attempt"
    return f"{chain}   ({times})"


def table(catalog: Catalog, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The lines for a person, chain by chain, and the known deviations by number at the end."""
    notes = list(dict.fromkeys(words for outcome in outcomes for words in outcome.deviations))
    order = list(catalog.models)
    for model, group in groupby(sorted(outcomes, key=lambda one: order.index(one.model)), key=lambda one: one.model):
        yield ""
        yield promise(catalog, model)
        for outcome in group:
            numbers = "".join(f" [{notes.index(words) + 1}]" for words in outcome.deviations)
            arrow = f" → {outcome.answer}" if outcome.answer else ""
            yield f"{MARKS[outcome.verdict]} {outcome.kind:<15} {outcome.how:<48} {outcome.asked}{arrow}{numbers}"
            if outcome.differences:
                for difference in outcome.differences:
                    yield f"    {difference}"
                if outcome.differs:
                    yield f"    promised: {outcome.promised}"
    if notes:
        yield ""
        yield "~ known of this LiteLLM, and otherwise than promised:"
        yield from (f"  [{number}] {words}" for number, words in enumerate(notes, 1))


def summary(outcomes: Sequence[Outcome]) -> str:
    """`430 as promised, 12 as known, 1 differs`."""
    counts = {verdict: sum(one.verdict == verdict for one in outcomes) for verdict in MARKS}
    words = {"as promised": "as promised", "known": "known deviations", "differs": "differ", "left out": "left out"}
    shown = [f"{counts[verdict]} {words[verdict]}" for verdict in MARKS if counts[verdict] or verdict == "as promised"]
    return ", ".join(shown)

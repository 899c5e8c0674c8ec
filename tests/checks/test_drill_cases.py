"""What a drill expects follows from the catalogue, and a difference is found and put into words."""

from __future__ import annotations

import json

import pytest

from proxy.catalog import Catalog, load_catalog
from proxy.checks.drill.cases import (
    Answer,
    Call,
    Case,
    Expected,
    Observed,
    Turn,
    as_known,
    as_promised,
    cases,
    differences,
    pauses,
    read_answer,
    reply_text,
    soonest,
)
from proxy.checks.drill.faults import DEVIATIONS, kinds
from proxy.checks.drill.limits import SLOW_RETRIES, apart, scaled, slow_cases
from proxy.checks.drill.outages import outages
from proxy.checks.drill.report import Outcome, results, summary, table
from proxy.checks.drill.run import Budget

CATALOG = load_catalog()


def case(model: str, kind: str, how: str = "whole, all but the last fail", catalog: Catalog = CATALOG) -> Case:
    return next(one for one in cases(catalog, models=[model], only=[kind]) if one.how == how)


def with_limits(**changes: object) -> Catalog:
    return CATALOG.model_copy(update={"limits": CATALOG.limits.model_copy(update=changes)})


def test_a_passing_fault_takes_every_attempt_of_every_model_but_the_last() -> None:
    for model, chain in CATALOG.fallbacks.items():
        expected = as_promised(CATALOG, case(model, "500"))
        attempts, gap = CATALOG.limits.retries + 1, CATALOG.limits.retry_delay_seconds
        assert expected.turns == (
            *(Turn(alias, attempts, gap) for alias in (model, *chain)[:-1]),
            Turn(chain[-1], 1, 0.0),
        )
        assert expected.answer == Answer("reply", 200, chain[-1])


def test_a_lasting_fault_is_asked_once() -> None:
    expected = as_promised(CATALOG, case("gpt-4o", "404", "whole, all fail"))
    assert [turn.attempts for turn in expected.turns] == [1] * 4
    assert expected.answer == Answer("error", 404)


def test_expectations_follow_the_catalogue() -> None:
    changed = with_limits(retries=1, retry_delay_seconds=5.0)
    expected = as_promised(changed, case("gpt-4o", "503", catalog=changed))
    assert expected.turns[0] == Turn("gpt-4o", 2, 5.0)
    shorter = CATALOG.model_copy(update={"fallbacks": {"gpt-4o": ["claude-sonnet-4"]}})
    expected = as_promised(shorter, case("gpt-4o", "503", "whole, the first fails", shorter))
    assert [turn.model for turn in expected.turns] == ["gpt-4o", "claude-sonnet-4"]
    assert {one.models for one in cases(shorter, models=["gpt-5-mini"])} == {("gpt-5-mini",)}


def test_every_model_meets_every_kind_whole_and_streamed() -> None:
    found = {(one.model, one.kind.name, one.stream) for one in cases(CATALOG)}
    for model in CATALOG.models:
        for kind in kinds(CATALOG):
            assert ((model, kind.name, False) in found) == bool(kind.whole)
            assert ((model, kind.name, True) in found) == bool(kind.stream)


def test_each_known_deviation_shows_somewhere() -> None:
    shown = {words for one in cases(CATALOG) for words in as_known(CATALOG, one)[1]}
    assert shown == {deviation.words for deviation in DEVIATIONS}


def observed(*calls: tuple[str, float, float], by: str = "gpt-4o-mini") -> Observed:
    return Observed(tuple(Call(*call) for call in calls), Answer("reply", 200, by))


@pytest.mark.parametrize(
    ("calls", "by", "wrong"),
    [
        ([("gpt-4o", 0, 0.1), ("gpt-4o-mini", 0.2, 0.3)], "gpt-4o-mini", []),
        ([("gpt-4o", 0, 0.1), ("gpt-5-mini", 0.2, 0.3)], "gpt-5-mini", ["asked gpt-4o ×1 → gpt-5-mini ×1"]),
        ([("gpt-4o", 0, 0.1), ("gpt-4o", 2, 2.1), ("gpt-4o-mini", 3, 3.1)], "gpt-4o-mini", ["asked gpt-4o ×2"]),
        ([("gpt-4o-mini", 0, 0.1)], "gpt-4o-mini", ["asked gpt-4o-mini ×1"]),
        ([], "gpt-4o-mini", ["asked nobody"]),
        ([("gpt-4o", 0, 0.1), ("gpt-4o-mini", 0.2, 0.3)], "gpt-4o", ["the client got: reply by gpt-4o"]),
    ],
)
def test_what_is_otherwise_is_said(calls: list, by: str, wrong: list[str]) -> None:
    chain = ("gpt-4o", "gpt-4o-mini")
    kind = next(one for one in kinds(CATALOG) if one.name == "401")
    expected = as_promised(CATALOG, Case(chain, kind, stream=False, moment="before", failing=1))
    found = differences(expected, observed(*calls, by=by))
    assert len(found) >= len(wrong)
    assert all(any(said.startswith(one) for said in found) for one in wrong), found
    assert bool(found) == bool(wrong)


def attempts(gap: float, count: int = CATALOG.limits.retries + 1, grows: float = 0) -> Observed:
    """What is seen where gpt-4o is asked so often, `gap` seconds apart and `grows` more each time."""
    starts = [sum(gap + grows * k for k in range(n)) for n in range(count)]
    return observed(*(("gpt-4o", at, at) for at in starts), ("gpt-4o-mini", 100, 100))


def two(kind: str) -> Case:
    given = next(one for one in kinds(CATALOG) if one.name == kind)
    return Case(("gpt-4o", "gpt-4o-mini"), given, stream=False, moment="before", failing=1)


def test_a_pause_that_is_too_short_is_said() -> None:
    expected = as_promised(CATALOG, two("503"))
    assert differences(expected, attempts(2.01)) == []
    assert differences(expected, attempts(1.0)) == ["gpt-4o was asked again after 1.00 s instead of 2 s"]
    longer = as_promised(CATALOG, two("429+retry-after"))
    assert differences(longer, attempts(2.0)) == ["gpt-4o was asked again after 2.00 s instead of 3 s"]


def test_an_attempt_has_several_calls_where_that_is_known() -> None:
    known = Expected(
        (Turn("gpt-4o", 2, 2.0, calls=2), Turn("gpt-4o-mini", 1, 0.0)), Answer("reply", 200, "gpt-4o-mini")
    )
    calls = [("gpt-4o", 0, 0), ("gpt-4o", 0.1, 0.1), ("gpt-4o", 2.1, 2.1), ("gpt-4o", 2.2, 2.2)]
    seen = observed(*calls, ("gpt-4o-mini", 4.2, 4.3))
    assert differences(known, seen) == []
    assert [(pause.number, pause.seconds) for pause in pauses(known, seen)] == [(1, 2.0)]


def late(*seen: tuple[str, Observed]) -> dict[str, list[str]]:
    """By the kind of fault, what is said of pauses that were too long."""
    tried = [(two(kind), pauses(as_promised(CATALOG, two(kind)), one)) for kind, one in seen]
    return {case.kind.name: words for case, words in soonest(tried).items()}


def test_a_pause_is_too_long_where_it_always_is() -> None:
    words = "gpt-4o was asked again after {} s instead of 2 s"
    assert late(("503", attempts(3.0))) == {"503": [words.format("3.00")] * 3}
    assert late(("503", attempts(2, grows=2))) == {"503": [words.format("4.00"), words.format("6.00")]}
    # One fault's is always long, another's is not; the model alone is not to blame.
    assert set(late(("503", attempts(3)), ("500", attempts(2)))) == {"503"}


def test_a_busy_machine_is_told_from_a_late_gateway() -> None:
    first_late = observed(
        ("gpt-4o", 0, 0), ("gpt-4o", 5, 5), ("gpt-4o", 7, 7), ("gpt-4o", 9, 9), ("gpt-4o-mini", 11, 11)
    )
    last_late = observed(
        ("gpt-4o", 0, 0), ("gpt-4o", 2, 2), ("gpt-4o", 4, 4), ("gpt-4o", 9, 9), ("gpt-4o-mini", 11, 11)
    )
    assert set(late(("503", first_late))) == {"503"}
    assert late(("503", first_late), ("503", last_late)) == {}


def test_a_delay_is_to_be_felt() -> None:
    one = next(one for one in cases(CATALOG, models=["gpt-4o"], only=["delay"]))
    expected = as_promised(CATALOG, one)
    answer = Answer("reply", 200, "gpt-4o")
    assert differences(expected, Observed((Call("gpt-4o", 0, 1.01),), answer)) == []
    assert differences(expected, Observed((Call("gpt-4o", 0, 0.1),), answer)) == [
        "gpt-4o answered after 0.10 s instead of 1 s"
    ]


def chunk(text: str) -> str:
    return f"data: {json.dumps({'choices': [{'delta': {'content': text}}]})}\n\n"


def body(text: str) -> str:
    return json.dumps({"choices": [{"message": {"content": text}}]})


WHOLE = chunk(reply_text("gpt-4o"))


@pytest.mark.parametrize(
    ("status", "text", "stream", "answer"),
    [
        (503, "{}", False, Answer("error", 503)),
        (200, "null", False, Answer("null", 200)),
        (200, body(reply_text("gpt-4o")), False, Answer("reply", 200, "gpt-4o")),
        (200, body(""), False, Answer("empty reply", 200)),
        (200, "<html>", False, Answer("error", 200)),
        (200, WHOLE + "data: [DONE]\n\n", True, Answer("reply", 200, "gpt-4o")),
        (200, WHOLE, True, Answer("short reply", 200)),
        (200, chunk("answered by gpt-4o: one") + "data: [DONE]\n\n", True, Answer("short reply", 200, None)),
        (200, WHOLE + 'data: {"error": {}}\n\n', True, Answer("error event", 200)),
        (200, "data: [DONE]\n\n", True, Answer("empty reply", 200)),
    ],
)  # fmt: skip
def test_what_a_client_got_is_read_off_the_response(status: int, text: str, stream: bool, answer: Answer) -> None:
    found = read_answer(status, text, stream)
    assert (found.ending, found.status) == (answer.ending, answer.status)
    if answer.ending == "reply":
        assert found.by == answer.by


def test_a_drill_stays_below_the_models_requests_a_minute() -> None:
    now = [0.0]
    budget = Budget(10, clock=lambda: now[0])  # room for 9
    first = budget.take({"a": 5})
    assert first is not None
    assert budget.take({"a": 5}) is None
    assert budget.take({"a": 4, "b": 9}) is not None
    first()
    now[0] = 59
    assert budget.take({"a": 5}) is None
    now[0] = 61
    assert budget.take({"a": 5}) is not None
    assert budget.take({"c": 50}) is not None  # more than there ever is room for goes alone
    assert budget.take({"c": 1}) is None


def test_limits_are_scaled_and_their_models_kept_apart() -> None:
    small = scaled(CATALOG).limits
    assert small.requests_per_minute < CATALOG.limits.requests_per_minute
    assert small.request_timeout_seconds < CATALOG.limits.request_timeout_seconds
    assert small.retries == CATALOG.limits.retries
    assert apart(CATALOG, ["gpt-5-mini", "gpt-4o", "gpt-4o-mini"]) == [["gpt-5-mini", "gpt-4o-mini"], ["gpt-4o"]]
    assert apart(CATALOG, ["gpt-4o-mini", "gpt-4o"]) == [["gpt-4o"], ["gpt-4o-mini"]]
    assert sorted(model for group in apart(CATALOG, list(CATALOG.models)) for model in group) == sorted(CATALOG.models)


def test_retries_that_outlast_the_limit_are_counted_by_the_catalogue() -> None:
    def asked(**limits: object) -> list[int]:
        return [one.asked for one in slow_cases(scaled(with_limits(**limits))) if one.kind == SLOW_RETRIES]

    assert asked() == [3]  # at 0, 2 and 4 of 5 seconds
    assert asked(retry_delay_seconds=4.0) == [2]
    assert asked(retry_delay_seconds=6.0) == []  # the second would come too late
    assert asked(retries=1) == []  # all would have been made
    assert asked(retry_delay_seconds=0.0) == []


def test_what_differs_reaches_junit_and_a_known_deviation_does_not() -> None:
    outcomes = [
        Outcome("gpt-4o", "401", "whole", "as promised", 1.0, "p"),
        Outcome("gpt-4o", "403", "whole", "known", 1.0, "p", deviations=("it is so",)),
        Outcome("gpt-4o", "404", "whole", "differs", 1.0, "p", differences=("asked nobody",)),
        Outcome("gpt-4o", "request-limit", "13 at once", "left out", 1.0, "p", differences=("too slow",)),
    ]
    assert [(one.name, one.outcome, one.reason) for one in results(outcomes)] == [
        ("gpt-4o 401 whole", "passed", ""),
        ("gpt-4o 403 whole", "passed", ""),
        ("gpt-4o 404 whole", "failed", "asked nobody (promised: p)"),
        ("gpt-4o request-limit 13 at once", "left out", "too slow (promised: p)"),
    ]
    lines = "\n".join(table(CATALOG, outcomes))
    assert "~ 403" in lines
    assert "[1] it is so" in lines
    assert "✗ 404" in lines
    assert "    promised: p" in lines
    assert summary(outcomes) == "1 as promised, 1 known deviations, 1 differ, 1 left out"


# -- outages -------------------------------------------------------------------------------------------------


def test_outages_follow_the_catalogue() -> None:
    found = {(one.how, one.answers) for one in outages(CATALOG, ["gpt-4o"])}
    assert found == {
        ("whole, the first is down", "gpt-4o-mini"),
        ("stream, all but the last are down", "gemini-2.0-flash"),
        ("whole, all are down", None),
    }
    assert [(one.how, one.answers) for one in outages(CATALOG, ["gpt-4o-mini"])] == [("whole, no other model", None)]
    assert {one.model for one in outages(CATALOG)} == set(CATALOG.models)


def test_what_the_breaker_is_not_to_do_is_not_tried() -> None:
    asking = with_breaker(without_fallback="ask")
    assert {one.model for one in outages(asking)} == set(CATALOG.fallbacks)
    assert not list(outages(with_breaker(enabled=False)))


def with_breaker(**changes: object) -> Catalog:
    return CATALOG.model_copy(update={"breaker": CATALOG.breaker.model_copy(update=changes)})

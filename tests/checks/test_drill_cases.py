"""What a drill expects follows from the catalogue, and a difference is found and put into words."""

from __future__ import annotations

import json

import pytest

from proxy.catalog import Catalog, load_catalog
from proxy.checks.drill.cases import (
    Answer,
    Call,
    Case,
    Observed,
    Turn,
    as_known,
    as_promised,
    cases,
    differences,
    read_answer,
    reply_text,
)
from proxy.checks.drill.faults import DEVIATIONS, kinds
from proxy.checks.drill.limits import _disjoint, scaled
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
    found, late = differences(expected, observed(*calls, by=by))
    assert len(found) >= len(wrong)
    assert all(any(said.startswith(one) for said in found) for one in wrong), found
    assert bool(found) == bool(wrong)
    assert not late


def test_gaps_are_held_against_the_pause() -> None:
    kind = next(one for one in kinds(CATALOG) if one.name == "503")
    expected = as_promised(CATALOG, Case(("gpt-4o", "gpt-4o-mini"), kind, stream=False, moment="before", failing=1))

    def with_gap(seconds: float) -> Observed:
        attempts = [("gpt-4o", n * seconds, n * seconds) for n in range(CATALOG.limits.retries + 1)]
        return observed(*attempts, ("gpt-4o-mini", 100, 100))

    assert differences(expected, with_gap(2.01)) == ([], [])
    assert differences(expected, with_gap(1.0))[0] == ["gpt-4o was asked again after 1.00 s instead of 2 s"]
    assert differences(expected, with_gap(3.0)) == ([], ["gpt-4o was asked again after 3.00 s instead of 2 s"])


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
    assert _disjoint(CATALOG, ["gpt-5-mini", "gpt-4o", "gpt-4o-mini"]) == [["gpt-5-mini", "gpt-4o-mini"], ["gpt-4o"]]

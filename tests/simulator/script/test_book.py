"""Which rule takes a request: order, counting, time, chance and limits, on a clock that is turned by hand."""

from __future__ import annotations

import random
from collections import Counter
from itertools import groupby
from typing import Any

import pytest

from proxy.simulator.script.book import Book
from proxy.simulator.script.model import Script
from tests.simulator.script.asking import Clock, add, asked, book, rule, said

SEEDS = range(40)


def sequence(of: Book, number: int, text: str = "hello", **fields: Any) -> list[str | None]:
    return [said(of.take(asked(text, **fields))) for _ in range(number)]


# -- order -----------------------------------------------------------------------------------------------


def test_the_first_that_fits_takes_it() -> None:
    rules = book(rule("a", when={"text": "sun"}), rule("b", when={"text": "hello"}), rule("c"))
    assert said(rules.take(asked("hello sun"))) == "a"
    assert said(rules.take(asked("hello"))) == "b"
    assert said(rules.take(asked("rain"))) == "c"


def test_priority_goes_before_order_and_order_decides_among_equals() -> None:
    rules = book(rule("low", priority=-1), rule("a"), rule("b"), rule("high", times=1, priority=5))
    assert sequence(rules, 2) == ["high", "a"]


def test_rules_are_put_before_or_after_and_taken_out() -> None:
    rules = book(rule("a", times=1))
    (last,) = add(rules, rule("z"))
    first, second = add(rules, rule("b", times=1), rule("c", times=1), first=True)
    assert sequence(rules, 4) == ["b", "c", "a", "z"]
    assert first < second
    assert last < first
    assert rules.remove(last)
    assert not rules.remove(last)
    assert said(rules.take(asked())) is None


def test_ids_are_never_given_twice() -> None:
    rules = book(rule("a"), rule("b"))
    before = {shown["id"] for shown in rules.shown()["rules"]}
    rules.replace(Script.model_validate({"rules": [rule("a")]}))
    assert not before & {shown["id"] for shown in rules.shown()["rules"]}


# -- counting --------------------------------------------------------------------------------------------


def test_times_then_the_next_rule() -> None:
    rules = book(rule(fault=503, times=2), rule("yes", times=1))
    assert sequence(rules, 4) == ["<status>", "<status>", "yes", None]
    assert [(one["used"], one["left"], one["in_force"]) for one in rules.shown()["rules"]] == [
        (2, 0, False),
        (1, 0, False),
    ]


def test_the_nth_call_counts_calls_that_others_take() -> None:
    rules = book(*(rule(str(n), when={"call": n}) for n in (1, 2, 3)), rule("more"))
    assert sequence(rules, 5) == ["1", "2", "3", "more", "more"]


def test_the_nth_call_counts_only_what_fits_the_rest() -> None:
    rules = book(rule("second sun", when={"text": "sun", "call": 2}), rule("other"))
    texts = ["rain", "sun", "rain", "sun", "sun"]
    assert [said(rules.take(asked(text))) for text in texts] == ["other", "other", "other", "second sun", "other"]


def test_changing_the_rules_keeps_the_counts_of_those_that_stay() -> None:
    rules = book(rule("a", times=2), rule("b", when={"call": 4}))
    sequence(rules, 1)
    add(rules, rule("first", times=1), first=True)
    assert sequence(rules, 4) == ["first", "a", "b", None]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_scripts_do_what_a_plain_reading_says(seed: int) -> None:
    chance = random.Random(seed)
    given = [
        {
            "name": str(number),
            "reply": str(number),
            "priority": chance.choice((0, 0, 0, 1, 2)),
            **({"times": chance.randint(1, 4)} if chance.random() < 0.6 else {}),
            "when": {
                **({"text": chance.choice("abc")} if chance.random() < 0.7 else {}),
                **({"model": chance.choice(("m1", "m2", "m*"))} if chance.random() < 0.4 else {}),
                **({"call": chance.randint(1, 5)} if chance.random() < 0.3 else {}),
            },
        }
        for number in range(chance.randint(1, 8))
    ]
    rules = book(*given)
    used: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for _ in range(60):
        text, model = "".join(chance.sample("abc", chance.randint(1, 3))), chance.choice(("m1", "m2"))
        expected = None
        for one in sorted(given, key=lambda one: -one["priority"]):
            when, name = one["when"], one["name"]
            if when.get("text", "") not in text or when.get("model", "m*") not in (model, "m*"):
                continue
            calls[name] += 1
            if expected is None and calls[name] == when.get("call", calls[name]) and used[name] < one.get("times", 99):
                used[name] += 1
                expected = name
        assert said(rules.take(asked(text, model=model))) == expected
    assert [shown["used"] for shown in rules.shown()["rules"]] == [used[one["name"]] for one in given]


# -- time ------------------------------------------------------------------------------------------------


def test_for_counts_from_when_it_is_set() -> None:
    clock = Clock()
    rules = book(rule(fault="hang", **{"for": "30s"}), rule("on"), clock=clock)
    clock.forward(29.9)
    assert said(rules.take(asked())) == "<hang>"
    assert rules.shown()["rules"][0]["expires_in"] == pytest.approx(0.1)
    clock.forward(0.2)
    assert said(rules.take(asked())) == "on"
    shown = rules.shown()["rules"][0]
    assert (shown["in_force"], shown["expires_in"]) == (False, 0.0)


def test_after_puts_off_what_for_bounds() -> None:
    clock = Clock()
    rules = book(rule("late", after=10, **{"for": 5}), rule("on"), clock=clock)
    seen = []
    for _ in range(20):
        seen.append(said(rules.take(asked())))
        clock.forward(1)
    assert seen == ["on"] * 10 + ["late"] * 5 + ["on"] * 5


def test_flapping_begins_with_down() -> None:
    clock = Clock()
    rules = book(rule(fault=503, flapping={"down": 3, "up": 2}), rule("up"), clock=clock)
    seen = []
    for _ in range(12):
        seen.append(said(rules.take(asked())))
        clock.forward(1)
    lengths = [(what, len(list(those))) for what, those in groupby(seen)]
    assert lengths == [("<status>", 3), ("up", 2), ("<status>", 3), ("up", 2), ("<status>", 2)]


@pytest.mark.parametrize("seed", SEEDS)
def test_time_is_that_of_the_clock_however_it_goes(seed: int) -> None:
    chance = random.Random(seed)
    clock = Clock(chance.uniform(0, 1e6))
    after, lasts = chance.choice((0.0, chance.uniform(0, 20))), chance.choice((None, chance.uniform(1, 60)))
    flapping = chance.choice((None, {"down": chance.uniform(0.5, 9), "up": chance.uniform(0.5, 9)}))
    timed = {"after": after, "for": lasts, "flapping": flapping}
    rules = book(rule("in", **{name: value for name, value in timed.items() if value is not None}), clock=clock)
    began = clock.now
    for _ in range(100):
        clock.forward(chance.uniform(0, 2))
        since = clock.now - began - after
        in_force = since >= 0 and (lasts is None or since < lasts)
        if in_force and flapping is not None:
            in_force = since % (flapping["down"] + flapping["up"]) < flapping["down"]
        assert rules.shown()["rules"][0]["in_force"] is in_force
        assert said(rules.take(asked())) == ("in" if in_force else None)


# -- chance ----------------------------------------------------------------------------------------------


def test_equal_seeds_take_the_same_ones() -> None:
    def drawn(seed: int) -> list[str | None]:
        return sequence(book(rule("x", probability=0.3, seed=seed)), 50)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_about_that_share_is_taken(share: float) -> None:
    taken = sum(one is not None for one in sequence(book(rule("x", probability=share, seed=3)), 4000))
    assert taken / 4000 == pytest.approx(share, abs=0.03)


def test_only_what_it_might_take_draws_a_chance() -> None:
    rare = rule("x", when={"text": "sun"}, probability=0.5, seed=5)
    alone = sequence(book(rare), 20, "sun")
    rules = book(rare)
    among = []
    for _ in range(20):
        rules.take(asked("rain"))
        among.append(said(rules.take(asked("sun"))))
    assert among == alone


# -- faults that come with an answer -----------------------------------------------------------------------


@pytest.mark.parametrize("fault", [{"kind": "delay", "seconds": 1}, "cut", "malformed"])
def test_a_fault_that_lets_an_answer_through_has_that_of_the_next_rule(fault: Any) -> None:
    rules = book(rule(fault=fault, times=1), rule(fault=500, times=1), rule("answer", times=1))
    verdict = rules.take(asked())
    assert verdict.fault is not None
    assert verdict.reply is not None
    assert verdict.reply.text == "answer"
    used = [one["used"] for one in rules.shown()["rules"]]
    # Late is had; what was broken off was not, so the next try still gets it.
    assert used == ([1, 0, 1] if verdict.fault.kind == "delay" else [1, 0, 0])


def test_a_fault_within_a_stream_breaks_the_scripted_answer() -> None:
    rules = book(rule(fault={"status": 500, "after_chunks": 2}), rule("answer"))
    assert said(rules.take(asked(stream=True))) == "<status>answer"
    assert said(rules.take(asked(stream=False))) == "<status>"


# -- limits ----------------------------------------------------------------------------------------------


def test_a_rate_limit_lets_through_then_refuses_until_its_window_ends() -> None:
    clock = Clock()
    limit = {"kind": "rate_limit", "requests": 3, "per": "10s"}
    rules = book(rule(fault=limit), rule("on"), clock=clock)
    states = []
    for _ in range(5):
        verdict = rules.take(asked())
        assert verdict.limit is not None
        states.append((said(verdict), verdict.limit.remaining, verdict.limit.reset_seconds))
        clock.forward(1)
    assert states == [("on", 2, 10), ("on", 1, 9), ("on", 0, 8), ("<rate_limit>", 0, 7), ("<rate_limit>", 0, 6)]
    clock.forward(5)
    assert sequence(rules, 4) == ["on", "on", "on", "<rate_limit>"]
    assert rules.shown()["rules"][0]["used"] == 3


@pytest.mark.parametrize("tight_first", [False, True])
def test_of_two_limits_the_tighter_is_told(tight_first: bool) -> None:
    wide = rule(fault={"kind": "rate_limit", "requests": 100})
    tight = rule(fault={"kind": "rate_limit", "requests": 2, "per": 1})
    rules = book(*([tight, wide] if tight_first else [wide, tight]))
    limits = [rules.take(asked()).limit for _ in range(4)]
    assert [(limit.limit, limit.remaining, limit.reset_seconds) for limit in limits if limit is not None] == [
        (2, 1, 1), (2, 0, 1), (2, 0, 1), (2, 0, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_no_window_ever_lets_more_through_nor_refuses_early(seed: int) -> None:
    chance = random.Random(seed)
    clock = Clock()
    most, per = chance.randint(1, 6), chance.uniform(1, 10)
    rules = book(rule(fault={"kind": "rate_limit", "requests": most, "per": per}), rule("on"), clock=clock)
    began, passed = None, 0
    for step in range(300):
        clock.forward(chance.choice((0, 0, chance.uniform(0, per / 2), chance.uniform(0, 3 * per) * (step % 50 == 0))))
        if began is None or clock.now >= began + per:
            began, passed = clock.now, 0
        verdict = rules.take(asked())
        assert said(verdict) == ("on" if passed < most else "<rate_limit>")
        passed += passed < most
        assert verdict.limit is not None
        assert verdict.limit.remaining == most - passed
        assert 0 < verdict.limit.reset_seconds <= per + 1e-6


# -- what is inherited -----------------------------------------------------------------------------------


def test_own_rules_go_before_inherited_ones_of_any_priority() -> None:
    base = book(rule("base", priority=9))
    assert sequence(book(rule("own", times=1), parent=base), 2) == ["own", "base"]
    assert sequence(book(rule("own", times=1), parent=base, inherit=False), 2) == ["own", None]


def test_a_change_of_what_is_inherited_is_seen_at_once() -> None:
    base = book()
    child = book(parent=base)
    assert child.is_bare
    assert sequence(child, 1) == [None]
    (number,) = add(base, rule("base", times=2))
    assert not child.is_bare
    assert sequence(child, 1) == ["base"]
    add(base, rule("first", times=1), first=True)
    assert sequence(child, 3) == ["first", "base", None]
    base.remove(number)
    assert sequence(child, 1) == [None]


def test_each_book_uses_inherited_rules_up_by_itself() -> None:
    base = book(
        rule("once", times=1),
        rule("third", when={"call": 3}),
        rule(fault={"kind": "rate_limit", "requests": 1}, when={"text": "hello"}, times=1),
        rule("chance", probability=0.5, seed=2),
        rule("rest"),
    )
    books = [base, book(parent=base), book(parent=base)]
    alone = [sequence(one, 12) for one in books]
    assert alone[0] == alone[1] == alone[2]
    assert alone[0][:4].count("once") == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_books_side_by_side_are_as_if_alone(seed: int) -> None:
    def make() -> tuple[Clock, list[Book]]:
        clock = Clock()
        base = book(
            rule("first two", times=2),
            rule(fault={"kind": "rate_limit", "requests": 4, "per": 5}),
            rule("some", probability=0.4, seed=seed),
            rule("rest"),
            clock=clock,
        )
        return clock, [base, *(book(rule("own", when={"call": n}), parent=base, clock=clock) for n in (1, 3, 5))]

    chance = random.Random(seed)
    steps = [(chance.randrange(4), chance.choice((0, 0, 1.7))) for _ in range(120)]
    clock, books = make()
    together: list[list[str | None]] = [[], [], [], []]
    for which, pause in steps:
        clock.forward(pause)
        together[which].append(said(books[which].take(asked())))
    for only in range(4):
        clock, books = make()
        alone = []
        for which, pause in steps:
            clock.forward(pause)
            if which == only:
                alone.append(said(books[only].take(asked())))
        assert together[only] == alone


def test_a_bare_book_is_one_where_nothing_can_happen() -> None:
    assert book().is_bare
    assert not book(strict=True).is_bare
    assert not book(rule("x")).is_bare
    base = book(rule("x"))
    assert not book(parent=base).is_bare
    assert book(parent=base, inherit=False).is_bare
    base.clear()
    assert book(parent=base).is_bare


# -- the nearest rule ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "request_", "why"),
    [
        ([], {}, "it has no rules"),
        (
            [rule("x", name="weather", when={"text": "sun"})],
            {"text": "rain  in\nMay"},
            "the nearest, 'weather', wants text containing 'sun', but it is 'rain in May'",
        ),
        (
            [rule("x", when={"text": {"equals": "sun"}})],
            {"text": ""},
            "the nearest, #1, wants text equal to 'sun', but there is none",
        ),
        (
            [rule("x", name="r", when={"text": {"matches": "^s.n$"}})],
            {"text": "x" * 100},
            "the nearest, 'r', wants text matching '^s.n$', but it is '" + "x" * 56 + " ...'",
        ),
        (
            [rule("x", name="r", when={"provider": ["anthropic", "google"]})],
            {},
            "the nearest, 'r', wants provider anthropic or google, but it is openai",
        ),
        (
            [rule("x", name="r", when={"model": "claude*"})],
            {"aliases": ("fast", "cheap")},
            "the nearest, 'r', wants model claude*, but it is gpt-4o (alias fast, cheap)",
        ),
        ([rule("x", name="r", when={"model": "a"})], {"model": None}, "wants model a, but none is named"),
        (
            [rule("x", name="r", when={"system": "be kind"})],
            {},
            "wants a system prompt containing 'be kind', but there",
        ),
        ([rule("x", name="r", when={"tool": "t"})], {}, "wants the tool 't' offered, but none is"),
        (
            [rule("x", name="r", when={"tool": "t"})],
            {"tools": ("a", "b")},
            "wants the tool 't' offered, but offered is 'a', 'b'",
        ),
        ([rule("x", name="r", when={"tool_result": "t"})], {}, "wants a tool's result containing 't', but the last"),
        (
            [rule("x", name="r", when={"tool_result": "t"})],
            {"tool_results": (("a", "b"),)},
            "wants a tool's result containing 't', but it is of 'a': 'b'",
        ),
        ([rule("x", name="r", when={"stream": True})], {}, "wants a stream, but it is none"),
        ([rule("x", name="r", when={"stream": False})], {"stream": True}, "wants no stream, but it is one"),
        ([rule("x", name="r", when={"turn": 3})], {}, "wants turn 3, but it is turn 1"),
        (
            [rule("x", name="r", when={"header": {"X-A": "b"}})],
            {},
            "wants header X-A containing 'b', but it is missing",
        ),
        (
            [rule("x", name="r", when={"header": {"x-a": "b"}})],
            {"headers": {b"x-a": b"c"}},
            "wants header x-a containing 'b', but it is 'c'",
        ),
        (
            [rule("x", name="r", when={"header": {"Authorization": "sk-wanted"}})],
            {"headers": {b"authorization": b"Bearer sk-given"}},
            "wants header Authorization of a certain value, but it is another",
        ),
        (
            [rule("x", name="r", when={"text": "sun", "turn": 2})],
            {},
            "wants text containing 'sun', but it is 'hello', and wants turn 2, but it is turn 1",
        ),
        (
            [rule("x", name="late", after=5)],
            {},
            "the nearest, 'late', fits, but comes into force in 5 s",
        ),
        (
            [rule("x", name="r", when={"call": 2})],
            {},
            "the nearest, 'r', is for call 2 of those that fit, but this is call 1",
        ),
        ([rule("x", name="r", probability=0)], {}, "fits, but left this one out (probability: 0)"),
        ([rule(fault={"kind": "rate_limit", "requests": 1}, name="r")], {}, "fits, but lets this one through"),
    ],
)
def test_why_no_rule_took_it(rules: list[dict[str, Any]], request_: dict[str, Any], why: str) -> None:
    strict = book(*rules, strict=True)
    request = asked(**request_)
    assert said(strict.take(request)) is None
    assert why in strict.nearest(request)


def test_secrets_are_not_in_what_differs() -> None:
    strict = book(rule("x", when={"header": {"authorization": "sk-wanted"}}), strict=True)
    request = asked(headers={b"authorization": b"Bearer sk-given"})
    assert "sk-" not in strict.nearest(request)


def test_why_a_rule_that_was_used_up_or_is_over_does_not_take_it() -> None:
    clock = Clock()
    strict = book(rule("x", name="once", times=1), strict=True, clock=clock)
    sequence(strict, 2)
    assert strict.nearest(asked()) == "the nearest, 'once', fits, but is used up (times: 1)"
    strict = book(rule("x", name="r", **{"for": 30}), strict=True, clock=clock)
    clock.forward(31)
    assert strict.nearest(asked()) == "the nearest, 'r', fits, but is in force no longer (for: 30 s)"
    strict = book(rule("x", name="r", flapping={"down": 2, "up": 3}), strict=True, clock=clock)
    clock.forward(3)
    assert strict.nearest(asked()) == "the nearest, 'r', fits, but is out of force for another 2 s (flapping)"


def test_the_nearest_is_that_which_differs_least() -> None:
    strict = book(
        rule("x", name="far", when={"text": "apples", "provider": "google", "turn": 4}),
        rule("x", name="other words", when={"text": "tell me a joke"}),
        rule("x", name="same words", when={"text": "the weather in Paris"}),
        rule("x", name="two off", when={"text": "the weather in Rome", "turn": 2, "stream": True}),
        strict=True,
    )
    assert strict.nearest(asked("the weather in Rome")).startswith("the nearest, 'same words', ")
    assert strict.nearest(asked("tell us a joke")).startswith("the nearest, 'other words', ")
    assert strict.nearest(asked("the weather in Rome", stream=True)).startswith("the nearest, 'two off', wants turn 2")


def test_what_many_requests_have_in_common_brings_a_rule_little_nearer() -> None:
    strict = book(
        rule("x", name="same provider", when={"provider": "openai", "text": "bananas and cream"}),
        rule("x", name="same words", when={"text": "the weather in Paris"}),
        strict=True,
    )
    assert strict.nearest(asked("the weather in Rome")).startswith("the nearest, 'same words', ")


def test_the_nearest_may_be_an_inherited_one() -> None:
    strict = book(parent=book(rule("x", name="base", when={"text": "sun"})), strict=True)
    assert strict.nearest(asked()).startswith("the nearest, 'base' of scope 'default', wants text")


# -- looking ---------------------------------------------------------------------------------------------


def test_a_look_tells_what_would_be_and_counts_nowhere() -> None:
    limit = {"kind": "rate_limit", "requests": 1}
    rules = book(rule("once", times=1), rule("chance", probability=0.5, seed=1), rule(fault=limit), rule("last"))
    seen = []
    for _ in range(12):
        before = rules.shown()
        looks = [said(rules.look(asked())) for _ in range(3)]
        assert rules.shown() == before
        seen.append(said(rules.take(asked())))
        assert looks == [seen[-1]] * 3
    assert set(seen) == {"once", "chance", "<rate_limit>", "last"}

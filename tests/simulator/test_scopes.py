"""Scopes: each its own script, counters and calls; fifty at once never see each other."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from proxy.simulator import scopes
from proxy.simulator.journal import Journal
from proxy.simulator.scopes import BadScope, Scopes
from proxy.simulator.script.model import Script
from tests.simulator.running import Double

PATH = "/openai/v1/chat/completions"


def ask(double: Double, text: str, scope: str | None = None, **headers: str) -> httpx.Response:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
    named = {"x-double-scope": scope} if scope is not None else {}
    return double.http.post(PATH, json=body, headers={"authorization": "Bearer k", **named, **headers})


def words(answer: httpx.Response) -> Any:
    return answer.json()["choices"][0]["message"]["content"] if answer.status_code == 200 else answer.status_code


def test_a_scope_has_its_own_script(double: Double) -> None:
    double.rules({"reply": "of a"}, scope="a")
    double.rules({"fault": 503}, scope="b")
    assert [words(ask(double, "x", scope)) for scope in ("a", "b", "a")] == ["of a", 503, "of a"]
    assert words(ask(double, "x", "c")).startswith("Simulated reply")
    assert words(ask(double, "x")).startswith("Simulated reply")


def test_rules_of_default_are_inherited_unless_said_otherwise(double: Double) -> None:
    double.rules({"reply": "default"})
    double.rules({"reply": "own", "when": {"text": "mine"}}, scope="a")
    double.rules(scope="b", inherit=False)
    assert words(ask(double, "mine", "a")) == "own"
    assert words(ask(double, "other", "a")) == "default"
    assert words(ask(double, "other", "b")).startswith("Simulated reply")


def test_what_one_scope_uses_up_another_still_has(double: Double) -> None:
    double.rules({"fault": 503, "times": 2})
    assert [words(ask(double, "x", scope)) for scope in "aabba"][:4] == [503] * 4
    assert ask(double, "x", "a").status_code == ask(double, "x", "b").status_code == 200
    assert ask(double, "x").status_code == 503
    assert [rule["used"] for rule in double.script()["rules"]] == [1]


def test_fifty_at_once_never_see_each_other(double: Double) -> None:
    names = [f"scope-{number}" for number in range(50)]
    double.rules({"fault": 429, "times": 1, "when": {"text": "inherited"}})
    for name in names:
        double.rules(
            {"fault": 503, "times": 3, "when": {"text": "go"}},
            {"reply": f"fourth of {name}", "when": {"call": 4, "text": "go"}},
            {"reply": f"of {name}", "when": {"text": "go"}},
            scope=name,
            strict=True,
        )
    asking = [(name, "go") for name in names for _ in range(6)]
    random.Random(1).shuffle(asking)
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda one: ask(double, f"{one[1]} {one[0]}", one[0]), asking))
        # Used up in every scope by itself: one 429 each, then no rule is left.
        for _ in range(2):
            list(pool.map(lambda name: ask(double, f"inherited {name}", name), names))
    for name in names:
        entries = double.journal(scope=name)
        assert [entry["scope"] for entry in entries] == [name] * 8
        assert all(name in entry["request"]["messages"][0]["content"].split() for entry in entries)
        # As a count: of requests at the same time, another may begin first than is decided first.
        got = [
            entry["response"]["body"]["choices"][0]["message"]["content"] if entry["status"] == 200 else entry["status"]
            for entry in entries
        ]
        assert Counter(got) == {503: 3, f"fourth of {name}": 1, f"of {name}": 2, 429: 1, 400: 1}
        assert [rule["used"] for rule in double.script(name)["rules"]] == [3, 1, 2]
    assert double.journal(scope="default") == []
    assert len(double.journal(scope="*")) == 400


def test_scopes_are_listed_and_forgotten(double: Double) -> None:
    double.rules({"reply": "x"}, scope="a", strict=True)
    ask(double, "x", "a")
    ask(double, "x", "b")
    listed = {scope["name"]: scope for scope in double.control.get("/scopes").json()["scopes"]}
    assert listed["a"] == {"name": "a", "rules": 1, "strict": True, "calls": 1, "cassette": False}
    assert listed["b"] == {"name": "b", "rules": 0, "strict": False, "calls": 1, "cassette": False}
    left = double.control.delete("/scopes/a").json()["scopes"]
    assert "a" not in [scope["name"] for scope in left]
    assert double.journal(scope="a") == []
    assert double.script("a")["rules"] == []
    assert len(double.journal(scope="b")) == 1


def test_to_look_at_a_scope_does_not_make_it(double: Double) -> None:
    double.script("never")
    double.control.delete("/script", params={"scope": "never"})
    double.journal(scope="never")
    assert "never" not in [scope["name"] for scope in double.control.get("/scopes").json()["scopes"]]


@pytest.mark.parametrize("name", ["a b", "x" * 101, "a/b", "ü"])
def test_a_name_that_no_scope_can_have(double: Double, name: str) -> None:
    header = {b"x-double-scope": name.encode("latin-1"), b"authorization": b"Bearer k"}
    answer = double.http.post(PATH, json={"model": "gpt-4o"}, headers=header)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "double_bad_scope"
    assert "is no name for a scope" in answer.json()["error"]["message"]
    answer = double.control.get("/script", params={"scope": name})
    assert answer.status_code == 400
    assert "is no name for a scope" in answer.json()["error"]["message"]


STRICT = {
    "openai": ("/openai/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": "rain"}]}),
    "anthropic": (
        "/anthropic/v1/messages",
        {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "rain"}]},
    ),
    "google": (
        "/gemini/v1beta/models/gemini-1.5-pro:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "rain"}]}]},
    ),
}


@pytest.mark.parametrize("provider", STRICT)
def test_in_a_strict_scope_what_no_rule_takes_is_an_error_that_says_why(double: Double, provider: str) -> None:
    double.rules({"name": "weather", "when": {"text": "sun"}, "reply": "x"}, scope="s", strict=True)
    path, body = STRICT[provider]
    headers = {"x-double-scope": "s", "authorization": "Bearer k", "x-api-key": "k", "x-goog-api-key": "k"}
    answer = double.http.post(path, json=body, headers=headers)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["message"] == (
        "no rule of scope 's' takes this request; the nearest, 'weather', wants text containing 'sun', but it is 'rain'"
    )
    assert "double_no_match" in answer.text
    [entry] = double.journal(scope="s")
    assert (entry["outcome"], entry["status"], entry["rule"]) == ("no match", 400, None)


def test_only_so_many_are_kept_and_none_that_has_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "MOST_SCOPES", 10)
    made = Scopes(Journal())
    made.named("kept").book.replace(Script(strict=True))
    for number in range(50):
        made.named(f"s{number}")
    names = [scope["name"] for scope in made.shown()]
    assert len(names) == 10
    assert names[:2] == ["default", "kept"]
    assert names[-1] == "s49"
    with pytest.raises(BadScope):
        made.named("")


def test_a_probe_meets_the_rules_of_a_scope_and_leaves_no_trace_there(double: Double) -> None:
    double.rules({"fault": 503, "times": 1}, scope="a", strict=True)
    probing = {"x-double-probe": "a"}
    assert [words(ask(double, "x", "probes", **probing)) for _ in range(3)] == [503] * 3
    assert words(ask(double, "x", "a")) == 503
    assert words(ask(double, "x", "probes", **probing)).startswith("Simulated reply")
    assert words(ask(double, "x", "a")) == 400
    assert words(ask(double, "x", "probes", **{"x-double-probe": "unheard-of"})).startswith("Simulated reply")
    assert words(ask(double, "x", "probes", **{"x-double-probe": "no name"})).startswith("Simulated reply")
    shown = double.control.get("/scopes").json()["scopes"]
    assert {scope["name"]: scope["calls"] for scope in shown if scope["calls"]} == {"a": 2, "probes": 6}
    assert "unheard-of" not in {scope["name"] for scope in shown}

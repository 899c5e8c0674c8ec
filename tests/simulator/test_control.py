"""The control calls: who may make them, and what they say to mistakes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.simulator.running import CONTROL_KEY, Double, port_of, start

CALLS = [
    ("GET", "/script"), ("PUT", "/script"), ("DELETE", "/script"), ("POST", "/rules"), ("DELETE", "/rules/1"),
    ("GET", "/journal"), ("DELETE", "/journal"), ("GET", "/events"), ("GET", "/scopes"), ("DELETE", "/scopes/default"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {CONTROL_KEY}"}])
def test_a_key_is_needed(double: Double, method: str, path: str, header: dict[str, str]) -> None:
    double.rules({"fault": "drop", "when": {"model": "none"}})
    answer = double.http.request(method, "/_double" + path, headers=header, json={"rules": []})
    assert answer.status_code == 401
    assert "control key" in answer.json()["error"]["message"]
    assert len(double.script()["rules"]) == 1


def test_health_needs_no_key(double: Double) -> None:
    answer = double.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_script_is_put_shown_and_cleared(double: Double) -> None:
    given = {"strict": True, "inherit": False, "rules": [{"name": "a", "reply": "x", "times": 3, "for": "1m"}]}
    put = double.control.put("/script", params={"scope": "s"}, json=given)
    assert put.status_code == 200
    shown = put.json()
    assert shown == double.control.get("/script", headers={"x-double-scope": "s"}).json() | {"rules": shown["rules"]}
    assert (shown["scope"], shown["strict"], shown["inherit"]) == ("s", True, False)
    [rule] = shown["rules"]
    assert 59 < rule.pop("expires_in") <= 60
    assert isinstance(rule.pop("id"), int)
    assert rule == {
        "name": "a", "reply": {"text": "x"}, "times": 3, "for": 60.0, "used": 0, "in_force": True, "left": 3,
    }  # fmt: skip
    empty = {"scope": "s", "strict": False, "inherit": True, "rules": []}
    assert double.control.delete("/script", params={"scope": "s"}).json() == empty
    assert double.script("s") == empty


def test_what_is_shown_can_be_put_again_less_what_was_added(double: Double) -> None:
    rules = [
        {"fault": {"status": 429, "retry_after": "2s"}, "when": {"provider": "openai", "text": {"matches": "a"}}},
        {"reply": {"json": {"a": [1, None]}, "timing": {"first_token": "10ms"}}, "flapping": {"down": 1, "up": "2s"}},
    ]
    double.rules(*rules)
    added = ("id", "used", "in_force", "left", "expires_in")
    shown = double.script()["rules"]
    double.rules(*({name: value for name, value in rule.items() if name not in added} for rule in shown))
    again = double.script()["rules"]
    assert [rule.pop("id") for rule in again] != [rule.pop("id") for rule in shown]
    assert again == shown


def test_a_script_in_yaml(double: Double) -> None:
    yaml = {"content-type": "application/yaml"}
    put = double.control.put("/script", content="rules:\n- reply: Hello\n  name: hi\n", headers=yaml)
    assert [rule["name"] for rule in put.json()["rules"]] == ["hi"]
    added = double.control.post("/rules", content="fault: 503\nname: down", headers=yaml)
    assert len(added.json()["ids"]) == 1
    assert [rule["name"] for rule in double.script()["rules"]] == ["hi", "down"]


def test_rules_are_added_before_or_after_and_taken_out(double: Double) -> None:
    double.rules({"reply": "a", "name": "a"})
    [last] = double.control.post("/rules", json={"reply": "z", "name": "z"}).json()["ids"]
    two = {"rules": [{"reply": "b", "name": "b"}, {"reply": "c", "name": "c"}]}
    first = double.control.post("/rules", params={"first": "true"}, json=two).json()["ids"]
    assert [rule["name"] for rule in double.script()["rules"]] == ["b", "c", "a", "z"]
    assert [rule["id"] for rule in double.script()["rules"]][:2] == first
    left = double.control.delete(f"/rules/{last}").json()
    assert [rule["name"] for rule in left["rules"]] == ["b", "c", "a"]
    for number in (last, 0, "x", "9" * 40):
        answer = double.control.delete(f"/rules/{number}")
        assert answer.status_code == 404
        assert "scope 'default' has no rule with the id" in answer.json()["error"]["message"]


def test_a_rule_of_another_scope_is_not_taken_out(double: Double) -> None:
    double.rules({"reply": "a"}, scope="a")
    number = double.script("a")["rules"][0]["id"]
    assert double.control.delete(f"/rules/{number}", params={"scope": "b"}).status_code == 404
    assert len(double.script("a")["rules"]) == 1


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(
    ("content", "kind", "status", "problem"),
    [
        (b"{", "application/json", 400, {"path": "", "message": "the body is no valid JSON"}),
        (b"rules: [", "application/yaml", 400, {"path": "", "message": "bad YAML at column 9", "line": 1}),
        (
            b'{"rules": [{"replyy": "x", "fault": 1}]}',
            "application/json",
            400,
            {"path": "rules.0.replyy", "message": "unknown key; did you mean 'reply'?"},
        ),
        (
            b"rules:\n- fault: drop\n  tims: 3",
            "application/yaml",
            400,
            {"path": "rules.0.tims", "message": "unknown key; did you mean 'times'?", "line": 3},
        ),
        (b"[]", "application/json", 400, {"path": "", "message": "must be a mapping"}),
        (b" " * 1_100_000, "application/json", 413, None),
    ],
    ids=["no JSON", "no YAML", "JSON", "YAML", "list", "large"],
)
def test_a_mistake_changes_nothing_and_is_told(
    double: Double, method: str, content: bytes, kind: str, status: int, problem: dict[str, Any] | None
) -> None:
    double.rules({"reply": "kept"})
    path = "/script" if method == "PUT" else "/rules"
    answer = double.control.request(method, path, content=content, headers={"content-type": kind})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, "invalid_request_error")
    if problem is not None:
        found = next(one for one in error["problems"] if one["path"] == problem["path"])
        assert found["message"].startswith(problem["message"])
        assert found.get("line") == problem.get("line")
        assert error["message"]
    assert len(double.script()["rules"]) == 1


@pytest.mark.parametrize("query", [{"first": "maybe"}])
def test_first_is_true_or_false(double: Double, query: dict[str, str]) -> None:
    answer = double.control.post("/rules", params=query, json={"reply": "x"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "first: must be true or false, not 'maybe'"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/script"), ("GET", "/rules"), ("PUT", "/journal"), ("POST", "/events")]
)
def test_a_method_that_is_not_for_it(double: Double, method: str, path: str) -> None:
    answer = double.control.request(method, path)
    assert answer.status_code == 405
    assert answer.json()["error"]["message"] == f"{method} is not for /_double{path}"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": "0"}, "limit: must be a whole number, 1 or more, not '0'"),
        ({"wait_for": "x"}, "wait_for: must be a whole number, 1 or more, not 'x'"),
        ({"wait_for": "1", "timeout": "61"}, "timeout: must be a number of seconds from 0 to 60, not '61'"),
        ({"wait_for": "1", "timeout": "nan"}, "timeout: must be a number of seconds from 0 to 60, not 'nan'"),
        ({"since": "9" * 30}, "since: must be the seq of an entry, 0 or more, not"),
    ],
)
def test_numbers_in_a_query(double: Double, query: dict[str, str], message: str) -> None:
    answer = double.control.get("/journal", params=query)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(message)


@pytest.mark.parametrize("since", ["x", "-1", "1.5"])
def test_since_must_be_a_number(double: Double, since: str) -> None:
    answer = double.control.get("/journal", params={"since": since})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("since: must be the seq of an entry")


def test_an_unknown_path_names_the_nearest(double: Double) -> None:
    answer = double.control.get("/scripts")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].endswith("did you mean /_double/script?")


def test_without_a_key_control_is_open_on_loopback() -> None:
    process = start(key=None)
    try:
        url = f"http://127.0.0.1:{port_of(process)}/_double"
        assert httpx.put(f"{url}/script", json={"rules": []}).status_code == 200
        assert httpx.get(f"{url}/journal").status_code == 200
    finally:
        process.terminate()
        process.communicate(timeout=10)

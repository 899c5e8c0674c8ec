"""DoubleClient: scripts and calls of a scope from Python, and what it says of mistakes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.simulator.client import Call, Calls, DoubleClient, DoubleError, last_user_text
from tests.simulator.running import CONTROL_KEY, Double


@pytest.fixture
def client(double: Double) -> Iterator[DoubleClient]:
    with DoubleClient(double.url, CONTROL_KEY, "mine") as client:
        yield client


def ask(double: Double, text: str, scope: str = "mine", **fields: Any) -> httpx.Response:
    body = {"model": "gpt-5-mini-2025-08-07", "messages": [{"role": "user", "content": text}], **fields}
    headers = {"authorization": "Bearer k", "x-double-scope": scope, "x-double-request": f"id of {text[:5].strip()}"}
    return double.http.post("/openai/v1/chat/completions", json=body, headers=headers)


def test_a_script_as_data_and_as_yaml(client: DoubleClient) -> None:
    shown = client.set_script({"strict": True, "rules": [{"reply": "x", "name": "a"}]})
    assert (shown["scope"], shown["strict"]) == ("mine", True)
    shown = client.set_script("rules:\n- fault: 503\n  name: b\n")
    assert [rule["name"] for rule in client.script["rules"]] == ["b"]
    assert not shown["strict"]
    assert client.clear()["rules"] == []


def test_rules_one_by_one(client: DoubleClient, double: Double) -> None:
    (last,) = client.add_rules({"reply": "last"})
    ids = client.add_rules({"reply": "one", "times": 1}, {"fault": 503, "times": 1}, first=True)
    assert len(ids) == 2
    answers = [ask(double, "x") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 503, 200]
    assert client.remove(last)["rules"][-1]["id"] == ids[-1]


def test_mistakes_are_told_with_their_lines(client: DoubleClient) -> None:
    with pytest.raises(DoubleError) as raised:
        client.set_script("rules:\n- replyy: x\n  fault: dropp\n")
    assert raised.value.status == 400
    assert [(one["line"], one["path"]) for one in raised.value.problems] == [
        (2, "rules.0.replyy"),
        (3, "rules.0.fault.kind"),
    ]
    assert "line 2: rules.0.replyy: unknown key; did you mean 'reply'?" in str(raised.value)
    assert "\n  line 3: rules.0.fault.kind: 'dropp' is not one of" in str(raised.value)
    with pytest.raises(DoubleError, match="has no rule with the id"):
        client.remove(0)


def test_a_wrong_key_and_nobody_there(double: Double) -> None:
    with DoubleClient(double.url, "wrong") as client, pytest.raises(DoubleError, match="control key is missing") as no:
        client.calls()
    assert no.value.status == 401
    with DoubleClient("http://127.0.0.1:9", "key") as client, pytest.raises(DoubleError, match="ConnectError"):
        client.calls()


def test_calls_are_those_of_the_scope_in_order(client: DoubleClient, double: Double) -> None:
    client.add_rules({"fault": 503, "times": 1, "name": "once"})
    ask(double, "not mine", "other")
    ask(double, "one")
    ask(double, "two", model="gpt-4o")
    calls = client.calls()
    assert len(calls) == 2
    assert calls.models == ["fast", "gpt-4o"]
    assert calls.statuses == [503, 200]
    assert (calls.first.text, calls.last.text) == ("one", "two")
    assert (calls.first.rule, calls.first.outcome) == ("once", "fault:status")
    assert calls.first.answer["error"]["type"] == "server_error"
    assert calls[0].seq < calls[1].seq
    assert [call.text for call in client.calls(model="fast")] == ["one"]
    assert [call.text for call in client.calls(text="two")] == ["two"]
    assert [call.text for call in client.calls(request="id of two")] == ["two"]
    assert [call.text for call in client.calls(since=calls.first.seq)] == ["two"]
    assert len(client.calls(provider="google")) == 0


def test_calls_read_well(client: DoubleClient, double: Double) -> None:
    client.add_rules({"fault": 503, "times": 1, "name": "outage"})
    for _ in range(2):
        ask(double, "hello " * 30)
    shown = repr(client.calls()).splitlines()
    first = client.calls().first.seq
    assert shown[0] == "<calls:"
    start = "openai fast = gpt-5-mini-2025-08-07"
    words = ("hello " * 30).strip()[:49] + "…"
    assert shown[1] == f"  <{first}: {start} '{words}' -> 503, fault:status by 'outage'>"
    assert shown[2] == f"  <{first + 1}: {start}, attempt 2 '{words}' -> 200, ok>"
    client.clear_calls()
    assert repr(client.calls()) == "<no calls>"
    with pytest.raises(AssertionError, match="there was no such call"):
        _ = client.calls().last


def test_waiting_for_calls(client: DoubleClient, double: Double) -> None:
    calls = client.calls(text="awaited")
    asking = threading.Thread(target=lambda: [ask(double, f"awaited {n}") for n in range(3)])
    asking.start()
    assert len(calls.wait_for(3)) >= 3
    asking.join(10)
    with pytest.raises(AssertionError, match=r"3 of 4 calls had ended after 0\.2 s: <calls:\n  <"):
        calls.wait_for(4, timeout=0.2)


def test_to_forget_is_to_begin_anew(client: DoubleClient, double: Double) -> None:
    client.add_rules({"reply": "x"})
    ask(double, "x")
    client.forget()
    assert client.script["rules"] == []
    assert len(client.calls()) == 0
    assert "mine" not in [scope["name"] for scope in client.scopes()]
    with DoubleClient(double.url, CONTROL_KEY) as default:
        default.add_rules({"reply": "x"})
        default.forget()
        assert default.script["rules"] == []


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "a"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}]}, "a"),
        ({"contents": [{"parts": [{"text": "a"}, {"text": "b"}]}]}, "a b"),
        ({"input": "a"}, "a"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]}, "a"),
        ({"messages": [5, {"role": "user", "content": 5}]}, ""),
        ({"unparsed": "x"}, ""),
        (None, ""),
        ([], ""),
    ],
)
def test_the_last_text_of_the_users(request_: Any, text: str) -> None:
    assert last_user_text(request_) == text


def test_calls_are_a_sequence() -> None:
    entry = dict.fromkeys(Call.__annotations__) | {"seq": 1, "attempt": 1, "request": {}}
    calls = Calls([entry, {**entry, "seq": 2}], lambda number, seconds: [])
    assert [call.seq for call in calls] == [1, 2]
    assert [call.seq for call in calls[1:]] == [2]
    assert len(calls) == 2

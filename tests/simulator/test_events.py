"""What can be waited for and watched: the long poll and the stream of events."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.simulator.running import CONTROL_KEY, Double

PATH = "/openai/v1/chat/completions"


def ask(double: Double, text: str, scope: str = "default", **fields: Any) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **fields}
    double.http.post(PATH, json=body, headers={"authorization": "Bearer k", "x-double-scope": scope})


class Events:
    """Events as they come."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.iter_lines()

    def next(self) -> tuple[str, dict[str, Any], str | None]:
        """Name, data and number of the next event."""
        fields: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name in ("event", "id", "data"):
                fields[name] = value
            elif not line and "data" in fields:
                return fields["event"], json.loads(fields["data"]), fields.get("id")
        raise AssertionError("the events ended")

    def until_open(self) -> None:
        assert next(self._lines) == ": open"


@contextmanager
def watching(double: Double, headers: dict[str, str] | None = None, **query: Any) -> Iterator[Events]:
    sent = {"authorization": f"Bearer {CONTROL_KEY}", **(headers or {})}
    url = f"{double.url}/_double/events"
    with (
        httpx.Client(timeout=10) as client,
        client.stream("GET", url, params=query, headers=sent) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = Events(answer)
        events.until_open()
        yield events


def later(do: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=do)
    thread.start()
    return thread


def test_a_call_begins_and_ends(double: Double) -> None:
    with watching(double) as events:
        ask(double, "hello")
        name, data, number = events.next()
        assert (name, data["scope"], data["entry"]["request"]["messages"][0]["content"]) == (
            "began",
            "default",
            "hello",
        )
        after, ended, later_number = events.next()
        assert (after, ended["entry"]["status"], ended["entry"]["seq"]) == ("ended", 200, data["entry"]["seq"])
        assert int(later_number or 0) > int(number or 0)


def test_a_call_is_seen_while_it_runs(double: Double) -> None:
    double.faults({"kind": "hang", "after_chunks": 1})
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with watching(double) as events:
        with double.http.stream("POST", PATH, json=body, headers={"authorization": "Bearer k"}):
            name, data, _ = events.next()
            assert (name, data["entry"]["ended_at"]) == ("began", None)
        name, data, _ = events.next()
        assert (name, data["entry"]["status"], data["entry"]["outcome"]) == ("ended", 200, "fault:hang")


def test_scripts_and_clearing_are_events_too(double: Double) -> None:
    with watching(double, scope="a") as events:
        double.rules({"reply": "other"}, scope="b")
        double.rules({"reply": "x", "name": "mine"}, scope="a")
        name, data, number = events.next()
        assert (name, data["scope"], number) == ("script", "a", None)
        assert [rule["name"] for rule in data["script"]["rules"]] == ["mine"]
        double.control.delete("/journal", params={"scope": "a"})
        assert events.next()[:2] == ("cleared", {"scope": "a"})


def test_a_scope_sees_its_own_and_the_star_sees_all(double: Double) -> None:
    with watching(double, scope="a") as own, watching(double, scope="*") as every:
        ask(double, "x", "b")
        ask(double, "x", "a")
        assert own.next()[1]["scope"] == "a"
        assert [every.next()[1]["scope"] for _ in range(4)] == ["b", "b", "a", "a"]
        double.control.delete("/journal", params={"scope": "*"})
        own.next()
        assert own.next()[0] == "cleared"


def test_what_was_before_is_told_again(double: Double) -> None:
    for text in ("one", "two"):
        ask(double, text)
    first = double.journal()[0]["seq"]
    with watching(double, since=first) as events:
        told = [events.next() for _ in range(2)]
        assert [(name, data["entry"]["seq"]) for name, data, _ in told] == [("began", first + 1), ("ended", first + 1)]
        ask(double, "three")
        assert [events.next()[1]["entry"]["seq"] for _ in range(2)] == [first + 2] * 2
    with watching(double, since=0) as events:
        assert [events.next()[0] for _ in range(6)] == ["began", "ended"] * 3


def test_a_browser_that_comes_back_goes_on_where_it_was(double: Double) -> None:
    with watching(double) as events:
        ask(double, "one")
        _, _, began = events.next()
    ask(double, "two")
    with watching(double, headers={"last-event-id": str(began)}, since=0) as events:
        told = [events.next() for _ in range(3)]
        texts = [data["entry"]["request"]["messages"][0]["content"] for _, data, _ in told]
        assert list(zip([name for name, _, _ in told], texts, strict=True)) == [
            ("ended", "one"), ("began", "two"), ("ended", "two"),
        ]  # fmt: skip


# -- the long poll -----------------------------------------------------------------------------------------


def test_a_poll_answers_as_soon_as_so_many_have_ended(double: Double) -> None:
    ask(double, "early")
    found: list[Any] = []
    waiting = later(
        lambda: found.extend(double.control.get("/journal", params={"wait_for": 3, "timeout": 9}).json()["entries"])
    )
    ask(double, "one")
    assert waiting.is_alive()
    ask(double, "two")
    waiting.join(9)
    assert not waiting.is_alive()
    assert [entry["request"]["messages"][0]["content"] for entry in found] == ["early", "one", "two"]
    assert all(entry["ended_at"] for entry in found)


def test_a_poll_waits_for_those_that_it_asks_for(double: Double) -> None:
    query = {"wait_for": 1, "timeout": 9, "text": "mine", "scope": "a"}
    found: list[Any] = []
    waiting = later(lambda: found.extend(double.control.get("/journal", params=query).json()["entries"]))
    ask(double, "other", "a")
    ask(double, "mine", "b")
    ask(double, "mine", "a")
    waiting.join(9)
    assert [(entry["scope"], entry["request"]["messages"][0]["content"]) for entry in found] == [("a", "mine")]


def test_a_poll_waits_for_what_still_runs(double: Double) -> None:
    double.faults({"kind": "hang", "after_chunks": 1})
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "stream": True}
    found: list[Any] = []
    with watching(double) as events:
        waiting = later(
            lambda: found.extend(double.control.get("/journal", params={"wait_for": 1, "timeout": 9}).json()["entries"])
        )
        with double.http.stream("POST", PATH, json=body, headers={"authorization": "Bearer k"}):
            assert events.next()[0] == "began"
            # A poll that took this for the end would have answered before this one that comes after it.
            in_vain = double.control.get("/journal", params={"wait_for": 1, "timeout": 0.3}).json()["entries"]
            assert [entry["ended_at"] for entry in in_vain] == [None]
            assert waiting.is_alive()
        waiting.join(9)
    assert [entry["ended_at"] is not None for entry in found] == [True]


def test_a_poll_in_vain_answers_with_what_there_is(double: Double) -> None:
    ask(double, "one")
    began = time.monotonic()
    answer = double.control.get("/journal", params={"wait_for": 2, "timeout": 0.2}).json()
    assert len(answer["entries"]) == 1
    assert time.monotonic() - began >= 0.19
    assert len(double.control.get("/journal", params={"wait_for": 2, "timeout": 0}).json()["entries"]) == 1

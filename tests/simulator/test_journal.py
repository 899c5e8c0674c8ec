"""The journal: what was asked, when, and how it went."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from proxy.simulator.journal import Journal, Query, message_texts, redacted
from tests.simulator.running import Double

PATHS = {
    "openai": "/openai/v1/chat/completions",
    "anthropic": "/anthropic/v1/messages",
    "google": "/gemini/v1beta/models/gemini-1.5-pro:streamGenerateContent",
}


def ask(double: Double, text: str, **more: Any) -> httpx.Response:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}
    return double.http.post(PATHS["openai"], json=body, headers={"authorization": "Bearer private-key"})


def test_an_entry(double: Double) -> None:
    before = time.time()
    ask(double, "first", user="somebody")
    [entry] = double.journal()
    after = time.time()
    assert set(entry) == {
        "seq", "scope", "request_id", "attempt", "provider", "api", "model", "alias", "stream", "rule", "outcome",
        "status", "started_at", "first_byte_at", "ended_at", "request", "headers", "response",
    }  # fmt: skip
    assert (entry["provider"], entry["model"], entry["stream"]) == ("openai", "gpt-4o", False)
    assert (entry["status"], entry["outcome"]) == (200, "ok")
    assert before <= entry["started_at"] <= entry["ended_at"] <= after
    assert entry["request"] == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "first"}],
        "user": "somebody",
    }


def test_every_provider_and_refusals_are_recorded(double: Double) -> None:
    ask(double, "hello")
    double.http.post(PATHS["anthropic"], json={"model": "claude-x", "stream": True}, headers={"x-api-key": "k"})
    double.http.post(PATHS["google"], content=b"no json")
    seen = [
        (entry["provider"], entry["model"], entry["stream"], entry["status"], entry["outcome"])
        for entry in double.journal()
    ]
    assert seen == [
        ("openai", "gpt-4o", False, 200, "ok"),
        ("anthropic", "claude-x", True, 400, "error"),
        ("google", "gemini-1.5-pro", True, 403, "error"),
    ]
    assert double.journal()[-1]["request"] == {"unparsed": "no json"}


def test_since_and_clear(double: Double) -> None:
    for text in ("one", "two", "three"):
        ask(double, text)
    numbers = [entry["seq"] for entry in double.journal()]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert [entry["seq"] for entry in double.journal(since=numbers[1])] == numbers[2:]
    assert double.control.delete("/journal").json() == {"entries": [], "last": numbers[-1]}
    ask(double, "four")
    assert [entry["seq"] for entry in double.journal()] == [numbers[-1] + 1]


def test_text_is_looked_for_in_messages_only(double: Double) -> None:
    ask(double, 'a "marked" üne')
    ask(double, "other", user="marked")
    parts = [{"type": "text", "text": "x"}, {"type": "text", "text": "marked too"}]
    ask(double, "", messages=[{"role": "system", "content": parts}, {"role": "user", "content": "x"}])
    numbers = [entry["seq"] for entry in double.journal()]
    assert [entry["seq"] for entry in double.journal(text="marked")] == [numbers[0], numbers[2]]
    assert [entry["seq"] for entry in double.journal(text='"marked" ü')] == numbers[:1]
    assert double.journal(text="gpt-4o") == []


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "needle"}]}]},
        {"system": [{"type": "text", "text": "a needle"}], "messages": []},
        {"contents": [{"parts": [{"text": "needle"}]}]},
        {"systemInstruction": {"parts": [{"text": "needle"}]}},
    ],
)
def test_texts_of_every_provider(body: dict[str, Any]) -> None:
    assert any("needle" in text for text in message_texts(body))


def test_keys_are_nowhere(double: Double) -> None:
    secret = "very-private"
    for header in ("authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie"):
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "extra": {"api_key": secret}}
        double.http.post(PATHS["openai"], json=body, headers={header: f"Bearer {secret}"})
        double.http.post(PATHS["google"] + f"?key={secret}", json={})
    answer = double.control.get("/journal")
    assert len(answer.json()["entries"]) == 10
    assert secret not in answer.text
    assert answer.text.count("[redacted]") == 10


def test_an_open_request_is_listed_while_it_runs(double: Double) -> None:
    double.faults({"kind": "hang", "after_chunks": 2})
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "stream": True}
    headers = {"authorization": "Bearer k"}
    with double.http.stream("POST", PATHS["openai"], json=body, headers=headers) as answer:
        assert answer.status_code == 200
        [entry] = double.journal()
        assert (entry["ended_at"], entry["status"], entry["outcome"]) == (None, 200, "fault:hang")
    double.wait_for(lambda entries: entries and entries[0]["ended_at"] is not None)


def test_a_client_that_leaves_while_it_is_delayed(double: Double) -> None:
    double.faults({"kind": "delay", "seconds": 60})
    with pytest.raises(httpx.ReadTimeout):
        double.http.post(
            PATHS["openai"], json={"model": "gpt-4o", "messages": []}, headers={"authorization": "k"}, timeout=0.2
        )
    [entry] = double.wait_for(lambda entries: entries and entries[0]["ended_at"] is not None)
    assert entry["ended_at"] - entry["started_at"] < 10
    assert entry["status"] is None


def kept(journal: Journal) -> list[int]:
    return [entry.seq for entry in journal.find(Query())]


def test_the_ring_is_bounded() -> None:
    by_count = Journal(most_entries=3)
    for _ in range(5):
        by_count.keep_request(by_count.begin("default", "openai", "chat", []), b"{}")
    assert kept(by_count) == [3, 4, 5]
    by_size = Journal(most_bytes=100)
    for _ in range(5):
        by_size.keep_request(by_size.begin("default", "openai", "chat", []), b'"' + b"x" * 38 + b'"')
    assert kept(by_size) == [4, 5]
    by_size.keep_request(by_size.begin("default", "openai", "chat", []), b"x" * 1000)
    assert kept(by_size) == [6]


def test_a_scope_that_has_more_than_half_makes_room_with_its_own() -> None:
    journal = Journal(most_entries=10)
    for scope in ("quiet", "quiet", *["busy"] * 50):
        journal.keep_request(journal.begin(scope, "openai", "chat", []), b"{}")
    assert [entry.scope for entry in journal.find(Query())].count("quiet") == 2
    assert len(journal.find(Query())) == 10
    by_size = Journal(most_bytes=1000)
    for scope in ("quiet", *["busy"] * 50):
        entry = by_size.begin(scope, "openai", "chat", [])
        by_size.keep_request(entry, b"x" * 10)
        entry.sent.append(b"y" * 90)
        by_size.end(entry, "ok")
    assert [entry.scope for entry in by_size.find(Query())] == ["quiet", *["busy"] * 9]


def test_what_ends_after_it_was_forgotten_counts_for_nothing() -> None:
    journal = Journal(most_bytes=100)
    running = journal.begin("a", "openai", "chat", [])
    journal.keep_request(running, b"x" * 50)
    journal.clear("a")
    running.sent.append(b"y" * 80)
    journal.end(running, "ok")
    kept_entry = journal.begin("a", "openai", "chat", [])
    journal.keep_request(kept_entry, b"x" * 90)
    assert kept(journal) == [2]


def test_attempts_of_a_request_are_counted_in_its_scope(double: Double) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
    for scope, request in (("a", "one"), ("a", "two"), ("a", "one"), ("b", "one"), ("a", None), ("a", None)):
        headers = {"authorization": "Bearer k", "x-double-scope": scope}
        double.http.post(
            PATHS["openai"], json=body, headers=headers | ({"x-double-request": request} if request else {})
        )
    numbers = [(entry["scope"], entry["request_id"], entry["attempt"]) for entry in double.journal(scope="*")]
    assert numbers == [
        ("a", "one", 1), ("a", "two", 1), ("a", "one", 2), ("b", "one", 1), ("a", None, 1), ("a", None, 1),
    ]  # fmt: skip
    assert [entry["attempt"] for entry in double.journal(scope="a", request="one")] == [1, 2]


def test_entries_are_picked_by_what_they_are(double: Double) -> None:
    for model in ("gpt-4o", "gpt-5-mini-2025-08-07", "gpt-4o-mini"):
        ask(double, f"for {model}", model=model)
    claude = {"model": "claude-3-opus-20240229", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    double.http.post(PATHS["anthropic"], json=claude, headers={"x-api-key": "k"})

    def models(**query: Any) -> list[str]:
        return [entry["model"] for entry in double.journal(**query)]

    assert models(model="gpt-4o") == ["gpt-4o"]
    assert models(model="gpt-4o*") == ["gpt-4o", "gpt-4o-mini"]
    assert models(model="fast") == ["gpt-5-mini-2025-08-07"]
    assert models(provider="anthropic") == ["claude-3-opus-20240229"]
    assert models(limit=2) == ["gpt-4o-mini", "claude-3-opus-20240229"]
    assert models(text="for gpt-4o-mini") == ["gpt-4o-mini"]
    assert [entry["alias"] for entry in double.journal()] == [None, "fast", None, "deep"]


ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": (PATHS["openai"], {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}),
    "responses": ("/openai/v1/responses", {"model": "gpt-4o", "input": "x"}),
    "anthropic": (
        PATHS["anthropic"],
        {"model": "claude-x", "max_tokens": 500, "messages": [{"role": "user", "content": "x"}]},
    ),
    "google": (PATHS["google"], {"contents": [{"parts": [{"text": "x"}]}]}),
}
FINISHED = {"openai": "stop", "responses": "completed", "anthropic": "end_turn", "google": "STOP"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ASKED)
def test_what_was_answered_is_kept(double: Double, api: str, stream: bool) -> None:
    path, body = ASKED[api]
    if api == "google":
        path = path.replace("streamGenerateContent", "streamGenerateContent?alt=sse" if stream else "generateContent")
    elif stream:
        body = {**body, "stream": True}
    headers = {"authorization": "Bearer k", "x-api-key": "k", "anthropic-version": "2023-06-01"}
    answer = double.http.post(path, json=body, headers=headers)
    [entry] = double.wait_for(lambda entries: bool(entries) and entries[0]["ended_at"] is not None)
    kept = entry["response"]
    assert kept["body"] == (answer.text if stream else answer.json())
    assert kept["finish"] == FINISHED[api]
    separator = "\r\n\r\n" if api == "google" else "\n\n"
    assert kept["chunks"] == (answer.text.count(separator) if stream else None)
    assert entry["started_at"] <= entry["first_byte_at"] <= entry["ended_at"]


def test_an_answer_cut_off_is_kept_as_far_as_it_went(double: Double) -> None:
    double.faults({"kind": "cut", "after_chunks": 2})
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with pytest.raises(httpx.RemoteProtocolError):
        double.http.post(PATHS["openai"], json=body, headers={"authorization": "Bearer k"})
    [entry] = double.wait_for(lambda entries: entries and entries[0]["ended_at"] is not None)
    assert (entry["response"]["chunks"], entry["response"]["finish"]) == (2, None)
    assert entry["response"]["body"].count("data: ") == 2


def test_what_was_never_answered_has_no_answer(double: Double) -> None:
    double.faults({"kind": "drop"})
    with pytest.raises(httpx.ReadError):
        ask(double, "x")
    [entry] = double.wait_for(lambda entries: entries and entries[0]["ended_at"] is not None)
    assert (entry["response"], entry["first_byte_at"], entry["status"]) == (None, None, None)


def test_the_rule_that_took_it_is_named(double: Double) -> None:
    double.rules({"reply": "a", "when": {"text": "one"}, "name": "first"}, {"fault": 503, "when": {"text": "two"}})
    for text in ("one", "two", "three"):
        ask(double, text)
    number = double.script()["rules"][1]["id"]
    assert [entry["rule"] for entry in double.journal()] == ["first", f"#{number}", None]


def test_a_request_nested_too_deep_to_be_shown_is_told_by_its_beginning(double: Double) -> None:
    deep = b'{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"a":' + b"[" * 900 + b"]" * 900 + b"}"
    double.http.post(PATHS["openai"], content=deep, headers={"authorization": "Bearer k"})
    [entry] = double.journal()
    assert entry["request"]["unparsed"].startswith('{"model":"gpt-4o"')
    assert double.journal(text="nothing") == []


def test_redaction_goes_deep() -> None:
    given = {"a": [{"API_KEY": "x"}], "password": "x", "max_tokens": 5, "secret": None}
    assert redacted(given) == {
        "a": [{"API_KEY": "[redacted]"}], "password": "[redacted]", "max_tokens": 5, "secret": None,
    }  # fmt: skip

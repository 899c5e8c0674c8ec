"""A scope with a cassette: who answers what, and what a request hears that is not in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google.genai import errors

from proxy.simulator.cassettes.dump import HEADING, exchange_text
from proxy.simulator.cassettes.model import Exchange, Failure
from tests.simulator.cassettes.exchanges import PATHS, chat, exchange
from tests.simulator.cassettes.running import simulating
from tests.simulator.cassettes.test_round_trip import content, message, sdks
from tests.simulator.running import CONTROL_KEY, Double


def cassette(*exchanges: Exchange) -> str:
    return HEADING + "".join(map(exchange_text, exchanges))


def said(text: str) -> bytes:
    return b'{"said":"%b"}' % text.encode()


def put(double: Double, *exchanges: Exchange, scope: str = "default", **options: str) -> dict[str, Any]:
    answer = double.control.put("/cassette", content=cassette(*exchanges), params={"scope": scope, **options})
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def ask(double: Double, body: Any, *, api: str = "chat", scope: str | None = None) -> httpx.Response:
    headers = {"authorization": "Bearer any", "x-api-key": "any", "x-goog-api-key": "any"}
    headers |= {"anthropic-version": "2023-06-01", **({"x-double-scope": scope} if scope else {})}
    return double.http.post(PATHS[api], json=body, headers=headers)


def missed(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "double_cassette_miss")
    message: str = error["message"]
    return message


def played(double: Double, scope: str = "default") -> list[int]:
    shown = double.control.get("/cassette", params={"scope": scope}).json()
    return [row["played"] for row in sorted(shown["used"] + shown["left"], key=lambda row: row["number"])]


def test_equal_requests_get_their_answers_in_turn_and_then_the_last_again(replaying: Double) -> None:
    put(replaying, *[exchange(chat(), said(text)) for text in ("a", "b")], exchange(chat("other"), said("c")))
    assert [ask(replaying, chat()).json()["said"] for _ in range(4)] == ["a", "b", "b", "b"]
    assert ask(replaying, chat("other", user="somebody")).json()["said"] == "c"
    assert played(replaying) == [1, 3, 1]


def test_a_miss_names_the_nearest_exchange_and_what_differs(replaying: Double) -> None:
    put(
        replaying,
        exchange({"model": "claude-opus-4-5-20251101", "messages": []}, api="messages"),
        exchange(chat("How are you?", temperature=0.7)),
        exchange(chat("What is the capital of France?", temperature=0.7)),
        file="demo.yaml",
    )
    assert missed(ask(replaying, chat("What is the capital of Norway?", temperature=1))) == (
        "no exchange of demo.yaml has this request; the nearest is number 3 of 3: messages.0.content is "
        '"What is the capital of Norway?", recorded: "What is the capital of France?"; temperature is 1, recorded: 0.7'
    )
    long = missed(ask(replaying, {"model": "gpt-4o", "messages": [], "tools": ["x" * 1000] * 5, "seed": 1, "n": 2}))
    assert "and 2 more" in long
    assert len(long) < 500
    assert played(replaying) == [0, 0, 0]
    (first, *_) = replaying.journal()
    assert (first["outcome"], first["status"], first["rule"]) == ("no match", 400, None)


def test_a_miss_says_what_there_is_where_nothing_is_near(replaying: Double) -> None:
    put(replaying, exchange({"model": "c", "messages": []}, api="messages"), file="demo.yaml")
    assert (
        missed(ask(replaying, chat())) == "demo.yaml holds no exchange of openai chat; it holds anthropic messages (1)"
    )
    put(replaying)
    assert missed(ask(replaying, chat())) == "the cassette holds no exchange of openai chat; it holds nothing"


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda sdk: sdk.openai.chat.completions.create(model="m", messages=[]), openai.BadRequestError),
        (lambda sdk: message(sdk, "hi"), anthropic.BadRequestError),
        (lambda sdk: content(sdk, "hi"), errors.ClientError),
    ],
    ids=["openai", "anthropic", "google"],
)
def test_a_miss_is_the_providers_own_kind_of_error(
    call: Callable[[Any], Any], kind: type[Exception], replaying: Double
) -> None:
    put(replaying, exchange(chat()))
    with sdks(replaying.bases) as sdk, pytest.raises(kind, match="double_cassette_miss"):
        call(sdk)


def test_in_order_the_next_exchange_of_a_model_must_fit(replaying: Double) -> None:
    mini = {**chat("first"), "model": "gpt-4o-mini"}
    recorded = [exchange(chat("first"), said("1")), exchange(mini, said("mini")), exchange(chat("second"), said("2"))]
    put(replaying, *recorded, match="order", file="demo.yaml")
    assert missed(ask(replaying, chat("second"))) == (
        'the next exchange of openai chat gpt-4o is number 1 of 3: messages.0.content is "second", recorded: "first"'
    )
    assert ask(replaying, chat("first")).json()["said"] == "1"
    assert "number 3 of 3" in missed(ask(replaying, chat("first")))
    assert ask(replaying, chat("second")).json()["said"] == "2"
    assert missed(ask(replaying, chat("second"))) == (
        "all 2 exchanges of openai chat gpt-4o in demo.yaml have been played"
    )
    assert ask(replaying, mini).json()["said"] == "mini"


def test_rules_come_before_the_cassette_and_nothing_is_made_up_after_it(replaying: Double) -> None:
    put(replaying, exchange(chat("recorded"), said("recorded")))
    replaying.rules({"name": "mine", "when": {"text": "scripted"}, "reply": "by the rule"})
    assert ask(replaying, chat("recorded")).json() == {"said": "recorded"}
    assert ask(replaying, chat("scripted")).json()["choices"][0]["message"]["content"] == "by the rule"
    assert "no exchange" in missed(ask(replaying, chat("neither")))
    assert [entry["outcome"] for entry in replaying.journal()] == ["replay", "ok", "no match"]


def test_scopes_inherit_the_cassette_of_default_and_play_it_each_by_itself(replaying: Double) -> None:
    put(replaying, *[exchange(chat(), said(text)) for text in ("a", "b")])
    replaying.rules(scope="alone", inherit=False)
    put(replaying, exchange(chat(), said("own")), scope="own")
    assert [ask(replaying, chat(), scope="one").json()["said"] for _ in range(2)] == ["a", "b"]
    assert ask(replaying, chat(), scope="two").json()["said"] == "a"
    assert ask(replaying, chat()).json()["said"] == "a"
    assert ask(replaying, chat(), scope="own").json()["said"] == "own"
    for scope in ("alone", "probes"):  # nobody records the gateway's probes
        assert "choices" in ask(replaying, chat(), scope=scope).json()
    shown = replaying.control.get("/cassette", params={"scope": "one"}).json()
    assert (shown["inherited"], len(shown["used"])) == (True, 2)
    put(replaying, exchange(chat(), said("new")))
    assert ask(replaying, chat(), scope="one").json()["said"] == "new"
    replaying.control.delete("/cassette")
    assert "choices" in ask(replaying, chat(), scope="one").json()


def test_what_is_in_a_scope_can_be_looked_at_and_taken_out(replaying: Double) -> None:
    none = {"scope": "default", "inherited": False, "exchanges": None}
    assert replaying.control.get("/cassette").json() == none
    shown = put(replaying, exchange(chat(), said("a")), exchange(chat("b")), file="demo.yaml", match="order")
    row = {"at": "2026-11-25T10:00:00.000Z", "provider": "openai", "api": "chat", "model": "gpt-4o", "status": 200}
    rows = [{"number": number, **row, "played": 0} for number in (1, 2)]
    assert shown == {
        "scope": "default",
        "inherited": False,
        "file": "demo.yaml",
        "match": "order",
        "timing": "none",
        "exchanges": 2,
        "used": [],
        "left": rows,
    }
    ask(replaying, chat())
    shown = replaying.control.get("/cassette").json()
    assert (shown["used"], shown["left"]) == ([{**rows[0], "played": 1}], rows[1:])
    assert [scope["cassette"] for scope in replaying.control.get("/scopes").json()["scopes"]] == [True]
    assert replaying.control.delete("/cassette").json() == none
    put(replaying, exchange(chat()))
    replaying.control.delete("/scopes/default")
    assert replaying.control.get("/cassette").json() == none


def test_a_bad_cassette_is_refused_with_its_lines_and_the_one_before_stays(replaying: Double) -> None:
    put(replaying, exchange(chat(), said("still here")))
    text = cassette(exchange(chat())).replace("api: chat", "api: chatt").replace("status: 200", "status: OK")
    answer = replaying.control.put("/cassette", content=text)
    error = answer.json()["error"]
    assert answer.status_code == 400
    lines = text.splitlines()
    assert [lines[problem["line"] - 1].strip() for problem in error["problems"]] == ["api: chatt", "status: OK"]
    assert "line 7: exchanges.0.api: 'chatt' is not one of chat" in error["message"]
    assert ask(replaying, chat()).json() == {"said": "still here"}
    answer = replaying.control.put("/cassette", content=cassette(), params={"match": "nearly"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        400,
        "match: must be one of request, order, not 'nearly'",
    )
    assert replaying.control.put("/cassette", content=cassette(), params={"timing": "fast"}).status_code == 400
    assert replaying.control.post("/cassette").status_code == 405
    assert httpx.get(f"{replaying.url}/_double/cassette").status_code == 401


@pytest.mark.parametrize("kind", ["dropped", "unreachable"])
def test_a_failure_is_a_dropped_connection_again(kind: Any, replaying: Double) -> None:
    put(replaying, exchange(chat(), response=None, failure=Failure(kind=kind)))
    with pytest.raises(httpx.ReadError):  # a reset, no mere end
        ask(replaying, chat())


def test_where_the_client_had_enough_the_provider_does_not_answer_again(replaying: Double) -> None:
    put(replaying, exchange(chat(), response=None, failure=Failure(kind="left")))
    with pytest.raises(httpx.ReadTimeout):
        replaying.http.post(PATHS["chat"], json=chat(), timeout=0.5)


def test_googles_model_and_way_of_streaming_count_though_they_are_in_the_path(replaying: Double) -> None:
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    path = "/gemini/v1beta/models/gemini-1.5-pro:"
    put(
        replaying,
        exchange(body, said("whole"), api="generateContent"),
        exchange(body, said("events"), api="generateContent", path=f"{path}streamGenerateContent?alt=sse"),
    )
    headers = {"x-goog-api-key": "any"}

    def call(path: str) -> Any:
        return replaying.http.post(path, json=body, headers=headers).json()

    assert call(f"{path}generateContent") == {"said": "whole"}
    assert call(f"{path.replace('v1beta', 'v1')}generateContent") == {"said": "whole"}
    assert call(f"{path}streamGenerateContent?alt=sse") == {"said": "events"}
    assert 'alt is "json", recorded: "sse"' in str(call(f"{path}streamGenerateContent"))
    assert 'model is "gemini-1.5-flash", recorded: "gemini-1.5-pro"' in str(
        call("/gemini/v1beta/models/gemini-1.5-flash:generateContent")
    )


def test_a_simulator_may_begin_with_a_cassette(tmp_path: Path) -> None:
    file = tmp_path / "demo.yaml"
    file.write_text(cassette(exchange(chat(), said("from the file"))))
    with simulating("--cassette", str(file)) as double:
        assert ask(double, chat()).json() == {"said": "from the file"}
        assert double.control.get("/cassette").json()["file"] == str(file)


def test_others_are_answered_while_a_large_cassette_is_read(replaying: Double) -> None:
    large = cassette(*[exchange(chat(f"question {number}", seed=number)) for number in range(3000)])
    over = threading.Event()

    def load() -> None:
        control = {"Authorization": f"Bearer {CONTROL_KEY}"}
        url = f"{replaying.url}/_double/cassette"
        assert httpx.put(url, content=large, headers=control, timeout=120).status_code == 200
        over.set()

    thread = threading.Thread(target=load)
    began, longest = time.monotonic(), 0.0
    thread.start()
    while not over.is_set():
        asked = time.monotonic()
        assert ask(replaying, chat(), scope="other").status_code in (200, 400)
        longest = max(longest, time.monotonic() - asked)
    thread.join()
    assert longest < (time.monotonic() - began) / 2, "one request waited for all of it"
    assert ask(replaying, chat("question 2999", seed=2999)).status_code == 200

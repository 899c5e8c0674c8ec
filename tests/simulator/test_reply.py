"""Replies follow from requests: determinism across processes, tokens, stops."""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest

from proxy.simulator.replies import tokens
from proxy.simulator.replies.reply import CALL_TOKENS, Prompt, Tool, compose, json_mode_schema, request_key
from proxy.simulator.replies.schema_instance import NoInstance
from proxy.simulator.script.model import Reply, ToolCall
from tests.simulator.running import Double, port_of, start

CALLS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    (
        "/openai/v1/chat/completions",
        {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "n": 3},
        {"authorization": "Bearer any"},
    ),
    (
        "/anthropic/v1/messages",
        {
            "model": "claude-opus-4-5-20251101",
            "max_tokens": 50,
            "messages": [{"role": "user", "content": "Hello"}],
            "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}],
        },
        {"x-api-key": "any", "anthropic-version": "2023-06-01"},
    ),
    (
        "/gemini/v1beta/models/gemini-1.5-flash:generateContent",
        {"contents": [{"parts": [{"text": "Hello"}]}]},
        {"x-goog-api-key": "any"},
    ),
]


def without_id(reply: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    name = "responseId" if "responseId" in reply else "id"
    return reply.pop(name), reply


def test_the_same_request_gets_the_same_reply_from_another_process(double: Double) -> None:
    other = start()
    try:
        url = f"http://127.0.0.1:{port_of(other)}"
        for path, body, headers in CALLS:
            answers = [
                double.http.post(path, json=body, headers=headers),
                double.http.post(path, json=dict(reversed(body.items())), headers=headers),
                httpx.post(url + path, json=body, headers=headers),
            ]
            ids, replies = zip(*(without_id(answer.json()) for answer in answers), strict=True)
            assert replies[0] == replies[1] == replies[2]
            # Books are kept by the reply's id: no two replies share one.
            assert len(set(ids)) == 3
    finally:
        other.terminate()
        other.communicate(timeout=10)


def test_another_request_gets_another_reply(double: Double) -> None:
    path, body, headers = CALLS[0]
    texts = set()
    for number in range(20):
        changed = {**body, "n": 1, "messages": [{"role": "user", "content": "Hello"}], "seed": number}
        reply = double.http.post(path, json=changed, headers=headers).json()
        texts.add(reply["choices"][0]["message"]["content"])
    assert len(texts) > 15


def test_the_key_ignores_streaming_only() -> None:
    body = {"messages": [1], "stream": False}
    key = request_key("m", body, b"")
    assert key == request_key("m", {"messages": [1], "stream": True, "stream_options": {}}, b"other")
    assert key != request_key("n", body, b"")
    assert key != request_key("m", {"messages": [2]}, b"")


def test_a_request_nested_deep_has_a_key_too() -> None:
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    assert request_key("m", {"a": deep}, b"raw") != request_key("m", {"a": deep}, b"other")


def test_tokens_of_parts_join_to_the_text() -> None:
    letters = random.Random(7)
    for _ in range(200):
        text = "".join(chr(letters.choice([*range(32, 127), 0x1F600, 0x4E2D, 0x301, 10])) for _ in range(40))
        encoded = tokens.encode(text)
        assert "".join(tokens.parts(encoded)) == text == tokens.decode(encoded)
        assert tokens.count(text) == len(encoded)


def test_long_texts_are_counted_in_stretches() -> None:
    assert tokens.count("hello world " * 10_000) == pytest.approx(20_001, abs=5)
    assert tokens.count("a" * 300_000) > 10_000


def test_the_earliest_stop_sequence_wins() -> None:
    prompt = Prompt("m", b"k" * 32, "one two three", 1, stop=("three", "two"))
    [choice] = compose(prompt).choices
    assert choice.text.endswith('"one ')
    assert (choice.finish, choice.stopped_by) == ("stop_sequence", "two")


def test_a_limit_before_the_stop_sequence() -> None:
    prompt = Prompt("m", b"k" * 32, "one two three", 1, stop=("three",), limit=3)
    [choice] = compose(prompt).choices
    assert (choice.finish, choice.stopped_by, choice.tokens) == ("length", None, 3)


def test_the_limit_is_exact() -> None:
    [whole] = compose(Prompt("m", b"k" * 32, "Hello", 1)).choices
    [same] = compose(Prompt("m", b"k" * 32, "Hello", 1, limit=whole.tokens)).choices
    [less] = compose(Prompt("m", b"k" * 32, "Hello", 1, limit=whole.tokens - 1)).choices
    assert same == whole
    assert (less.finish, less.tokens) == ("length", whole.tokens - 1)
    assert whole.text.startswith(less.text)


def test_choices_differ() -> None:
    choices = compose(Prompt("m", bytes(range(32)), "Hello", 1, choices=20)).choices
    assert len({choice.text for choice in choices}) == 20


def test_a_long_text_is_quoted_shortened() -> None:
    [choice] = compose(Prompt("m", b"k" * 32, "word " * 1000, 1)).choices
    assert "…" in choice.text
    assert len(choice.text) < 500


@pytest.mark.parametrize(
    "text",
    ["no schema", "```json\n{broken\n```", "```{'a': print()}```", '```json\n{"just": "data"}\n```'],
)
def test_json_mode_without_a_schema_in_the_prompt(text: str) -> None:
    assert json_mode_schema(text)["required"] == ["reply"]


def prompt(**settings: Any) -> Prompt:
    return Prompt("m", b"k" * 32, "Hello", 1, **settings)


def test_a_script_that_says_nothing_changes_nothing() -> None:
    city = Tool("f", {"type": "object", "properties": {"city": {"type": "string"}}})
    for asked in (prompt(), prompt(tool=city, offered=(city,)), prompt(schema={"type": "integer"}, choices=2)):
        assert compose(asked, Reply()) == compose(asked)


def test_a_scripts_json_of_any_size() -> None:
    [choice] = compose(prompt(), Reply(json={"much": 10**30, "text": "é"})).choices
    assert choice.text == '{"much":1000000000000000000000000000000,"text":"é"}'


def test_tokens_of_a_reply_are_those_of_its_parts() -> None:
    calls = [ToolCall(name="f", arguments={"a": "one two"}), ToolCall(name="g", arguments={})]
    reply = compose(prompt(choices=2), Reply(text="Look.", tool_calls=calls, reasoning_tokens=9, prompt_tokens=77))
    for choice in reply.choices:
        said = len(choice.words.encoded) + sum(len(use.arguments.encoded) + CALL_TOKENS for use in choice.tools)
        assert choice.tokens == said + 9
    assert (reply.completion_tokens, reply.reasoning_tokens) == (2 * reply.choices[0].tokens, 18)
    assert reply.prompt_tokens == 77


def test_every_limit_cuts_exactly_there() -> None:
    calls = [ToolCall(name="f", arguments={"a": "one two"}), ToolCall(name="g", arguments={"b": 1})]
    script = Reply(text="I will look.", tool_calls=calls, reasoning_tokens=4)
    [whole] = compose(prompt(), script).choices
    for limit in range(1, whole.tokens):
        [cut] = compose(prompt(limit=limit), script).choices
        assert (cut.tokens, cut.finish) == (limit, "length")
        assert cut.reasoning == min(4, limit)
        assert whole.text.startswith(cut.text)
        assert [use.name for use in cut.tools] == ["f", "g"][: len(cut.tools)]
        assert all(use.whole for use in cut.tools[:-1])
    [same] = compose(prompt(limit=whole.tokens), script).choices
    assert same == whole


def test_a_stop_sequence_in_the_text_before_calls_keeps_them_from_being_made() -> None:
    script = Reply(text="one two three", tool_calls=[ToolCall(name="f")])
    [choice] = compose(prompt(stop=("two",)), script).choices
    assert (choice.text, choice.tools, choice.finish) == ("one ", (), "stop_sequence")


def test_thoughts_are_shown_only_where_they_are_asked_for() -> None:
    [silent] = compose(prompt(), Reply(reasoning_tokens=50)).choices
    [shown] = compose(prompt(thinking=True)).choices
    [none] = compose(prompt(thinking=True), Reply(reasoning_tokens=0)).choices
    assert (silent.thoughts, silent.reasoning) == (None, 50)
    assert shown.thoughts is not None
    assert shown.reasoning == len(shown.thoughts.encoded)
    assert (none.thoughts, none.reasoning) == (None, 0)
    [cut] = compose(prompt(thinking=True, limit=3)).choices
    assert cut.thoughts is not None
    assert (len(cut.thoughts.encoded), cut.text, cut.finish, cut.tokens) == (3, "", "length", 3)


def test_a_tool_without_an_instance() -> None:
    broken = Tool("f", {"type": "object", "properties": {"a": False}, "required": ["a"]})
    script = Reply(tool_calls=[ToolCall(name="f")])
    with pytest.raises(NoInstance):
        compose(prompt(offered=(broken,)), script)
    given = Reply(tool_calls=[ToolCall(name="f", arguments={"a": 1})])
    assert compose(prompt(offered=(broken,)), given).choices[0].tools[0].arguments.text == '{"a":1}'


def test_pieces_and_their_tokens_cover_the_whole_text() -> None:
    [choice] = compose(prompt(), Reply(text="a 🦩 flew over the bay, 🦩🦩")).choices
    for size in (1, 2, 4, 100):
        spans = choice.words.spans(size)
        assert [text for text, _, _ in spans] == choice.words.parts(size)
        assert spans[0][1] == 0
        assert [begun for _, begun, _ in spans[1:]] == [end for _, _, end in spans[:-1]]
        assert spans[-1][2] == len(choice.words.encoded)


def test_the_vocabulary_is_held_once() -> None:
    encoding, text = tokens.encoding(), "naïve \N{PILE OF POO} 日本語 <|endoftext|>"
    assert encoding._mergeable_ranks == {}
    assert encoding.decode(list(tokens.encode(text))) == text
    assert encoding.decode_single_token_bytes(tokens.encode("a")[0]) == b"a"

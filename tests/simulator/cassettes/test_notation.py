"""Bytes as a cassette writes them: the same bytes come back, through YAML, whatever they are."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import yaml

from proxy.simulator.cassettes import notation
from proxy.simulator.cassettes.dump import HEADING, exchange_text
from proxy.simulator.cassettes.load import read
from proxy.simulator.cassettes.model import Exchange, Response
from tests.simulator.cassettes.exchanges import chat, exchange

ODD_TEXTS = [
    "", " ", "\n", "\n\n", "a\n", "a\n\n", "\na", "  two\n one", "trailing \nspace", "tab\there", "\ttab", "\ta\nb",
    "on", "yes", "null", "~", "1", "1.5", "1e5", ".5", "089", "0x1F", "1_000", "12:30:00", "2026-11-25", ".inf", "-",
    "<<", "# no comment", "a # comment", "key: value", "- item", "[x]", "{x}", "'", '"', "\\", "\\n", "%", "@x", "`x`",
    "*x", "&x", "!x", "|", ">", "\r", "a\r\nb", "\x85", "\u2028", "\u2029", "\ufeff", "\x00", "\x1b[0m", "\x7f", "\xa0",
    "é", "日本語", "😀 and\n😀", "\U0010ffff", "\uffff", "x" * 300, "word " * 60, "word " * 60 + "\n" + "word " * 60,
    "=", "---", "...", "--- a\n... b", "? x",
]  # fmt: skip


def written(one: Exchange) -> Exchange:
    """The exchange, written into a file and read again."""
    return read((HEADING + exchange_text(one)).encode()).all[0]


def body_again(raw: bytes) -> bytes:
    response = written(exchange(chat(), raw)).response
    assert response is not None
    return notation.body_bytes(response)


def fields_of(raw: bytes) -> dict[str, Any]:
    return notation.of_body(raw)


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_texts_come_back_as_value_as_key_and_in_an_event(text: str) -> None:
    value = {"text": text, text: [text, {"deep": {"deeper": text}}]}
    raw = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert "json" in fields_of(raw)
    assert body_again(raw) == raw
    assert written(exchange(value)).request.json_ == value
    event = b"data: " + raw + b"\n\n"
    response = written(exchange(chat(), [event])).response
    assert response is not None
    assert response.chunks is not None
    assert response.chunks[0].ways() == ["json"]
    assert notation.chunk_bytes(response, response.chunks[0]) == event


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_texts_come_back_as_bodies(text: str) -> None:
    assert body_again(text.encode()) == text.encode()


LAYOUTS: list[dict[str, Any]] = [
    {"separators": (",", ":")},
    {"separators": (", ", ": ")},
    {"separators": (",", ": ")},
    {"indent": 2},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_each_providers_spacing_is_kept_beside_readable_json(
    layout: dict[str, Any], ascii_only: bool, ending: str
) -> None:
    value = {"a": [1, 2.5, -3, 1e-05, 10**20, True, None, {}, []], "b": {"c": "é"}}
    raw = (json.dumps(value, ensure_ascii=ascii_only, **layout) + ending).encode()
    assert fields_of(raw)["json"] == value
    assert body_again(raw) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}',
        b'{"a":1.50}',
        b'{"a":-0}',
        b'{"a":1E5}',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\u003c"}',
        b'{"a" : 1}',
        b'{"a":1} ',
        b"[" * 5000 + b"]" * 5000,
        b"\xef\xbb\xbf{}",
        b"no json",
        b"\xff\xfe not utf-8",
        b"\x00\x01\x02",
        b"",
    ],
)
def test_what_yaml_would_not_give_back_is_kept_as_it_is(raw: bytes) -> None:
    assert "json" not in fields_of(raw)
    assert body_again(raw) == raw


def test_random_json_comes_back_byte_for_byte() -> None:
    chance = random.Random(20261125)
    alphabet = "ab \n\t:#-'\"\\{}[],&*!|>%@`é😀\r\x85\u2028\x00\x7f0159.eE+"

    def text() -> str:
        return "".join(chance.choice(alphabet) for _ in range(chance.randrange(12)))

    def value(depth: int) -> Any:
        kind = chance.randrange(8 if depth else 6)
        if kind < 3:
            return text()
        if kind < 6:
            return chance.choice([None, True, False, chance.randrange(-(10**6), 10**18), chance.random() * 1e-7, 0.5])
        if kind == 6:
            return [value(depth - 1) for _ in range(chance.randrange(4))]
        return {text(): value(depth - 1) for _ in range(chance.randrange(4))}

    for _ in range(300):
        one = {"v": value(4)}
        layout = chance.choice(LAYOUTS)
        raw = json.dumps(one, ensure_ascii=chance.random() < 0.5, **layout).encode()
        assert "json" in fields_of(raw)
        assert body_again(raw) == raw


def chunks_again(*pieces: bytes) -> tuple[Response, list[bytes]]:
    response = written(exchange(chat(), list(pieces))).response
    assert response is not None
    return response, [notation.chunk_bytes(response, chunk) for chunk in response.chunks or []]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_events_come_back_byte_for_byte(end: bytes) -> None:
    events = [
        b'data: {"id":"x"}' + end + end,
        b'data: {"id": "spaced"}' + end + end,
        b"event: ping" + end + b'data: {"type": "ping"}' + end + end,
        b"event: stop" + end + b'data: {"type":"stop","index":0            }' + end + end,
        b"data: {}" + end + end,
        b"data: { }" + end + end,
        b"data: {  }" + end + end,
        b"data: [DONE]" + end + end,
        b": a comment" + end + end,
        b"id: 7" + end + b"data: x" + end + end,
        b"data: one" + end + b"data: two" + end + end,
        b"data:" + end + end,
        b"data: " + end + end,
        b"data:{}" + end + end,
        b'data: {"id":"\xff"}' + end + end,
        b'data: {"text":"broken',
    ]
    response, again = chunks_again(*events)
    assert again == events
    ways = [chunk.ways()[0] for chunk in response.chunks or []]
    assert ways[:4] == ["json", "json", "json", "json"]
    assert ways[7] == "data"
    assert ways[-2:] == ["base64", "text"]


def test_line_ends_that_differ_within_a_stream_come_back() -> None:
    events = [b"data: {}\r\n\r\n", b"data: {}\n\n", b"event: a\ndata: {}\r\n\r\n"]
    assert chunks_again(*events)[1] == events


def test_the_style_of_a_stream_is_told_once() -> None:
    response, _ = chunks_again(*[b'data: {"a": 1, "b": 2}\n\n'] * 3)
    assert response.style == "spaced"
    assert [chunk.style for chunk in response.chunks or []] == [None, None, None]


def test_a_cassette_reads_as_a_person_would_write_it() -> None:
    """Stable order, blocks for texts of several lines, a line for an event of a stream."""
    one = exchange(
        chat("Two\nlines", temperature=0.7),
        [b'event: delta\ndata: {"text":"Hel"}\n\n', b"data: [DONE]\n\n"],
    )
    assert exchange_text(one) == (
        "  - at: '2026-11-25T10:00:00.000Z'\n"
        "    provider: openai\n"
        "    api: chat\n"
        "    method: POST\n"
        "    path: /openai/v1/chat/completions\n"
        "    request:\n"
        "      json:\n"
        "        model: gpt-4o\n"
        "        messages:\n"
        "          - role: user\n"
        "            content: |-\n"
        "              Two\n"
        "              lines\n"
        "        temperature: 0.7\n"
        "    response:\n"
        "      status: 200\n"
        "      chunks:\n"
        "        - after: 0.0\n"
        "          event: delta\n"
        "          json: {text: Hel}\n"
        "        - after: 0.0\n"
        "          data: '[DONE]'\n"
    )


def test_a_text_that_looks_like_a_number_puts_no_others_in_quotes() -> None:
    lines = exchange_text(exchange({"odd": "1e5", "plain": "text"})).splitlines()
    assert [line.strip() for line in lines if "odd" in line or "plain" in line] == ["odd: '1e5'", "plain: text"]


def test_other_yaml_readers_read_the_same() -> None:
    """PyYAML's own loader reads YAML 1.1, where `on` is true and 1e-05 a text."""
    value = {"texts": [text for text in ODD_TEXTS if text != "="], "numbers": [1e-05, 1e22, 5, 0.1]}
    document = yaml.safe_load(HEADING + exchange_text(exchange(value)))
    assert document["exchanges"][0]["request"]["json"] == value

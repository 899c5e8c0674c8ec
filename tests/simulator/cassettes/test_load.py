"""Mistakes in a cassette are named by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.simulator.cassettes.load import CassetteError, read, read_file

GOOD = """\
version: 1
exchanges:
  - at: 2026-11-25T10:00:00Z
    provider: openai
    api: chat
    method: POST
    path: /openai/v1/chat/completions
    request:
      json: {model: gpt-4o}
    response:
      status: 200
      chunks:
        - after: 0.5
          json: {id: x}
        - {after: 0, data: "[DONE]"}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(CassetteError) as caught:
        read(text.encode())
    return [f"{problem.line}: {problem}" for problem in caught.value.problems]


def test_a_right_one_is_read() -> None:
    cassette = read(GOOD.encode())
    assert len(cassette.all) == 1
    assert read(b"version: 1\nexchanges:\n").all == []


EDITS = {
    "another version": (
        "version: 1",
        "version: 2",
        "1: version: this litellm-local reads cassettes of version 1, not 2",
    ),
    "no version": ("version: 1\n", "", "1: 'version' is missing"),
    "unknown key": ("    api: chat", "    apis: chat", "5: exchanges.0.apis: unknown key; did you mean 'api'?"),
    "unknown provider": ("openai\n", "opnai\n", "4: exchanges.0.provider: 'opnai' is not one of"),
    "unknown method": ("POST", "GET", "6: exchanges.0.method: 'GET' is not one of POST"),
    "path that is none": (" /openai/v1/chat", " openai/v1/chat", "7: exchanges.0.path: 'openai/v1/chat/completions'"),
    "status that is none": ("status: 200", "status: OK", "11: exchanges.0.response.status: must be a whole number"),
    "negative wait": ("after: 0.5", "after: -1", "13: exchanges.0.response.chunks.0.after: must be at least 0"),
    "two ways at once": (
        "json: {id: x}",
        "json: {id: x}\n          text: x",
        "13: exchanges.0.response.chunks.0: give one of json, data, text, base64",
    ),
    "a chunk of nothing": (
        "          json: {id: x}\n",
        "",
        "13: exchanges.0.response.chunks.0: give one of json, data",
    ),
    "an event's name beside raw text": (
        "json: {id: x}",
        "text: x\n          event: y",
        "13: exchanges.0.response.chunks.0: an event has json or data",
    ),
    "bad base64": ("json: {id: x}", "base64: '???'", "14: exchanges.0.response.chunks.0.base64: this is no base64"),
    "no answer": (GOOD[GOOD.index("    response") :], "", "3: exchanges.0: an exchange has a response or a failure"),
    "an answer and a failure": (
        "    response:",
        "    failure: {kind: dropped}\n    response:",
        "3: exchanges.0: an exchange has a response or a failure, and not both",
    ),
    "duplicate key": ("    api: chat", "    api: chat\n    api: chat", "6: exchanges.0.api: duplicate key"),
    "bad YAML": ("      json: {model: gpt-4o}", "      json: {model: gpt-4o", "9: bad YAML"),
    "no list": (GOOD[GOOD.index("exchanges:") :], "exchanges: some\n", "2: exchanges: must be a list"),
    "not a mapping": (GOOD, "- 1\n", "1: the file must be a mapping"),
    "empty": (GOOD, "", "1: the file is empty"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_mistake_is_named_by_its_line(name: str) -> None:
    old, new, message = EDITS[name]
    assert old in GOOD
    found = problems(GOOD.replace(old, new, 1))
    assert any(one.startswith(message) for one in found), found


def test_all_mistakes_are_named_at_once() -> None:
    found = problems(GOOD.replace("chat\n", "chatt\n", 1).replace("status: 200", "status: 2000"))
    assert [one.split(":")[0] for one in found] == ["5", "11"]


def test_a_file_is_named_with_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    with pytest.raises(CassetteError, match=r"a\.yaml: no such file"):
        read_file(file)
    file.write_text(GOOD.replace("api: chat", "api: chatt"))
    with pytest.raises(CassetteError, match=r"a\.yaml:5: exchanges\.0\.api: 'chatt' is not one of chat, "):
        read_file(file)
    file.write_bytes(b"\xff")
    with pytest.raises(CassetteError, match=r"a\.yaml:1: byte 0xff is not UTF-8"):
        read_file(file)
    with pytest.raises(CassetteError, match="cannot be read"):
        read_file(tmp_path)

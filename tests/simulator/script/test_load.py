"""Scripts from YAML and JSON: what they may look like, and what is said of mistakes and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.catalog import project_root
from proxy.simulator.script.load import ScriptError, load_script, read_json, read_yaml, rules_of, script_of
from proxy.simulator.script.model import Script

EXAMPLES = sorted((project_root() / "config" / "double").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_are_scripts(file: Path) -> None:
    script = load_script(file)
    assert all(rule.name for rule in script.rules)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


def test_short_forms_mean_the_long_ones() -> None:
    short = """
rules:
  - when: { text: sun, model: gpt-4o, provider: openai, header: { X-A: b } }
    reply: Hello
  - fault: 503
  - fault: hang
  - fault: { status: 429, retry_after: 1500ms }
    for: 2m
"""
    long: dict[str, Any] = {
        "rules": [
            {
                "when": {
                    "text": {"contains": "sun"},
                    "model": ["gpt-4o"],
                    "provider": ["openai"],
                    "header": {"X-A": {"contains": "b"}},
                },
                "reply": {"text": "Hello"},
            },
            {"fault": {"kind": "status", "status": 503}},
            {"fault": {"kind": "hang"}},
            {"fault": {"kind": "status", "status": 429, "retry_after": 1.5}, "for": 120},
        ]
    }
    assert script_of(read_yaml(short.encode())) == Script.model_validate(long)


def test_nothing_is_an_empty_script() -> None:
    assert script_of(read_yaml(b"# nothing yet\n")) == Script()
    assert script_of(read_json(b"{}")) == Script()


MISTAKES = [
    ("rules:\n- reply: x\n  when: {txt: sun}", 3, "rules.0.when.txt: unknown key; did you mean 'text'?"),
    ("rules:\n- response: x", 2, "rules.0.response: unknown key; did you mean 'reply'?"),
    ("rulez: []", 1, "rulez: unknown key; did you mean 'rules'?"),
    ("rules:\n- reply: {tools: []}", 2, "rules.0.reply.tools: unknown key; did you mean 'tool_calls'?"),
    ("rules:\n- reply: {timing: {ttft: 1}}", 2, "unknown key; did you mean 'first_token'?"),
    ("rules:\n- {reply: x, duration: 3s}", 2, "rules.0.duration: unknown key; did you mean 'for'?"),
    (
        "rules:\n- fault: hangg",
        2,
        "'hangg' is not one of status, delay, hang, drop, cut, malformed, rate_limit; did you",
    ),
    ("rules:\n- fault: 200", 2, "rules.0.fault.status: must be at least 400, not 200"),
    ("rules:\n- when: {provider: gemini}\n  fault: drop", 2, "openai, anthropic, google; did you mean 'google'?"),
    ("rules:\n- reply: x\n- name: empty", 3, "rules.1: a rule has a reply or a fault, and not both"),
    ("rules:\n- reply: 5", 2, "must be text, or a mapping such as text: Hello; put 5 in quotes"),
    ("rules:\n- when: {text: 5}\n  reply: x", 2, "or matches; put 5 in quotes"),
    ("rules:\n- when: {text: {matches: '('}}\n  reply: x", 2, "'(' is no regular expression"),
    ("rules:\n- when: {text: {}}\n  reply: x", 2, "give one of equals, contains, matches"),
    ("rules:\n- fault: drop\n  for: 3 days", 3, "'3 days' is no duration; write seconds (30) or 500ms, 30s, 2m, 1h"),
    ("rules:\n- fault: drop\n  times: 0", 3, "rules.0.times: must be at least 1, not 0"),
    ("rules:\n- fault: {kind: drop, status: 503}", 2, "status has no meaning for kind drop"),
    ("rules:\n- fault: {seconds: 1}", 2, "rules.0.fault: give its kind, one of status, delay, hang"),
    ("rules:\n- fault: delay", 2, "kind delay needs seconds"),
    ("rules:\n- fault: {kind: rate_limit, requests: 1, per: 0}", 2, "per must be more than 0"),
    ("rules:\n- fault: drop\n  flapping: {down: 0, up: 1}", 3, "down and up must be more than 0"),
    ("rules:\n- fault: {kind: delay, seconds: -1}", 2, "rules.0.fault.seconds: must be at least 0, not -1"),
    ("rules:\n- reply: {text: a, refusal: b}", 2, "give one of text, json, refusal, not text and refusal"),
    ("- reply: x", 1, "must be a mapping, key: value, not a list"),
    ("rules: x", 1, "rules: must be a list, such as [a, b], not the text 'x'"),
    ("rules:\n- reply: x\n  reply: y", 3, "duplicate key; it is first given on line 2"),
    ("rules: [", 1, "bad YAML"),
]


@pytest.mark.parametrize(("text", "line", "message"), MISTAKES)
def test_a_mistake_is_told_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(ScriptError) as raised:
        script_of(read_yaml(text.encode()))
    assert [problem.line for problem in raised.value.problems] == [line]
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"line {line}: ")


def test_of_a_file_each_mistake_is_a_line_that_editors_link(tmp_path: Path) -> None:
    file = tmp_path / "script.yaml"
    file.write_text("rules:\n- replyy: x\n  fault: drop\n- fault: dropp\n", encoding="utf-8")
    with pytest.raises(ScriptError) as raised:
        load_script(file)
    lines = str(raised.value).splitlines()
    assert lines[0] == "the script cannot be used:"
    assert [line.strip().split(": ")[0] for line in lines[1:]] == [f"{file}:2", f"{file}:4"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"none\.yaml: cannot be read: No such file"):
        load_script(tmp_path / "none.yaml")


def test_json_has_no_lines_but_places() -> None:
    with pytest.raises(ScriptError) as raised:
        script_of(read_json(b'{"rules": [{"fault": "dropp"}, {"fault": 1, "x": 1}]}'))
    assert [(one.line, one.path) for one in raised.value.problems] == [
        (0, "rules.0.fault.kind"),
        (0, "rules.1.fault.status"),
        (0, "rules.1.x"),
    ]
    assert str(raised.value).startswith("rules.0.fault.kind: 'dropp' is not one of")
    assert str(raised.value).endswith(" (and 2 more)")
    with pytest.raises(ScriptError, match="the body is no valid JSON"):
        read_json(b"{")


def test_rules_come_as_a_list_or_one_alone() -> None:
    assert [rule.name for rule in rules_of(read_json(b'{"rules": [{"reply": "x", "name": "a"}]}'))] == ["a"]
    assert [rule.name for rule in rules_of(read_yaml(b"{reply: x, name: b}"))] == ["b"]
    with pytest.raises(ScriptError, match="strict: stands beside 'rules'"):
        rules_of(read_json(b'{"rules": [], "strict": true}'))
    with pytest.raises(ScriptError, match="fault: must be a mapping"):
        rules_of(read_json(b'{"fault": []}'))

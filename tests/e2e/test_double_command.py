"""`litellm-local double …` against the running stack: what it sets holds, what it shows is so."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import COMMAND, Stack, bare_environment, project_root, until

Run = Callable[..., subprocess.CompletedProcess[str]]
Ask = Callable[..., httpx.Response]


@pytest.fixture
def scope() -> str:
    return f"command-line-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def run(stack: Stack, scope: str) -> Run:
    """Runs `litellm-local double ...` on this test's own scope."""

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return stack.command("double", *arguments, "--scope", scope, check=check)

    return run


@pytest.fixture
def ask(gateway: httpx.Client, scope: str) -> Ask:
    def ask(model: str = "gpt-4o", text: str = "hi", **fields: object) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return gateway.post("/v1/chat/completions", json=body, headers={"x-double-scope": scope})

    return ask


def said(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def test_reply_fail_and_what_is_left_of_them(run: Run, ask: Ask) -> None:
    run("reply", "Sunny.", "--text", "weather", "--model", "gpt-4o")
    shown = run("fail", "401", "--model", "gpt-4o", "--times", "1", "--name", "no key").stdout
    assert shown.index("no key: fail 401") < shown.index('reply "Sunny."')
    assert "used 0×, 1 left" in shown
    first = ask(text="the weather?")
    assert first.headers["x-litellm-model-group"] == "gpt-4o-mini"
    assert said(ask(text="the weather?")) == "Sunny."
    rules = json.loads(run("show", "--json").stdout)["rules"]
    assert [(rule["used"], rule["left"]) for rule in rules] == [(1, 0), (1, None)]
    assert "0 rules" in run("clear").stdout
    assert said(ask(text="the weather?")) != "Sunny."


def test_an_outage_ends_by_itself(run: Run, ask: Ask) -> None:
    run("outage", "openai", "--for", "10s", "--status", "401")
    assert ask("gpt-4o-mini").status_code == 401
    until("the outage is over", lambda: ask("gpt-4o-mini").status_code == 200, 30)
    assert "not in force" in run("show").stdout


def test_a_file_is_loaded_and_its_mistakes_have_lines(run: Run, ask: Ask, tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("strict: true\nrules:\n  - when: {text: ping}\n    reply: pong\n", encoding="utf-8")
    assert "1 rule, strict" in run("load", str(script)).stdout
    assert said(ask(text="ping")) == "pong"
    refused = ask("gpt-4o-mini", text="something else")
    assert refused.status_code == 400
    assert "ping" in refused.text
    script.write_text("rules:\n  - when: {txt: ping}\n    reply: pong\n", encoding="utf-8")
    done = run("load", str(script), check=False)
    assert done.returncode == 1
    assert f"{script}:2: rules.0.when.txt" in done.stderr
    assert said(ask(text="ping")) == "pong"


def test_the_journal_shows_who_was_asked(run: Run, ask: Ask, scope: str) -> None:
    run("fail", "401", "--model", "gpt-4o")
    request = ask().headers["x-litellm-call-id"]
    entries = json.loads(run("journal", "--json", "--request", request).stdout)
    assert [(entry["alias"], entry["status"], entry["attempt"]) for entry in entries] == [
        ("gpt-4o", 401, 1),
        ("gpt-4o-mini", 200, 2),
    ]
    table = run("journal").stdout.splitlines()
    assert "fault:status" in table[1]
    assert request[:8] in table[2]
    assert any(line.startswith(scope) and "2 calls, 1 rule" in line for line in run("scopes").stdout.splitlines())


@pytest.mark.parametrize("filters", [[], ["--text", "listens", "--model", "gpt-4o*"]], ids=["all", "filtered"])
def test_the_journal_is_followed(stack: Stack, ask: Ask, scope: str, filters: list[str]) -> None:
    ask(text="nobody hears it", model="claude-sonnet-4")
    command = [*COMMAND, "double", "journal", "-f", "-n", "1", "--json", *filters, "--scope", scope, *stack.options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=bare_environment(), cwd=project_root()
    ) as process:
        assert process.stdout is not None
        try:
            if not filters:
                assert json.loads(process.stdout.readline())["alias"] == "claude-sonnet-4"
            ask(text="it is heard", model="gemini-2.0-flash")
            ask(text="before or after it listens")
            wanted = ["gpt-4o"] if filters else ["gemini-2.0-flash", "gpt-4o"]
            assert [json.loads(process.stdout.readline())["alias"] for _ in wanted] == wanted
        finally:
            process.terminate()


def test_each_change_is_told_in_words_and_in_json(run: Run) -> None:
    made = json.loads(run("fail", "429", "--retry-after", "3s", "--model", "gpt-4o", "--model", "x*", "--json").stdout)
    number = made["rules"][0]["id"]
    run("outage", "google", "--flapping", "5s/10s")
    lines = run("reply", "Sunny.", "--text", "weather").stdout.splitlines()
    assert lines[1].endswith("outage of google: fail 503  when provider google  (flapping down 5, up 10)")
    assert lines[2].endswith("fail 429, retry after 3  when model gpt-4o or x*")
    assert lines[3].endswith('reply "Sunny."  when text contains "weather"')
    assert "2 rules" in run("remove", f"#{number}").stdout
    assert json.loads(run("clear", "--json").stdout)["rules"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fail", "bogus"], "neither a status nor one of"),
        (["fail", "999"], "599"),
        (["fail", "503", "--seconds", "3s"], "seconds has no meaning for kind status"),
        (["outage", "openai", "--for", "soon"], "'soon' is no duration"),
        (["outage", "openai", "--flapping", "5s"], "DOWN/UP"),
        (["remove", "999999"], "no rule with the id"),
        (["remove", "first"], "'first' is no number"),
        (["load", "no-such-file.yaml"], "does not exist"),
    ],
)
def test_mistakes_are_told(run: Run, arguments: list[str], message: str) -> None:
    done = run(*arguments, check=False)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_is_named(stack: Stack) -> None:
    assert stack.command("double", "open").stdout.strip() == f"{stack.url}/_double/"

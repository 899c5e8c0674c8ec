"""`litellm-local double …` against the running stack: what it sets holds, what it shows is so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import COMMAND, Stack, bare_environment, project_root, until

Run = Callable[..., subprocess.CompletedProcess[str]]
SCOPE = "of-the-command-line"


@pytest.fixture
def run(stack: Stack) -> Run:
    def run(*arguments: str, check: bool = True, scope: str = SCOPE) -> subprocess.CompletedProcess[str]:
        return stack.command("double", *arguments, "--scope", scope, check=check)

    run("clear", "--journal")
    return run


def ask(gateway: httpx.Client, model: str = "gpt-4o", text: str = "hi", **fields: object) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return gateway.post("/v1/chat/completions", json=body, headers={"x-double-scope": SCOPE})


def said(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def test_reply_fail_and_what_is_left_of_them(run: Run, gateway: httpx.Client) -> None:
    run("reply", "Sunny.", "--text", "weather", "--model", "gpt-4o")
    shown = run("fail", "401", "--model", "gpt-4o", "--times", "1", "--name", "no key").stdout
    assert shown.index("no key: fail 401") < shown.index('reply "Sunny."')
    assert "used 0×, 1 left" in shown
    first = ask(gateway, text="the weather?")
    assert first.headers["x-litellm-model-group"] == "gpt-4o-mini"
    assert said(ask(gateway, text="the weather?")) == "Sunny."
    rules = json.loads(run("show", "--json").stdout)["rules"]
    assert [(rule["used"], rule["left"]) for rule in rules] == [(1, 0), (1, None)]
    assert "0 rules" in run("clear").stdout
    assert said(ask(gateway, text="the weather?")) != "Sunny."


def test_an_outage_ends_by_itself(run: Run, gateway: httpx.Client) -> None:
    run("outage", "openai", "--for", "1s", "--status", "401")
    assert ask(gateway, "gpt-4o-mini").status_code == 401
    until("the outage is over", lambda: ask(gateway, "gpt-4o-mini").status_code == 200, 10)
    assert "not in force" in run("show").stdout


def test_a_file_is_loaded_and_its_mistakes_have_lines(run: Run, gateway: httpx.Client, tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("strict: true\nrules:\n  - when: {text: ping}\n    reply: pong\n", encoding="utf-8")
    assert "1 rules, strict" in run("load", str(script)).stdout
    assert said(ask(gateway, text="ping")) == "pong"
    refused = ask(gateway, "gpt-4o-mini", text="something else")
    assert refused.status_code == 400
    assert "ping" in refused.text
    script.write_text("rules:\n  - when: {txt: ping}\n    reply: pong\n", encoding="utf-8")
    done = run("load", str(script), check=False)
    assert done.returncode == 1
    assert f"{script}:2: rules.0.when.txt" in done.stderr
    assert said(ask(gateway, text="ping")) == "pong"


def test_the_journal_shows_who_was_asked(run: Run, gateway: httpx.Client) -> None:
    run("fail", "401", "--model", "gpt-4o")
    request = ask(gateway).headers["x-litellm-call-id"]
    entries = json.loads(run("journal", "--json", "--request", request).stdout)
    assert [(entry["alias"], entry["status"], entry["attempt"]) for entry in entries] == [
        ("gpt-4o", 401, 1),
        ("gpt-4o-mini", 200, 2),
    ]
    table = run("journal").stdout.splitlines()
    assert "fault:status" in table[1]
    assert request[:8] in table[2]
    assert any(line.startswith(SCOPE) and "2 calls, 1 rules" in line for line in run("scopes").stdout.splitlines())


def test_the_journal_is_followed(stack: Stack, run: Run, gateway: httpx.Client) -> None:
    command = [*COMMAND, "double", "journal", "--follow", "--json", "--scope", SCOPE, *stack.options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=bare_environment(), cwd=project_root()
    ) as process:
        assert process.stdout is not None
        try:
            ask(gateway, text="before or after it listens")
            assert json.loads(process.stdout.readline())["alias"] == "gpt-4o"
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fail", "bogus"], "neither a status nor one of"),
        (["fail", "999"], "599"),
        (["fail", "503", "--seconds", "3s"], "seconds has no meaning for kind status"),
        (["outage", "openai", "--for", "soon"], "'soon' is no duration"),
        (["outage", "openai", "--flapping", "5s"], "DOWN/UP"),
        (["remove", "999999"], "no rule with the id"),
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

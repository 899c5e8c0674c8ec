"""The smoke checks, one test each, on the shared stack; and the command that runs them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from proxy.catalog import load_catalog
from proxy.checks import CHECKS, Result, Target, run_checks
from proxy.secrets import CONTROL_KEY, MASTER_KEY, read_env_file
from tests.conftest import Stack, free_port

NAMES = [
    f"{check.name}[{model}]" if model else check.name
    for check in CHECKS
    for model in (load_catalog().models if check.per_model else [None])
]


@pytest.fixture(scope="module")
def results(stack: Stack) -> dict[str, Result]:
    values = read_env_file(stack.env_file)
    target = Target(stack.url, values[MASTER_KEY], stack.simulator_url, values[CONTROL_KEY])
    return {result.name: result for result in run_checks(target)}


@pytest.mark.parametrize("name", NAMES)
def test_check(results: dict[str, Result], name: str) -> None:
    assert results[name].passed, results[name].reason


def test_no_check_was_left_out(results: dict[str, Result]) -> None:
    assert sorted(results) == sorted(NAMES)


def test_the_command_reports_in_json_and_junit(stack: Stack, tmp_path: Path) -> None:
    junit = tmp_path / "smoke.xml"
    done = stack.command("smoke", "--only", "GET /models", "--json", "--junit", str(junit))
    assert [entry["outcome"] for entry in json.loads(done.stdout)] == ["passed"]
    suite = ElementTree.parse(junit).getroot()  # noqa: S314 - we have just written it
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")


def test_a_deployment_out_of_reach_fails_in_words(stack: Stack) -> None:
    done = stack.command(
        "smoke", "--url", f"http://127.0.0.1:{free_port()}", "--key", "sk-nothing-there-0000", check=False
    )
    assert done.returncode == 1
    assert "no answer" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_an_unknown_check_is_refused(stack: Stack) -> None:
    done = stack.command("smoke", "--only", "GET /modles", check=False)
    assert done.returncode == 2
    assert "no check is named" in done.stderr

"""`litellm-local drill`: every chain through every fault as proxy.yaml promises; and a gateway that does otherwise."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from proxy.catalog import load_catalog
from proxy.catalog.load import default_path
from proxy.checks.drill.cases import cases
from proxy.checks.drill.faults import DEVIATIONS
from proxy.checks.drill.outages import outages
from proxy.secrets import CONTROL_KEY
from proxy.simulator import api_bases
from tests.conftest import COMMAND, Stack, bare_environment, project_root
from tests.gateway.processes import gateway_environment, running, write_catalog

CATALOG = load_catalog()


def drill(stack: Stack, *arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**bare_environment(), "LITELLM_MASTER_KEY": stack.master_key}
    where = ["--url", url] if url else []
    return subprocess.run(
        [*COMMAND, "drill", *arguments, *where, *stack.options],
        capture_output=True, text=True, timeout=800, env=environment, cwd=project_root(), check=False,
    )  # fmt: skip


@pytest.mark.timeout(900)
def test_every_chain_meets_every_fault_as_promised(stack: Stack, tmp_path: Path) -> None:
    done = drill(stack, "--junit", str(tmp_path / "drill.xml"))
    assert done.returncode == 0, done.stdout + done.stderr
    suite = ElementTree.parse(tmp_path / "drill.xml").getroot()  # noqa: S314 - our own file
    names = {case.get("name") for case in suite}
    assert {case.name for case in cases(CATALOG)} | {outage.name for outage in outages(CATALOG)} <= names
    assert suite.get("failures") == "0"
    stale = [deviation.words for deviation in DEVIATIONS if deviation.words not in done.stdout]
    assert not stale, "known of LiteLLM once, and so no longer: take them out of drill/faults.py"
    assert "scaled down for the drill: 10 requests a minute instead of 1000" in done.stdout
    assert "gpt-5-mini → gpt-4o → claude-opus-4.1 → gemini-2.5-pro" in done.stdout


def alter(rendered: Path, alias: str, change: Callable[[list[Any]], None]) -> None:
    """Changes a chain in LiteLLM's rendered configuration, as a hand in an editor would."""
    config = yaml.safe_load(rendered.read_text(encoding="utf-8"))
    chain = next(chains[alias] for chains in config["router_settings"]["fallbacks"] if alias in chains)
    change(chain)
    rendered.write_text(yaml.safe_dump(config), encoding="utf-8")


def swap(chain: list[Any]) -> None:
    chain[0], chain[1] = chain[1], chain[0]


def test_chains_altered_by_hand_are_found_and_named(stack: Stack, tmp_path: Path) -> None:
    """One gateway with two chains altered and two as they were: of each the drill says which."""
    environment = {
        **gateway_environment(
            tmp_path, default_path(), stack.database_url, stack.master_key, api_bases(stack.simulator_url)
        ),
        "LITELLM_LOCAL_SIMULATOR": stack.simulator_url,
        CONTROL_KEY: stack.control_key,
    }
    rendered = Path(environment["CONFIG_FILE_PATH"])
    alter(rendered, "gpt-4o", swap)
    alter(rendered, "claude-opus-4.1", lambda chain: chain.pop())
    with running(environment, tmp_path) as url:
        done = drill(stack, "--fault", "401", "--json", url=url)
        assert done.returncode == 1, done.stdout + done.stderr
        differing = [outcome for outcome in json.loads(done.stdout) if outcome["verdict"] == "differs"]
        assert {outcome["model"] for outcome in differing} == {"gpt-4o", "claude-opus-4.1"}
        first, second, *_ = CATALOG.fallbacks["gpt-4o"]
        words = [said for outcome in differing for said in outcome["differences"]]
        assert any(f"gpt-4o ×1 → {second} ×1 → {first} ×1" in said for said in words)
        shown = drill(stack, "--fault", "401", "--chain", "gpt-4o", url=url)
    assert shown.returncode == 1
    assert "✗ 401" in shown.stdout
    assert f"promised: gpt-4o ×1 → {first} ×1 → {second} ×1" in shown.stdout


def test_a_breaker_that_is_switched_off_is_found(stack: Stack, tmp_path: Path) -> None:
    """The drill is given a proxy.yaml that promises a breaker."""
    quick = {"retries": 1, "retry_delay_seconds": 0.2}
    promising = write_catalog(tmp_path / "promising.yaml", **quick)
    without = write_catalog(tmp_path / "proxy.yaml", {"enabled": False}, **quick)
    environment = {
        **gateway_environment(tmp_path, without, stack.database_url, stack.master_key, api_bases(stack.simulator_url)),
        "LITELLM_LOCAL_SIMULATOR": stack.simulator_url,
        CONTROL_KEY: stack.control_key,
    }
    how = ("--fault", "outage", "--chain", "gpt-4o", "--chain", "gpt-4o-mini")
    with running(environment, tmp_path) as url:
        done = drill(stack, *how, "--config", str(promising), url=url)
        none = drill(stack, *how, "--config", str(without), url=url)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.count("✗ outage") == 4
    assert "gpt-4o was asked 6 times more by the next 3" in done.stdout
    assert "the client got: 503" in done.stdout
    assert none.returncode == 2
    assert "the breaker is switched off" in none.stderr


def test_retries_that_come_too_soon_are_found(stack: Stack, tmp_path: Path) -> None:
    """The drill is given a proxy.yaml of longer pauses than the gateway was started with."""
    slower = write_catalog(tmp_path / "proxy.yaml", retry_delay_seconds=CATALOG.limits.retry_delay_seconds + 1)
    done = drill(stack, "--fault", "503", "--chain", "gpt-4o-mini", "--config", str(slower))
    assert done.returncode == 1
    assert re.search(r"gpt-4o-mini was asked again after 2\.\d\d s instead of 3 s", done.stdout)


def test_names_that_do_not_exist_are_told(stack: Stack) -> None:
    for option, known in (
        ("--chain", "gpt-4o-mini"),
        ("--fault", "429+retry-after"),
        ("--fault", "outage"),
        ("--fault", "hang"),
    ):
        done = drill(stack, option, "no-such")
        assert done.returncode == 2
        assert "'no-such' is unknown" in done.stderr
        assert known in done.stderr


def test_where_nothing_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "drill", "--state", str(tmp_path)],
        capture_output=True, text=True, env=bare_environment(), cwd=project_root(), check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "litellm-local up" in done.stderr
    assert sys.executable not in done.stderr

"""`litellm-local drill`: every chain through every fault as proxy.yaml promises; and a gateway that does otherwise."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from proxy.catalog import Catalog, load_catalog
from proxy.checks.drill.cases import cases
from proxy.checks.drill.faults import DEVIATIONS
from proxy.stack.beside import gateway_beside
from tests.conftest import COMMAND, Stack, bare_environment, project_root

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
    assert {case.name for case in cases(CATALOG)} <= names
    assert suite.get("failures") == "0"
    stale = [deviation.words for deviation in DEVIATIONS if deviation.words not in done.stdout]
    assert not stale, "known of LiteLLM once, and so no longer: take them out of drill/faults.py"
    assert "scaled down for the drill: 10 requests a minute instead of 1000" in done.stdout
    assert "gpt-5-mini → gpt-4o → claude-opus-4.1 → gemini-2.5-pro" in done.stdout


@contextmanager
def beside(stack: Stack, catalog: Catalog) -> Iterator[str]:
    """A gateway of that catalogue on the stack's database and simulator."""
    run = stack.state.read_run()
    assert run is not None
    url: list[str] = []
    up, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with gateway_beside(run, stack.state, catalog) as address:
            url.append(address)
            up.set()
            await asyncio.to_thread(over.wait)

    def main() -> None:
        try:
            asyncio.run(serve())
        finally:
            up.set()

    thread = threading.Thread(target=main)
    thread.start()
    try:
        up.wait()
        assert url, "no gateway came up"
        yield url[0]
    finally:
        over.set()
        thread.join()


def test_a_chain_altered_by_hand_is_found(stack: Stack) -> None:
    """The second gateway's configuration is rendered with two models of a chain the wrong way round."""
    first, second, *rest = CATALOG.fallbacks["gpt-4o"]
    altered = CATALOG.model_copy(update={"fallbacks": {**CATALOG.fallbacks, "gpt-4o": [second, first, *rest]}})
    with beside(stack, altered) as url:
        done = drill(stack, "--chain", "gpt-4o", "--chain", "gemini-2.5-pro", "--fault", "401", "--json", url=url)
    assert done.returncode == 1, done.stdout + done.stderr
    differing = [outcome for outcome in json.loads(done.stdout) if outcome["verdict"] == "differs"]
    assert {outcome["model"] for outcome in differing} == {"gpt-4o"}
    assert any(f"gpt-4o ×1 → {second} ×1" in said for outcome in differing for said in outcome["differences"])


def test_names_that_do_not_exist_are_told(stack: Stack) -> None:
    for option, known in (("--chain", "gpt-4o-mini"), ("--fault", "429+retry-after")):
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

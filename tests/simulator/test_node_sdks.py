"""The official SDKs for Node against the simulator: node/sdks.mjs, each of its tests one line of node's own report."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from proxy.database.engine import node_binary
from tests.conftest import bare_environment
from tests.simulator.hearing import CLAUDE, GPT
from tests.simulator.running import CONTROL_KEY, Double

SCRIPT = Path(__file__).parent / "node" / "sdks.mjs"


def run_node_tests(folder: Path, **environment: str) -> None:
    """Runs the script where its packages are; fails with node's report of what failed."""
    shutil.copy(SCRIPT, folder)
    done = subprocess.run(
        [str(node_binary()), "--test", "--test-reporter=spec", SCRIPT.name],
        cwd=folder,
        env={**bare_environment(), "NO_PROXY": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    _, _, failures = done.stdout.partition("failing tests:")
    assert done.returncode == 0, failures or done.stdout + done.stderr
    assert "ℹ fail 0" in done.stdout
    assert "ℹ skipped 0" in done.stdout


def test_nodes_sdks(double: Double, node_examples: Path) -> None:
    run_node_tests(
        node_examples,
        STRAIGHT="1",
        CONTROL_URL=f"{double.url}/_double",
        CONTROL_KEY=CONTROL_KEY,
        OPENAI_BASE_URL=double.bases["openai"],
        OPENAI_API_KEY="any",
        OPENAI_MODEL=GPT,
        ANTHROPIC_BASE_URL=double.bases["anthropic"],
        ANTHROPIC_API_KEY="any",
        ANTHROPIC_MODEL=CLAUDE,
    )

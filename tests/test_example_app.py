"""The example app's own tests, run as its users would: in parallel, on the shared stack, with the same end each time.

`EXAMPLE_APP_RUNS=20` runs them twenty times.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from proxy.catalog import project_root
from tests.conftest import Stack, bare_environment

APP = project_root() / "tests" / "example_app"
RUNS = int(os.environ.get("EXAMPLE_APP_RUNS", "2"))
WORKERS = 4


def run(stack: Stack, junit: Path) -> dict[str, tuple[str, str]]:
    """Test -> its outcome, and its transcript: all that was sent upstream and answered."""
    command = [sys.executable, "-m", "pytest", "-n", str(WORKERS), "-q", f"--junit-xml={junit}", "."]
    done = subprocess.run(
        command,
        cwd=APP,
        env={
            **bare_environment(),
            "PYTHONPATH": str(project_root()),
            "LITELLM_PROXY_URL": stack.url,
            "LITELLM_MASTER_KEY": stack.master_key,
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cases = ElementTree.parse(junit).getroot().iter("testcase")  # noqa: S314 - pytest has just written it
    return {f"{case.get('classname')}::{case.get('name')}": _seen(case) for case in cases}


def _seen(case: ElementTree.Element) -> tuple[str, str]:
    outcomes = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    transcript = case.find("properties/property[@name='transcript']")
    assert transcript is not None, case.get("name")
    return ", ".join(outcomes) or "passed", transcript.get("value", "")


@pytest.mark.timeout(60 + 120 * RUNS)
def test_every_run_is_the_same(stack: Stack, tmp_path: Path) -> None:
    first = run(stack, tmp_path / "0.xml")
    assert len(first) >= 30
    assert {outcome for outcome, _ in first.values()} == {"passed"}
    assert sum(bool(transcript) for _, transcript in first.values()) >= 30
    for number in range(1, RUNS):
        again = run(stack, tmp_path / f"{number}.xml")
        differing = {name: (first[name], again.get(name)) for name in first if first[name] != again.get(name)}
        assert not differing, f"run {number}"
        assert again.keys() == first.keys()

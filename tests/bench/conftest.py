"""The benchmarks are programs, not a package: their folder is put where their tests can import from it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from proxy.catalog import project_root
from proxy.stack.state import MARKER
from tests.conftest import START_SECONDS, bare_environment

BENCH = project_root() / "scripts" / "bench"
sys.path.append(str(BENCH))


def environment(**more: str) -> dict[str, str]:
    """For a program that imports from the benchmarks."""
    return {**bare_environment(), "PYTHONPATH": f"{BENCH}{os.pathsep}{project_root()}", **more}


def run(
    program: str | Path, *arguments: str, folder: Path, seconds: float = START_SECONDS, **more: str
) -> subprocess.CompletedProcess[str]:
    """A benchmark by its command line, with `folder` for what it writes, and `more` in its environment; it has to end
    in so many seconds, and to leave nothing behind."""
    command = [sys.executable, str(BENCH / program), *arguments]
    process = subprocess.Popen(
        command, cwd=project_root(), env=environment(TMPDIR=str(folder), **more), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()  # what it has started ends with it
        process.communicate(timeout=60)
        raise
    assert not list(folder.iterdir())
    assert not left_in(folder)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def left_in(folder: Path) -> list[str]:
    """Processes of a stack with its state there that still run."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARKER, "").startswith(str(folder)):
                found.append(str(process))
    return found

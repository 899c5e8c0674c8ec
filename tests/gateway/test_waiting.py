"""A copy of the gateway waits for the database: it says the same, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from proxy.catalog import project_root
from tests.conftest import free_port, until

PROGRAM = """
import sys
import psutil
from proxy.database.errors import DatabaseError
from proxy.gateway.waiting import Waiting

waiting = Waiting(sys.argv[1], float(sys.argv[2]), lambda why: print("waits:", why, flush=True))
waiting.begin()
print(waiting._copy, flush=True)
sys.stdin.readline()
try:
    waiting.until_migrated()
except DatabaseError as error:
    print("error:", error)
else:
    print("found")
print("psycopg" in sys.modules)
print(bool(psutil.Process().children()))
"""


@contextmanager
def waiting(url: str, seconds: float) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A process that waits once a line comes, and its copy."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", PROGRAM, url, str(seconds)]
    with subprocess.Popen(command, cwd=project_root(), text=True, **pipes) as process:
        try:
            assert process.stdout is not None
            yield process, psutil.Process(int(process.stdout.readline()))
        finally:
            process.kill()


def end_of(process: subprocess.Popen[str]) -> list[str]:
    said, errors = process.communicate("\n", timeout=60)
    assert errors == ""
    return said.splitlines()


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def nowhere() -> str:
    return f"postgresql://litellm:secret@127.0.0.1:{free_port()}/litellm"


def test_it_is_found_without_a_client_of_its_own(stack) -> None:
    with waiting(stack.database_url, 30) as (process, copy):
        assert end_of(process) == ["found", "False", "False"]
        assert not copy.is_running()


def test_in_vain_it_says_what_for(nowhere: str) -> None:
    with waiting(nowhere, 3) as (process, copy):
        said = end_of(process)
        assert not copy.is_running()
    assert [line.split(":")[0] for line in said] == ["waits", "error", "False", "False"]
    assert "not ready after 3 s: cannot connect to postgresql://litellm@127.0.0.1" in said[1]


@pytest.mark.parametrize("begun", [False, True])
def test_the_copy_ends_with_the_process(nowhere: str, begun: bool) -> None:
    with waiting(nowhere, 600) as (process, copy):
        assert process.stdin is not None
        assert process.stdout is not None
        if begun:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith("waits: cannot connect")
        process.kill()
        until("the copy ends", lambda: has_ended(copy))


def test_without_its_copy_the_process_waits_itself(stack) -> None:
    with waiting(stack.database_url, 30) as (process, copy):
        os.kill(copy.pid, signal.SIGKILL)
        assert end_of(process) == ["found", "True", "False"]

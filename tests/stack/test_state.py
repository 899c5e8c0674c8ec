"""The state folder: one launcher at a time, and nothing a killed one left is lost sight of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from proxy.stack.state import LOG_LIMIT, MARKER, Run, StateDir, StateError, tail

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom proxy.stack.state import StateDir\n"
    "with StateDir(Path(sys.argv[1])).hold():\n    print('held', flush=True)\n    time.sleep(60)"
)


def a_run() -> Run:
    return Run(os.getpid(), "http://127.0.0.1:4000", "double", "proxy.yaml", ".env", "embedded")


def test_a_second_launcher_is_refused_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    state.prepare()
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(state.root)], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    assert state.is_held()
    with pytest.raises(StateError, match="another litellm-local"), state.hold():
        pass
    first.kill()
    first.wait()
    assert not state.is_held()
    with state.hold():
        assert state.is_held()


def test_the_run_file_counts_only_while_its_launcher_lives(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with state.hold():
        state.write_run(a_run())
        read = state.read_run()
        assert read is not None
        assert read.url == "http://127.0.0.1:4000"
    assert state.run_file.exists()
    assert state.read_run() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"launcher_pid": 1}'])
def test_a_half_written_run_file_is_no_run(tmp_path: Path, text: str) -> None:
    state = StateDir(tmp_path)
    with state.hold():
        state.run_file.write_text(text)
        assert state.read_run() is None


def test_what_a_killed_launcher_left_is_found_and_stopped(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.prepare()
    wait = "import time; print('on', flush=True); time.sleep(60)"
    left = subprocess.Popen(
        [sys.executable, "-c", wait], env={**os.environ, MARKER: str(state.root)}, stdout=subprocess.PIPE
    )
    other = subprocess.Popen(
        [sys.executable, "-c", wait], env={**os.environ, MARKER: str(tmp_path / "other")}, stdout=subprocess.PIPE
    )
    try:
        assert left.stdout is not None
        left.stdout.readline()
        assert [process.pid for process in state.leftovers()] == [left.pid]
        assert len(state.stop_leftovers()) == 1
        assert not psutil.pid_exists(left.pid)
        assert state.leftovers() == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        left.kill()


def test_a_log_that_grew_too_large_is_set_aside(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.prepare()
    with state.log("gateway").open("wb") as file:
        file.truncate(LOG_LIMIT + 1)
    with state.open_log("gateway") as file:
        file.write(b"new\n")
    assert state.log("gateway").read_bytes() == b"new\n"
    assert (state.logs / "gateway.log.1").stat().st_size == LOG_LIMIT + 1


def test_tail_reads_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert tail(path, 2) == ["line 99998", "line 99999"]
    assert tail(path, 0) == []
    assert tail(tmp_path / "none", 5) == []


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be made"):
        StateDir(tmp_path / "file" / "state").prepare()


def test_containers_are_up_until_down_and_a_killed_launcher_is_remembered_only_by_what_it_left(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    state.prepare()
    state.write_run(a_run())
    assert state.read_run() is None  # nobody holds the folder
    assert state.last_run() is not None
    run = a_run()
    run.stack, run.project = "compose", "some"
    state.write_run(run)
    assert (found := state.read_run()) is not None
    assert found.project == "some"
    state.clear_run()
    assert state.read_run() is None
    assert state.last_run() is None

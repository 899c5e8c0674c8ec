"""Processes held to a share of a core: measured, and let go again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from quota import NO_GROUPS, PERIOD, Groups, cpu_groups, held_to

BUSY = "while True: pass"


@pytest.fixture
def groups() -> Groups:
    """They are the kernel's, and root's to write to: elsewhere nothing can be held, as the benchmark says there too."""
    return cpu_groups() or pytest.skip(NO_GROUPS)


@pytest.fixture
def busy() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        yield psutil.Process(process.pid)
        process.kill()


def used(process: psutil.Process, until: float) -> float:
    """CPU seconds from now to a moment of time.monotonic."""
    before = process.cpu_times().user
    while time.monotonic() < until:
        time.sleep(0.05)
    return float(process.cpu_times().user - before)


def test_a_process_gets_its_share_and_no_more(groups: Groups, busy: psutil.Process) -> None:
    before = groups.group_of(busy.pid)
    with held_to(groups, 0.2, [busy.pid]):
        began = time.monotonic()
        group = groups.group_of(busy.pid)
        assert group != before
        found = used(busy, began + 3)
        lasted = time.monotonic() - began
    assert 0 < found <= 0.2 * lasted + 0.1
    assert groups.group_of(busy.pid) == before
    assert not group.exists()


def test_an_error_lets_it_go(groups: Groups, busy: psutil.Process) -> None:
    before = groups.group_of(busy.pid)
    with pytest.raises(ZeroDivisionError), held_to(groups, 0.2, [busy.pid]):
        raise ZeroDivisionError
    assert groups.group_of(busy.pid) == before


@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
def test_both_versions_are_known(tmp_path: Path, kind: str) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory\n")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"proc /proc proc rw 0 0\ncgroup {tmp_path} {kind} rw,relatime,cpu 0 0\n")
    groups = cpu_groups(str(mounts))
    assert groups == Groups(tmp_path, unified=kind == "cgroup2")
    groups.limit(tmp_path, 0.5)
    if kind == "cgroup2":
        assert (tmp_path / "cpu.max").read_text() == f"{PERIOD // 2} {PERIOD}"
    else:
        written = [(tmp_path / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]
        assert written == [f"{PERIOD // 2}", f"{PERIOD}"]


def test_a_machine_without_them(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"cgroup2 {tmp_path} cgroup2 rw 0 0\ncgroup {tmp_path} cgroup rw,cpuset 0 0\n")
    assert cpu_groups(str(mounts)) is None
    assert cpu_groups(str(tmp_path / "none")) is None

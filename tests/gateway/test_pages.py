"""Memory is put into huge pages where it is in use, and stays what it was."""

from __future__ import annotations

import mmap
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from proxy.gateway import pages
from tests.conftest import Stack, until

MB = 1 << 20
WHOLE = 64 * MB
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
KERNEL = tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])
HAS_HUGE_PAGES = pages.HUGE.exists() and int(pages.HUGE.read_text()) == 2 * MB and KERNEL >= (6, 1)

needs_huge_pages = pytest.mark.skipif(
    not HAS_HUGE_PAGES, reason="needs Linux 6.1 or later, with transparent huge pages of 2 MB"
)


@pytest.fixture
def memory() -> Iterator[mmap.mmap]:
    """Some of the process's own, untouched."""
    with mmap.mmap(-1, WHOLE, flags=PRIVATE) as own:
        yield own


def in_use(name: str, process: int | str = "self") -> int:
    """Bytes, by the kernel's account of the process: `Rss`, or `AnonHugePages`."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def touch(memory: mmap.mmap, of_each: int) -> None:
    """Writes to this many of the 512 pages in each 2 MB."""
    for start in range(0, WHOLE, 2 * MB):
        for page in range(of_each):
            memory[start + page * mmap.PAGESIZE] = page % 251


@needs_huge_pages
def test_what_is_in_use_is_put_together_and_is_as_before(memory: mmap.mmap) -> None:
    pages.put_together()  # what else the process has
    touch(memory, 490)
    before, held, huge = memory[:], in_use("Rss"), in_use("AnonHugePages")
    assert pages.put_together() >= WHOLE - 2 * MB
    assert in_use("AnonHugePages") - huge >= WHOLE - 4 * MB
    assert in_use("Rss") - held < 0.1 * WHOLE
    assert memory[:] == before
    memory[0] = 252
    assert memory[0] == 252


@needs_huge_pages
def test_what_is_mostly_free_is_left_alone(memory: mmap.mmap) -> None:
    pages.put_together()
    touch(memory, 400)
    held = in_use("Rss")
    pages.put_together()
    assert in_use("Rss") - held < 8 * MB


@needs_huge_pages
def test_what_a_copy_of_the_process_shares_is_left_alone(memory: mmap.mmap) -> None:
    touch(memory, 512)
    going, gone = os.pipe()
    copy = os.fork()
    if not copy:
        os.close(gone)
        os.read(going, 1)
        os._exit(0)
    try:
        huge = in_use("AnonHugePages")
        pages.put_together()
        assert in_use("AnonHugePages") - huge < WHOLE / 2
    finally:
        os.close(going)
        os.close(gone)
        os.waitpid(copy, 0)
    pages.put_together()
    assert in_use("AnonHugePages") - huge >= WHOLE - 4 * MB


@needs_huge_pages
def test_it_can_be_done_again(memory: mmap.mmap) -> None:
    touch(memory, 512)
    first = pages.put_together()
    assert pages.put_together() >= first - 4 * MB


@pytest.mark.parametrize("size", [None, "", "many"])
def test_a_system_that_has_none_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str | None
) -> None:
    if size is not None:
        (tmp_path / "size").write_text(size)
    monkeypatch.setattr(pages, "HUGE", tmp_path / "size")
    assert pages.put_together() == 0


def test_a_process_that_may_not_see_its_memory_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "size").write_text(f"{2 * MB}\n")
    monkeypatch.setattr(pages, "HUGE", tmp_path / "size")
    monkeypatch.setattr(pages, "OF_PROCESS", tmp_path / "no such folder")
    assert pages.put_together() == 0


@needs_huge_pages
def test_the_gateway_puts_its_memory_together(stack: Stack, gateway: httpx.Client) -> None:
    gateway.get("/health/liveliness").raise_for_status()
    run = stack.state.read_run()
    assert run is not None
    pid = run.services["gateway"]["pid"]
    until("the gateway has its memory in huge pages", lambda: in_use("AnonHugePages", pid) > 100 * MB, 60)

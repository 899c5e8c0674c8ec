"""Threads get no heap of their own."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, threading
from proxy.gateway.memory import keep_one_heap
if sys.argv[1] == "one":
    keep_one_heap()
together = threading.Barrier(4)
def need() -> None:
    kept = [bytearray(10_000) for _ in range(100)]
    together.wait(30)
threads = [threading.Thread(target=need) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="another C library than glibc")
def test_threads_share_one_heap() -> None:
    def heaps(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stderr.count("\nArena ") + done.stderr.startswith("Arena ")

    assert heaps("each its own") > 1
    assert heaps("one") == 1

"""Threads get no heap of their own."""

from __future__ import annotations

import ctypes
import subprocess
import sys

PROGRAM = """
import ctypes, sys, threading
from proxy.memory import keep_one_heap
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
getattr(ctypes.CDLL(None), "malloc_stats", lambda: None)()
"""


def test_threads_share_one_heap() -> None:
    def heaps(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stderr.count("\nArena ") + done.stderr.startswith("Arena ")

    if hasattr(ctypes.CDLL(None), "malloc_stats"):  # glibc
        assert heaps("each its own") > 1
        assert heaps("one") == 1
    else:  # another C library has one heap anyway, and takes the call
        assert heaps("one") == 0

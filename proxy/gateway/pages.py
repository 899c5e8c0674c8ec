"""Puts the memory that the process holds into huge pages. Used by collecting.py.

A request goes through objects all over some 300 MB: in pages of 4 KB, the processor spends a tenth of its time on
finding where they are, in a virtual machine twice over. Linux (6.1 and later) puts together what lies in one huge page;
asked once, it does not take more memory than that later, as it may where a range is marked for huge pages.
"""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

OF_PROCESS = Path("/proc/self")
HUGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
DENSE = 0.9
"""The share of a huge page that has to be in use already: what is put together takes the rest as well."""
_MADV_COLLAPSE = 25  # linux/mman.h
_ANONYMOUS = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw.p \S+ \S+ 0 *(?:\[heap\])?$", re.MULTILINE)  # man proc_pid_maps
_OWN = bytes(byte & 0x81 == 0x81 for byte in range(256))  # man proc_pid_pagemap: bits 63 and 56, present and not shared


def put_together() -> int:
    """How many bytes are in huge pages after it, as far as could be put there; 0 where the system has none."""
    try:
        size = int(HUGE.read_text(encoding="ascii"))
        dense = list(_dense(size))
    except (OSError, ValueError):
        return 0
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return sum(size for address in dense if advise(address, size, _MADV_COLLAPSE) == 0)


def _dense(size: int) -> Iterator[int]:
    """Addresses of what could be a huge page of `size` bytes, and is in memory but for a few of its pages, not shared
    with a copy of the process, which would keep what is shared as it is.

    Raises OSError where the process may not see that.
    """
    pages = size // mmap.PAGESIZE
    maps = (OF_PROCESS / "maps").read_text(encoding="utf-8", errors="replace")
    with (OF_PROCESS / "pagemap").open("rb") as pagemap:
        for start, end in _ANONYMOUS.findall(maps):
            first, last = -(-int(start, 16) // size), int(end, 16) // size
            if first >= last:
                continue
            pagemap.seek(first * pages * 8)
            own = pagemap.read((last - first) * pages * 8)[7::8].translate(_OWN)
            for number in range(last - first):
                if own.count(1, number * pages, (number + 1) * pages) >= DENSE * pages:
                    yield (first + number) * size

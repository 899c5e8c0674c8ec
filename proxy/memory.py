"""Memory that a process holds and does not need: the gateway's, the launcher's."""

from __future__ import annotations

import ctypes
import gc

_M_ARENA_MAX = -8  # malloc.h


def keep_one_heap() -> None:
    """glibc gives threads heaps of their own, up to eight for each core, which keep what a thread has once needed.
    Python's threads take turns anyway. To be called while there is one thread."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc and a few others have it
    if set_option is not None:
        set_option(_M_ARENA_MAX, 1)


def give_back(generation: int = 2) -> None:
    """Collects what is garbage, as old as that; of glibc's free memory, what lies in whole pages goes back."""
    gc.collect(generation)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)

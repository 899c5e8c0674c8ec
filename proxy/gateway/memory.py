"""Memory that the gateway holds and does not need. Used by __main__.py and openapi.py."""

from __future__ import annotations

import ctypes
import gc
import sys

_M_ARENA_MAX = -8  # malloc.h


def keep_one_heap() -> None:
    """glibc gives threads heaps of their own, up to eight for each core, which keep what a thread has once needed.
    Python's threads take turns anyway. To be called while there is one thread."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc and a few others have it
    if set_option is not None:
        set_option(_M_ARENA_MAX, 1)


def let_go() -> None:
    """Drops what LiteLLM has left over from its import: 14 MB of a tokenizer's JSON, of which it uses the text."""
    utils = sys.modules.get("litellm.utils")
    if isinstance(getattr(utils, "claude_json_str", None), str):
        vars(utils).pop("json_data", None)


def give_back() -> None:
    """Collects what is garbage; of glibc's free memory, what lies in whole pages goes back. Milliseconds."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)

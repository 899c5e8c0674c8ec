"""Memory of a whole stack at rest, by service: PSS, so that what processes share counts once. Used by gateway.py."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from rounds import family

REST_SECONDS = 6
"""Longer than services take to give back what they do not need at rest."""
MOST_SECONDS = 60
ABOUT = 1.0


def show_footprint(state: Path) -> dict[str, float]:
    """Of the stack on this state folder, once it is at rest: service -> MB."""
    run = json.loads((state / "run.json").read_text(encoding="utf-8"))
    pids = {name: family(service["pid"]) for name, service in run["services"].items()}
    of = {"launcher": [run["launcher_pid"]], **pids}
    wait_until_settled(of)
    used = {name: memory(pids) for name, pids in of.items()}
    print("\r\033[K\nMemory of the whole stack after a first start and the smoke checks, PSS")
    for name, megabytes in {**used, "all": sum(used.values())}.items():
        print(f"  {name:<18}{megabytes:>8.0f} MB")
    return used


def wait_until_settled(of: Mapping[str, Sequence[int]]) -> None:
    """Until it has been about the same for REST_SECONDS; at most MOST_SECONDS."""
    began = since = time.monotonic()
    before = sum(map(memory, of.values()))
    while time.monotonic() - since < REST_SECONDS and time.monotonic() - began < MOST_SECONDS:
        time.sleep(0.5)
        now = sum(map(memory, of.values()))
        if abs(now - before) > ABOUT:
            before, since = now, time.monotonic()


def memory(pids: Sequence[int]) -> float:
    """MB of these processes."""
    return float(sum(psutil.Process(pid).memory_full_info().pss for pid in pids)) / 1e6

"""Memory of a whole stack at rest, by service: PSS, so that what processes share counts once. Used by gateway.py."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
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
    launcher, services = run["launcher_pid"], run["services"]

    def look() -> dict[str, float]:
        used = {name: memory(family(service["pid"])) for name, service in services.items()}
        return {"launcher": memory([launcher]), **used}

    wait_until_settled(lambda: sum(look().values()))
    used = look()
    print("\r\033[K\nMemory of the whole stack after a first start and the smoke checks, PSS")
    for name, megabytes in {**used, "all": sum(used.values())}.items():
        print(f"  {name:<18}{megabytes:>8.0f} MB")
    return used


def wait_until_settled(look: Callable[[], float]) -> None:
    """Until what it sees, in MB, has been about the same for REST_SECONDS; at most MOST_SECONDS."""
    began = since = time.monotonic()
    before = look()
    while time.monotonic() - since < REST_SECONDS and time.monotonic() - began < MOST_SECONDS:
        time.sleep(0.5)
        now = look()
        if abs(now - before) > ABOUT:
            before, since = now, time.monotonic()


def memory(pids: Sequence[int]) -> float:
    """MB of a process and others that may come and go, as Postgres's do.

    Raises psutil.NoSuchProcess where the first has ended.
    """
    first, *others = pids
    used = psutil.Process(first).memory_full_info().pss
    for pid in others:
        with suppress(psutil.NoSuchProcess):
            used += psutil.Process(pid).memory_full_info().pss
    return float(used) / 1e6

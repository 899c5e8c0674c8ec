"""Ends a Postgres that a killed launcher left behind on a data folder. Called by embedded.py before each start.

A process is ours for certain where it is named `postgres` and works in that folder: Postgres' processes all do.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import psutil

from proxy.database.errors import DatabaseError

PATIENCE = 10.0  # seconds for a fast shutdown; it writes out what is in memory


def find_leftover(data_dir: Path) -> list[psutil.Process]:
    """All Postgres processes on this folder, also where it has been deleted under them."""
    folder = str(data_dir.resolve())
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.name() == "postgres" and process.cwd().removesuffix(" (deleted)") == folder:
                found.append(process)
    return found


def end_leftover(data_dir: Path) -> None:
    """Shuts it down in good order, or kills it after a while; then sees to a lock file that would be in the way.

    Raises DatabaseError where one survives, as when it belongs to another user.
    """
    found = find_leftover(data_dir)
    for process in found:
        with suppress(psutil.Error):
            if "-D" in process.cmdline():
                process.send_signal(signal.SIGINT)  # fast shutdown; children go with it, or once they see it dead
    _, alive = psutil.wait_procs(found, timeout=PATIENCE)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    _, alive = psutil.wait_procs(alive, timeout=PATIENCE)
    if alive:
        raise DatabaseError(
            f"another Postgres (pid {alive[0].pid}) is running on {data_dir} and cannot be stopped. "
            f"Does it belong to another user? Stop it, then run this again."
        )
    _remove_misleading_lock(data_dir / "postmaster.pid")


def _remove_misleading_lock(lock: Path) -> None:
    """A lock file is stale by now. Postgres sees that by itself, unless its pid is in use again by another program."""
    with suppress(FileNotFoundError, ValueError, IndexError):
        pid = int(lock.read_text().splitlines()[0])
        if psutil.pid_exists(pid):
            lock.unlink()

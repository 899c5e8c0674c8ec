"""Processes that are held to a share of a core by Linux' control groups, as a container's CPU limit does it. Used by
pair.py."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

PERIOD = 20_000
"""Microseconds in which the share may be used. Short, so that who has used it up waits little."""

NO_GROUPS = "there are no control groups that this user may write to (root on Linux may)"

_numbers = count()


@dataclass(frozen=True)
class Groups:
    """The control groups that share out CPU here: their root, and whether they are those of version 2."""

    root: Path
    unified: bool

    def limit(self, group: Path, share: float) -> None:
        quota = round(share * PERIOD)
        if self.unified:
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(f"{PERIOD}")
            (group / "cpu.cfs_quota_us").write_text(f"{quota}")

    def group_of(self, pid: int) -> Path:
        for line in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" if self.unified else "cpu" in controllers.split(","):
                return self.root / path.lstrip("/")
        return self.root


def cpu_groups(mounts: str = "/proc/self/mounts") -> Groups | None:
    """Those of this machine; none where it has none, or they may not be written to."""
    if not Path(mounts).exists():
        return None
    for line in Path(mounts).read_text(encoding="utf-8").splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            found = Groups(Path(where), unified=False)
        elif kind == "cgroup2" and "cpu" in (Path(where) / "cgroup.subtree_control").read_text().split():
            found = Groups(Path(where), unified=True)
        else:
            continue
        return found if os.access(found.root, os.W_OK) else None
    return None


@contextmanager
def held_to(groups: Groups, share: float, pids: Sequence[int]) -> Iterator[None]:
    """Gives these processes, and what they start, this share of a core together; they go back at the end."""
    group = groups.root / f"litellm-local-bench-{os.getpid()}-{next(_numbers)}"
    before = {pid: groups.group_of(pid) for pid in pids}
    group.mkdir()
    try:
        groups.limit(group, share)
        for pid in pids:
            (group / "cgroup.procs").write_text(f"{pid}")
        yield
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):  # it has ended since
                (before.get(int(pid), groups.root) / "cgroup.procs").write_text(pid)
        group.rmdir()

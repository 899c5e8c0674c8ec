"""`python unprivileged.py UID GID open|closed COMMAND…`: run a command as another user, for embedded.py.

Postgres refuses to run as root. The user it runs as must still reach its files, also where a folder above
them is closed to others (a checkout below /root): then the command keeps one capability, to pass through
folders it may not read (CAP_DAC_READ_SEARCH, or CAP_DAC_OVERRIDE in containers, which lack the first).
access(2), with which Postgres looks at its own program, counts a capability of such a user only where the
secure bit NO_SETUID_FIXUP is set (credentials(7), capabilities(7)).
A file of its own that imports nothing of the package, so that it starts in a moment.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from pathlib import Path

PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 28, 47, 2
SECBIT_NO_SETUID_FIXUP = 4
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CAPABILITY_VERSION_3 = 0x20080522


def reachable(path: Path, uid: int) -> bool:
    """Whether user `uid` may pass through every folder above `path`."""
    for folder in path.absolute().parents:
        status = folder.stat()
        if not status.st_mode & stat.S_IXOTH and status.st_uid != uid:
            return False
    return True


def become(uid: int, gid: int, *, pass_through: bool) -> None:
    """Gives up root for good; with `pass_through`, but for passing through closed folders (Linux only)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if pass_through and libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECUREBITS)")
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)  # with that secure bit it takes no capability away: _keep leaves the one
    if pass_through and not any(_keep(libc, capability) for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE)):
        raise OSError(ctypes.get_errno(), "capset")


def _keep(libc: ctypes.CDLL, capability: int) -> bool:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable, twice
    if libc.capset(header, data) != 0:
        return False
    return bool(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0)


def main() -> None:
    uid, gid, folders, *command = sys.argv[1:]
    try:
        become(int(uid), int(gid), pass_through=folders == "closed")
        os.execv(command[0], command)  # noqa: S606 - a program of ours, no shell wanted
    except OSError as error:
        sys.exit(f"cannot run {command[0]} as user {uid}: {error.strerror}")


if __name__ == "__main__":
    main()

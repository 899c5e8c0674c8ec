"""Waits for the migrated database in a copy of the process: the database's client, which nothing else here uses, is
imported beside LiteLLM and leaves its 7 MB with the copy. Used by __main__.py.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from proxy.database.errors import DatabaseError

GO = b"go"
FOUND = b"found"
MOST_FILES = 65_536
STDIN = 0


class Waiting:
    """`begin` makes the copy, while there is one thread; `until_migrated` has it wait, and waits for it.

    The copy ends when the process that made it does. Where there is none, the process does the waiting itself.
    """

    def __init__(self, url: str, seconds: float, on_wait: Callable[[str], None]) -> None:
        self._url = url
        self._seconds = seconds
        self._on_wait = on_wait
        self._copy: int | None = None
        self._line: socket.socket | None = None

    def begin(self) -> None:
        ours, its = socket.socketpair()
        try:
            self._copy = os.fork()
        except OSError:  # a limit of processes or of memory
            ours.close()
        else:
            if not self._copy:
                self._be_the_copy(its)
            self._line = ours
        its.close()

    def until_migrated(self) -> None:
        """Raises DatabaseError, as `wait_until_migrated` does."""
        said = self._ask()
        if not said:
            self._wait()
        elif said != FOUND:
            raise DatabaseError(said.decode())

    def _ask(self) -> bytes:
        """What the copy says: FOUND or an error; nothing where there is none, or it was killed."""
        if self._copy is None or self._line is None:
            return b""
        said = b""
        with self._line as line, suppress(BrokenPipeError, ConnectionResetError):
            line.sendall(GO)
            said = b"".join(iter(lambda: line.recv(4096), b""))
        os.waitpid(self._copy, 0)
        return said

    def _be_the_copy(self, line: socket.socket) -> NoReturn:
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.dup2(line.fileno(), STDIN)
            os.closerange(3, MOST_FILES)  # it must not keep a port taken
            line.detach()
            import proxy.database.migrations  # noqa: F401

            with socket.socket(fileno=STDIN) as line:
                if line.recv(len(GO)) == GO:
                    threading.Thread(target=end_with, args=[line], daemon=True).start()
                    line.sendall(self._found())
        finally:
            os._exit(0)

    def _found(self) -> bytes:
        try:
            self._wait()
        except DatabaseError as error:
            return str(error).encode()
        return FOUND

    def _wait(self) -> None:
        from proxy.database.migrations import wait_until_migrated

        wait_until_migrated(self._url, self._seconds, self._on_wait)


def end_with(line: socket.socket) -> None:
    """Ends this process when the other end of the line is gone."""
    line.recv(1)
    os._exit(1)

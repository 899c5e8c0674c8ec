"""A cassette that is being recorded: one recorder holds the file, and each exchange is on the disk before the next.

The file is replaced as a whole (written beside it, synced, renamed), so that whatever happens, what is there is
a cassette that loads: a killed recorder, a full disk, a power cut.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from proxy.simulator.cassettes.dump import HEADING, exchange_text
from proxy.simulator.cassettes.load import CassetteError, read
from proxy.simulator.cassettes.model import Exchange


class TapeError(Exception):
    """The file cannot be recorded into. The message says why and what to do next."""


class Tape:
    """Open one, `add` exchanges, `close` it. Any thread may."""

    def __init__(self, file: Path) -> None:
        """Takes the file, made where it is missing; what is in it stays. Raises TapeError or CassetteError."""
        self.file = file.resolve()
        self._writing = threading.Lock()
        self._lock_file = self.file.with_name(f".{self.file.name}.lock")
        self._lock = self._take_lock()
        self._items: list[tuple[int, bytes]] = []
        try:
            self._base, self.before = self._read()
            self._write()
        except BaseException:
            self.close()
            raise

    def add(self, order: int, exchange: Exchange) -> None:
        """Puts the exchange where its `order` belongs among those of this recording, and on the disk.

        Raises OSError where it cannot be written; it is then tried again with the next one, or by `flush`.
        """
        item = (order, exchange_text(exchange).encode())
        with self._writing:
            self._items.append(item)
            self._items.sort(key=lambda item: item[0])
            self._write()

    @property
    def added(self) -> int:
        return len(self._items)

    def flush(self) -> None:
        """Writes the file again. Raises OSError."""
        with self._writing:
            self._write()

    def close(self) -> None:
        """Lets go of the file."""
        with suppress(FileNotFoundError):
            self._lock_file.unlink()
        os.close(self._lock)

    def _take_lock(self) -> int:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            while True:
                handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(handle)
                    raise TapeError(
                        f"{self.file} is being recorded by another recorder. Stop that one, or name another file."
                    ) from None
                # Whoever held it before takes it away on closing: what we hold must be what others will find.
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(handle), self._lock_file.stat()):
                        return handle
                os.close(handle)
        except OSError as error:
            raise TapeError(
                f"{self.file} cannot be recorded into ({error.strerror}). Name a file in a folder that can be written."
            ) from None

    def _read(self) -> tuple[bytes, int]:
        """What is in the file, such that an item may be appended, and how many exchanges that is."""
        try:
            raw = self.file.read_bytes()
        except FileNotFoundError:
            return HEADING.encode(), 0
        except OSError as error:
            raise TapeError(f"{self.file} cannot be read ({error.strerror}).") from None
        if not raw.strip():
            return HEADING.encode(), 0
        found = read(raw, self.file).all
        raw = raw if raw.endswith(b"\n") else raw + b"\n"
        if not _can_be_continued(raw, len(found)):  # a file that was rearranged by hand
            raw = HEADING.encode() + b"".join(exchange_text(exchange).encode() for exchange in found)
        return raw, len(found)

    def _write(self) -> None:
        handle, temporary = tempfile.mkstemp(prefix=f".{self.file.name}.", dir=self.file.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._base)
                for _, item in self._items:
                    file.write(item)
                file.flush()
                os.fsync(file.fileno())
            mode = self.file.stat().st_mode & 0o777 if self.file.exists() else 0o644 & ~_umask()
            Path(temporary).chmod(mode)
            Path(temporary).replace(self.file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


_SAMPLE = b"""\
  - at: "1970-01-01T00:00:00.000Z"
    provider: openai
    api: chat
    method: POST
    path: /openai/v1/chat/completions
    request: {}
    failure:
      kind: dropped
"""


def _can_be_continued(raw: bytes, count: int) -> bool:
    try:
        return len(read(raw + _SAMPLE).all) == count + 1
    except CassetteError:
        return False


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

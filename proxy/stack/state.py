"""The state folder (`.litellm-local/`): where data, logs and the run file live, and who holds it.

One launcher at a time holds the folder's lock for as long as it lives; the kernel lets go of it when the
launcher dies, however it dies. What the launcher started carries the folder's path in its environment, so
that a later command can find what a killed launcher left behind.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import psutil

MARKER = "LITELLM_LOCAL_STATE_DIR"
LOG_LIMIT = 20 * 1024 * 1024


class StateError(Exception):
    """The state folder cannot be used. The message says why and what to do next."""


@dataclass
class Run:
    """What a launcher says of itself in `run.json`. Holds no secret."""

    launcher_pid: int  # of the containers: the `up` that was here last
    url: str
    mode: str
    config: str
    env_file: str
    database: str
    ready: bool = False
    proven: bool | None = None  # whether the smoke checks passed; None: they were not run
    started_at: float = field(default_factory=time.time)
    simulator_url: str | None = None
    recorder_url: str | None = None
    recording: str | None = None  # the cassette that is being recorded
    replaying: str | None = None  # the cassette that the double answers from
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    stack: Literal["embedded", "compose"] = "embedded"
    project: str | None = None  # of Docker Compose, where containers are part of it
    compose_files: list[str] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)  # of the containers: what `up` was asked for
    address: str | None = None  # where this machine reaches the edge, by whatever name its clients do


class StateDir:
    """Paths below one state folder, its lock and its run file."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.logs = self.root / "logs"
        self.postgres = self.root / "postgres"
        self.rendered = self.root / "rendered"
        self.engine_home = self.root / "engine-home"
        self.run_file = self.root / "run.json"
        self.certificate = self.root / "edge.pem"  # the self-signed one, for clients to trust
        self._lock_file = self.root / "lock"
        self._ports_file = self.root / "ports.json"

    def prepare(self) -> None:
        """Makes the folders. Raises StateError where that can't be."""
        try:
            for folder in (self.root, self.logs, self.rendered, self.engine_home):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"the state folder {self.root} cannot be made ({error.strerror}). Name another one with --state DIR."
            ) from None

    # -- lock --------------------------------------------------------------------------------------------

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Holds the folder for this process. Raises StateError where another launcher does."""
        self.prepare()
        handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StateError(f"another litellm-local is using {self.root}.") from None
            yield
        finally:
            os.close(handle)

    def is_held(self) -> bool:
        """Whether a launcher is alive on this folder."""
        try:
            handle = os.open(self._lock_file, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            return False
        finally:
            os.close(handle)

    # -- run file ----------------------------------------------------------------------------------------

    def write_run(self, run: Run) -> None:
        _write_json(self.run_file, asdict(run))

    def read_run(self) -> Run | None:
        """What is up on this folder, or None where nothing is or no run file is written yet.

        An embedded stack is up as long as its launcher holds the folder; containers, from `up` to `down`, whoever
        holds it.
        """
        run = self.last_run()
        if run is None or run.stack == "compose":
            return run
        return run if self.is_held() and psutil.pid_exists(run.launcher_pid) else None

    def last_run(self) -> Run | None:
        """The run file as it is, be it that of a launcher that was killed."""
        try:
            return Run(**_read_json(self.run_file))
        except TypeError:
            return None

    def clear_run(self) -> None:
        self.run_file.unlink(missing_ok=True)

    def remember_ports(self, ports: dict[str, int]) -> None:
        """Keeps the ports of the services behind the gateway, so that the next start takes the same ones."""
        _write_json(self._ports_file, ports)

    def remembered_ports(self) -> dict[str, int]:
        return {name: port for name, port in _read_json(self._ports_file).items() if isinstance(port, int)}

    # -- logs --------------------------------------------------------------------------------------------

    def log(self, service: str) -> Path:
        return self.logs / f"{service}.log"

    def open_log(self, service: str) -> IO[bytes]:
        """The service's log, for appending. One that has grown past 20 MiB is set aside first (one is kept)."""
        path = self.log(service)
        with suppress(FileNotFoundError):
            if path.stat().st_size > LOG_LIMIT:
                path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def last_lines(self, service: str, count: int = 15) -> list[str]:
        """The last lines of a service's log; empty where there is none."""
        return tail(self.log(service), count)

    # -- what a killed launcher left ----------------------------------------------------------------------

    def leftovers(self) -> list[psutil.Process]:
        """Running processes that a launcher on this folder started, ours or a killed one's, and their children."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.environ().get(MARKER) == str(self.root):
                    found.append(process)
        return found

    def stop_leftovers(self, patience: float = 10.0) -> list[str]:
        """Ends what a killed launcher left: asks, waits up to `patience` seconds, then kills. Returns their names."""
        found = self.leftovers()
        names = [_name(process) for process in found]
        for process in found:
            with suppress(psutil.Error):
                # SIGINT is Postgres' fast shutdown; SIGTERM would wait for its clients for ever.
                process.send_signal(signal.SIGINT if _name(process) == "postgres" else signal.SIGTERM)
        _, alive = psutil.wait_procs(found, timeout=patience)
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=5)
        return names


def tail(path: Path, count: int) -> list[str]:
    """The last `count` lines of a text file, reading no more than its last 256 KiB."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 256 * 1024))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return lines[-count:] if count else []


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return f"pid {process.pid}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _write_json(path: Path, values: Any) -> None:
    handle, temporary = tempfile.mkstemp(prefix=path.name + ".", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

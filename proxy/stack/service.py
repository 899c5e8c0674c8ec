"""One supervised child process: started, watched, restarted with backoff, stopped. Used by embedded.py.

A service runs in a session of its own, so that Ctrl-C in the terminal reaches the launcher alone, which then
stops the services in their order.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

FIRST_DELAY = 0.2
LONGEST_DELAY = 10.0
STEADY_SECONDS = 30.0  # a service that lived this long starts over at the first delay
TRIES_BEFORE_READY = 3
CONFIGURATION_EXIT = 2  # what our own programs exit with when starting them again can't help


class ServiceError(Exception):
    """A service does not come up. `log` holds the last lines it wrote."""

    def __init__(self, message: str, log: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.log = list(log)


@dataclass(frozen=True)
class ServiceSpec:
    """How to run a service and to tell whether it serves.

    `is_ready` is asked again and again until it answers True; it must not raise. `stop_signal` is answered
    within `stop_seconds`, else the service's whole process group is killed.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], Awaitable[bool]]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    user: tuple[int, int] | None = None  # (uid, gid) to run as, where the launcher is root
    cwd: str | None = None
    before_start: Callable[[], None] | None = None  # run in a thread before each start


@dataclass(frozen=True)
class Event:
    """Something that happened to a service, for the launcher to report."""

    service: str
    text: str


class Service:
    """Keeps one child process running until `stop`."""

    def __init__(
        self,
        spec: ServiceSpec,
        *,
        open_log: Callable[[], IO[bytes]],
        last_lines: Callable[[], list[str]],
        on_event: Callable[[Event], None],
        on_start: Callable[[str, int, int], None],
    ) -> None:
        self.spec = spec
        self.restarts = 0
        self._open_log = open_log
        self._last_lines = last_lines
        self._on_event = on_event
        self._on_start = on_start
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._was_ready = False
        self._stopping = False
        self._gave_up: str | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    def start(self) -> None:
        """Starts keeping the service up; returns at once."""
        self._watcher = asyncio.create_task(self._keep_up(), name=f"keep up {self.spec.name}")

    async def wait_ready(self, timeout: float) -> None:
        """Returns when the service answers. Raises ServiceError when it gave up or took over `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not (self.pid and await self.spec.is_ready()):
            if (
                self._watcher
                and self._watcher.done()
                and not self._watcher.cancelled()
                and (e := self._watcher.exception())
            ):
                raise ServiceError(f"{self.spec.name} cannot be started: {e}") from e
            if self._gave_up:
                raise ServiceError(f"{self.spec.name} {self._gave_up}", self._last_lines())
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{self.spec.name} runs but does not answer after {timeout:.0f} s", self._last_lines()
                )
            await asyncio.sleep(0.05)
        self._was_ready = True

    async def stop(self) -> None:
        """Stops the service and ends its supervision; harmless where it is not running."""
        self._stopping = True
        if self.pid:
            self._signal(self.spec.stop_signal)
            assert self._process is not None  # noqa: S101 - pid says so
            try:
                await asyncio.wait_for(self._process.wait(), self.spec.stop_seconds)
            except asyncio.TimeoutError:
                self.kill()
                await self._process.wait()
        if self._watcher:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])

    def kill(self) -> None:
        """Kills the service and whatever it started, at once."""
        self._stopping = True
        if self.pid:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            assert self._process is not None  # noqa: S101
            self._process.send_signal(number)

    async def _keep_up(self) -> None:
        delay, failures = FIRST_DELAY, 0
        while not self._stopping:
            if self.spec.before_start:
                await asyncio.to_thread(self.spec.before_start)
            started = time.monotonic()
            self._process = await self._spawn()
            self._on_start(self.spec.name, self._process.pid, self.restarts)
            code = await self._process.wait()
            if self._stopping:
                return
            self._sweep()
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
            if not self._was_ready:
                failures += 1
                if code == CONFIGURATION_EXIT or failures >= TRIES_BEFORE_READY:
                    self._gave_up = f"{how} before it was ready"
                    return
            if time.monotonic() - started > STEADY_SECONDS:
                delay = FIRST_DELAY
            self.restarts += 1
            self._on_event(Event(self.spec.name, f"{how}; starting it again in {delay:.1f} s"))
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)
            if self._was_ready:
                asyncio.create_task(self._report_return(self.restarts)).add_done_callback(lambda _: None)

    async def _report_return(self, restart: int) -> None:
        began = time.monotonic()
        while not self._stopping and self.restarts == restart:
            if self.pid and await self.spec.is_ready():
                self._on_event(Event(self.spec.name, f"is back after {time.monotonic() - began:.1f} s"))
                return
            await asyncio.sleep(0.1)

    def _sweep(self) -> None:
        """Kills what a dead service left in its process group: a new one must not meet the old one's children."""
        assert self._process is not None  # noqa: S101
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _spawn(self) -> asyncio.subprocess.Process:
        options: dict[str, Any] = {}
        if self.spec.user:
            uid, gid = self.spec.user
            options = {"user": uid, "group": gid, "extra_groups": []}
        with self._open_log() as log:
            return await asyncio.create_subprocess_exec(
                *self.spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.spec.environment),
                cwd=self.spec.cwd,
                start_new_session=True,
                **options,
            )

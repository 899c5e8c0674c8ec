"""A supervised child process, with real ones."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from proxy.stack.service import Event, Service, ServiceError, ServiceSpec

SERVE = "import signal, sys, time; open(sys.argv[1], 'a').write('up\\n'); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"


class Watched:
    """A service with all it told."""

    def __init__(
        self, folder: Path, code: str, *, is_ready: Callable[[], bool] = lambda: True, stop_seconds: float = 5
    ):
        self.log = folder / "log"
        self.events: list[Event] = []
        self.pids: list[int] = []

        async def ready() -> bool:
            return is_ready()

        self.service = Service(
            ServiceSpec(
                name="child",
                command=[sys.executable, "-c", code, str(folder / "starts")],
                environment=dict(os.environ),
                is_ready=ready,
                stop_seconds=stop_seconds,
            ),
            open_log=lambda: self.log.open("ab"),
            last_lines=lambda: self.log.read_text().splitlines()[-5:],
            on_event=self.events.append,
            on_start=lambda _name, pid, _restarts: self.pids.append(pid),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Service]:
        self.service.start()
        try:
            yield self.service
        finally:
            await self.service.stop()


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Returns once the condition holds; fails the test where it does not in time."""

    async def poll() -> None:
        while not condition():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.01)

    await asyncio.wait_for(poll(), seconds)


def test_a_killed_service_is_started_again_and_reported(tmp_path: Path) -> None:
    async def scenario() -> None:
        watched = Watched(tmp_path, SERVE)
        async with watched.running() as service:
            await service.wait_ready(10)
            first = service.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(lambda: len(watched.pids) == 2)
            await until(lambda: any("is back" in event.text for event in watched.events))
            assert service.pid not in (None, first)
            assert service.restarts == 1
            assert "was killed by SIGKILL" in watched.events[0].text

    asyncio.run(scenario())


def test_restarts_wait_longer_each_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        watched = Watched(tmp_path, SERVE)
        async with watched.running() as service:
            await service.wait_ready(10)
            for starts in (2, 3):
                os.kill(watched.pids[-1], signal.SIGKILL)
                await until(lambda starts=starts: len(watched.pids) == starts)  # type: ignore[misc]
            delays = [event.text for event in watched.events if "starting it again" in event.text]
            assert "in 0.2 s" in delays[0]
            assert "in 0.4 s" in delays[1]

    asyncio.run(scenario())


def test_what_a_killed_service_left_in_its_group_goes_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open(sys.argv[1], 'w').write(str(child.pid))\ntime.sleep(60)"
    )
    starts = tmp_path / "starts"

    async def scenario() -> None:
        watched = Watched(tmp_path, code)
        async with watched.running() as service:
            await until(lambda: starts.exists() and bool(starts.read_text()))
            grandchild = psutil.Process(int(starts.read_text()))
            await service.wait_ready(10)
            os.kill(watched.pids[0], signal.SIGKILL)
            await until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)

    asyncio.run(scenario())


def test_a_service_that_keeps_failing_gives_up_with_its_last_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        watched = Watched(
            tmp_path, "import sys; print('no such table', flush=True); sys.exit(1)", is_ready=lambda: False
        )
        async with watched.running() as service:
            with pytest.raises(ServiceError, match="exited with code 1 before it was ready") as failure:
                await service.wait_ready(30)
        assert "no such table" in failure.value.log
        assert len(watched.pids) == 3

    asyncio.run(scenario())


def test_a_configuration_error_is_not_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        watched = Watched(tmp_path, "import sys; sys.exit(2)", is_ready=lambda: False)
        async with watched.running() as service:
            with pytest.raises(ServiceError, match="exited with code 2"):
                await service.wait_ready(30)
        assert len(watched.pids) == 1

    asyncio.run(scenario())


def test_a_service_that_never_answers_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        watched = Watched(tmp_path, SERVE, is_ready=lambda: False)
        async with watched.running() as service:
            with pytest.raises(ServiceError, match="does not answer after"):
                await service.wait_ready(0.3)

    asyncio.run(scenario())


def test_one_that_ignores_the_stop_signal_is_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        watched = Watched(tmp_path, STUBBORN, stop_seconds=0.3)
        async with watched.running():
            await until(lambda: watched.log.exists() and "on" in watched.log.read_text())
        assert not psutil.pid_exists(watched.pids[0])

    asyncio.run(scenario())


def test_a_program_that_is_not_there_is_an_error_not_a_wait(tmp_path: Path) -> None:
    async def scenario() -> None:
        watched = Watched(tmp_path, SERVE)
        object.__setattr__(watched.service.spec, "command", [str(tmp_path / "missing")])
        async with watched.running() as service:
            with pytest.raises(ServiceError, match="cannot be started"):
                await service.wait_ready(10)

    asyncio.run(scenario())

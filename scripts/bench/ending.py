"""How a benchmark ends: by a signal as by itself, with all that it has started stopped, and what goes wrong told in
one line. Used by every one here."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
from load import LoadError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_SECONDS = 60


def in_order(main: Callable[[], int]) -> int:
    """What `main` returns; 1 where it raised what its user can mend, which is told.

    The first signal ends it by SystemExit, so that every `finally` runs; others do nothing.
    """

    def end(number: int, _frame: object) -> None:
        for one in not_ignored():
            signal.signal(one, lambda *_: None)  # to ignore them would be inherited by what the cleaning up runs
        with suppress(OSError):  # of a terminal that is gone
            os.write(2, f"\r\033[Kbench: {signal.Signals(number).name}, stopping\n".encode())
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            sys.exit(128 + number)
        loop.call_soon_threadsafe(sys.exit, 128 + number)  # not in a task, which would keep it to itself

    for one in not_ignored():
        signal.signal(one, end)
    try:
        return main()
    except (LoadError, RuntimeError) as error:
        said = str(error)
    except httpx.HTTPError as error:
        what = str(error).partition("\n")[0] or type(error).__name__  # of a status, where to read about it comes next
        said = f"{error.request.url}: {what}"
    print(f"bench: {said}", file=sys.stderr)
    return 1


def not_ignored() -> list[signal.Signals]:
    """What is ignored, as SIGHUP under nohup, stays so, here and in what is started."""
    return [one for one in SIGNALS if signal.getsignal(one) != signal.SIG_IGN]


@contextmanager
def held() -> Iterator[None]:
    """A signal that comes meanwhile counts afterwards: for what must not be left half stopped."""
    came: list[int] = []
    before = {one: signal.signal(one, lambda number, _: came.append(number)) for one in not_ignored()}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        if came:
            signal.raise_signal(came[0])


def stop(process: subprocess.Popen[Any]) -> None:
    """Ends it; kills it where it does not end in time."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def started(
    command: Sequence[str], end: Callable[[subprocess.Popen[Any]], None] = stop, **spawn: Any
) -> Iterator[subprocess.Popen[Any]]:
    """A process for as long as it is asked, then `end` of it. No signal comes between."""

    def ended(process: subprocess.Popen[Any]) -> None:
        with held():
            end(process)

    with ExitStack() as after:
        with held():
            process = subprocess.Popen(command, **spawn)
            after.callback(ended, process)
        yield process

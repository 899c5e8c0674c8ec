"""Garbage is looked for between callbacks: before Python 3.12, its own moment for that can end the process. What a load
has left is collected when it is over."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress

import httpx

from proxy.catalog import project_root
from proxy.gateway.collecting import by_hand
from tests.conftest import until

COLLECTIONS = 'python_gc_collections_total{generation="0"} '

SETTING_AND_FINALIZING = '''
"""Sets context variables while what is garbage sets the same ones as it goes."""
import asyncio, contextvars, gc, resource, sys

from proxy.gateway.collecting import between_callbacks

VARIABLES = [contextvars.ContextVar(f"of {number}") for number in range(40)]
AS_PYTHON_DOES = sys.argv[1] == "as Python does"
gone = 0
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no image of its memory behind


class Unfinished:
    def __init__(self):
        self.itself = self

    def __del__(self):
        global gone
        gone += 1
        for variable in VARIABLES:
            variable.set([gone])


async def main():
    gc.disable()
    looking = None if AS_PYTHON_DOES else asyncio.create_task(between_callbacks())
    made = 0
    for allocations in 100 * list(range(12)):
        for variable in VARIABLES:
            Unfinished()
            made += 1
            value = [made]
            gc.set_threshold(gc.get_count()[0] + allocations)  # it is due so many allocations from here
            if AS_PYTHON_DOES:
                gc.enable()
            variable.set(value)
            gc.disable()
        await asyncio.sleep(0.001)
    gc.set_threshold(1)
    while gone < made and looking:
        await asyncio.sleep(0.01)
    print("all done")


asyncio.run(main())
'''

HUGE_PAGES = '''
"""Works from the beginning, works on, rests, works, rests."""
import asyncio, sys, time

from proxy.gateway import collecting

collecting.LOOK_SECONDS = 0.2
collecting.EARLY_LOOKS = 2
collecting.give_back = lambda generation: None
collecting.huge_pages = sys.argv[1] == "wanted"
made = []
collecting.put_together = lambda: made.append(now)


async def work():
    end = time.monotonic() + 5 * collecting.LOOK_SECONDS
    while time.monotonic() < end:
        await asyncio.sleep(0)


async def main():
    global now
    task = asyncio.create_task(collecting.at_rest())
    for now in ("start", "rest", "rest"):
        await work()
        if now == "rest":
            await asyncio.sleep(5 * collecting.LOOK_SECONDS)
    print(*made)


asyncio.run(main())
'''

AT_REST = '''
"""Leaves garbage, works on, rests, works on, rests."""
import asyncio, gc, time, weakref

from proxy.gateway import collecting

collecting.LOOK_SECONDS = 0.2
given = []
give_back = collecting.give_back
collecting.give_back = lambda generation: given.append(generation) or give_back(generation)


class Cycle:
    def __init__(self):
        self.itself = self


def garbage():
    one = Cycle()
    gc.collect(0)  # it is in the next generation from here, as what a request leaves behind
    return weakref.ref(one)


async def work():
    end = time.monotonic() + 5 * collecting.LOOK_SECONDS
    while time.monotonic() < end:
        await asyncio.sleep(0)


async def main():
    gc.disable()
    task = asyncio.create_task(collecting.at_rest())
    for rest in (1, 2):
        left = garbage()
        await work()
        assert left() is not None, "collected at work"
        while left() is not None:
            await asyncio.sleep(0.01)
        later = garbage()
        await asyncio.sleep(5 * collecting.LOOK_SECONDS)
        assert later() is not None, "collected twice in a rest"
    assert given == [1, 1], given
    print("all done")


asyncio.run(main())
'''


def run(how: str, program: str = SETTING_AND_FINALIZING, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, how]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds, cwd=project_root())


def test_between_callbacks() -> None:
    done = run("between callbacks")
    assert (done.returncode, done.stdout) == (0, "all done\n"), done.stderr


def test_what_it_is_for() -> None:
    """From 3.12 on, Python looks for garbage at safe moments by itself."""
    ended = None
    for _ in range(8):  # what was freed may also lead in circles; as a rule it ends within a second
        with suppress(subprocess.TimeoutExpired):
            ended = run("as Python does", seconds=20).returncode
            break
    assert ended == (-signal.SIGSEGV if by_hand() else 0)


def test_at_rest() -> None:
    done = run("at rest", AT_REST)
    assert (done.returncode, done.stdout) == (0, "all done\n"), done.stderr


def test_huge_pages() -> None:
    assert run("wanted", HUGE_PAGES).stdout == "start start rest rest\n"
    assert run("not wanted", HUGE_PAGES).stdout == "\n"


def test_the_gateway_looks_for_garbage(gateway: httpx.Client) -> None:
    def collections() -> float:
        gateway.get("/v1/models").raise_for_status()
        lines = gateway.get("/metrics").raise_for_status().text.splitlines()
        return next(float(line.removeprefix(COLLECTIONS)) for line in lines if line.startswith(COLLECTIONS))

    before = collections()
    until("the gateway has looked for garbage", lambda: collections() > before + 1, 60)

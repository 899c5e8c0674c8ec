"""Servers under the same load in turns: started, measured, shown. Used by the benchmarks of this folder."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from ending import started
from load import Round, post, warm_up

from proxy.catalog import project_root
from proxy.stack.ports import free_port

START_SECONDS = 180
REST_SECONDS = 30


@dataclass(frozen=True)
class Server:
    """Where to ask, with which headers and body, and the processes whose CPU is counted."""

    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any] = field(default_factory=dict)
    pids: Sequence[int] = ()


@dataclass(frozen=True)
class Measured:
    """A round, and the CPU that the server's processes used in it, in microseconds a request."""

    round: Round
    cpu: float | None


Rounds = dict[str, list[Measured]]
"""server -> what was measured of it, in the order of the rounds."""


def options(description: str, *, rounds: int, seconds: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=int, default=seconds, help="that a round lasts for each server")
    parser.add_argument("--json", type=Path, help="also write all rounds there")
    return parser


@contextmanager
def serving(
    command: Sequence[str], ready: str, *, headers: Mapping[str, str] | None = None, method: str = "GET", **spawn: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server for as long as it is asked; begins when the address `ready` answers, with anything below 500."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with started(command, **{**quiet, **spawn}) as process:
        wait_for(process, lambda: answers(ready, method, headers))
        yield process


def wait_for(process: subprocess.Popen[Any], is_ready: Callable[[], bool]) -> None:
    """Until it is ready. Raises RuntimeError where it ends, or is not within START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        if process.poll() is not None:
            raise RuntimeError(f"{' '.join(process.args)} ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{' '.join(process.args)} does not answer")
        time.sleep(0.02)


@contextmanager
def an_up(state: Path, *arguments: str) -> Iterator[None]:
    """A stack of `litellm-local up`, in double mode, for as long as it is asked. Raises RuntimeError.

    Its commands have sessions of their own, so that Ctrl-C does not reach them beside the benchmark.
    """
    command, where = [sys.executable, "-m", "proxy.cli"], ["--state", str(state)]
    there: dict[str, Any] = {"cwd": project_root(), "start_new_session": True}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}  # of one alone, `communicate` may miss a signal

    def down(process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            process.terminate()  # it stops what it has begun
            process.communicate()
        subprocess.run([*command, "down", *where], capture_output=True, check=False, **there)

    up = ["up", *where, "--detach", "--mode", "double", "--port", str(free_port()), *arguments]
    with started([*command, *up], down, text=True, **pipes, **there) as process:
        said = "".join(process.communicate())
        if process.returncode:
            raise RuntimeError(f"the stack did not come up:\n{said}")
        yield


def answers(url: str, method: str, headers: Mapping[str, str] | None = None) -> bool:
    try:
        body = {} if method == "POST" else None
        return httpx.request(method, url, json=body, headers=headers, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


def measure(servers: Mapping[str, Server], body: Mapping[str, Any], *, rounds: int, seconds: int, at: int) -> Rounds:
    """Each server in each round, one after the other, with `at` connections; once before, unmeasured.

    What a server does behind its replies, as writing spend, is its own: the next one begins when it is at rest.
    """
    found: Rounds = {name: [] for name in servers}
    for server in servers.values():
        warm_up(server.url, {**body, **server.body}, server.headers, connections=at)
        wait_for_rest(server.pids)
    for number in range(rounds):
        print(f"\rround {number + 1} of {rounds} ", end="", file=sys.stderr, flush=True)
        for name, server in servers.items():
            before = cpu_seconds(server.pids)
            one = post(server.url, {**body, **server.body}, server.headers, connections=at, seconds=seconds)
            wait_for_rest(server.pids)
            used = cpu_seconds(server.pids) - before
            found[name].append(Measured(one, used / one.requests * 1e6 if server.pids else None))
    print("\r\033[K", end="", file=sys.stderr)
    return found


def family(pid: int) -> list[int]:
    """A process and those that it has started."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def cpu_seconds(pids: Sequence[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(one.user + one.system for one in times)


def wait_for_rest(pids: Sequence[int]) -> None:
    """Until these processes together use less than a tenth of a core for a while; at most REST_SECONDS."""
    deadline, quiet = time.monotonic() + REST_SECONDS, 0
    while pids and quiet < 3 and time.monotonic() < deadline:
        before = cpu_seconds(pids)
        time.sleep(0.3)
        quiet = quiet + 1 if cpu_seconds(pids) - before < 0.03 else 0


def show(heading: str, rounds: Rounds, upstream: str | None = None) -> None:
    """A table: each server's medians, and the first one's throughput and CPU as multiples of the others'; where
    `upstream`, which the others ask, was measured too, also of the p50 that each adds to its."""
    print(f"\n{heading}")
    print(
        f"  {'':<18}{'requests/s':>10}  {'lowest to highest':<19}{'p50 ms':>8}{'p99 ms':>9}{'CPU us':>8}"
        f"  {'requests/s, ratio':<26}{'CPU, ratio':<26}{'added p50, ratio' if upstream else ''}".rstrip()
    )
    first = next(iter(rounds.values()))
    for name, found in rounds.items():
        speeds = sorted(one.round.per_second for one in found)
        used = [one.cpu for one in found if one.cpu is not None]
        print(
            f"  {name:<18}{statistics.median(speeds):>10.0f}  {f'{speeds[0]:.0f} to {speeds[-1]:.0f}':<19}"
            f"{median(found, lambda r: r.p50):>8.2f}{median(found, lambda r: r.p99):>9.2f}"
            f"{f'{statistics.median(used):.0f}' if used else '':>8}"
            f"  {spread(speed_ratios(first, found)):<26}{spread(cpu_ratios(first, found)):<26}"
            f"{spread(added_ratios(first, found, rounds[upstream])) if upstream else ''}".rstrip()
        )


def speed_ratios(first: Sequence[Measured], other: Sequence[Measured]) -> list[float]:
    """Requests a second of the first by those of the other, round by round, lowest first."""
    return sorted(a.round.per_second / b.round.per_second for a, b in zip(first, other, strict=True))


def cpu_ratios(first: Sequence[Measured], other: Sequence[Measured]) -> list[float]:
    """CPU a request, likewise; nothing where one's is not known."""
    return sorted(a.cpu / b.cpu for a, b in zip(first, other, strict=True) if a.cpu and b.cpu)


def added_ratios(first: Sequence[Measured], other: Sequence[Measured], upstream: Sequence[Measured]) -> list[float]:
    """The p50 that the first adds to the upstream's by what the other adds, likewise; nothing where that is none."""
    added = [
        (a.round.p50 - own.round.p50, b.round.p50 - own.round.p50)
        for a, b, own in zip(first, other, upstream, strict=True)
    ]
    return sorted(a / b for a, b in added if b > 0)


def spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f})" if ratios else ""


def median(found: Sequence[Measured], of: Callable[[Round], float]) -> float:
    return statistics.median(of(one.round) for one in found)


def plain(rounds: Rounds) -> dict[str, Any]:
    """As JSON has it."""
    return {name: [{**asdict(one.round), "cpu_us": one.cpu} for one in found] for name, found in rounds.items()}

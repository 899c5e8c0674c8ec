"""A benchmark that is told to end stops what it has started, says so in one line, and ends with the signal's code; one
that cannot go on says why in one line."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import double
import gateway
import hotspots
import levers
import psutil
import pytest
from load import LoadError

from proxy.catalog import project_root
from proxy.stack.state import StateDir
from tests.bench.conftest import BENCH, environment, run
from tests.conftest import START_SECONDS, free_port, until

SERVER = """
import signal, sys, time
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

def stop(*_):
    Path("asked").touch()
    while not Path("may end").exists():
        time.sleep(0.1)
    sys.exit()

signal.signal(signal.SIGTERM, stop)
HTTPServer(("127.0.0.1", int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()
"""

BENCHMARK = """
import asyncio, sys
from ending import in_order
from rounds import serving

async def busy(pid):
    async def one():
        while True:
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(one()) for _ in range(20)]
    await asyncio.sleep(0)
    print(pid, flush=True)
    await asyncio.gather(*tasks)

def main():
    with serving([sys.executable, "server.py", sys.argv[1]], f"http://127.0.0.1:{sys.argv[1]}/") as process:
        if sys.argv[2] == "busy":
            asyncio.run(busy(process.pid))
        print(process.pid, flush=True)
        if sys.argv[2] == "wait":
            process.wait()
    return 0

sys.exit(in_order(main))
"""

STOPPING = "\n\033[Kbench: {}, stopping\n"  # in the place of a progress line; in text \r is \n
Begun = tuple[subprocess.Popen[str], psutil.Process]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[str], Begun]]:
    """Starts a small benchmark in `tmp_path`; itself and its server, which answers and ends when it may."""
    (tmp_path / "server.py").write_text(SERVER, encoding="utf-8")
    (tmp_path / "benchmark.py").write_text(BENCHMARK, encoding="utf-8")
    begun: list[Begun] = []

    def start(how: str) -> Begun:
        process = subprocess.Popen(
            [sys.executable, "benchmark.py", str(free_port()), how],
            cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        begun.append((process, psutil.Process(int(process.stdout.readline()))))
        return begun[-1]

    yield start
    for process, server in begun:
        for one in (process, server):
            if one.is_running() if isinstance(one, psutil.Process) else one.poll() is None:
                one.kill()
        process.communicate()


@pytest.mark.parametrize("how", ["wait", "busy"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_stops_the_server(
    begin: Callable[[str], Begun], tmp_path: Path, number: signal.Signals, how: str
) -> None:
    (tmp_path / "may end").touch()
    process, server = begin(how)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert not server.is_running()
    assert process.returncode == 128 + number
    assert said == STOPPING.format(number.name)


@pytest.mark.parametrize("how", ["wait", "end"], ids=["after a signal", "by itself"])
def test_no_signal_cuts_the_cleaning_up_short(begin: Callable[[str], Begun], tmp_path: Path, how: str) -> None:
    process, server = begin(how)
    if how == "wait":
        process.send_signal(signal.SIGTERM)
    until("the server is asked to end", (tmp_path / "asked").exists)
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    (tmp_path / "may end").touch()
    process.communicate(timeout=60)
    assert not server.is_running()
    assert process.returncode == 128 + (signal.SIGTERM if how == "wait" else signal.SIGINT)


def test_what_nohup_has_ignored_stays_ignored(begin: Callable[[str], Begun], tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process, server = begin("wait")
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send_signal(signal.SIGHUP)
    server.send_signal(signal.SIGHUP)  # as when the terminal goes
    (tmp_path / "may end").touch()
    server.terminate()
    until("the server is asked to end", (tmp_path / "asked").exists)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


FAILING = """
import sys
import httpx
from ending import in_order
from load import LoadError

def main():
    request = httpx.Request("GET", "http://gateway.example/metrics")
    raise {}

sys.exit(in_order(main))
"""
TOLD = {
    'RuntimeError("the stack did not come up")': "the stack did not come up",
    'LoadError("3 of 9 requests failed")': "3 of 9 requests failed",
    'httpx.ReadTimeout("", request=request)': "http://gateway.example/metrics: ReadTimeout",
    "httpx.Response(500, request=request).raise_for_status()": "http://gateway.example/metrics: "
    "Server error '500 Internal Server Error' for url 'http://gateway.example/metrics'",
}


def failing(with_: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FAILING.format(with_)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("raised", TOLD)
def test_what_its_user_can_mend_is_told_in_one_line(raised: str) -> None:
    done = failing(raised)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"bench: {TOLD[raised]}\n")


def test_a_defect_is_shown_whole() -> None:
    done = failing('KeyError("services")')
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


def test_a_gateway_out_of_reach_is_told(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run("outage.py", folder=tmp_path, LITELLM_PROXY_URL=url, LITELLM_MASTER_KEY="any")
    assert done.returncode == 1
    assert done.stderr.startswith(f"bench: {url}/v1/chat/completions: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("program", "begins"), [(double, "start_all"), (gateway, "a_stack"), (hotspots, "a_stack"), (levers, "a_stack")]
)
def test_without_wrk_nothing_is_started(
    program: ModuleType, begins: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["bench"])
    monkeypatch.setattr(program, begins, None)
    with pytest.raises(LoadError, match="apt install wrk"):
        program.main()


def launcher_of(benchmark: subprocess.Popen[str]) -> psutil.Process | None:
    """The launcher of its stack, as soon as the `up` that has started it only waits."""
    with suppress(psutil.Error):
        for up in psutil.Process(benchmark.pid).children():
            for one in up.children():
                if "--detach" not in one.cmdline() and up.status() == psutil.STATUS_SLEEPING:
                    return one
    return None


def test_a_stack_that_is_not_up_yet_goes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(BENCH / "scrape.py")],
        cwd=project_root(), env=environment(TMPDIR=str(tmp_path)), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    launcher: psutil.Process | None = None
    try:
        launcher = until("the launcher", lambda: launcher_of(process))
        state = StateDir(next(tmp_path.glob("*/state")))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=START_SECONDS)
        assert process.returncode == 128 + signal.SIGTERM
        assert said == STOPPING.format("SIGTERM")
        assert not launcher.is_running()
        assert not state.leftovers()
        assert not list(tmp_path.iterdir())
    finally:
        process.kill()
        process.wait()
        if launcher and launcher.is_running():
            launcher.terminate()
            launcher.wait(START_SECONDS)

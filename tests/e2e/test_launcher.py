"""The launcher under rough handling: killed children, a killed launcher, a second start, a busy port, Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from proxy import secrets
from tests.conftest import COMMAND, Stack, bare_environment, free_port, until


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack for this module alone: what is killed here must not be another test's."""
    stack = Stack(tmp_path_factory.mktemp("own"), free_port())
    stack.up()
    yield stack
    stack.down()


def complete(stack: Stack, timeout: float = 30) -> bool:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    try:
        headers = {"Authorization": f"Bearer {stack.master_key}"}
        answer = httpx.post(
            f"{stack.url}/v1/chat/completions", json=body, headers=headers, timeout=timeout, trust_env=False
        )
    except httpx.HTTPError:
        return False
    return answer.status_code == 200


def make_key(stack: Stack) -> str | None:
    """A virtual key; made only where gateway, engine and Postgres all work."""
    try:
        headers = {"Authorization": f"Bearer {stack.master_key}"}
        answer = httpx.post(f"{stack.url}/key/generate", json={}, headers=headers, timeout=30, trust_env=False)
    except httpx.HTTPError:
        return None
    return answer.json()["key"] if answer.status_code == 200 else None


class Traffic:
    """Completions one after another for as long as it is open."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._over = stack, threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        while not self._over.is_set():
            complete(self._stack)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def engine(stack: Stack) -> psutil.Process:
    """The query engine: the gateway's Node child."""
    children = psutil.Process(stack.pid("gateway")).children(recursive=True)
    return next(child for child in children if "main.js" in " ".join(child.cmdline()) or "query-engine" in child.name())


@pytest.mark.parametrize("service", ["simulator", "postgres", "gateway"])
def test_a_killed_service_comes_back_under_traffic(own: Stack, service: str) -> None:
    before = own.pid(service)
    with Traffic(own):
        os.kill(before, signal.SIGKILL)
        until(f"{service} again", lambda: own.pid(service) != before)
        until("a virtual key", lambda: make_key(own), 120)
    assert until("a completion", lambda: complete(own), 60)
    assert own.status()["services"][service]["restarts"] >= 1
    assert f"{service} was killed by SIGKILL" in own.state.log("launcher").read_text()


def test_a_killed_query_engine_comes_back_under_traffic(own: Stack) -> None:
    before = engine(own)
    with Traffic(own):
        before.kill()
        until("a virtual key", lambda: make_key(own), 120)
    assert engine(own).pid != before.pid


def test_a_second_up_finds_the_first(own: Stack) -> None:
    launcher = own.status()["launcher_pid"]
    again = own.up()
    assert "already up" in again.stdout
    assert own.url in again.stdout
    assert own.status()["launcher_pid"] == launcher


def test_what_a_killed_launcher_left_is_taken_over(own: Stack) -> None:
    key = make_key(own)
    assert key
    os.kill(own.status()["launcher_pid"], signal.SIGKILL)
    until("the lock let go", lambda: not own.state.is_held())
    assert own.state.leftovers()
    left = own.command("status", check=False)
    assert left.returncode == 3
    assert "left running" in left.stdout
    own.up()
    models = httpx.get(f"{own.url}/v1/models", headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30)
    assert models.status_code == 200, "a virtual key did not outlive the launcher"


def test_down_stops_everything_and_keeps_the_data(own: Stack) -> None:
    key = make_key(own)
    own.down()
    assert own.state.leftovers() == []
    assert own.command("status", check=False).returncode == 3
    own.up()
    models = httpx.get(f"{own.url}/v1/models", headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30)
    assert models.status_code == 200


def test_no_secret_is_on_a_command_line_in_a_log_or_readable_by_others(own: Stack) -> None:
    values = [value for value in secrets.read_env_file(own.env_file).values() if len(value) > 8]
    assert len(values) == 5
    processes = [psutil.Process(own.status()["launcher_pid"]), *own.state.leftovers()]
    shown = [" ".join(process.cmdline()) for process in processes if process.is_running()]
    texts = shown + [path.read_text(errors="replace") for path in own.state.logs.iterdir()]
    texts += [own.state.run_file.read_text(), *(path.read_text() for path in own.state.rendered.glob("*.yaml"))]
    assert not [value for value in values if any(value in text for text in texts)]
    assert own.env_file.stat().st_mode & 0o077 == 0


def test_nothing_listens_beyond_this_machine(own: Stack) -> None:
    services = {own.pid(name) for name in ("gateway", "simulator", "postgres")} | {engine(own).pid}
    listening = [c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.pid in services]
    assert len(listening) >= 4
    assert set(listening) == {"127.0.0.1"}


def test_a_busy_port_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        stack = Stack(tmp_path, server.getsockname()[1])
        done = stack.command("up", "--port", str(stack.port), "--env-file", str(stack.env_file), check=False)
    assert done.returncode == 1
    assert f"port {stack.port} on 127.0.0.1 is in use by" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert stack.state.leftovers() == []


def test_a_typo_in_the_configuration_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    stack = Stack(tmp_path, free_port())
    (tmp_path / "proxy.yaml").write_text("modles: {}\n")
    done = stack.up("--config", str(tmp_path / "proxy.yaml"), check=False)
    assert done.returncode == 1
    assert "models" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert stack.state.leftovers() == []


def test_live_mode_names_every_missing_key(tmp_path: Path) -> None:
    stack = Stack(tmp_path, free_port())
    done = stack.up("--mode", "live", check=False)
    assert done.returncode == 1
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        assert name in done.stdout + done.stderr


@pytest.mark.parametrize("seconds", [0.1, 4.0])
def test_ctrl_c_while_starting_leaves_nothing_behind(tmp_path: Path, seconds: float) -> None:
    stack = Stack(tmp_path, free_port())
    started = start_up(stack, COMMAND)
    until("it has begun", stack.state.root.exists)
    time.sleep(seconds)  # the moment is the point: it falls into another step each time
    started.send_signal(signal.SIGINT)
    check_interrupted(stack, started)


INTERRUPTED_BEFORE_THE_FIRST_STEP = """
import os, signal
from proxy.cli import main
from proxy.stack.embedded import EmbeddedStack
prepare = EmbeddedStack.__init__
def interrupted(self, *args):
    os.kill(os.getpid(), signal.SIGINT)
    prepare(self, *args)
EmbeddedStack.__init__ = interrupted
main()
"""


def test_ctrl_c_before_the_first_step_leaves_nothing_behind(tmp_path: Path) -> None:
    stack = Stack(tmp_path, free_port())
    check_interrupted(stack, start_up(stack, [sys.executable, "-c", INTERRUPTED_BEFORE_THE_FIRST_STEP]))


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_to_an_up_that_waits_for_its_launcher_stops_both(tmp_path: Path, number: signal.Signals) -> None:
    stack = Stack(tmp_path, free_port())
    waiting = start_up(stack, COMMAND, "--detach", "--no-smoke")
    try:
        until("a first service", stack.state.leftovers)
        waiting.send_signal(number)
        output, _ = waiting.communicate(timeout=60)
        assert waiting.returncode == 128 + number, output
        assert output.endswith("Stopped.\n")
        assert "Traceback" not in output
        assert not stack.state.leftovers()
        assert not stack.state.is_held()
        assert stack.state.last_run() is None
        assert "left running" not in stack.up().stdout
    finally:
        waiting.kill()
        waiting.wait()
        stack.down()


INTERRUPTED_AT_ONCE = """
import os, signal, subprocess
from proxy.cli import main
begin = subprocess.Popen.__init__
def interrupted(self, *args, **more):
    begin(self, *args, **more)
    print(self.pid, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
subprocess.Popen.__init__ = interrupted
main()
"""


def test_ctrl_c_as_soon_as_the_launcher_is_begun_does_not_leave_it_behind(tmp_path: Path) -> None:
    stack = Stack(tmp_path, free_port())
    output, _ = start_up(stack, [sys.executable, "-c", INTERRUPTED_AT_ONCE], "--detach").communicate(timeout=60)
    launcher = int(output.split()[0])
    try:
        assert not psutil.pid_exists(launcher)
        assert output == f"{launcher}\nStopped.\n"
    finally:
        with suppress(ProcessLookupError):
            os.kill(launcher, signal.SIGTERM)


WITH_A_SLOW_LAUNCHER = """
import subprocess, sys
from proxy.cli import main
LAUNCHER = '''
import signal
signal.alarm(60)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
for said in ("begun", "asked", "asked again"):
    print(said)
    signal.sigwait([signal.SIGTERM])
'''
begin = subprocess.Popen.__init__
def slow(self, command, **more):
    begin(self, [sys.executable, "-c", LAUNCHER], **more)
subprocess.Popen.__init__ = slow
main()
"""


def test_each_signal_goes_on_to_a_launcher_that_is_slow_to_stop(tmp_path: Path) -> None:
    stack = Stack(tmp_path, free_port())
    waiting = start_up(stack, [sys.executable, "-c", WITH_A_SLOW_LAUNCHER], "--detach")
    output = signalled(stack, waiting, [signal.SIGHUP], [signal.SIGINT], [signal.SIGTERM])
    assert waiting.returncode == 128 + signal.SIGHUP
    assert output.endswith("Stopped.\n")


def test_under_nohup_a_detached_up_does_not_stop_at_sighup(tmp_path: Path) -> None:
    stack = Stack(tmp_path, free_port())
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        waiting = start_up(stack, [sys.executable, "-c", WITH_A_SLOW_LAUNCHER], "--detach")
    finally:
        signal.signal(signal.SIGHUP, before)
    signalled(stack, waiting, [signal.SIGHUP, signal.SIGTERM], [signal.SIGTERM], [signal.SIGTERM])
    assert waiting.returncode == 128 + signal.SIGTERM


def signalled(stack: Stack, waiting: subprocess.Popen[str], *numbers: list[signal.Signals]) -> str:
    """Signals, each time that the slow launcher waits for one; what was written until all had ended."""
    try:
        for said, these in zip(("begun", "asked", "asked again"), numbers, strict=True):
            until(said, lambda said=said: stack.state.last_lines("launcher", 1) == [said])
            for number in these:
                waiting.send_signal(number)
        return waiting.communicate(timeout=60)[0]
    finally:
        waiting.kill()
        waiting.wait()


def start_up(stack: Stack, command: list[str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, "up", "--port", str(stack.port), "--env-file", str(stack.env_file), *stack.options, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=bare_environment(),
    )


def check_interrupted(stack: Stack, started: subprocess.Popen[str]) -> None:
    try:
        output, _ = started.communicate(timeout=60)
    finally:
        started.kill()
        left = [process.name() for process in stack.state.leftovers()]
        stack.state.stop_leftovers()
    assert started.returncode == 130, output
    assert "Traceback" not in output
    assert left == []
    assert not stack.state.is_held()

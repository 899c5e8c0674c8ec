"""`litellm-local bench` on the shared stack: its figures, its key, and what it refuses. No figure is judged here."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from proxy.bench.deployment import a_key
from proxy.catalog import load_catalog
from tests.conftest import COMMAND, Stack, bare_environment, free_port, project_root

WAIT_SECONDS = 60
SHORT = ("--seconds", "2", "--connections", "3")


def keys_of_bench(stack: Stack) -> list[str]:
    headers = {"Authorization": f"Bearer {stack.master_key}"}
    answer = httpx.get(
        f"{stack.url}/key/list?return_full_object=true&size=100", headers=headers, timeout=30, trust_env=False
    )
    keys = answer.raise_for_status().json()["keys"]
    return [key["token"] for key in keys if (key.get("metadata") or {}).get("made_by") == "litellm-local bench"]


@pytest.mark.parametrize("how", [(), ("--stream",)], ids=["whole", "stream"])
def test_the_figures_in_json(stack: Stack, how: tuple[str, ...]) -> None:
    found = json.loads(stack.command("bench", *SHORT, *how, "--json").stdout)
    assert (found["url"], found["mode"], found["stream"]) == (stack.url, "double", bool(how))
    assert set(found["models"]) == set(load_catalog().models)
    assert set(found["statuses"]) <= {"200", "429"}
    assert found["statuses"]["200"] == pytest.approx(found["per_second"] * found["seconds"], rel=0.02)
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    assert found["cpu_ms_per_request"] > 0
    assert found["memory_mb"] > 0
    assert found["client_ceiling_per_second"] > 0
    assert "requests a minute" in found["verdict"][0]
    assert not keys_of_bench(stack)


def test_ctrl_c_leaves_no_key(stack: Stack) -> None:
    command = [*COMMAND, "bench", "--seconds", "300", "--connections", "2", *stack.options]
    process = subprocess.Popen(
        command, env=bare_environment(), cwd=project_root(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not keys_of_bench(stack):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no key was made"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=WAIT_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Stopped." in said
    assert "Traceback" not in said
    assert not keys_of_bench(stack)


def test_ctrl_c_while_the_key_is_made_leaves_none(stack: Stack) -> None:
    async def interrupted() -> None:
        bench = asyncio.current_task()

        async def interrupt(_answer: httpx.Response) -> None:
            client.event_hooks = {}
            assert bench
            bench.cancel()

        headers, hooks = {"Authorization": f"Bearer {stack.master_key}"}, {"response": [interrupt]}
        async with (
            httpx.AsyncClient(
                base_url=stack.url, headers=headers, event_hooks=hooks, timeout=WAIT_SECONDS, trust_env=False
            ) as client,
            a_key(client),
        ):
            pytest.fail("it was not interrupted")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert not keys_of_bench(stack)


class Live(BaseHTTPRequestHandler):
    """A gateway in live mode, as far as it is asked: that no more than its mode is asked is what counts."""

    asked: list[str] = []  # noqa: RUF012 - of the class, for the test to read

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("x-litellm-local-mode", "live")
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.send_error(500)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def live() -> Iterator[str]:
    Live.asked.clear()
    server = HTTPServer(("127.0.0.1", 0), Live)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_live_deployment_is_left_alone(stack: Stack, live: str) -> None:
    done = stack.command("bench", "--url", live, "--key", "sk-any", check=False)
    assert done.returncode == 1
    assert "costs money" in done.stderr
    assert "--live" in done.stderr
    assert Live.asked == ["/health/liveliness"]


def test_a_wrong_key_and_an_address_without_answer_are_told(stack: Stack) -> None:
    wrong = stack.command("bench", "--url", f"{stack.url}/", "--key", "sk-wrong", check=False)
    away = stack.command("bench", "--url", f"http://127.0.0.1:{free_port()}", "--key", "sk-any", check=False)
    assert (wrong.returncode, away.returncode) == (1, 1)
    assert "LITELLM_MASTER_KEY" in wrong.stderr
    assert "does not answer" in away.stderr
    assert "Traceback" not in wrong.stderr + away.stderr


@pytest.mark.parametrize("option", [("--seconds", "0"), ("--seconds", "301"), ("--connections", "257")])
def test_bounds_are_kept(stack: Stack, option: tuple[str, str]) -> None:
    done = stack.command("bench", *option, check=False)
    assert done.returncode == 2
    assert option[0] in done.stderr


def test_where_nothing_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "bench", "--state", str(tmp_path)],
        capture_output=True, text=True, env=bare_environment(), cwd=project_root(), check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "litellm-local up" in done.stderr

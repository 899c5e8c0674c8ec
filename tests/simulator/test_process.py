"""`python -m proxy.simulator`: starting, stopping, and what it says when it cannot."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from proxy.simulator import api_bases
from tests.simulator.running import port_of, start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    process = start()
    port = port_of(process)
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    process.send_signal(number)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


def test_a_hanging_request_does_not_keep_it_up() -> None:
    process = start(key=None)
    url = f"http://127.0.0.1:{port_of(process)}"
    httpx.put(f"{url}/_double/script", json={"rules": [{"fault": "hang"}]})
    failures: list[Exception] = []

    def ask() -> None:
        try:
            httpx.post(f"{url}/openai/v1/chat/completions", json={"model": "gpt-4o"}, timeout=30)
        except httpx.TransportError as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not httpx.get(f"{url}/_double/journal").json()["entries"]:
        pass
    process.terminate()
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0
    asking.join(10)
    assert not asking.is_alive()


def test_a_busy_port_is_one_line_and_exit_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start("--port", str(port))
        try:
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 1
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith(f"proxy.simulator: cannot listen on 127.0.0.1 port {port}: Address already in use")
    assert "--port" in line


def test_open_control_is_refused_beyond_loopback() -> None:
    process = start("--host", "0.0.0.0", key=None)  # noqa: S104
    try:
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 1
    assert err.startswith("proxy.simulator: LITELLM_LOCAL_CONTROL_KEY must be set to listen on 0.0.0.0")


def test_a_chosen_port() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = start("--host", "127.0.0.1", "--port", str(port))
    try:
        assert port_of(process) == port
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_it_begins_with_the_script_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "script.yaml"
    file.write_text("strict: true\nrules:\n  - reply: Hello\n    name: greeting\n", encoding="utf-8")
    process = start("--script", str(file), key=None)
    try:
        shown = httpx.get(f"http://127.0.0.1:{port_of(process)}/_double/script").json()
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert (shown["scope"], shown["strict"], shown["rules"][0]["name"]) == ("default", True, "greeting")


def test_a_script_that_cannot_be_meant_keeps_it_from_starting(tmp_path: Path) -> None:
    file = tmp_path / "script.yaml"
    file.write_text("rules:\n  - replyy: Hello\n", encoding="utf-8")
    process = start("--script", str(file))
    try:
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out) == (1, "")
    assert "script.yaml:2: rules.0.replyy: unknown key; did you mean 'reply'?" in err


@pytest.mark.parametrize("aliases", ["{", "[]", '{"a": "b"}', '{"a": ["b"]}', '{"a": [1, 2]}'])
def test_aliases_that_are_none_keep_it_from_starting(aliases: str) -> None:
    process = start(aliases=aliases)
    try:
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out) == (1, "")
    assert err.startswith("proxy.simulator: LITELLM_LOCAL_ALIASES must be JSON")


def test_of_the_rest_of_the_proxy_it_imports_only_how_yaml_is_read_and_memory_goes_back() -> None:
    program = (
        "import sys, proxy.simulator.__main__ as m; m.tokens.encoding(); "
        "print([n for n in sys.modules if n.split('.')[0] == 'litellm' or "
        "(n.startswith('proxy.') and not n.startswith(('proxy.simulator', 'proxy.catalog', 'proxy.memory')))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_api_bases() -> None:
    assert api_bases("http://127.0.0.1:9/") == {
        "openai": "http://127.0.0.1:9/openai/v1",
        "anthropic": "http://127.0.0.1:9/anthropic",
        "google": "http://127.0.0.1:9/gemini/v1beta",
    }

"""How fast the gateway is beside LiteLLM's own command, on the same configuration, database and upstream.

    .venv/bin/python scripts/bench/gateway.py [--rounds N] [--seconds N] [--connections 1,16,64] [--starts N]

Brings a stack of its own up (double mode, the 1000 requests a minute replaced by a limit out of the way) and, beside
its gateway, LiteLLM's own command in the same environment: the same rendered configuration, virtual key, Postgres
through the same engine, simulator. wrk asks one after the other, in rounds, so that a slow moment of the machine meets
all. The simulator is measured too: it shows that neither it nor wrk is what is measured. The gateway's Python process
and its engine are counted, of both; memory is their PSS. `--starts` times starts: from the command to the first reply
to a virtual key.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from load import LoadError
from rounds import START_SECONDS, Server, measure, options, plain, serving, show

from proxy import secrets
from proxy.catalog import project_root
from proxy.stack.ports import free_port

MODEL = "gpt-4o"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "What follows from the first?"}]}
TEXT = "The answer to the second question follows from the first. " * 4
NO_LIMIT = 10_000_000


def main() -> int:
    parser = options("The gateway beside LiteLLM's own command.", rounds=3, seconds=5)
    parser.add_argument("--connections", default="1,16,64", help="how many at once, one table for each")
    parser.add_argument("--starts", type=int, default=3, help="how often to time a start of each; 0: not at all")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder, a_stack(Path(folder)) as stack:
            tables = run(stack, given)
    except (LoadError, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if given.json:
        given.json.write_text(json.dumps(tables, indent=1))
    return 0


@dataclass(frozen=True)
class Stack:
    """What is up: the gateway's address, its process, its environment, the virtual key, the simulator's address."""

    url: str
    pid: int
    environment: Mapping[str, str]
    key: str
    simulator: str


@contextmanager
def a_stack(folder: Path) -> Iterator[Stack]:
    config = folder / "proxy.yaml"
    text = (project_root() / "config" / "proxy.yaml").read_text(encoding="utf-8")
    config.write_text(re.sub(r"(requests_per_minute:) *\d+", rf"\1 {NO_LIMIT}", text), encoding="utf-8")
    command = [sys.executable, "-m", "proxy.cli"]
    where = ["--state", str(folder / "state")]
    env_file = folder / ".env"
    up = ["up", *where, "--detach", "--no-smoke", "--mode", "double", "--port", str(free_port())]
    done = subprocess.run(
        [*command, *up, "--config", str(config), "--env-file", str(env_file)],
        cwd=project_root(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        if done.returncode:
            raise RuntimeError(f"the stack did not come up:\n{done.stdout}{done.stderr}")
        run = json.loads((folder / "state" / "run.json").read_text(encoding="utf-8"))
        master = {"Authorization": f"Bearer {secrets.read_env_file(env_file)[secrets.MASTER_KEY]}"}
        with httpx.Client(base_url=run["url"], headers=master, timeout=30, trust_env=False) as client:
            client.put("/_double/script", json={"rules": [{"reply": {"text": TEXT}}]}).raise_for_status()
            key = client.post("/key/generate", json={}).raise_for_status().json()["key"]
        pid = run["services"]["gateway"]["pid"]
        yield Stack(run["url"], pid, psutil.Process(pid).environ(), key, run["simulator_url"])
    finally:
        subprocess.run([*command, "down", *where], cwd=project_root(), capture_output=True, check=False)


@contextmanager
def litellms_own(stack: Stack) -> Iterator[tuple[str, int]]:
    """LiteLLM's own command with one worker; its address and process."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("litellm")), "--config", stack.environment["CONFIG_FILE_PATH"]]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    url = f"http://127.0.0.1:{port}"
    with serving(command, f"{url}/health/readiness", env=dict(stack.environment)) as process:
        yield url, process.pid


def run(stack: Stack, given: Any) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    headers = {"Authorization": f"Bearer {stack.key}"}
    with litellms_own(stack) as (url, pid):
        ours = Server(f"{stack.url}/v1/chat/completions", headers, pids=family(stack.pid))
        servers = {
            "gateway": ours,
            "gateway again": ours,
            "LiteLLM's own": Server(f"{url}/v1/chat/completions", headers, pids=family(pid)),
            "simulator": Server(f"{stack.simulator}/openai/v1/chat/completions", {"Authorization": "Bearer any"}),
        }
        for at in map(int, given.connections.split(",")):
            for kind, streams in (("in one piece", False), ("streaming", True)):
                found = measure(servers, {**BODY, "stream": streams}, rounds=given.rounds, seconds=given.seconds, at=at)
                show(f"{kind}, {at} connection{'s' if at > 1 else ''}", found)
                tables[f"{kind}, {at}"] = plain(found)
        tables["memory"] = show_memory({"gateway": stack.pid, "LiteLLM's own": pid})
    if given.starts:
        tables["start"] = time_starts(stack, given.starts)
    return tables


def family(pid: int) -> list[int]:
    """A process and those that it has started."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def show_memory(of: Mapping[str, int]) -> dict[str, float]:
    used = {name: sum(psutil.Process(one).memory_full_info().pss for one in family(pid)) for name, pid in of.items()}
    print("\nMemory after the load, PSS")
    for name, size in used.items():
        print(f"  {name:<18}{size / 1e6:>8.0f} MB")
    return {name: size / 1e6 for name, size in used.items()}


def time_starts(stack: Stack, number: int) -> dict[str, list[float]]:
    """Seconds from the command to the first reply, of each in turns."""
    ours = [sys.executable, "-m", "proxy.gateway"]
    theirs = [str(Path(sys.executable).with_name("litellm")), "--config", stack.environment["CONFIG_FILE_PATH"]]
    taken: dict[str, list[float]] = {"gateway": [], "LiteLLM's own": []}
    for round_ in range(number):
        print(f"\rstart {round_ + 1} of {number} ", end="", file=sys.stderr, flush=True)
        port = str(free_port())
        environment = {**stack.environment, "LITELLM_LOCAL_PORT": port}
        taken["gateway"].append(start_seconds(ours, port, environment, stack.key))
        port = str(free_port())
        command = [*theirs, "--host", "127.0.0.1", "--port", port]
        taken["LiteLLM's own"].append(start_seconds(command, port, stack.environment, stack.key))
    print("\r\033[K\nFrom the command to the first reply, seconds")
    for name, seconds in taken.items():
        print(f"  {name:<18}{statistics.median(seconds):>8.1f}  ({min(seconds):.1f} to {max(seconds):.1f})")
    return taken


def start_seconds(command: Sequence[str], port: str, environment: Mapping[str, str], key: str) -> float:
    quiet = subprocess.DEVNULL
    began = time.monotonic()
    process = subprocess.Popen(command, env=dict(environment), stdout=quiet, stderr=quiet)
    try:
        while not replies(f"http://127.0.0.1:{port}", key):
            if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise RuntimeError(f"{command[0]} does not answer")
            time.sleep(0.02)
        return time.monotonic() - began
    finally:
        process.terminate()
        process.wait(60)


def replies(url: str, key: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    try:
        answer = httpx.post(f"{url}/v1/chat/completions", json=BODY, headers=headers, timeout=30, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200


if __name__ == "__main__":
    sys.exit(main())

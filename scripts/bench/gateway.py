"""How fast the gateway is beside LiteLLM's own command, on the same configuration, database and upstream.

    .venv/bin/python scripts/bench/gateway.py [--rounds N] [--seconds N] [--connections 1,16,64]
        [--starts N] [--ups N] [--json FILE] [--chart FILE.svg]

Brings a stack of its own up (double mode, the 1000 requests a minute replaced by a limit out of the way) and, beside
its gateway, LiteLLM's own command in the same environment: the same rendered configuration, virtual key, Postgres
through the same engine, simulator. wrk asks one after the other, in rounds, so that a slow moment of the machine meets
all. The gateway stands there twice, so that noise shows. The simulator is measured too: neither it nor wrk is what is
measured. Landmarks: a bare reverse proxy, and Portkey's gateway where nothing streams. The gateway's Python process
and its engine are counted, of both; memory is their PSS. `--starts` times starts: from the command to the first reply
to a virtual key. `--ups` also shows the memory of a whole stack.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from chart import Bar, chart
from ending import in_order
from footprint import memory
from landmarks import bare_proxy, portkey
from load import need_wrk
from pair import measure_pair
from rounds import Server, an_up, family, measure, options, plain, serving, show, speed_ratios
from starts import BODY, time_starts, time_ups

from proxy import secrets
from proxy.catalog import project_root
from proxy.stack.ports import free_port
from proxy.stack.state import StateDir, tail

TEXT = "The answer to the second question follows from the first. " * 4
NO_LIMIT = 10_000_000
LOG_LINES = 80


def main() -> int:
    parser = options("The gateway beside LiteLLM's own command.", rounds=3, seconds=5)
    parser.add_argument("--connections", default="1,16,64", help="how many at once, one table for each")
    parser.add_argument("--starts", type=int, default=3, help="how often to time a start of each; 0: not at all")
    parser.add_argument("--ups", type=int, default=3, help="how often to time a warm `up`; 0: not at all")
    parser.add_argument("--chart", type=Path, help="also draw the ratios there, as SVG")
    given = parser.parse_args()
    need_wrk()
    with tempfile.TemporaryDirectory() as folder, a_stack(Path(folder)) as stack:
        tables, bars = run(stack, given, Path(folder))
    if given.json:
        given.json.write_text(json.dumps(tables, indent=1))
    if given.chart:
        given.chart.write_text(chart("requests/s, gateway by LiteLLM's own command", bars), encoding="utf-8")
    return 0


@dataclass(frozen=True)
class Stack:
    """What is up: the gateway's address, its process, its environment, the virtual key, the simulator's address, where
    it keeps its state."""

    url: str
    pid: int
    environment: Mapping[str, str]
    key: str
    simulator: str
    state: StateDir

    def log(self, service: str) -> str:
        """The last lines it has written."""
        return "\n".join(tail(self.state.log(service), LOG_LINES))


@contextmanager
def a_stack(folder: Path) -> Iterator[Stack]:
    config = folder / "proxy.yaml"
    text = (project_root() / "config" / "proxy.yaml").read_text(encoding="utf-8")
    config.write_text(re.sub(r"(requests_per_minute:) *\d+", rf"\1 {NO_LIMIT}", text), encoding="utf-8")
    with an_up(folder / "state", "--no-smoke", "--config", str(config), "--env-file", str(folder / ".env")):
        run = json.loads((folder / "state" / "run.json").read_text(encoding="utf-8"))
        pid = run["services"]["gateway"]["pid"]
        environment = psutil.Process(pid).environ()  # the keys are those of the file, or whoever measures has set them
        master = {"Authorization": f"Bearer {environment[secrets.MASTER_KEY]}"}
        with httpx.Client(base_url=run["url"], headers=master, timeout=30, trust_env=False) as client:
            client.put("/_double/script", json={"rules": [{"reply": {"text": TEXT}}]}).raise_for_status()
            key = client.post("/key/generate", json={}).raise_for_status().json()["key"]
            client.get("/openapi.json").raise_for_status()  # a first start computes it in a process of its own
        yield Stack(run["url"], pid, environment, key, run["simulator_url"], StateDir(folder / "state"))


@contextmanager
def litellms_own(stack: Stack) -> Iterator[tuple[str, int]]:
    """LiteLLM's own command with one worker; its address and process."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("litellm")), "--config", stack.environment["CONFIG_FILE_PATH"]]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    url = f"http://127.0.0.1:{port}"
    with serving(command, f"{url}/health/readiness", env=dict(stack.environment)) as process:
        yield url, process.pid


def run(stack: Stack, given: Any, folder: Path) -> tuple[dict[str, Any], list[Bar]]:
    tables: dict[str, Any] = {}
    bars: list[Bar] = []
    headers = {"Authorization": f"Bearer {stack.key}"}
    with (
        litellms_own(stack) as (url, pid),
        bare_proxy(stack.simulator) as bare,
        portkey(folder, stack.simulator) as whole_only,
    ):
        ours = Server(f"{stack.url}/v1/chat/completions", headers, pids=family(stack.pid))
        servers = {
            "gateway": ours,
            "gateway again": ours,
            "LiteLLM's own": Server(f"{url}/v1/chat/completions", headers, pids=family(pid)),
            "bare proxy": bare,
            **({"Portkey": whole_only} if whole_only else {}),
            "simulator": Server(f"{stack.simulator}/openai/v1/chat/completions", {"Authorization": "Bearer any"}),
        }
        of = {"gateway": stack.pid, "LiteLLM's own": pid}
        tables["memory before"] = show_memory("before the load", of)
        for at in map(int, given.connections.split(",")):
            for kind, streams in (("in one piece", False), ("streaming", True)):
                asked = {name: one for name, one in servers.items() if not (streams and name == "Portkey")}
                found = measure(asked, {**BODY, "stream": streams}, rounds=given.rounds, seconds=given.seconds, at=at)
                show(f"{kind}, {at} connection{'s' if at > 1 else ''}", found, "simulator")
                tables[f"{kind}, {at}"] = plain(found)
                for name in ("gateway again", "LiteLLM's own"):
                    ratios = speed_ratios(found["gateway"], found[name])
                    middle = statistics.median(ratios)
                    bars.append(Bar(f"{kind}, {at}: by {name}", ratios[0], middle, ratios[-1]))
        tables["memory after"] = show_memory("after the load", of)
    body = {**BODY, "stream": False}
    how = {"rounds": given.rounds, "seconds": given.seconds}
    one = Server(f"{stack.url}/v1/chat/completions", headers, pids=family(stack.pid))
    tables["two gateways"] = measure_pair(stack.environment, one, body, folder, **how)
    if given.starts:
        tables["start"] = time_starts(stack.environment, stack.key, given.starts)
    if given.ups:
        tables["up"], tables["footprint"] = time_ups(folder, stack.environment, stack.key, given.ups)
    return tables, bars


def show_memory(when: str, of: Mapping[str, int]) -> dict[str, list[float]]:
    """MB of each: its Python process, and that with its engine."""
    used = {}
    for name, pid in of.items():
        used[name] = [memory([pid]), memory(family(pid))]
    print(f"\nMemory {when}, PSS: of Python, and with the engine")
    for name, (python, whole) in used.items():
        print(f"  {name:<18}{python:>8.0f} MB{whole:>8.0f} MB")
    return used


if __name__ == "__main__":
    sys.exit(in_order(main))

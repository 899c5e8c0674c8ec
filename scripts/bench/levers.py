"""What each lever of proxy/gateway/speed/ gives: the gateway with all on, beside one with that lever off.

    .venv/bin/python scripts/bench/levers.py [--rounds N] [--seconds N] [--at N] [--stream] [--json FILE] [LEVER ...]

Both are on one stack (see gateway.py) and asked in turns. Shown are the CPU of a request, by gateway and engine
together, and the requests a second with the lever as multiples of those without; the first line pairs two with all on,
to show how far chance goes, and the last one all levers with none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from ending import in_order
from gateway import BODY, Stack, a_stack, family
from load import need_wrk
from rounds import Server, cpu_ratios, measure, options, serving, speed_ratios, spread

from proxy.catalog import project_root
from proxy.gateway.speed import LEVERS
from proxy.stack.ports import free_port

NOTHING, ALL = "nothing", "all levers"


def main() -> int:
    parser = options("What each lever of the gateway's speed gives.", rounds=5, seconds=4)
    parser.add_argument("--at", type=int, default=8, help="requests at once")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("lever", nargs="*", help=f"all where none is named: {', '.join(LEVERS)}")
    given = parser.parse_args()
    need_wrk()
    with tempfile.TemporaryDirectory() as folder, a_stack(Path(folder)) as stack:
        found = run(stack, Path(folder), given)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    return 0


def run(stack: Stack, folder: Path, given: Any) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    body = {**BODY, "stream": given.stream}
    print(f"with the lever / without, {'streaming' if given.stream else 'in one piece'}, {given.at} at once")
    print(f"  {'':<20}{'CPU':<26}requests/s")
    with a_gateway(stack, folder, {"without": []}) as with_all:
        for name in given.lever or [NOTHING, *LEVERS, ALL]:
            without = {"enabled": name != ALL, "without": [] if name in (NOTHING, ALL) else [name]}
            with a_gateway(stack, folder, without) as other:
                servers = {"with": with_all, "without": other}
                rounds = measure(servers, body, rounds=given.rounds, seconds=given.seconds, at=given.at)
            found[name] = {
                "cpu": cpu_ratios(rounds["with"], rounds["without"]),
                "requests_per_second": speed_ratios(rounds["with"], rounds["without"]),
            }
            print(f"  {name:<20}{''.join(f'{spread(ratios):<26}' for ratios in found[name].values())}", flush=True)
    return found


@contextmanager
def a_gateway(stack: Stack, folder: Path, speed: dict[str, Any]) -> Iterator[Server]:
    """A gateway of the stack's environment, with its `speed` in proxy.yaml."""
    port = str(free_port())
    config = folder / f"{port}.yaml"
    content = yaml.safe_load(Path(stack.environment["LITELLM_LOCAL_CONFIG"]).read_text(encoding="utf-8"))
    config.write_text(yaml.safe_dump({**content, "speed": speed}), encoding="utf-8")
    environment = {**stack.environment, "LITELLM_LOCAL_PORT": port, "LITELLM_LOCAL_CONFIG": str(config)}
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "proxy.gateway"]
    ready = f"{url}/health/readiness"
    with serving(command, ready, env=environment, cwd=project_root(), stderr=subprocess.DEVNULL) as process:
        headers = {"Authorization": f"Bearer {stack.key}"}
        yield Server(f"{url}/v1/chat/completions", headers, pids=family(process.pid))


if __name__ == "__main__":
    sys.exit(in_order(main))

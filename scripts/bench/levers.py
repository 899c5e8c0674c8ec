"""What each lever of proxy/gateway/speed/ gives: the gateway with all on, beside one with that lever off.

    .venv/bin/python scripts/bench/levers.py [--rounds N] [--seconds N] [--at N] [--stream] [--json FILE] [LEVER ...]

Both are on one stack (see gateway.py) and asked in turns. Shown is the CPU of a request with the lever as a multiple
of that without, by gateway and engine together; the first line pairs two with all on, to show how far chance goes, and
the last one all levers with none.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from gateway import BODY, Stack, a_stack, family
from load import LoadError
from rounds import Rounds, Server, measure, options, serving

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
    try:
        with tempfile.TemporaryDirectory() as folder, a_stack(Path(folder)) as stack:
            found = run(stack, Path(folder), given)
    except (LoadError, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    return 0


def run(stack: Stack, folder: Path, given: Any) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    body = {**BODY, "stream": given.stream}
    print(f"CPU with the lever / without, {'streaming' if given.stream else 'in one piece'}, {given.at} at once")
    with a_gateway(stack, folder, {"without": []}) as with_all:
        for name in [NOTHING, *(given.lever or LEVERS), ALL]:
            without = {"enabled": name != ALL, "without": [] if name in (NOTHING, ALL) else [name]}
            with a_gateway(stack, folder, without) as other:
                servers = {"with": with_all, "without": other}
                rounds = measure(servers, body, rounds=given.rounds, seconds=given.seconds, at=given.at)
            found[name] = ratios(rounds)
            print(f"  {name:<18}{show(found[name])}", flush=True)
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


def ratios(rounds: Rounds) -> list[float]:
    return [a.cpu / b.cpu for a, b in zip(rounds["with"], rounds["without"], strict=True) if a.cpu and b.cpu]


def show(found: Sequence[float]) -> str:
    return f"{statistics.median(found):.3f}  ({min(found):.3f} to {max(found):.3f})"


if __name__ == "__main__":
    sys.exit(main())

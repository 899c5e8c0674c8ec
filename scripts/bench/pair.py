"""Two gateways that share a Valkey, beside one without: do two answer 1.8 times as much? Used by gateway.py.

Needs `valkey-server` or `redis-server` on PATH; without either the row is left out, and why is said.
"""

from __future__ import annotations

import secrets
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from load import post
from rounds import WARM_UP_SECONDS, serving, spread

from proxy.secrets import VALKEY_PASSWORD
from proxy.stack.ports import free_port

NONE = "two gateways: left out, no valkey-server or redis-server is on PATH (apt install valkey, or redis-server)"


def measure_pair(
    environment: Mapping[str, str], one: str, key: str, body: Any, folder: Path, *, rounds: int, seconds: int
) -> list[float]:
    """Requests/s of two by those of the one at `one`, 16 connections to each, round by round; none without Valkey."""
    server = shutil.which("valkey-server") or shutil.which("redis-server")
    if server is None:
        print(f"\n{NONE}")
        return []
    headers = {"Authorization": f"Bearer {key}"}
    ratios = []
    with two_gateways(environment, server, folder) as urls, ThreadPoolExecutor(2) as both:

        def speed(url: str, lasting: int = seconds) -> float:
            chat = f"{url}/v1/chat/completions"
            return post(chat, body, headers, connections=16, seconds=lasting).per_second

        list(both.map(lambda url: speed(url, WARM_UP_SECONDS), urls))
        for _ in range(rounds):
            alone = speed(one)
            ratios.append(sum(both.map(speed, urls)) / alone)
    print(f"\nTwo gateways with {Path(server).name} by one without, 16 connections each: {spread(sorted(ratios))}")
    print(f"  median {statistics.median(ratios):.2f}; load, simulator and Postgres have the same cores")
    return ratios


@contextmanager
def two_gateways(environment: Mapping[str, str], server: str, folder: Path) -> Iterator[list[str]]:
    port, password = free_port(), secrets.token_hex(16)
    settings = folder / "valkey.conf"
    settings.write_text(f'port {port}\nbind 127.0.0.1\nrequirepass {password}\nsave ""\n', encoding="utf-8")
    settings.chmod(0o600)
    config = yaml.safe_load(Path(environment["CONFIG_FILE_PATH"]).read_text(encoding="utf-8"))
    there = {"host": "127.0.0.1", "port": port, "password": f"os.environ/{VALKEY_PASSWORD}"}
    config["router_settings"] |= {f"redis_{name}": value for name, value in there.items()}
    config["general_settings"]["coordination_redis"] = there
    rendered = folder / "with-valkey.yaml"
    rendered.write_text(yaml.safe_dump(config), encoding="utf-8")
    shared = {**environment, "CONFIG_FILE_PATH": str(rendered), VALKEY_PASSWORD: password}
    with ExitStack() as running:
        running.enter_context(serving_plainly([server, str(settings)]))
        urls = []
        for _ in range(2):
            at = free_port()
            urls.append(f"http://127.0.0.1:{at}")
            own = {**shared, "LITELLM_LOCAL_PORT": str(at)}
            running.enter_context(
                serving([sys.executable, "-m", "proxy.gateway"], f"{urls[-1]}/health/readiness", env=own)
            )
        yield urls


@contextmanager
def serving_plainly(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)

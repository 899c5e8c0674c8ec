"""Two gateways that share a Valkey, and two that share nothing, beside one: how much do two answer? Used by gateway.py.

Needs `valkey-server` or `redis-server` on PATH; without either the row is left out, and why is said.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from ending import started
from load import Round, post, warm_up
from quota import NO_GROUPS, cpu_groups, held_to
from rounds import Server, cpu_seconds, family, serving, spread, wait_for, wait_for_rest

from proxy.secrets import VALKEY_PASSWORD
from proxy.stack.ports import free_port

CONNECTIONS = 16
MEASURED = ("requests/s", "CPU of a request")
APART = ", sharing nothing"
HALF = 0.5
HELD = ", each held to half a core"
NONE = "two gateways: left out, no valkey-server or redis-server is on PATH (apt install valkey, or redis-server)"


def measure_pair(
    environment: Mapping[str, str], one: Server, body: Any, folder: Path, *, rounds: int, seconds: int
) -> dict[str, list[float]]:
    """Of two by those of one, 16 connections in all, round by round: requests/s, and CPU of a request; nothing without
    Valkey. On a machine with two cores, load, simulator and Postgres leave two gateways less than those: what two
    answer that share nothing is the most that two could there. Where each gateway is held to half a core, as a pod or a
    container is, there is room for all."""
    server = shutil.which("valkey-server") or shutil.which("redis-server")
    if server is None:
        print(f"\n{NONE}")
        return {}
    groups = cpu_groups()
    limits = ("", HELD) if groups else ("",)
    ratios: dict[str, list[float]] = {
        f"{name}{how}{limit}": [] for limit in limits for how in ("", APART) for name in MEASURED
    }
    alone = {one.url.removesuffix("/v1/chat/completions"): one.pids}
    with (
        ThreadPoolExecutor(2) as both,
        valkey(environment, server, folder) as with_valkey,
        two_gateways(with_valkey) as sharing,
        two_gateways(environment) as apart,
    ):

        def warmed(url: str) -> None:
            warm_up(f"{url}/v1/chat/completions", body, one.headers, connections=CONNECTIONS // 2)

        def asked(url: str, connections: int) -> Round:
            return post(f"{url}/v1/chat/completions", body, one.headers, connections=connections, seconds=seconds)

        def measured(gateways: Mapping[str, Sequence[int]], limit: str) -> tuple[float, float]:
            pids = [pid for each in gateways.values() for pid in each]
            with ExitStack() as held:
                for each in gateways.values():
                    if groups and limit:
                        held.enter_context(held_to(groups, HALF, each))
                before = cpu_seconds(pids)
                found = list(both.map(lambda url: asked(url, CONNECTIONS // len(gateways)), gateways))
                wait_for_rest(pids)
                used = cpu_seconds(pids) - before
            return sum(each.per_second for each in found), used / sum(each.requests for each in found)

        for two in (sharing, apart):
            list(both.map(warmed, two))
        for limit in limits:
            for _ in range(rounds):
                by = measured(alone, limit)
                for two, how in ((sharing, ""), (apart, APART)):
                    found = measured({url: family(pid) for url, pid in two.items()}, limit)
                    for name, of_two, of_one in zip(MEASURED, found, by, strict=True):
                        ratios[f"{name}{how}{limit}"].append(of_two / of_one)
    print(f"\nTwo gateways with {Path(server).name} by one without, {CONNECTIONS} connections in all")
    for name, values in ratios.items():
        print(f"  {name:<60}{spread(sorted(values))}")
    if not groups:
        print(f"  {HELD.removeprefix(', ')}: left out, {NO_GROUPS}")
    return ratios


@contextmanager
def valkey(environment: Mapping[str, str], server: str, folder: Path) -> Iterator[dict[str, str]]:
    """Runs one; begins with the environment of a gateway that uses it."""
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
    with listening([server, str(settings)], port):
        yield {
            **environment,
            "CONFIG_FILE_PATH": str(rendered),
            "LITELLM_LOCAL_CACHE": str(Path(environment["CONFIG_FILE_PATH"]).parent),  # with the schema, computed once
            VALKEY_PASSWORD: password,
        }


@contextmanager
def two_gateways(environment: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """Address -> process of each."""
    with ExitStack() as running:
        two = {}
        for _ in range(2):
            at = free_port()
            url = f"http://127.0.0.1:{at}"
            own = {**environment, "LITELLM_LOCAL_PORT": str(at)}
            command = [sys.executable, "-m", "proxy.gateway"]
            two[url] = running.enter_context(serving(command, f"{url}/health/readiness", env=own)).pid
        yield two


@contextmanager
def listening(command: list[str], port: int) -> Iterator[None]:
    """Runs a server that does not speak HTTP; begins when it takes connections."""
    with started(command, stdout=subprocess.DEVNULL) as process:
        wait_for(process, lambda: takes_connections(port))
        yield


def takes_connections(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False

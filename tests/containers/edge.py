"""A project behind its edge, and the clients that the edge's tests reach it with."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import httpx
from cryptography import x509

from proxy.catalog import project_root
from proxy.checks import Target
from proxy.stack.certificates import FILE, self_signed
from tests.conftest import free_port
from tests.containers.engine import Project, docker

DOMAIN = "llm.example.test"
FILES = ("docker-compose.yml", "tests/containers/edge.compose.yml")


@dataclass
class Edge:
    """The project, its edge's ports on 127.0.0.1, and the folder of the ACME authority's files."""

    project: Project
    http_port: int
    https_port: int

    @classmethod
    def make(cls, folder: Path, **more: str) -> Edge:
        pebble = folder / "pebble"
        variables = {
            "LITELLM_LOCAL_EDGE_HOST": "127.0.0.1",
            "LITELLM_LOCAL_ACME_SERVER": "https://pebble:14000/dir",
            "LITELLM_LOCAL_CERTBOT_SECONDS": "5",
            "PEBBLE_FOLDER": str(pebble),
            **more,
        }
        edge = cls(Project(folder, files=FILES, variables=variables), free_port(), free_port())
        edge._write_pebble(pebble)
        return edge

    @property
    def config(self) -> Path:
        return self.project.folder / "proxy.yaml"

    def render(self, *changes: tuple[str, str], options: Sequence[str] = ()) -> None:
        """`litellm-local config render compose --edge`, of proxy.yaml with this domain and these changes."""
        text = (project_root() / "config" / "proxy.yaml").read_text(encoding="utf-8")
        for old, new in (("domain: null", f"domain: {DOMAIN}"), *changes):
            assert old in text
            text = text.replace(old, new, 1)
        self.config.write_text(text, encoding="utf-8")
        ports = ["--http-port", str(self.http_port), "--https-port", str(self.https_port)]
        self.project.render("--mode", "double", "--config", str(self.config), "--edge", *ports, *options)

    @property
    def url(self) -> str:
        return f"https://{DOMAIN}:{self.https_port}"

    @property
    def key(self) -> str:
        return self.project.secrets["LITELLM_MASTER_KEY"]

    def target(self) -> Target:
        return Target(self.url, self.key, address="127.0.0.1", authority=self.project.state / FILE)

    @contextmanager
    def client(self, **options: Any) -> Iterator[httpx.Client]:
        """A client with the master key, by the domain's name, whoever has signed the certificate."""
        headers = {"Authorization": f"Bearer {self.key}", "Host": f"{DOMAIN}:{self.https_port}"}
        base = f"https://127.0.0.1:{self.https_port}"
        with httpx.Client(
            base_url=base, headers=headers, verify=trust_all(), timeout=60, trust_env=False, **options
        ) as client:
            yield client

    def certificate(self) -> x509.Certificate:
        """The one that a new connection is shown."""
        return x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", self.https_port)).encode())

    def log(self) -> list[dict[str, Any]]:
        """The edge's access log."""
        text = docker("logs", self.project.inspect()["edge"]["Id"])
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def gateways(self) -> dict[str, str]:
        """Address on the edge's network -> id of each gateway's container."""
        label = f"label=com.docker.compose.project={self.project.name}"
        ids = docker("ps", "-q", "--filter", label, "--filter", "label=com.docker.compose.service=gateway").split()
        networks = {one["Id"]: one["NetworkSettings"]["Networks"] for one in json.loads(docker("inspect", *ids))}
        return {found[f"{self.project.name}_front"]["IPAddress"]: one for one, found in networks.items()}

    def inside(self, script: str) -> str:
        """What Python prints in the gateway's container, an address of its own on the edge's network; `key` is the
        master key and `context` trusts every certificate."""
        head = (
            "import http.client, json, socket, ssl, urllib.request\n"
            "key = open('/run/secrets/LITELLM_MASTER_KEY').read().strip()\n"
            "context = ssl._create_unverified_context()\n"
        )
        return self.project.exec("gateway", "python", "-c", head + script)

    def control(self, method: str, path: str, body: object = None) -> Any:
        """A control call of the double, which the edge does not let through, from within."""
        data = json.dumps(json.dumps(body))
        script = (
            f"q = urllib.request.Request('http://127.0.0.1:4000/_double{path}', {data}.encode(), method='{method}', "
            "headers={'Authorization': 'Bearer ' + key, 'Content-Type': 'application/json'})\n"
            "print(urllib.request.urlopen(q).read().decode())"
        )
        return json.loads(self.inside(script))

    @staticmethod
    def _write_pebble(folder: Path) -> None:
        """Its certificate (self-signed, for its name) and configuration, by which it asks on the real ports."""
        folder.mkdir()
        pem = self_signed(folder, "pebble")
        (folder / "pebble.pem").write_text(pem, encoding="ascii")
        settings = {
            "listenAddress": "0.0.0.0:14000",
            "managementListenAddress": "0.0.0.0:15000",
            "certificate": "/etc/pebble/pebble.pem",
            "privateKey": "/etc/pebble/pebble.pem",
            "httpPort": 80,
            "tlsPort": 443,
            "certificateValidityPeriod": 7 * 24 * 3600,
        }
        (folder / "config.json").write_text(json.dumps({"pebble": settings}), encoding="utf-8")


Connections: TypeAlias = "asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]"


def trust_all() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@dataclass
class Load:
    """What became of requests: a status for each, the seconds from the first one sent to the last answer, and the head
    and body of one that was not served."""

    statuses: list[int] = field(default_factory=list)
    seconds: float = 0.0
    refused: tuple[str, str] | None = None

    def count(self, status: int) -> int:
        return self.statuses.count(status)


@contextmanager
def standing(port: int, connections: int) -> Iterator[Callable[[], Load]]:
    """Connections that stand already; called, it sends a request on each of them, all at once."""
    loop = asyncio.new_event_loop()
    try:
        free = loop.run_until_complete(_connected(port, connections))
        yield lambda: loop.run_until_complete(_load(free, [0.0] * connections))
    finally:
        loop.close()


def burst(port: int, requests: int) -> Load:
    """One request on each of as many connections, all sent at once when every connection stands."""
    with standing(port, requests) as send:
        return send()


def steady(port: int, per_second: float, seconds: float) -> Load:
    """Requests at an even pace."""
    times = [number / per_second for number in range(int(per_second * seconds))]

    async def all_of_it() -> Load:
        return await _load(await _connected(port, 20), times)

    return asyncio.run(all_of_it())


async def _connected(port: int, connections: int) -> Connections:
    context = trust_all()
    opening = asyncio.Semaphore(50)
    free: Connections = asyncio.Queue()

    async def connect() -> None:
        async with opening:
            free.put_nowait(await asyncio.open_connection("127.0.0.1", port, ssl=context))

    await asyncio.gather(*(connect() for _ in range(connections)))
    return free


async def _load(free: Connections, times: Sequence[float]) -> Load:
    load = Load()
    began = time.monotonic()

    async def one(at: float) -> None:
        await asyncio.sleep(max(0.0, began + at - time.monotonic()))
        reader, writer = await free.get()
        writer.write(f"GET /health/liveliness HTTP/1.1\r\nHost: {DOMAIN}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"content-length: (\d+)", head, re.I)
        assert length, head
        body = (await reader.readexactly(int(length[1]))).decode()
        load.seconds = time.monotonic() - began
        load.statuses.append(int(head.split(" ", 2)[1]))
        if load.statuses[-1] != 200:
            load.refused = head, body
        free.put_nowait((reader, writer))

    await asyncio.gather(*(one(at) for at in times))
    while not free.empty():
        free.get_nowait()[1].close()
    return load

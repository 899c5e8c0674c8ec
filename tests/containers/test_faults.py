"""Two gateways behind the edge, under load: the program of each container killed in turn. All come back by themselves.

What each costs is printed, and asserted only where it must cost nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.conftest import until
from tests.containers.asking import ASK, TEXT, Asking, asking
from tests.containers.edge import Edge
from tests.containers.engine import build_stand_ins, docker, docker_output

BACK_SECONDS = 300  # generous: a gateway takes 15 s on two cores of its own
SETTLED = 32  # requests in a row, two of each client at least, that say that all is well again

Told = Callable[[str, str], None]


@pytest.fixture(scope="module")
def pair(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Two gateways, Valkey, Postgres and the edge, with a limit that the load does not reach."""
    build_stand_ins("nginx", "valkey")
    edge = Edge.make(tmp_path_factory.mktemp("pair"))
    try:
        limit = ("requests_per_minute: 1000", "requests_per_minute: 1000000")
        edge.render(limit, options=("--replicas", "2"))
        edge.project.up("edge")
        edge.control("POST", "/rules", {"when": {"text": TEXT}, "reply": {"text": "Always the same."}})
        yield edge
    finally:
        edge.project.compose("--profile", "*", "down", "--volumes", "--timeout", "30")


@pytest.fixture
def key(pair: Edge) -> str:
    return new_key(pair)


@pytest.fixture
def told(record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]) -> Told:
    """Writes a figure to the terminal and to the report of the run."""

    def tell(what: str, figures: str) -> None:
        record_property(what, figures)
        with capsys.disabled():
            print(f"\n{what}: {figures}")

    return tell


def new_key(edge: Edge) -> str:
    with edge.client() as client:
        made = client.post("/key/generate", json={"metadata": {"of": "faults"}})
    assert made.status_code == 200, made.text
    key: str = made.json()["key"]
    return key


def containers(edge: Edge, service: str) -> list[str]:
    labels = [f"label=com.docker.compose.project={edge.project.name}", f"label=com.docker.compose.service={service}"]
    return docker("ps", "--all", "--quiet", *(part for one in labels for part in ("--filter", one))).split()


def state(container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("inspect", container))[0]["State"]
    return found


def kill(container: str) -> str:
    """kill -9 of the program that the container is for; when the container had started."""
    started: str = state(container)["StartedAt"]
    script = 'for s in /proc/[0-9]*/status; do grep -q "^PPid:.1$" $s && basename ${s%/status} && break; done'
    pid = docker("exec", container, "sh", "-c", script).strip()
    assert pid.isdigit(), f"no main process found: {pid}"
    docker_output("exec", container, "sh", "-c", f"kill -9 {pid}")  # it goes down with the container
    return started


def is_back(container: str, since: str) -> bool:
    now = state(container)
    return bool(now["StartedAt"] != since and now["Running"] and now["Health"]["Status"] == "healthy")


def wait_back(container: str, since: str) -> None:
    """Fails with what the container has to say where it is not back."""
    deadline = time.monotonic() + BACK_SECONDS
    while not is_back(container, since):
        if time.monotonic() > deadline:
            pytest.fail(f"not back by itself: {state(container)}\n{docker_output('logs', '--tail', '40', container)}")
        time.sleep(0.2)


def figures(edge: Edge, key: str) -> tuple[float, int, float]:
    """Of a virtual key: its spend, and in the spend log its requests that succeeded and their spend.

    Asked until it is told: after an outage LiteLLM may be connecting to the database anew, for which it ends its
    engine first.
    """
    with edge.client() as client:

        def told() -> tuple[httpx.Response, httpx.Response] | None:
            info = client.get("/key/info", params={"key": key})
            usage = client.get("/usage", headers={"Authorization": f"Bearer {key}"})
            return (info, usage) if info.status_code == usage.status_code == 200 else None

        info, usage = until("the key's figures", told, BACK_SECONDS)
    log = usage.json()["totals"]
    return info.json()["info"]["spend"], log["requests"] - log["failures"], log["spend"]


def under_load(edge: Edge, key: str, victims: list[str]) -> tuple[Asking, float]:
    """Kills each of them while clients ask; waits until all are back and requests are served again."""
    with asking(edge, key) as load:
        until("requests are served", lambda: load.served >= SETTLED, BACK_SECONDS)
        assert load.failed == []
        moment = time.monotonic()
        began = [(victim, kill(victim)) for victim in victims]
        for victim, since in began:
            wait_back(victim, since)
        back = time.monotonic()
        until("requests are served again", lambda: load.served_since(back) >= SETTLED, BACK_SECONDS)
    return load, moment


def settled(edge: Edge, key: str, requests: int) -> tuple[float, int, float]:
    """The figures of a key once what was pending is written: as many requests as these, or as they stay."""
    last, since = figures(edge, key), time.monotonic()
    while last[1] < requests or abs(last[0] - last[2]) > 1e-9:
        time.sleep(1)
        now = figures(edge, key)
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 20:
            break
    return last


def assert_spend_is_right(edge: Edge, key: str, load: Asking) -> str:
    """Nothing is counted twice; what is asked now is counted."""
    spend, logged, log_spend = settled(edge, key, load.served)
    assert logged <= len(load.asked)
    each = log_spend / logged
    assert spend <= each * len(load.asked) + 1e-9, (spend, each, len(load.asked))
    with edge.client() as client:
        answer = client.post("/v1/chat/completions", json=ASK, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    until("new spend is logged", lambda: figures(edge, key)[1] > logged, 60)
    until("new spend is the key's", lambda: figures(edge, key)[0] > spend, 60)
    return f"{load.served} served, {logged} in the spend log, {spend / each:.0f} of them in the key's spend"


def test_valkey_is_killed(pair: Edge, key: str, told: Told) -> None:
    """Limits are not shared for a moment; no request notices."""
    load, moment = under_load(pair, key, containers(pair, "valkey"))
    told("Valkey killed", load.told(moment))
    assert load.failed == []
    told("Valkey killed", assert_spend_is_right(pair, key, load))


def test_one_gateway_is_killed(pair: Edge, key: str, told: Told) -> None:
    """What it was asked has failed; the other one serves, and it serves again once it is back."""
    load, moment = under_load(pair, key, containers(pair, "gateway")[:1])
    told("one of two gateways killed", load.told(moment))
    assert len(load.failed) <= 8, load.told(moment)  # what each client had under way
    told("one of two gateways killed", assert_spend_is_right(pair, key, load))


def test_every_gateway_is_killed(pair: Edge, key: str, told: Told) -> None:
    load, moment = under_load(pair, key, containers(pair, "gateway"))
    told("both gateways killed", load.told(moment))
    # Not the client's fault, and not for good: no 4xx, no 500. An answer cut short is a protocol error.
    assert {one.outcome for one in load.failed} <= {"502", "503", "504", "RemoteProtocolError"}
    told("both gateways killed", assert_spend_is_right(pair, key, load))


def test_postgres_is_killed(pair: Edge, key: str, told: Told) -> None:
    load, moment = under_load(pair, key, containers(pair, "postgres"))
    told("Postgres killed", load.told(moment))
    told("Postgres killed", assert_spend_is_right(pair, key, load))
    later = new_key(pair)
    with pair.client() as client:
        for given, status in ((later, 200), ("sk-nobody-has-this-one", 401)):
            answer = client.get("/v1/models", headers={"Authorization": f"Bearer {given}"})
            assert answer.status_code == status, answer.text


def test_the_edge_is_killed(pair: Edge, key: str, told: Told) -> None:
    load, moment = under_load(pair, key, containers(pair, "edge"))
    told("edge killed", load.told(moment))
    assert {one.outcome for one in load.failed} <= {"ConnectError", "ReadError", "RemoteProtocolError", "WriteError"}


def test_down_and_up_keeps_the_data(pair: Edge, key: str) -> None:
    with pair.client() as client:
        asked = client.post("/v1/chat/completions", json=ASK, headers={"Authorization": f"Bearer {key}"})
        assert asked.status_code == 200, asked.text
    before = settled(pair, key, 1)
    assert before[1] == 1
    pair.project.compose("--profile", "*", "down", "--timeout", "30")
    assert containers(pair, "postgres") == []
    pair.project.up("edge")
    with pair.client() as client:

        def serves() -> bool:
            with suppress(httpx.HTTPError):
                return client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
            return False

        until("the key works", serves, 30)
    assert figures(pair, key) == before

"""Postgres lost under a gateway of a test's own, stopped or frozen: known keys go on, and no spend is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from proxy.database.embedded import EmbeddedPostgres
from proxy.database.migrations import migrate
from proxy.simulator import api_bases
from tests.conftest import free_port, until
from tests.gateway.processes import gateway_environment, running, write_catalog

KEY = "sk-" + "away-of-a-test"
REMEMBERED_SECONDS = 2  # how long LiteLLM remembers a key; a minute otherwise
OUT_OF_THE_WAY = 1_000_000  # requests a minute
MODEL = "gpt-4o-mini"


class Postgres:
    """A server of its own, to be lost."""

    def __init__(self, folder: Path) -> None:
        self.embedded = EmbeddedPostgres(folder / "data", folder / "log", free_port(), "of-a-test")
        self.embedded.prepare()
        self.start()
        self.embedded.create_database("litellm")
        self.url = self.embedded.url("litellm")
        migrate(self.url)

    def start(self) -> None:
        environment = {**os.environ, **self.embedded.environment()}
        with self.embedded.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.embedded.command(), env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/"
            )
        until("Postgres answers", self.embedded.is_ready)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def kill(self) -> None:
        for process in self._all():
            process.kill()
        self.process.wait(30)

    def freeze(self) -> None:
        for process in self._all():
            process.suspend()

    def thaw(self) -> None:
        for process in self._all():
            process.resume()

    def _all(self) -> list[psutil.Process]:
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]


@dataclass
class Place:
    postgres: Postgres
    url: str
    log: Path

    def client(self, key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)


@dataclass
class Customer:
    """Asks with a virtual key and adds up what the replies say that they cost."""

    key: str
    client: httpx.Client
    costs: list[float] = field(default_factory=list)

    def ask(self) -> None:
        body = {"model": MODEL, "messages": [{"role": "user", "content": f"question {len(self.costs)}"}]}
        answer = self.client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        self.costs.append(float(answer.headers["x-litellm-response-cost"]))


@pytest.fixture(scope="module")
def place(stack, tmp_path_factory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("away")
    postgres = Postgres(tmp_path_factory.mktemp("postgres"))
    catalog = write_catalog(folder / "proxy.yaml", requests_per_minute=OUT_OF_THE_WAY)
    environment = gateway_environment(folder, catalog, postgres.url, KEY, api_bases(stack.simulator_url))
    config = folder / "litellm.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["general_settings"]["user_api_key_cache_ttl"] = REMEMBERED_SECONDS
    config.write_text(yaml.safe_dump(settings))
    try:
        with running(environment, folder) as url:
            yield Place(postgres, url, folder / "gateway.log")
    finally:
        postgres.stop()


@pytest.fixture
def admin(place: Place) -> Iterator[httpx.Client]:
    with place.client(KEY) as client:
        yield client


@pytest.fixture
def customer(place: Place, admin: httpx.Client) -> Iterator[Customer]:
    """Of a team and a user, with budgets all of them."""
    budget = {"max_budget": 1000}
    user = admin.post("/user/new", json={**budget, "auto_create_key": False}).json()["user_id"]
    team = admin.post("/team/new", json=budget).json()["team_id"]
    made = admin.post("/key/generate", json={**budget, "user_id": user, "team_id": team})
    assert made.status_code == 200, made.text
    with place.client(made.json()["key"]) as client:
        yield Customer(made.json()["key"], client)


LOSSES: dict[str, tuple[Callable[[Postgres], None], Callable[[Postgres], None]]] = {
    "stopped": (Postgres.stop, Postgres.start),
    "killed": (Postgres.kill, Postgres.start),
    "frozen": (Postgres.freeze, Postgres.thaw),
}


@pytest.mark.parametrize("how", LOSSES)
def test_without_postgres(place: Place, admin: httpx.Client, customer: Customer, how: str) -> None:
    lose, bring_back = LOSSES[how]
    for _ in range(3):
        customer.ask()
    lose(place.postgres)
    try:
        gone = time.monotonic()
        while time.monotonic() < gone + 6 * REMEMBERED_SECONDS:  # written every other second, forgotten as often
            customer.ask()
        readiness = admin.get("/health/readiness")
        assert (readiness.status_code, readiness.json()["status"]) == (200, "degraded")
        [told] = admin.get("/health").json()["stores_away"]
        assert told["store"] == "Postgres"
        assert 'litellm_local_store_up{store="Postgres"} 0.0' in admin.get("/metrics").text
        with place.client("sk-" + "nobody-has-this-one") as stranger:
            assert stranger.get("/v1/models").status_code == 503
        refused = admin.post("/key/generate", json={})
        assert refused.status_code in (500, 503), refused.text
    finally:
        bring_back(place.postgres)

    until("all is well", lambda: admin.get("/health/readiness").json()["status"] == "healthy")
    assert admin.get("/health").json()["stores_away"] == []
    customer.ask()
    until("all spend is written", lambda: spends(admin, customer) == [pytest.approx(sum(customer.costs))] * 4)
    with place.client("sk-" + "nobody-has-this-one") as stranger:
        assert stranger.get("/v1/models").status_code == 401
    log = place.log.read_text()
    assert "Postgres does not answer" in log
    assert "Postgres answers again" in log


def spends(admin: httpx.Client, customer: Customer) -> list[float]:
    """By the key, its user, its team, and the sum of the spend log."""
    info = admin.get("/key/info", params={"key": customer.key}).json()["info"]
    user = admin.get("/user/info", params={"user_id": info["user_id"]}).json()["user_info"]["spend"]
    team = admin.get("/team/info", params={"team_id": info["team_id"]}).json()["team_info"]["spend"]
    usage = customer.client.get("/usage").json()["totals"]["spend"]
    return [info["spend"], user, team, usage]


def test_a_key_that_is_deleted_is_not_taken_back(place: Place, admin: httpx.Client, customer: Customer) -> None:
    customer.ask()
    admin.post("/key/delete", json={"keys": [customer.key]}).raise_for_status()
    place.postgres.stop()
    try:
        assert customer.client.get("/v1/models").status_code == 503
    finally:
        place.postgres.start()
    until("it is refused", lambda: customer.client.get("/v1/models").status_code == 401)

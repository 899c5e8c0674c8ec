"""Three replicas as config/k8s has them, behind the Ingress' limits, and what becomes of them in a cluster."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress

import httpx
import pytest

from proxy.database.migrations import load_migrations
from tests.conftest import until
from tests.containers.asking import Asking, asking_at
from tests.containers.cluster import Cluster
from tests.containers.engine import build_stand_ins, docker
from tests.containers.test_scale import within_a_minute
from tests.render.k8s.rendered import gateway

LIMITED = "gemini-2.0-flash"  # no fallback, so that a refusal is seen; no other test here asks it
PER_MINUTE, MORE = 1000, 1100
REPLICAS = 3
AWAY_SECONDS = 60


@pytest.fixture(scope="module")
def cluster(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Applied at once to an empty database: the migration races with the replicas that wait for it."""
    build_stand_ins("nginx", "valkey")
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.apply()
        cluster.wait_ready(REPLICAS)
        yield cluster
    finally:
        cluster.close()


def new_key(cluster: Cluster) -> str:
    with cluster.client() as client:
        return str(client.post("/key/generate", json={}).raise_for_status().json()["key"])


def asking(cluster: Cluster, key: str) -> AbstractContextManager[Asking]:
    """On a new connection each: nginx, reloaded for each change of the endpoints, closes those that are idle."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return asking_at(cluster.url, {"Authorization": f"Bearer {key}"}, every=1.0, limits=limits)


def test_the_ledger_is_clean(cluster: Cluster) -> None:
    rows = cluster.sql("SELECT migration_name, finished_at IS NOT NULL, rolled_back_at IS NULL FROM _prisma_migrations")
    assert sorted(name for name, *_ in rows) == sorted(one.name for one in load_migrations())
    assert {tuple(rest) for _, *rest in rows} == {("t", "t")}
    assert [pod.restarts for pod in cluster.pods] == [0] * REPLICAS


def test_the_limit_of_a_model_is_one_for_all_replicas(cluster: Cluster) -> None:
    headers = {"Authorization": f"Bearer {cluster.secrets['LITELLM_MASTER_KEY']}"}
    body = {"model": LIMITED, "messages": [{"role": "user", "content": "hello"}]}

    async def all_of_them() -> list[int]:
        free = asyncio.Semaphore(24)
        async with httpx.AsyncClient(base_url=cluster.url, headers=headers, timeout=120, trust_env=False) as client:

            async def ask() -> int:
                async with free:
                    return (await client.post("/v1/chat/completions", json=body)).status_code

            return await asyncio.gather(*(ask() for _ in range(MORE)))

    statuses = within_a_minute(lambda: Counter(asyncio.run(all_of_them())))
    assert statuses == {200: PER_MINUTE, 429: MORE - PER_MINUTE}


def test_scaled_out_and_in_again_and_rolled_no_request_fails(cluster: Cluster) -> None:
    before = {pod.name for pod in cluster.pods}
    with asking(cluster, new_key(cluster)) as load:
        began = time.monotonic()
        cluster.scale(2 * REPLICAS)
        cluster.scale(REPLICAS)
        cluster.roll()
    assert load.failed == [], load.told(began)
    assert load.served > 100
    assert len(cluster.endpoints()) == REPLICAS
    assert not before & {pod.name for pod in cluster.pods}


def test_a_hung_replica_is_out_within_a_probes_period(cluster: Cluster) -> None:
    probe = gateway(cluster.documents)["readinessProbe"]
    pod, key = cluster.endpoints()[0], new_key(cluster)

    def goes_around_it() -> bool:
        with cluster.client() as client, suppress(httpx.HTTPError):
            return all(client.get("/health/liveliness", timeout=2).status_code == 200 for _ in range(2 * REPLICAS))
        return False

    docker("pause", pod.container)
    try:
        hung = time.monotonic()
        until("it is out of rotation", lambda: pod not in cluster.endpoints(), 60)
        assert time.monotonic() - hung < 2 * (probe["periodSeconds"] + probe["timeoutSeconds"])
        until("nginx has reloaded", goes_around_it)
        until("its old worker takes no more", lambda: not cluster.nginx_takes_over())
        with asking(cluster, key) as load:
            until("the others serve", lambda: load.served >= 16)
        assert load.failed == []
    finally:
        docker("unpause", pod.container)
    cluster.wait_ready(REPLICAS)


def test_a_killed_replica_is_started_again(cluster: Cluster) -> None:
    pod = cluster.endpoints()[0]
    with asking(cluster, new_key(cluster)) as load:
        until("requests are served", lambda: load.served >= 16)
        docker("kill", pod.container)
        until("it is started again", lambda: pod.restarts == 1, 60)
        cluster.wait_ready(REPLICAS)
    assert len(load.failed) <= 8  # what each client had under way


def test_without_valkey_requests_go_on_and_it_is_told(cluster: Cluster) -> None:
    def told() -> list[str]:
        """By each replica: what it lacks, and what is weaker."""
        headers = {"Authorization": f"Bearer {cluster.secrets['LITELLM_MASTER_KEY']}"}
        health = [
            httpx.get(f"http://{pod.address}:4000/health", headers=headers, timeout=30, trust_env=False).json()
            for pod in cluster.endpoints()
        ]
        return [f"{away['store']}: {away['meanwhile']}" for one in health for away in one["stores_away"]]

    with asking(cluster, new_key(cluster)) as load:
        until("requests are served", lambda: load.served >= 16)
        docker("kill", cluster.stores["valkey"])
        until("all tell it", lambda: len(told()) == REPLICAS, 30)
        assert all("Valkey: each gateway counts for itself" in one for one in told())
        served = load.served
        until("requests go on", lambda: load.served >= served + 32)
        docker("start", cluster.stores["valkey"])
        until("it is back", lambda: not told(), 30)
    assert load.failed == []
    assert len(cluster.endpoints()) == REPLICAS


def test_without_postgres_for_a_minute_completions_go_on_and_no_spend_is_lost(cluster: Cluster) -> None:
    key = new_key(cluster)
    with asking(cluster, key) as load:
        until("every replica knows the key", lambda: load.served >= 48)
        docker("stop", "--time", "60", cluster.stores["postgres"])
        gone = time.monotonic()
        until("a minute is over", lambda: time.monotonic() > gone + AWAY_SECONDS, AWAY_SECONDS + 30)
        assert len(cluster.endpoints()) == REPLICAS
        docker("start", cluster.stores["postgres"])
        served = load.served
        until("requests go on", lambda: load.served >= served + 48)
    assert load.failed == []
    total = pytest.approx(sum(one.cost for one in load.asked))

    def spends() -> list[float]:
        """By the key, and the sum of the spend log."""
        with cluster.client() as client, cluster.client(key) as own:
            asked = (client.get("/key/info", params={"key": key}), own.get("/usage"))
            if any(answer.status_code != 200 for answer in asked):  # a replica that has not found Postgres again
                return []
            return [asked[0].json()["info"]["spend"], asked[1].json()["totals"]["spend"]]

    until("all spend is written", lambda: spends() == [total, total], 90)

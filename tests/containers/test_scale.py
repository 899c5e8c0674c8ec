"""Several gateways behind one edge are as one: their limits, budgets, keys and figures."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import until
from tests.containers.conftest import MODEL_LIMIT
from tests.containers.edge import DOMAIN, Edge, trust_all
from tests.containers.engine import docker

# Without a fallback, so that a refusal is seen.
LIMITED, OF_A_KEY, PAID, COUNTED = "gpt-4o-mini", "gemini-2.0-flash", "claude-sonnet-4", "claude-opus-4-5-20251101"
WITHIN = 20  # seconds; LiteLLM's own memory of a key is a minute long


@pytest.fixture
def client(pair: Edge) -> Iterator[httpx.Client]:
    with pair.client() as client:
        yield client


def ask(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}]}


def new_key(client: httpx.Client, **settings: object) -> str:
    return str(client.post("/key/generate", json=settings).raise_for_status().json()["key"])


def send(edge: Edge, requests: int, model: str, key: str | None = None, at_once: int = 20) -> Counter[int]:
    """Statuses of so many requests through the edge. Those that wait while nginx asks for the gateways' addresses all
    go to the same one: a test that wants each gateway to have some sends few `at_once`."""

    async def all_of_them() -> list[int]:
        free = asyncio.Semaphore(at_once)
        headers = {"Authorization": f"Bearer {key or edge.key}", "Host": DOMAIN}
        base, trust = f"https://127.0.0.1:{edge.https_port}", trust_all()
        async with httpx.AsyncClient(
            base_url=base, headers=headers, verify=trust, timeout=120, trust_env=False
        ) as client:

            async def one() -> int:
                async with free:
                    return (await client.post("/v1/chat/completions", json=ask(model))).status_code

            return await asyncio.gather(*(one() for _ in range(requests)))

    return Counter(asyncio.run(all_of_them()))


def asked(edge: Edge, since: int) -> Counter[str]:
    """How many completions each gateway was asked for, by the edge's log: it served or refused them."""
    return Counter(line["gateway"] for line in edge.log()[since:] if "completions" in line["path"])


def within_a_minute(what: Callable[[], Counter[int]], *, unused: bool = False) -> Counter[int]:
    """What comes of requests that are all sent in one and the same UTC minute, in one that has no requests to their
    model behind it: any is, where the model is `unused` so far."""
    for attempt in range(4):
        second = time.time() % 60
        if not (unused and attempt == 0 and second < 30):
            time.sleep(60.5 - second)
        minute = time.time() // 60
        statuses = what()
        if time.time() // 60 == minute:
            return statuses
    pytest.skip("this machine is too busy: the requests took longer than a minute, four times")


def gateways(edge: Edge) -> tuple[str, str]:
    """Their addresses, as this machine reaches them."""
    first, second = (f"http://{address}:4000" for address in sorted(edge.gateways()))
    return first, second


def status_of(gateway: str, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{gateway}/v1/models", headers=headers, timeout=60, trust_env=False).status_code


def test_the_limit_of_a_model_is_one_for_all_gateways(pair: Edge) -> None:
    before = len(pair.log())
    statuses = within_a_minute(lambda: send(pair, 100, LIMITED), unused=True)
    assert statuses == {200: MODEL_LIMIT, 429: 100 - MODEL_LIMIT}
    assert len(asked(pair, before)) == 2


def test_the_limit_of_a_key_is_one_for_all_gateways(pair: Edge, client: httpx.Client) -> None:
    before = len(pair.log())
    statuses = within_a_minute(lambda: send(pair, 40, OF_A_KEY, new_key(client, rpm_limit=10)), unused=True)
    assert statuses == {200: 10, 429: 30}
    assert len(asked(pair, before)) == 2


def test_a_budget_is_one_for_all_gateways(pair: Edge, client: httpx.Client) -> None:
    price = float(client.post("/v1/chat/completions", json=ask(PAID)).headers["x-litellm-response-cost"])
    key = new_key(client, max_budget=3.5 * price)
    statuses = send(pair, 40, PAID, key)
    assert 1 <= statuses[200] <= 4
    assert statuses[422] == 40 - statuses[200]


def test_what_becomes_of_a_key_is_known_to_all_gateways(pair: Edge) -> None:
    one, other = gateways(pair)
    with httpx.Client(
        base_url=one, headers={"Authorization": f"Bearer {pair.key}"}, timeout=60, trust_env=False
    ) as admin:
        key = new_key(admin)
        assert [status_of(gateway, key) for gateway in (other, one)] == [200, 200]
        for change, status in (("block", 401), ("unblock", 200)):
            admin.post(f"/key/{change}", json={"key": key}).raise_for_status()
            until(f"{change} elsewhere", lambda status=status: status_of(other, key) == status, WITHIN)
        admin.post("/key/delete", json={"keys": [key]}).raise_for_status()
        until("delete elsewhere", lambda: status_of(other, key) == 401, WITHIN)


def test_usage_is_that_of_all_gateways(pair: Edge, client: httpx.Client) -> None:
    before = len(pair.log())
    key = new_key(client)
    assert send(pair, 20, COUNTED, key, at_once=4) == {200: 20}
    assert len(asked(pair, before)) == 2

    def usage() -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        return dict(client.get("/usage", headers=headers).raise_for_status().json()["totals"])

    # The gateway that is asked writes its own requests at once, the others theirs within seconds.
    until("all requests", lambda: usage()["requests"] == 20)


def test_valkey_wants_a_password_and_shows_it_to_nobody(pair: Edge) -> None:
    assert "NOAUTH" in pair.project.exec("valkey", "valkey-cli", "dbsize")
    password = pair.project.secrets["VALKEY_PASSWORD"]
    ids = [one["Id"] for one in pair.project.inspect().values()]
    shown = docker("inspect", *ids) + pair.project.logs() + pair.project.compose("--profile", "*", "config")
    shown += "".join(docker("top", one, "-eo", "pid,args") for one in ids if one in docker("ps", "-q", "--no-trunc"))
    assert password not in shown


def test_without_valkey_requests_go_on_and_it_is_used_again_when_back(pair: Edge) -> None:
    restarts = pair.project.inspect()["valkey"]["RestartCount"]
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(send, pair, 30, PAID)
        pair.project.kill_main_process("valkey")
        assert asking.result() == {200: 30}
    until("Valkey is started again", lambda: pair.project.inspect()["valkey"]["RestartCount"] > restarts)
    until("Valkey is healthy", lambda: pair.project.inspect()["valkey"]["State"]["Health"]["Status"] == "healthy")
    expected = {200: MODEL_LIMIT, 429: 100 - MODEL_LIMIT}
    until("they count as one again", lambda: within_a_minute(lambda: send(pair, 100, LIMITED)) == expected, 420)

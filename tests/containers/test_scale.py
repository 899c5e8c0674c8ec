"""Two gateways behind the edge: one limit for each model, one set of keys, one account of usage; with Valkey and
without it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.catalog import load_catalog
from tests.conftest import until
from tests.containers.edge import DOMAIN, Edge
from tests.containers.engine import build_stand_ins, docker

MODEL = "gpt-4o-mini"
UPSTREAM = load_catalog().models[MODEL].upstream
LIMIT, SENT, AT_ONCE = 60, 150, 12
SHARED_SECONDS = 75  # LiteLLM keeps a key that it has looked up for a minute


@pytest.fixture(scope="module")
def scaled(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Two gateways, Valkey and Prometheus, with a limit that a test can reach."""
    build_stand_ins("nginx", "certbot", "pebble", "valkey", "prometheus")
    edge = Edge.make(tmp_path_factory.mktemp("scaled"))
    try:
        edge.render(("requests_per_minute: 1000", f"requests_per_minute: {LIMIT}"), arguments=("--replicas", "2"))
        edge.project.up("edge")
        yield edge
    finally:
        edge.project.compose("--profile", "*", "down", "--volumes", "--timeout", "30")


def ask(edge: Edge, key: str, text: str, number: int) -> Counter[int]:
    """The statuses of so many chat completions through the edge, within a UTC minute."""
    headers = {"Authorization": f"Bearer {key}", "Host": f"{DOMAIN}:{edge.https_port}"}
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 1}

    async def all_of_them() -> list[httpx.Response]:
        gate = asyncio.Semaphore(AT_ONCE)
        base = f"https://127.0.0.1:{edge.https_port}"
        # A connection for each: the edge spreads requests, whatever connection they come by.
        async with httpx.AsyncClient(
            base_url=base, headers=headers, verify=False, timeout=60, trust_env=False  # noqa: S501 - self-signed
        ) as client:

            async def one() -> httpx.Response:
                async with gate:
                    return await client.post("/v1/chat/completions", json=body)

            return await asyncio.gather(*(one() for _ in range(number)))

    return Counter(answer.status_code for answer in asyncio.run(all_of_them()))


def within_a_minute(edge: Edge, key: str, text: str, number: int) -> tuple[Counter[int], str]:
    """The same, tried again where it took longer than was left of the minute; and the text that was sent."""
    for turn in range(3):
        left = 60 - time.time() % 60
        if left < 40:
            time.sleep(left + 0.2)
        began = time.time()
        statuses = ask(edge, key, f"{text} {turn}", number)
        if time.time() // 60 == began // 60:
            return statuses, f"{text} {turn}"
    pytest.skip(f"{number} requests took more than the rest of a minute in three tries: this machine is too slow")


def reached(edge: Edge, text: str) -> int:
    found = edge.control("GET", f"/journal?scope=*&text={text.replace(' ', '%20')}")
    return sum(entry["model"] == UPSTREAM for entry in found["entries"])


def at(gateway: str, method: str, path: str, key: str, body: Any = None) -> tuple[int, Any]:
    """What one of the gateways, by the id of its container, says to a request made within it."""
    script = f"""
import json, urllib.error, urllib.request
q = urllib.request.Request("http://127.0.0.1:4000{path}", {json.dumps(json.dumps(body))}.encode() if {body is not None}
    else None, method="{method}", headers={{"Authorization": "Bearer {key}", "Content-Type": "application/json"}})
try:
    a = urllib.request.urlopen(q, timeout=60)
    print(json.dumps([a.status, json.load(a)]))
except urllib.error.HTTPError as e:
    print(json.dumps([e.code, json.load(e)]))
"""
    status, answer = json.loads(docker("exec", gateway, "python", "-c", script))
    return int(status), answer


def chat(gateway: str, key: str) -> int:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "one"}], "max_tokens": 1}
    return at(gateway, "POST", "/v1/chat/completions", key, body)[0]


def new_key(edge: Edge, **settings: Any) -> str:
    status, made = at(next(iter(edge.gateways().values())), "POST", "/key/generate", edge.key, settings)
    assert status == 200, made
    key: str = made["key"]
    return key


def test_both_have_the_limit_together_and_both_serve(scaled: Edge) -> None:
    assert len(scaled.gateways()) == 2
    before = len(scaled.log())
    statuses, text = within_a_minute(scaled, scaled.key, "limit", SENT)
    assert statuses == {200: LIMIT, 429: SENT - LIMIT}
    assert reached(scaled, text) == LIMIT
    served = Counter(line["gateway"].split(":")[0] for line in scaled.log()[before:])
    assert set(served) == set(scaled.gateways())
    assert min(served.values()) > SENT // 4


def test_probe(scaled: Edge) -> None:
    one, other = scaled.gateways().values()
    key = new_key(scaled)
    print(chat(one, key), chat(other, key))
    print(at(one, "POST", "/key/delete", scaled.key, {"keys": [key]})[0])
    began = time.time()
    print("one", chat(one, key))
    while chat(other, key) == 200 and time.time() - began < 100:
        time.sleep(1)
    print("deleted after", time.time() - began)
    key = new_key(scaled, rpm_limit=4)
    answers = [chat(gateway, key) for _ in range(3) for gateway in (one, other)]
    print(answers)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "one"}], "max_tokens": 1}
    print(at(one, "POST", "/v1/chat/completions", key, body))

"""The breaker's settings, and outages that are silence: gateways of their own, with short pauses and time limits."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.secrets import CONTROL_KEY
from proxy.simulator import api_bases
from tests.conftest import Stack
from tests.gateway.processes import gateway_environment, running, write_catalog

SECONDS = 3.0
ATTEMPTS = 2
LIMITS = {"retries": ATTEMPTS - 1, "retry_delay_seconds": 0.2}
CHAIN_LESS = "gpt-4o-mini"


def serving(stack: Stack, folder: Path, *, seconds: float, **breaker: object) -> Iterator[httpx.Client]:
    catalog = write_catalog(folder / "proxy.yaml", breaker, **LIMITS, request_timeout_seconds=seconds)
    environment = {
        **gateway_environment(folder, catalog, stack.database_url, stack.master_key, api_bases(stack.simulator_url)),
        "LITELLM_LOCAL_SIMULATOR": stack.simulator_url,
        CONTROL_KEY: stack.control_key,
    }
    headers = {"Authorization": f"Bearer {stack.master_key}"}
    with (
        running(environment, folder) as url,
        httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def switched_off(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    yield from serving(stack, tmp_path_factory.mktemp("off"), seconds=60, enabled=False)


@pytest.fixture(scope="module")
def asking(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """`without_fallback: ask`, and one failed request is enough."""
    folder = tmp_path_factory.mktemp("asking")
    how = {"failed_requests": 1, "probe_seconds": 600, "without_fallback": "ask"}
    for client in serving(stack, folder, seconds=SECONDS, **how):
        Scoped(client, CHAIN_LESS, **DOWN).ask(CHAIN_LESS)  # the first one loads much, which counts for its deadline
        yield client


class Scoped:
    def __init__(self, client: httpx.Client, model: str, **fault: Any) -> None:
        self.client = client
        self.headers = {"x-double-scope": f"outage-{uuid.uuid4().hex}"}
        rule = {"when": {"model": model}, "fault": fault}
        client.post("/_double/rules", json=rule, headers=self.headers).raise_for_status()

    def ask(self, model: str, **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
        return self.client.post("/v1/chat/completions", json=body, headers=self.headers)

    def asked(self) -> Counter[str]:
        entries = self.client.get("/_double/journal", headers=self.headers).json()["entries"]
        return Counter(entry["alias"] for entry in entries)


DOWN = {"kind": "status", "status": 503}


def test_switched_off_every_request_makes_all_its_attempts(switched_off: httpx.Client) -> None:
    scoped = Scoped(switched_off, "gpt-4o", **DOWN)
    for _ in range(6):
        assert scoped.ask("gpt-4o").status_code == 200
    assert scoped.asked() == {"gpt-4o": 6 * ATTEMPTS, CHAIN_LESS: 6}
    assert "open_breakers" not in switched_off.get("/health").json()
    assert "litellm_local_breaker" not in switched_off.get("/metrics").text


def test_a_model_without_a_chain_may_be_asked_all_the_same(asking: httpx.Client) -> None:
    scoped = Scoped(asking, CHAIN_LESS, **DOWN)
    for _ in range(4):
        answer = scoped.ask(CHAIN_LESS)
        assert answer.status_code == 503
        assert "retry-after" not in answer.headers
    assert scoped.asked() == {CHAIN_LESS: 4 * ATTEMPTS}


def test_but_in_a_chain_it_is_passed_over(asking: httpx.Client) -> None:
    scoped = Scoped(asking, CHAIN_LESS, **DOWN)
    scoped.ask(CHAIN_LESS)
    scoped.client.post(
        "/_double/rules", json={"when": {"model": "gpt-4o"}, "fault": 401}, headers=scoped.headers
    ).raise_for_status()
    assert scoped.ask("gpt-4o").status_code == 200
    assert scoped.asked() == {CHAIN_LESS: ATTEMPTS, "gpt-4o": 1, "claude-sonnet-4": 1}


def test_a_provider_that_is_silent_until_the_deadline_is_down(asking: httpx.Client) -> None:
    scoped = Scoped(asking, "gpt-4o", kind="hang")
    assert scoped.ask("gpt-4o").status_code == 504
    assert scoped.ask("gpt-4o").status_code == 200
    assert scoped.asked() == {"gpt-4o": 1, CHAIN_LESS: 1}


def test_a_stream_that_lasts_until_the_deadline_is_no_outage(asking: httpx.Client) -> None:
    scoped = Scoped(asking, "claude-opus-4.1", **DOWN)
    slow = {"when": {"model": "gpt-4o"}, "reply": {"text": "word " * 99, "timing": {"tokens_per_second": 5}}}
    asking.post("/_double/rules", json=slow, headers=scoped.headers).raise_for_status()
    for _ in range(2):
        assert "timeout" in scoped.ask("gpt-4o", stream=True).text
    assert scoped.asked() == {"gpt-4o": 2}


def test_a_timeout_of_the_clients_own_is_no_outage(asking: httpx.Client) -> None:
    scoped = Scoped(asking, "gpt-4o", kind="delay", seconds=2)
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda _: scoped.ask("gpt-4o", timeout=1), range(4)))
    before = scoped.asked()["gpt-4o"]
    assert before == 4 * ATTEMPTS
    asking.post("/_double/rules?first=true", json={"reply": "here"}, headers=scoped.headers).raise_for_status()
    assert scoped.ask("gpt-4o").status_code == 200
    assert scoped.asked()["gpt-4o"] == before + 1

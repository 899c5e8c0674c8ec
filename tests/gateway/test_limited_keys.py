"""Virtual keys with limits of their own, asking for models that have fallbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from proxy.catalog import load_catalog
from tests.conftest import Double, Stack

MODEL, FALLBACK = "gpt-4o", "gpt-4o-mini"
UPSTREAMS = [load_catalog().models[name].upstream for name in (MODEL, FALLBACK)]
DOORS: dict[str, Callable[[str], dict[str, Any]]] = {
    "/v1/chat/completions": lambda text: {"messages": [{"role": "user", "content": text}]},
    "/v1/messages": lambda text: {"messages": [{"role": "user", "content": text}], "max_tokens": 10},
    "/v1/responses": lambda text: {"input": text},
}

Ask = Callable[[str], httpx.Response]


@pytest.fixture
def admin(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.master_key}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def asking(admin: httpx.Client, double: Double) -> Callable[..., Ask]:
    """Requests for MODEL by a new key with these settings."""

    def with_key(**settings: Any) -> Ask:
        key = admin.post("/key/generate", json=settings).raise_for_status().json()["key"]

        def ask(door: str) -> httpx.Response:
            return admin.post(
                door, json={"model": MODEL, **DOORS[door](double.marker)}, headers={"Authorization": f"Bearer {key}"}
            )

        return ask

    return with_key


@pytest.mark.parametrize("door", DOORS)
def test_a_key_at_its_limit_is_told_so(asking: Callable[..., Ask], door: str) -> None:
    ask = asking(rpm_limit=2)
    assert [ask(door).status_code for _ in range(2)] == [200, 200]
    refused = ask(door)
    assert refused.status_code == 429, refused.text
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "Rate limit exceeded" in refused.json()["error"]["message"]


@pytest.mark.parametrize("door", DOORS)
def test_a_key_at_its_limit_for_a_model_gets_the_fallback(
    asking: Callable[..., Ask], double: Double, door: str
) -> None:
    ask = asking(model_rpm_limit={MODEL: 1})
    answers = [ask(door) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200], answers[1].text
    sought = {"text": double.marker, "scope": "*"}
    calls = double.client.get("/_double/journal", params=sought).raise_for_status().json()["entries"]
    assert [call["model"] for call in calls] == UPSTREAMS


def test_limits_hold_when_many_keys_are_in_use(asking: Callable[..., Ask]) -> None:
    for _ in range(120):
        assert asking()("/v1/chat/completions").status_code == 200
    ask = asking(rpm_limit=2)
    assert [ask("/v1/chat/completions").status_code for _ in range(4)] == [200, 200, 429, 429]

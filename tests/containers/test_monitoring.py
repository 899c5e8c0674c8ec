"""Prometheus scrapes every gateway, and sums are those of all."""

from __future__ import annotations

from typing import Any

import httpx

from tests.conftest import until
from tests.containers.edge import Edge
from tests.containers.test_scale import OF_A_KEY, gateways, new_key, send

REQUESTS = 20


def value(edge: Edge, query: str) -> float | None:
    """What Prometheus answers to a query that has one number as its result."""
    port = edge.project.variables["LITELLM_LOCAL_PROMETHEUS_PORT"]
    asked = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}, trust_env=False)
    found: list[dict[str, Any]] = asked.raise_for_status().json()["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def test_prometheus_scrapes_each_gateway(pair: Edge) -> None:
    until("both gateways are scraped", lambda: value(pair, 'sum(up{job="litellm"})') == 2, 120)


def test_a_sum_is_that_of_all_gateways(pair: Edge) -> None:
    with pair.client() as client:
        key = new_key(client, key_alias="counted")
    assert send(pair, REQUESTS, OF_A_KEY, key, at_once=4) == {200: REQUESTS}
    counter = 'litellm_proxy_total_requests_metric_total{api_key_alias="counted"}'
    until("the sum", lambda: value(pair, f"sum({counter})") == REQUESTS, 120)
    assert value(pair, f"count(count by (instance) ({counter}))") == 2


def test_a_gateway_by_itself_shows_its_own_counters_only(pair: Edge) -> None:
    shown = [
        httpx.get(f"{gateway}/metrics", headers={"Authorization": f"Bearer {pair.key}"}, timeout=60, trust_env=False)
        for gateway in gateways(pair)
    ]
    counts = [
        sum(
            float(line.rpartition(" ")[2])
            for line in answer.text.splitlines()
            if line.startswith("litellm_proxy_total_requests_metric_total{") and 'api_key_alias="counted"' in line
        )
        for answer in shown
    ]
    assert sum(counts) == REQUESTS
    assert all(counts)

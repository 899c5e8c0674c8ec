"""Fallback chains on the real LiteLLM: who is asked, in which order, how often, how far apart, who answers.

The figures are service.md's: 3 retries 2 s apart, and exactly the listed order.
"""

from __future__ import annotations

from itertools import groupby, pairwise
from statistics import median
from typing import Any

import httpx
import pytest

from proxy.catalog import load_catalog
from tests.conftest import Double

CATALOG = load_catalog()
ATTEMPTS = CATALOG.limits.retries + 1
PROVIDER_ALIAS = {model.upstream: alias for alias, model in CATALOG.models.items()}


def chain(alias: str) -> list[str]:
    return [alias, *CATALOG.fallbacks[alias]]


def fault(alias: str, kind: str = "status", **fields: Any) -> dict[str, Any]:
    model = CATALOG.models[alias]
    return {"provider": model.provider, "model": model.upstream, "kind": kind, **fields}


def ask(gateway: httpx.Client, double: Double, alias: str, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": f"hello {double.marker}"}]
    return gateway.post("/v1/chat/completions", json={"model": alias, "messages": messages, **fields})


def asked(double: Double) -> list[tuple[str, int]]:
    """(alias, attempts) in the order of asking."""
    return [(alias, len(list(calls))) for alias, calls in groupby(PROVIDER_ALIAS[c["model"]] for c in double.calls())]


@pytest.mark.parametrize("alias", list(CATALOG.fallbacks))
def test_each_chain_is_walked_in_its_order_with_its_retries(gateway: httpx.Client, double: Double, alias: str) -> None:
    members = chain(alias)
    double.fail(*(fault(member, status=503) for member in members[:-1]))
    answer = ask(gateway, double, alias)
    assert answer.status_code == 200, answer.text
    assert asked(double) == [*((member, ATTEMPTS) for member in members[:-1]), (members[-1], 1)]
    calls = double.calls()
    gaps = [b["started_at"] - a["ended_at"] for a, b in pairwise(calls) if a["model"] == b["model"]]
    assert min(gaps) > 1.95
    # The median: a machine that is busy just then may be late once.
    assert median(gaps) == pytest.approx(CATALOG.limits.retry_delay_seconds, abs=0.3)
    assert answer.headers["x-litellm-attempted-fallbacks"] == str(len(members) - 1)


# What LiteLLM does with each fault of an upstream: tried again before the fallback, or not.
RETRIED = [
    {"status": 500},
    {"status": 429},
    {"kind": "drop"},
    {"kind": "malformed"},
]
NOT_RETRIED = [{"status": 400}, {"status": 401}, {"status": 404}]


@pytest.mark.parametrize("how", RETRIED, ids=str)
def test_passing_faults_are_tried_again_then_fall_back(gateway: httpx.Client, double: Double, how: dict) -> None:
    double.fail(fault("gpt-4o", **how))
    answer = ask(gateway, double, "gpt-4o")
    assert answer.status_code == 200, answer.text
    assert asked(double) == [("gpt-4o", ATTEMPTS), ("gpt-4o-mini", 1)]


@pytest.mark.parametrize("how", NOT_RETRIED, ids=str)
def test_lasting_faults_fall_back_at_once(gateway: httpx.Client, double: Double, how: dict) -> None:
    double.fail(fault("gpt-4o", **how))
    answer = ask(gateway, double, "gpt-4o")
    assert answer.status_code == 200, answer.text
    assert asked(double) == [("gpt-4o", 1), ("gpt-4o-mini", 1)]


def test_a_passing_fault_that_ends_is_answered_by_the_model_itself(gateway: httpx.Client, double: Double) -> None:
    double.fail(fault("gpt-4o", status=503, times=2))
    answer = ask(gateway, double, "gpt-4o")
    assert answer.headers["x-litellm-attempted-fallbacks"] == "0"
    assert asked(double) == [("gpt-4o", 3)]


def test_a_stream_falls_back_before_its_first_chunk(gateway: httpx.Client, double: Double) -> None:
    double.fail(fault("gpt-4o", status=401))
    answer = ask(gateway, double, "gpt-4o", stream=True)
    assert answer.status_code == 200
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert asked(double) == [("gpt-4o", 1), ("gpt-4o-mini", 1)]


def test_a_stream_cut_after_its_first_chunk_ends_in_an_error(gateway: httpx.Client, double: Double) -> None:
    double.fail(fault("gpt-4o", kind="cut", after_chunks=6))
    answer = ask(gateway, double, "gpt-4o", stream=True)
    assert answer.status_code == 200
    assert '"error"' in answer.text
    assert "[DONE]" not in answer.text
    assert asked(double) == [("gpt-4o", 1)]


def test_a_model_without_a_chain_shows_the_providers_error(gateway: httpx.Client, double: Double) -> None:
    double.fail(fault("gpt-4o-mini", status=401))
    answer = ask(gateway, double, "gpt-4o-mini")
    assert answer.status_code == 401
    assert asked(double) == [("gpt-4o-mini", 1)]

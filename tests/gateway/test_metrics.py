"""/metrics grows with what is served, not with what clients make up."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from proxy.catalog import load_catalog
from proxy.gateway.metrics import OTHER, bounded_values, route_finder
from tests.conftest import Double, Stack, until

MARK = "made-up"
MODEL = "gpt-4o"
SAMPLE = re.compile(r"^(?P<series>\S+?(?:\{.*\})?) (?P<value>\S+)$")

Send = Callable[[], httpx.Response]


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def scrape(gateway: httpx.Client) -> Callable[[], dict[str, float]]:
    """What /metrics has of LiteLLM: value by series."""

    def scraped() -> dict[str, float]:
        lines = gateway.get("/metrics").raise_for_status().text.splitlines()
        found = (SAMPLE.match(line) for line in lines if line.startswith("litellm_"))
        return {one["series"]: float(one["value"]) for one in found if one}

    return scraped


def counted(samples: dict[str, float]) -> float:
    return sum(value for name, value in samples.items() if name.startswith("litellm_proxy_total_requests_metric_total"))


def made_up() -> str:
    return f"{MARK}-{uuid.uuid4().hex}"


def body(**given: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5, **given}


def stays_as_it_is(scrape: Callable[[], dict[str, float]], send: Send, number: int) -> None:
    """As many requests again add no series to those of the first ones."""

    def send_all() -> dict[str, float]:
        before = counted(scrape())
        for _ in range(number):
            send()
        return until("all are counted", lambda: (seen := scrape()) and counted(seen) >= before + number and seen)

    first = send_all()
    assert not [name for name in send_all() if name not in first]
    assert not [name for name in first if MARK in name]


UNKNOWN: dict[str, Callable[[httpx.Client], httpx.Response]] = {
    "keys, models, user agents and addresses": lambda client: client.post(
        "/v1/chat/completions",
        json=body(model=made_up()),
        headers={"Authorization": f"Bearer sk-{made_up()}", "user-agent": made_up(), "x-forwarded-for": made_up()},
    ),
    "paths": lambda client: client.post(f"/engines/{made_up()}/chat/completions", json=body()),
    "paths handed on": lambda client: client.get(f"/openai/{made_up()}"),
    "users and tags": lambda client: client.post(
        "/v1/chat/completions", json=body(user=made_up(), metadata={"tags": [made_up()]})
    ),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_who_has_no_key_adds_nothing(client: httpx.Client, scrape: Callable[[], dict[str, float]], what: str) -> None:
    assert UNKNOWN[what](client).status_code == 401
    stays_as_it_is(scrape, lambda: UNKNOWN[what](client), 300)


KNOWN: dict[str, Callable[[httpx.Client], httpx.Response]] = {
    "models": lambda client: client.post("/v1/chat/completions", json=body(model=made_up())),
    "paths": lambda client: client.post(f"/engines/{made_up()}/chat/completions", json=body()),
    "users, tags and user agents": lambda client: client.post(
        "/v1/chat/completions",
        json=body(user=made_up(), metadata={"tags": [made_up()], made_up(): made_up()}),
        headers={"user-agent": made_up(), "x-litellm-end-user-id": made_up(), "x-litellm-tags": made_up()},
    ),
}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("what", KNOWN)
def test_a_key_adds_nothing_by_what_it_makes_up(
    client: httpx.Client, gateway: httpx.Client, scrape: Callable[[], dict[str, float]], what: str
) -> None:
    limit = {"rpm_limit": 1_000_000}
    key = gateway.post("/key/generate", json=limit).raise_for_status().json()["key"]
    client.headers["Authorization"] = f"Bearer {key}"
    stays_as_it_is(scrape, lambda: KNOWN[what](client), 60)


def test_times_are_told_by_model_and_not_by_key(
    gateway: httpx.Client, double: Double, scrape: Callable[[], dict[str, float]]
) -> None:
    alias = f"timed-{uuid.uuid4().hex}"
    key = gateway.post("/key/generate", json={"key_alias": alias}).raise_for_status().json()["key"]
    request = body(messages=[{"role": "user", "content": double.marker}])
    gateway.post("/v1/chat/completions", json=request, headers={"Authorization": f"Bearer {key}"}).raise_for_status()

    def counted() -> list[str]:  # by what is counted last
        names = [name for name in scrape() if alias in name]
        return names if any(name.startswith("litellm_proxy_total_requests_metric_total") for name in names) else []

    of_key = until("the key is counted", counted)
    assert not [name for name in of_key if "_bucket" in name]
    assert not [name for name in scrape() if "_created" in name]


class Values:
    """Stands for LiteLLM's label values."""

    def __init__(self, **given: Any) -> None:
        names = ("requested_model", "model_group", "model", "litellm_model_name", "fallback_model", "api_provider")
        for name in (*names, "route", "exception_status"):
            setattr(self, name, given.get(name))


def test_what_is_served_here_keeps_its_name() -> None:
    bounded = bounded_values(load_catalog(), str.upper)
    served = Values(requested_model=MODEL, model="claude-3-opus-20240229", api_provider="anthropic", route="/a")
    bounded(served)
    names = (served.requested_model, served.model, served.api_provider, served.route)
    assert names == (MODEL, "claude-3-opus-20240229", "anthropic", "/A")
    unknown = Values(requested_model="gpt-1", model="gpt-1", api_provider="bedrock")
    bounded(unknown)
    assert (unknown.requested_model, unknown.model, unknown.api_provider) == (OTHER, OTHER, OTHER)
    refused = Values(requested_model=MODEL, api_provider="openai", exception_status="401")
    bounded(refused)
    assert (refused.requested_model, refused.api_provider) == (None, None)


def test_routes_are_told_as_the_app_writes_them() -> None:
    app = FastAPI(openapi_url=None)
    for path in ("/{anything}/files", "/models/{model:path}", "/v1/files"):
        app.post(path)(lambda: None)
    included = APIRouter()
    included.post("/v1/chat/completions")(lambda: None)
    included.post("/{name}/list")(lambda: None)
    app.include_router(included)
    app.include_router(included, prefix="/team")
    route_of = route_finder(app)
    assert route_of("/v1/files") == "/v1/files"
    assert route_of("/x/files") == "/{anything}/files"
    assert route_of("/models/a/b:generateContent") == "/models/{model}"
    assert route_of("/v1/chat/completions") == "/v1/chat/completions"
    assert route_of("/any/list") == "/{name}/list"
    assert route_of("/team/any/list") == "/team/{name}/list"
    assert route_of("/nowhere") == OTHER

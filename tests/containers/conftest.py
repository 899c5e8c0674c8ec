"""Containers for real: on a machine with a Docker engine, skipped with the reason elsewhere.

`images` are made once (stand-ins of the official ones, and the project's own image from this checkout); `plain` is
one running project of Postgres, migration, simulator and gateway, `edge` another one behind its edge, `pair` one of
two gateways. All serve the whole run.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import free_port
from tests.containers.edge import Edge
from tests.containers.engine import Project, build_stand_ins, why_not

MODEL_LIMIT = 40
TIMEOUT = 1200  # seconds for one test, the making of every image before it included


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = __file__.rpartition("/")[0]
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.timeout(TIMEOUT))


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine with Compose and what the stand-ins are made with."""
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def images(engine: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Stand-ins for Python and Postgres, and the project's image built on them."""
    build_stand_ins("python", "postgres")
    Project(tmp_path_factory.mktemp("images")).build()


@pytest.fixture(scope="session")
def plain(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A running double: what `docker compose up` gives after `config render compose`."""
    project = Project(tmp_path_factory.mktemp("plain"))
    try:
        project.render("--mode", "double")
        project.up()
        yield project
    finally:
        project.down("--volumes")


@pytest.fixture
def client(plain: Project) -> Iterator[httpx.Client]:
    """A client of the plain project's gateway with the master key."""
    headers = {"Authorization": f"Bearer {plain.secrets['LITELLM_MASTER_KEY']}"}
    with httpx.Client(base_url=plain.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def edge(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A running double behind its edge, with a self-signed certificate; nobody has asked for another one yet."""
    build_stand_ins("nginx", "certbot", "pebble")
    edge = Edge.make(tmp_path_factory.mktemp("edge"))
    try:
        edge.render()
        edge.project.up("edge")
        yield edge
    finally:
        edge.project.compose("--profile", "*", "down", "--volumes", "--timeout", "30")


@pytest.fixture(scope="session")
def pair(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A running double of two gateways behind their edge, watched by Prometheus. A model takes MODEL_LIMIT requests a
    minute, so that a test can send more than that."""
    build_stand_ins("nginx", "valkey", "prometheus")
    edge = Edge.make(tmp_path_factory.mktemp("pair"), LITELLM_LOCAL_PROMETHEUS_PORT=str(free_port()))
    try:
        edge.render(("requests_per_minute: 1000", f"requests_per_minute: {MODEL_LIMIT}"), options=("--replicas", "2"))
        edge.project.up("edge", "prometheus")
        yield edge
    finally:
        edge.project.compose("--profile", "*", "down", "--volumes", "--timeout", "30")

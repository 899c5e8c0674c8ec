"""Containers for real: on a machine with a Docker engine, skipped with the reason elsewhere.

`images` are made once (stand-ins of the official ones, and the project's own image from this checkout); `plain` is
one running project of Postgres, migration, simulator and gateway. Both serve the whole run.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.containers.engine import Project, build_stand_ins, why_not

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

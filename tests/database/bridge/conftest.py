"""Fixtures: a real Postgres, the bridge set up by proxy.database.engine, and a client generated for schema.prisma.

The client is written to a folder of its own (`conformance_client`): LiteLLM's, in the installed `prisma` package,
stays as it is.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bridge_servers import HERE, Postgres

from proxy.database.engine import engine_environment, generate_client, prepare_engine


@pytest.fixture(scope="session")
def engine_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("engine-home")
    prepare_engine(home, print)
    return home


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def client_package(engine_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The generated package: `Prisma`, `Json`, `errors`, …"""
    folder = tmp_path_factory.mktemp("client")
    schema = folder / "schema.prisma"
    schema.write_text((HERE / "schema.prisma").read_text().replace("OUTPUT", str(folder / "conformance_client")))
    generate_client(engine_home, schema, print)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("conformance_client")
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def connect(client_package: Any, engine_home: Path) -> Callable[[str], Any]:
    """Starts a bridge for a database URL; gives the client that is connected to it."""

    def start(url: str) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in engine_environment(engine_home, url).items():
                patch.setenv(name, value)
            client = client_package.Prisma(use_dotenv=False)  # a checkout's .env is not for the tests
            client.connect(timeout=timedelta(seconds=60))
        return client

    return start


@pytest.fixture(scope="session")
def database_url(postgres: Postgres) -> str:
    return postgres.new_database("conformance")


@pytest.fixture(scope="session")
def session_client(connect: Callable[[str], Any], database_url: str) -> Iterator[Any]:
    client = connect(f"{database_url}?connection_limit=5")
    yield client
    client.disconnect()


@pytest.fixture
def db(session_client: Any) -> Any:
    """The client, on empty tables."""
    session_client.execute_raw(
        'TRUNCATE "Author", "Profile", "Post", "Tag", "_PostToTag", "Pair", "Sample" RESTART IDENTITY CASCADE'
    )
    return session_client


@pytest.fixture
def json_of(client_package: Any) -> Any:
    return client_package.Json


@pytest.fixture
def errors(client_package: Any) -> Any:
    return client_package.errors

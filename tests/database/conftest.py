"""One real Postgres for the whole run, from the wheel as `up` runs it, and a new database for whoever asks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from database_server import free_port, running

from proxy.database.embedded import EmbeddedPostgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("postgres-server")
    postgres = EmbeddedPostgres(folder / "postgres", folder / "postgres.log", free_port(), "of-a-test")
    postgres.prepare()
    with running(postgres):
        yield postgres


@pytest.fixture
def new_database(server: EmbeddedPostgres) -> Callable[[], str]:
    """Makes an empty database; returns its URL."""

    def make() -> str:
        name = f"test_{next(_numbers)}"
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return server.url(name)

    return make


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "postgres.log"

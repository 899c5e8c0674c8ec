"""Postgres in a container for a gateway that runs as a process: `up --database compose`. Used by embedded.py.

It has the data of the compose stack on the same state folder. `docker compose up` in the foreground is the process that
the launcher supervises: what Postgres writes goes to its log, and ending it stops the container.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import psycopg

from proxy import secrets
from proxy.catalog import project_root
from proxy.database.connection import ensure_database
from proxy.render.compose import compose_env
from proxy.stack.compose_plan import DATABASE_ENV, PROJECT, operators_variables, project_of
from proxy.stack.docker import Compose, DockerError, Engine
from proxy.stack.files import write_files
from proxy.stack.state import StateDir

FILES = ("docker-compose.yml", "docker-compose.database.yml")
MEMORY_NEEDED, DISK_NEEDED = 500_000_000, 1_000_000_000


class ContainerPostgres:
    """The service `postgres` of docker-compose.yml, published on 127.0.0.1:`port`."""

    user: tuple[int, int] | None = None

    def __init__(self, state: StateDir, port: int, password: str, env_file: Path) -> None:
        self._root = state.root
        self._port = port
        self._password = password
        values = {**secrets.read_env_file(env_file), **os.environ}
        self.project = project_of(state.root, values)
        self.files = tuple(project_root() / name for name in FILES)
        self._variables = operators_variables(values)
        self._busy, self._stopping = threading.Lock(), threading.Event()
        self._compose = Compose(self.project, project_root(), self.files, state.root / DATABASE_ENV)

    @property
    def where(self) -> str:
        return f"127.0.0.1:{self._port}, data in the volume {self.project}_postgres"

    @property
    def folder(self) -> Path:
        return project_root()

    def prepare(self) -> None:
        """Writes what the container reads, and checks the engine. Raises DockerError."""
        for file in self.files:
            if not file.exists():
                raise DockerError(f"{file} is missing. Containers are started from a checkout of litellm-local.")
        engine = Engine.connect()
        engine.require_room(disk=DISK_NEEDED, memory=MEMORY_NEEDED)
        variables: dict[str, object] = {
            PROJECT: self.project,
            "LITELLM_LOCAL_STATE": self._root,
            "LITELLM_LOCAL_DATABASE_PORT": self._port,
            **self._variables,
        }
        name = secrets.POSTGRES_PASSWORD
        try:
            write_files(
                self._root,
                {f"secrets/postgres/{name}": f"{self._password}\n", DATABASE_ENV: compose_env(variables)},
            )
        except OSError as error:
            raise DockerError(f"cannot write {error.filename}: {error.strerror or error}") from None
        with self._busy:  # the image is fetched here where need be, with its reason where that fails
            self._compose.run("create", "--no-build", "postgres", watch=self._go_on)

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise DockerError("stopped")

    def command(self) -> list[str]:
        return self._compose.command("up", "--no-build", "--no-color", "--no-log-prefix", "--no-deps", "postgres")

    def environment(self) -> dict[str, str]:
        return {}

    def stop_leftover(self) -> None:
        """A container that still runs is taken over by `docker compose up`."""

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def url(self) -> str:
        return f"postgresql://litellm:{quote(self._password, safe='')}@127.0.0.1:{self._port}/litellm"

    def create_database(self) -> None:
        ensure_database(self.url())

    def remove(self) -> None:
        """Stops and removes the container, also while it is still being made; the data stays."""
        self._stopping.set()
        with self._busy:
            replace(self._compose, profiles=("*",)).run("down")

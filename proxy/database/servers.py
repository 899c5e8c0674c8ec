"""A database's server as a backup needs it: asked for rows in one session, and PostgreSQL's own programs that fit it.

`opened` has it by a URL, or where it runs in a container. Called by backup.py and salt.py.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any, Protocol

import psycopg
from psycopg.rows import dict_row

from proxy.database.connection import connected, libpq_url
from proxy.database.errors import DatabaseError, masked_url
from proxy.database.postgres_tools import tools_for

Row = Mapping[str, Any]

CLOSING_SECONDS = 2.0
"""For connections that were closed a moment ago: Postgres counts them until their process has ended."""


@dataclass(frozen=True)
class InContainer:
    """A server at whose own socket, inside its container, the programs are run: no password, and always its version.

    `prefix` runs a program there, its input and output passed on: `docker exec …`.
    """

    prefix: tuple[str, ...]
    name: str  # for messages
    schema: str = "public"


Database = str | InContainer


class Server(Protocol):
    """`environment` is what `command` needs to be run with; no command line holds a password."""

    name: str
    schema: str

    @property
    def environment(self) -> Mapping[str, str] | None: ...
    def command(self, program: str, *arguments: str) -> list[str]: ...
    def execute(self, statement: str) -> None: ...
    def rows(self, query: str) -> list[Row]:
        """Of a SELECT, in no order to rely on, or of a statement with RETURNING."""
        ...


@contextmanager
def opened(database: Database) -> Iterator[Server]:
    """A session of autocommit. Raises DatabaseError, also for what goes wrong in it."""
    if isinstance(database, str):
        with connected(database) as connection:
            yield _ByUrl(connection, database)
        return
    session = _Inside(database)
    try:
        yield session
    finally:
        session.close()


def check_alone(server: Server) -> None:
    """Raises DatabaseError where anything else is connected to the database, and stays so for CLOSING_SECONDS."""
    deadline = time.monotonic() + CLOSING_SECONDS
    while others := _others(server):
        if time.monotonic() > deadline:
            raise DatabaseError(
                f"{others} other connections use {server.name}. Stop the gateways first, then run it again."
            )
        time.sleep(0.1)


def _others(server: Server) -> int:
    (row,) = server.rows(
        "SELECT count(*) AS others FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return int(row["others"])


class _ByUrl:
    def __init__(self, connection: psycopg.Connection[Any], url: str) -> None:
        self._connection, self._url = connection, url
        self.name, self.schema = masked_url(url), libpq_url(url)[1]

    @cached_property
    def _tools(self) -> Any:
        return tools_for(self._connection, self._url)

    @property
    def environment(self) -> Mapping[str, str]:
        return dict(self._tools.environment)

    def command(self, program: str, *arguments: str) -> list[str]:
        return list(self._tools.command(program, *arguments))

    def execute(self, statement: str) -> None:
        self._connection.execute(statement.encode())

    def rows(self, query: str) -> list[Row]:
        return list(self._connection.cursor(row_factory=dict_row).execute(query.encode()))


class _Inside:
    """A session of psql's, which is asked and answers through its pipes."""

    environment: Mapping[str, str] | None = None  # as ours

    def __init__(self, database: InContainer) -> None:
        self._database = database
        self.name, self.schema = database.name, database.schema
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - close() does
        options = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        self._psql = subprocess.Popen(
            self.command("psql", *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        self.execute(f'SET search_path TO "{self.schema}"')

    def command(self, program: str, *arguments: str) -> list[str]:
        return [*self._database.prefix, program, *arguments]

    def execute(self, statement: str) -> None:
        self._ask(statement)

    def rows(self, query: str) -> list[Row]:
        wrapped = f"WITH q AS ({query}) SELECT coalesce(json_agg(row_to_json(q)), '[]') FROM q"  # noqa: S608 - ours
        return list(json.loads(self._ask(wrapped)))

    def _ask(self, text: str) -> str:
        """What psql prints for it."""
        assert self._psql.stdin is not None  # noqa: S101 - both are pipes
        assert self._psql.stdout is not None  # noqa: S101
        mark = uuid.uuid4().hex.encode()
        with suppress(BrokenPipeError):  # it has ended, and says why
            self._psql.stdin.write(text.encode() + b";\n\\echo " + mark + b"\n")
            self._psql.stdin.flush()
        lines = []
        while (line := self._psql.stdout.readline()).strip() != mark:
            if not line:
                self._psql.wait()
                raise DatabaseError(f"{self.name}: {last_error(self._said)}")
            lines.append(line)
        return b"".join(lines).decode()

    def close(self) -> None:
        end(self._psql)
        self._said.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a program of ours that may have ended by itself, and closes its pipes."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with suppress(OSError):
                pipe.close()


def last_error(said: IO[bytes]) -> str:
    """The error as the program said it: its last line that names one."""
    said.seek(0)
    lines = [line.strip() for line in said.read().decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "error" in line or "FATAL" in line]
    return (errors or lines or ["no reason given"])[-1]

"""PostgreSQL's own pg_dump, pg_restore and psql: which of them fits a server, and how they are told of it.

The wheel carries those of 16 and of 18. They speak no TLS; for a server that wants it, those on PATH are taken.
Used by backup.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from proxy.database.connection import libpq_url
from proxy.database.embedded import binaries
from proxy.database.errors import DatabaseError

WHEEL_FOLDERS = ((16, "pginstall"), (18, "pginstall18"))
"""Newest server that a folder's tools know -> the folder. An older pg_dump refuses; a newer one writes SET commands
that an older server does not know."""


@dataclass(frozen=True)
class Tools:
    """The programs for one database. `environment` holds its password: it is never on a command line."""

    folder: Path
    environment: dict[str, str]

    def command(self, name: str, *arguments: str) -> list[str]:
        return [str(self.folder / name), *arguments]


def tools_for(connection: psycopg.Connection[Any], url: str) -> Tools:
    """The tools that fit the server of an open connection to `url`. Raises DatabaseError where none do."""
    major = connection.info.server_version // 10_000
    environment = {**os.environ, **_libpq_variables(url), "PGTZ": "UTC", "LC_ALL": "C"}
    wheel = _wheel()
    if wheel is not None and not connection.pgconn.ssl_in_use:
        for newest, name in WHEEL_FOLDERS:
            folder = wheel / name / "bin"
            if major <= newest and (folder / "pg_dump").exists():
                return Tools(folder, {**environment, "PGSSLMODE": "disable"})
    found = shutil.which("pg_dump")
    if found and _major_of(found) >= major:
        return Tools(Path(found).parent, environment)
    raise DatabaseError(
        f"this takes pg_dump of PostgreSQL {major} or newer, as the server is, and none is on PATH. "
        f"Install the client programs (Debian: apt install postgresql-client-{major}) and run it again."
    )


def _wheel() -> Path | None:
    """The wheel's folder; an image for containers has none."""
    try:
        return binaries().parent.parent
    except DatabaseError:
        return None


def _libpq_variables(url: str) -> dict[str, str]:
    address, _ = libpq_url(url)
    known = {
        option.keyword.decode(): option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar
    }
    values = conninfo_to_dict(address)
    return {known[name]: str(value) for name, value in values.items() if name in known and value is not None}


def _major_of(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\) (\d+)", said)
    return int(found[1]) if found else 0

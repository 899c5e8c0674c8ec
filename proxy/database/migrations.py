"""LiteLLM's migrations, applied by psycopg and recorded in Prisma's own ledger. Called by `up`, `migrate`, the gateway.

LiteLLM ships `litellm_proxy_extras/migrations/*/migration.sql`; Prisma's schema engine would apply them in the
order of their names and record each in `_prisma_migrations` with the sha256 of its file. So do we: afterwards
neither tool sees a difference. One migrator at a time, by the advisory lock Prisma itself uses.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from proxy.database.errors import DatabaseError

__all__ = ["DatabaseError", "MigrationReport", "Progress", "masked_url", "migrate", "pending", "resolve_failed"]

PRISMA_LOCK = 72707369  # the advisory lock of Prisma Migrate
LOCK_SECONDS = 300.0

# Parameters of a URL that Prisma reads and libpq refuses.
PRISMA_PARAMETERS = {
    "connection_limit", "pool_timeout", "pgbouncer", "schema", "socket_timeout", "statement_cache_size",
    "sslaccept", "sslidentity", "sslpassword", "max_connection_lifetime", "max_idle_connection_lifetime",
}  # fmt: skip

# Two indexes of LiteLLM's are in no migration: table, name, columns.
REQUEST_LOG_INDEXES = (
    ("LiteLLM_SpendLogs", "LiteLLM_SpendLogs_api_key_startTime_idx", ("api_key", "startTime")),
    ("LiteLLM_SpendLogs", "LiteLLM_SpendLogs_litellm_call_id_idx", ("litellm_call_id",)),
)

LEDGER = """
CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
    "id" VARCHAR(36) PRIMARY KEY NOT NULL,
    "checksum" VARCHAR(64) NOT NULL,
    "finished_at" TIMESTAMPTZ,
    "migration_name" VARCHAR(255) NOT NULL,
    "logs" TEXT,
    "rolled_back_at" TIMESTAMPTZ,
    "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
    "applied_steps_count" INTEGER NOT NULL DEFAULT 0
)
"""


@dataclass(frozen=True)
class Migration:
    name: str
    script: str
    checksum: str


@dataclass(frozen=True)
class Progress:
    """`name` is being applied, after `done` of `total`."""

    done: int
    total: int
    name: str


@dataclass
class MigrationReport:
    """What a run did. `unknown` are migrations in the ledger that this LiteLLM does not have."""

    applied: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    seconds: float = 0.0


def masked_url(url: str) -> str:
    """A database URL as it may be shown or logged: without its password and its parameters."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(a malformed URL)"
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit((parts.scheme, f"{user}{parts.hostname or ''}{port}", parts.path, "", ""))


def migrations_folder() -> Path:
    spec = importlib.util.find_spec("litellm_proxy_extras")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        return Path(folder) / "migrations"
    raise DatabaseError("LiteLLM's migrations are not installed. Run scripts/up, which installs requirements.lock.")


def load_migrations(folder: Path | None = None) -> list[Migration]:
    """LiteLLM's migrations in the order in which they apply."""
    found = []
    for file in sorted((folder or migrations_folder()).glob("*/migration.sql"), key=lambda file: file.parent.name):
        data = file.read_bytes()
        found.append(Migration(file.parent.name, data.decode("utf-8"), hashlib.sha256(data).hexdigest()))
    return found


def migrate(
    url: str, progress: Callable[[Progress], None] = lambda _: None, *, folder: Path | None = None
) -> MigrationReport:
    """Brings the database up to LiteLLM's schema; returns what was done. Safe to call from many places at once.

    Raises DatabaseError where the server is out of reach, where the database is someone else's, where an
    earlier migration has failed, and where one fails now: the ledger then names it, with the cause.
    """
    began = time.monotonic()
    report = MigrationReport()
    with _connected(url) as connection, _only_migrator(connection):
        _refuse_foreign(connection, url)
        connection.execute(LEDGER)
        known = load_migrations(folder)
        todo = _todo(connection, known, report)
        for number, migration in enumerate(todo):
            progress(Progress(number, len(todo), migration.name))
            _apply(connection, migration)
            report.applied.append(migration.name)
        if folder is None:
            _build_request_log_indexes(connection, url, len(todo), progress)
    report.seconds = time.monotonic() - began
    return report


def pending(url: str) -> list[str]:
    """Names of the migrations that the database lacks. Raises DatabaseError."""
    with _connected(url) as connection:
        done = _finished(connection)
    return [migration.name for migration in load_migrations() if migration.name not in done]


def resolve_failed(url: str, name: str) -> None:
    """Marks a failed migration as rolled back, so that the next run tries it again. Raises DatabaseError."""
    with _connected(url) as connection, _only_migrator(connection):
        changed = connection.execute(
            "UPDATE _prisma_migrations SET rolled_back_at = now() "
            "WHERE migration_name = %s AND finished_at IS NULL AND rolled_back_at IS NULL",
            (name,),
        ).rowcount
    if not changed:
        raise DatabaseError(f"no failed migration {name} in {masked_url(url)}. See: litellm-local migrate --check")


def wait_until_migrated(url: str, timeout: float, on_wait: Callable[[str], None] | None = None) -> None:
    """Returns once the server answers and no migration is missing; says now and then what it waits for.

    Raises DatabaseError after `timeout` seconds, naming what was missing last.
    """
    deadline = time.monotonic() + timeout
    said, names = "", [migration.name for migration in load_migrations()]
    while True:
        try:
            with _connected(url) as connection:
                done = _finished(connection)
            missing = [name for name in names if name not in done]
            if not missing:
                return
            why = f"waiting for {len(missing)} migrations" if len(missing) == len(names) else "waiting for migrations"
        except DatabaseError as error:
            why = str(error)
        if time.monotonic() > deadline:
            raise DatabaseError(f"the database is not ready after {timeout:.0f} s: {why}")
        if why != said and on_wait:
            on_wait(why)
            said = why
        time.sleep(0.1)


# -- one connection ----------------------------------------------------------------------------------------


def libpq_url(url: str) -> tuple[str, str | None]:
    """The URL less what only Prisma reads, and the schema it names."""
    parts = urlsplit(url)
    parameters = parse_qsl(parts.query)
    schema = next((value for name, value in parameters if name == "schema"), None)
    kept = [(name, value) for name, value in parameters if name not in PRISMA_PARAMETERS]
    return urlunsplit(parts._replace(query=urlencode(kept))), schema


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    address, schema = libpq_url(url)
    try:
        connection = psycopg.connect(address, autocommit=True, connect_timeout=10)
    except psycopg.Error as error:
        raise DatabaseError(f"cannot connect to {masked_url(url)}: {_cause(error)}. {_next_step(error)}") from None
    with connection:
        try:
            if schema:
                connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
            yield connection
        except psycopg.Error as error:
            raise DatabaseError(f"{masked_url(url)}: {_cause(error)}. {_next_step(error)}") from None


def _cause(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _next_step(error: psycopg.Error) -> str:
    text = str(error)
    if "does not exist" in text and "database" in text:
        return "Create it first: CREATE DATABASE …"
    if "authentication" in text or "password" in text:
        return "Check user and password in the URL."
    if "disk" in text.lower() or "space" in text.lower():
        return "Free some space on the server, then try again."
    return "Is the server up, and are host and port right?"


@contextmanager
def _only_migrator(connection: psycopg.Connection[Any]) -> Iterator[None]:
    deadline = time.monotonic() + LOCK_SECONDS
    while not connection.execute("SELECT pg_try_advisory_lock(%s)", (PRISMA_LOCK,)).fetchone()[0]:  # type: ignore[index]
        if time.monotonic() > deadline:
            raise DatabaseError(
                "another migrator has held the database for five minutes. Is it hanging? Stop it first."
            )
        time.sleep(0.1)
    try:
        yield
    finally:
        if not connection.closed and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s)", (PRISMA_LOCK,))


# -- the ledger --------------------------------------------------------------------------------------------


def _has_ledger(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute("SELECT to_regclass('_prisma_migrations') IS NOT NULL").fetchone()
    return bool(row and row[0])


def _finished(connection: psycopg.Connection[Any]) -> set[str]:
    if not _has_ledger(connection):
        return set()
    rows = connection.execute(
        "SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL"
    )
    return {row[0] for row in rows}


def _refuse_foreign(connection: psycopg.Connection[Any], url: str) -> None:
    if _has_ledger(connection):
        return
    tables = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1 LIMIT 3"
    ).fetchall()
    if tables:
        names = ", ".join(row[0] for row in tables)
        raise DatabaseError(
            f"{masked_url(url)} holds tables ({names}) but no LiteLLM: nothing was changed. Give an empty database."
        )


def _todo(connection: psycopg.Connection[Any], known: list[Migration], report: MigrationReport) -> list[Migration]:
    rows = connection.execute(
        "SELECT migration_name, checksum, finished_at, logs FROM _prisma_migrations WHERE rolled_back_at IS NULL"
    ).fetchall()
    for name, _, finished_at, logs in rows:
        if finished_at is None:
            raise DatabaseError(
                f"the migration {name} failed or was cut off earlier"
                f"{f': {logs.strip().splitlines()[0]}' if logs and logs.strip() else ''}. Mend the cause, then try it "
                f"again with: DATABASE_URL=… litellm-local migrate --resolve {name}"
            )
    done = {name: checksum for name, checksum, _, _ in rows}
    names = {migration.name for migration in known}
    report.unknown = sorted(set(done) - names)
    if report.unknown:
        raise DatabaseError(
            f"the database was migrated by a newer LiteLLM (it has {report.unknown[-1]}, unknown here). "
            "Use that version or newer, or restore a backup from before."
        )
    return [migration for migration in known if migration.name not in done]


def _apply(connection: psycopg.Connection[Any], migration: Migration) -> None:
    """Applies one migration. Its row is written first, as Prisma does, and tells of a failure or a cut."""
    row = str(uuid.uuid4())
    connection.execute(
        "INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at) VALUES (%s, %s, %s, now())",
        (row, migration.checksum, migration.name),
    )
    try:
        connection.execute(migration.script.encode())  # without parameters: all its statements, one transaction
    except psycopg.Error as error:
        if not connection.closed and not connection.broken:
            connection.execute("UPDATE _prisma_migrations SET logs = %s WHERE id = %s", (_cause(error), row))
        raise DatabaseError(
            f"the migration {migration.name} failed: {_cause(error)}. Mend the cause, then try it again with: "
            f"DATABASE_URL=… litellm-local migrate --resolve {migration.name}"
        ) from None
    connection.execute(
        "UPDATE _prisma_migrations SET finished_at = now(), applied_steps_count = 1 WHERE id = %s", (row,)
    )


def _build_request_log_indexes(
    connection: psycopg.Connection[Any], url: str, total: int, progress: Callable[[Progress], None]
) -> None:
    """LiteLLM builds these beside its migrations, as a table full of requests must not be blocked meanwhile.

    On an empty table that is one statement. Else LiteLLM's own builder does it, whose import takes seconds.
    """
    missing = [index for index in REQUEST_LOG_INDEXES if not _is_valid_index(connection, index[1])]
    if not missing:
        return
    progress(Progress(total, total, "request log indexes"))
    row = connection.execute('SELECT EXISTS (SELECT FROM "LiteLLM_SpendLogs")').fetchone()
    if row and not row[0]:
        for table, name, columns in missing:
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            statement = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(table), names))
        return
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # its import would fetch prices
    from litellm_proxy_extras.request_log_indexes import ensure_request_log_indexes

    address, schema = libpq_url(url)
    if not ensure_request_log_indexes(address, schema or "public"):
        raise DatabaseError("LiteLLM's request-log indexes could not be built. The database log says why; try again.")


def _is_valid_index(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (f'"{name}"',)
    ).fetchone()
    return bool(row and row[0])

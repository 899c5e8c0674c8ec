"""LiteLLM's migrations, applied by psycopg and recorded in Prisma's own ledger. Called by `up`, `migrate`, the gateway.

LiteLLM ships `litellm_proxy_extras/migrations/*/migration.sql`; Prisma's schema engine would apply them in the
order of their names and record each in `_prisma_migrations` with the sha256 of its file. So do we: afterwards
neither tool sees a difference. One migrator at a time, by the advisory lock Prisma itself uses.

A migration and its row of the ledger are one transaction, so a migrator killed half-way leaves no trace and the
next one goes on. `CREATE INDEX CONCURRENTLY` allows no transaction: there the row comes first, as with Prisma, and
the next migrator does over what was cut off. One that fails is kept in the ledger with its error, as with Prisma.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from proxy.database.connection import cause, connected, ensure_database, libpq_url
from proxy.database.errors import DatabaseError, masked_url
from proxy.database.request_log_indexes import build_request_log_indexes

__all__ = [
    "DatabaseError",
    "MigrationReport",
    "Progress",
    "masked_url",
    "migrate",
    "pending",
    "resolve_failed",
    "wait_until_migrated",
]

PRISMA_LOCK = 72707369  # the advisory lock of Prisma Migrate
LOCK_SECONDS = 600.0
POLL_SECONDS = 0.1

LEDGER = """
CREATE TABLE "_prisma_migrations" (
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

CONCURRENT_INDEX = re.compile(
    r'^\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?"(?P<name>[^"]+)"', re.I | re.M
)


@dataclass(frozen=True)
class Migration:
    """One of LiteLLM's migrations, with its file's sha256."""

    name: str
    script: str
    checksum: str

    @property
    def concurrent_index(self) -> str | None:
        """The index that it builds outside any transaction, where that is what it does."""
        match = CONCURRENT_INDEX.search(self.script)
        return match["name"] if match else None


@dataclass(frozen=True)
class Progress:
    """`name` is being applied, after `done` of `total`."""

    done: int
    total: int
    name: str


@dataclass
class MigrationReport:
    """What a run did.

    `unknown` are migrations in the ledger that this LiteLLM does not have (a baseline, or dropped since), `edited`
    those whose file was another one when they were applied; Prisma lets both pass. `warnings` are for the user.
    """

    applied: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    created_database: bool = False
    seconds: float = 0.0


def migrations_folder() -> Path:
    """Where LiteLLM keeps them; found without importing it. Raises DatabaseError where they are missing."""
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

    Raises DatabaseError where the server is out of reach, where the database is someone else's or a newer
    LiteLLM's, where an earlier migration has failed, and where one fails now: the ledger then names it.
    """
    began = time.monotonic()
    known = load_migrations(folder)
    report = MigrationReport(created_database=ensure_database(url))
    with connected(url) as connection, _only_migrator(connection):
        _ensure_ledger(connection, url)
        todo = _todo(connection, known, report, url)
        for number, migration in enumerate(todo):
            progress(Progress(number, len(todo), migration.name))
            _apply(connection, migration, url)
            report.applied.append(migration.name)
        if folder is None:
            progress(Progress(len(todo), len(todo), "request log indexes"))
            report.warnings += build_request_log_indexes(connection, url)
    report.seconds = time.monotonic() - began
    return report


def pending(url: str) -> list[str]:
    """Names of the migrations that the database lacks. Raises DatabaseError."""
    with connected(url) as connection:
        done = _finished(connection)
    return [migration.name for migration in load_migrations() if migration.name not in done]


def resolve_failed(url: str, name: str) -> None:
    """Marks a failed migration as rolled back, so that the next run tries it again. Raises DatabaseError."""
    with connected(url) as connection, _only_migrator(connection):
        if not (_has_ledger(connection) and _roll_back(connection, name)):
            raise DatabaseError(f"{masked_url(url)} has no failed migration {name}. Nothing was changed.")


def wait_until_migrated(url: str, timeout: float, on_wait: Callable[[str], None] | None = None) -> None:
    """Returns once the server answers and no migration is missing; tells `on_wait` what it waits for as that changes.

    Raises DatabaseError after `timeout` seconds, naming what was missing last.
    """
    deadline = time.monotonic() + timeout
    said, names = "", [migration.name for migration in load_migrations()]
    while True:
        try:
            with connected(url) as connection:
                missing, failed = set(names) - _finished(connection), _failed(connection)
            if not missing:
                return
            why = f"the migration {failed[0]} has failed" if failed else "not all migrations are applied yet"
        except DatabaseError as error:
            why = str(error)
        if time.monotonic() > deadline:
            raise DatabaseError(
                f"the database is not ready after {timeout:.0f} s: {why.rstrip('.')}. "
                "Is the migrating process running? See: litellm-local migrate --check"
            )
        if why != said and on_wait:
            on_wait(why)
            said = why
        time.sleep(POLL_SECONDS)


@contextmanager
def _only_migrator(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Holds the lock; the server lets go of it with the connection, however that ends."""
    with suppress(psycopg.Error):  # Postgres 14 and newer, not on every system
        connection.execute("SET client_connection_check_interval = '1s'")  # a killed migrator's work ends with it
    deadline = time.monotonic() + LOCK_SECONDS
    while not _value(connection, "SELECT pg_try_advisory_lock(%s)", PRISMA_LOCK):
        if time.monotonic() > deadline:
            raise DatabaseError(
                f"another migrator has held the database for {LOCK_SECONDS / 60:.0f} minutes. Find it in "
                "pg_stat_activity, stop it where it hangs, and run this again."
            )
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        if not connection.closed and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s)", (PRISMA_LOCK,))


# -- the ledger --------------------------------------------------------------------------------------------


def _value(connection: psycopg.Connection[Any], query: str, *parameters: Any) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None


def _has_ledger(connection: psycopg.Connection[Any]) -> bool:
    return bool(_value(connection, "SELECT to_regclass('_prisma_migrations') IS NOT NULL"))


def _finished(connection: psycopg.Connection[Any]) -> set[str]:
    return _names(connection, "finished_at IS NOT NULL")


def _failed(connection: psycopg.Connection[Any]) -> list[str]:
    return sorted(_names(connection, "finished_at IS NULL AND logs IS NOT NULL"))


def _names(connection: psycopg.Connection[Any], condition: str) -> set[str]:
    if not _has_ledger(connection):
        return set()
    rows = connection.execute(
        f"SELECT migration_name FROM _prisma_migrations WHERE rolled_back_at IS NULL AND {condition}".encode()  # noqa: S608
    )
    return {row[0] for row in rows}


def _ensure_ledger(connection: psycopg.Connection[Any], url: str) -> None:
    """Makes it in an empty database; a database of someone else's is left alone."""
    if _has_ledger(connection):
        return
    if _value(connection, "SELECT current_schema()") is None:  # Prisma makes it, too
        schema = libpq_url(url)[1]
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    rows = connection.execute(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname = current_schema() AND relkind IN ('r', 'p')"
        " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"
    ).fetchall()  # an extension's tables are no one's data
    if any(row[0].startswith("LiteLLM_") for row in rows):
        raise DatabaseError(
            f"{masked_url(url)} holds LiteLLM's tables without Prisma's record of migrations (`prisma db push` leaves "
            "it so): nothing was changed. Start LiteLLM's own image on it once, which adds the record, or give an "
            "empty database."
        )
    if rows:
        names = ", ".join(row[0] for row in rows[:3]) + (", …" if len(rows) > 3 else "")
        raise DatabaseError(
            f"{masked_url(url)} holds tables that are not LiteLLM's ({names}): nothing was changed. "
            "Give a database of its own."
        )
    connection.execute(LEDGER)


def _todo(
    connection: psycopg.Connection[Any], known: list[Migration], report: MigrationReport, url: str
) -> list[Migration]:
    """What is to be applied, after a look at what the ledger says. Raises DatabaseError where it must not go on."""
    rows = connection.execute(
        "SELECT migration_name, checksum, finished_at IS NOT NULL, logs FROM _prisma_migrations"
        " WHERE rolled_back_at IS NULL ORDER BY started_at"
    ).fetchall()
    by_name = {migration.name: migration for migration in known}
    done = {}
    for name, checksum, finished, logs in rows:
        if finished:
            done[name] = checksum
        elif not (logs or "").strip() and name in by_name and by_name[name].concurrent_index:
            _roll_back(connection, name)  # cut off; nobody is at it, as we hold the lock
        else:
            raise _failure(url, name, (logs or "it was cut off").strip().splitlines()[0], earlier=True)
    report.unknown = sorted(set(done) - set(by_name))
    report.edited = sorted(name for name in set(done) & set(by_name) if done[name] != by_name[name].checksum)
    newer = [name for name in report.unknown if known and name > known[-1].name]
    if newer:
        raise DatabaseError(
            f"{masked_url(url)} was migrated by a newer LiteLLM (it has {newer[-1]}, unknown here): nothing was "
            "changed. Use that version or a newer one, or restore a backup from before."
        )
    return [migration for migration in known if migration.name not in done]


def _roll_back(connection: psycopg.Connection[Any], name: str) -> bool:
    query = (
        "UPDATE _prisma_migrations SET rolled_back_at = now()"
        " WHERE migration_name = %s AND finished_at IS NULL AND rolled_back_at IS NULL"
    )
    return connection.execute(query, (name,)).rowcount > 0


def _failure(url: str, name: str, why: str, *, earlier: bool = False) -> DatabaseError:
    return DatabaseError(
        f"{masked_url(url)}: the migration {name} {'has failed earlier' if earlier else 'failed'}: {why}. "
        f"Mend the cause, then try it again with: DATABASE_URL=… litellm-local migrate --resolve {name}"
    )


# -- one migration -----------------------------------------------------------------------------------------


def _apply(connection: psycopg.Connection[Any], migration: Migration, url: str) -> None:
    try:
        if migration.concurrent_index:
            _drop_invalid_index(connection, migration.concurrent_index)
            _begin(connection, migration)
            connection.execute(migration.script.encode())
            _finish(connection, migration)
        else:
            with connection.transaction():
                _begin(connection, migration)
                connection.execute(migration.script.encode())  # no parameters: all its statements at once
                _finish(connection, migration)
    except psycopg.Error as error:
        if connection.broken:
            raise  # the server went away: nothing failed, the next run goes on
        _record_failure(connection, migration, error)
        raise _failure(url, migration.name, cause(error)) from None


def _begin(connection: psycopg.Connection[Any], migration: Migration) -> None:
    connection.execute(
        "INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at)"
        " VALUES (%s, %s, %s, clock_timestamp())",
        (str(uuid.uuid4()), migration.checksum, migration.name),
    )


def _finish(connection: psycopg.Connection[Any], migration: Migration) -> None:
    connection.execute(
        "UPDATE _prisma_migrations SET finished_at = clock_timestamp(), applied_steps_count = 1"
        " WHERE migration_name = %s AND finished_at IS NULL AND rolled_back_at IS NULL",
        (migration.name,),
    )


def _record_failure(connection: psycopg.Connection[Any], migration: Migration, error: psycopg.Error) -> None:
    logs = f"Database error code: {error.sqlstate}\n\nDatabase error:\n{error}"
    if not migration.concurrent_index:  # its row went with its transaction
        _begin(connection, migration)
    connection.execute(
        "UPDATE _prisma_migrations SET logs = %s"
        " WHERE migration_name = %s AND finished_at IS NULL AND rolled_back_at IS NULL",
        (f"{cause(error)}\n\n{logs}", migration.name),
    )


def _drop_invalid_index(connection: psycopg.Connection[Any], name: str) -> None:
    """A build that was cut off leaves an index that is never used, and that `IF NOT EXISTS` takes for a good one."""
    query = "SELECT TRUE FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid"
    if _value(connection, query, f'"{name}"'):
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(name)))

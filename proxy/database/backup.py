"""A database into one file, and back. Called by `litellm-local backup` and `restore`.

The file is a zip: `database.dump`, PostgreSQL's own custom format, and `manifest.json`, which says what is in it
down to a checksum for each table. It is written beside its place and renamed when it is whole. A restore replaces
the schema in one transaction that ends with the same checksums: whatever goes wrong, what was there stays.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from psycopg import sql

from proxy import __version__
from proxy.database.errors import DatabaseError
from proxy.database.migrations import load_migrations
from proxy.database.servers import Database, Server, check_alone, end, last_error, opened

FORMAT = 1
DUMP, MANIFEST = "database.dump", "manifest.json"
LEDGER = "_prisma_migrations"
CHUNK = 1024 * 1024

# A row as text looks the same wherever it is read with these.
SESSION = "SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; SET extra_float_digits = 1; SET bytea_output = 'hex'; "
ROWS = (
    "SELECT count(*) AS rows, coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::bigint), 0)::text AS sum FROM {} t"
)

Tell = Callable[[str], None]


class BackupError(DatabaseError):
    """The file cannot be written, or cannot be restored. Nothing that was there is lost."""


@dataclass(frozen=True)
class Table:
    """`checksum`: the sum of a 60-bit hash of each row, whatever their order."""

    rows: int
    checksum: str


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself. `migrations`: those of LiteLLM that the database had."""

    format: int
    made_at: str
    made_by: str
    litellm: str
    postgres: str
    schema: str
    migrations: list[str]
    tables: dict[str, Table]
    dump_bytes: int
    dump_sha256: str

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())


def backup(database: Database, file: Path, tell: Tell, *, replace: bool = False) -> Manifest:
    """Writes the database to `file`, readable by its owner alone. Raises BackupError, DatabaseError.

    What is written to the database meanwhile is not in it; nothing has to be stopped. `tell` hears of progress.
    """
    if file.exists() and not replace:
        raise BackupError(f"{file} is there already. Name another file, or give --force to replace it.")
    with _written(file, replace) as raw, opened(database) as server:
        server.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        server.execute(SESSION)
        snapshot = _value(server, "SELECT pg_export_snapshot() AS value")
        tell("counting rows")
        tables = tables_of(server)
        if LEDGER not in tables:
            raise BackupError(f"{server.name} holds no database of LiteLLM's. Is it the right one?")
        query = sql.SQL("SELECT migration_name FROM {} WHERE finished_at IS NOT NULL")
        applied = server.rows(query.format(sql.Identifier(server.schema, LEDGER)).as_string(None))
        with zipfile.ZipFile(raw, "w") as archive:
            size, digest = _dump(server, snapshot, archive, tell)
            manifest = Manifest(
                format=FORMAT,
                made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                made_by=f"litellm-local {__version__}",
                litellm=version("litellm"),
                postgres=_value(server, "SELECT current_setting('server_version') AS value"),
                schema=server.schema,
                migrations=sorted(row["migration_name"] for row in applied),
                tables=tables,
                dump_bytes=size,
                dump_sha256=digest,
            )
            archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1))
    return manifest


def read_manifest(file: Path) -> Manifest:
    """What `file` holds, found to be whole: its dump is read to the end. Raises BackupError."""
    try:
        with zipfile.ZipFile(file) as archive:
            values = json.loads(archive.read(MANIFEST))
            if values.get("format") != FORMAT:
                raise BackupError(f"{file} has format {values.get('format')}, this litellm-local reads {FORMAT}.")
            tables = {name: Table(**table) for name, table in values.pop("tables").items()}
            manifest = Manifest(**values, tables=tables)
            with archive.open(DUMP) as dump:
                found = _digest(dump)
    except FileNotFoundError:
        raise BackupError(f"{file}: no such file.") from None
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror or error}.") from None
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError, RuntimeError, AttributeError) as error:
        raise BackupError(f"{file} is no backup, or is damaged or cut short ({error}). Nothing was changed.") from None
    if found != manifest.dump_sha256:
        raise BackupError(f"{file} is damaged: its checksum is not the one it was written with. Nothing was changed.")
    return manifest


def restore(database: Database, file: Path, tell: Tell) -> Manifest:
    """Replaces the database by what `file` holds, all or nothing. Raises BackupError, DatabaseError.

    Nothing else may be connected to the database. Migrate it afterwards: the backup may be an older LiteLLM's.
    """
    tell("checking the file")
    manifest = read_manifest(file)
    unknown = sorted(set(manifest.migrations) - {migration.name for migration in load_migrations()})
    if unknown:
        raise BackupError(
            f"{file} was made with LiteLLM {manifest.litellm}, which is newer than this one ({version('litellm')}): "
            f"migration {unknown[-1]} is unknown here. Upgrade first. Nothing was changed."
        )
    with opened(database) as server:
        _check_fits(server, file, manifest)
        with zipfile.ZipFile(file) as archive, archive.open(DUMP) as dump:
            _replay(server, dump, manifest, tell)
    return manifest


def _check_fits(server: Server, file: Path, manifest: Manifest) -> None:
    if server.schema != manifest.schema:
        raise BackupError(
            f"{file} holds the schema '{manifest.schema}', the URL names '{server.schema}'. Nothing was changed."
        )
    here = _value(server, "SELECT current_setting('server_version') AS value")
    if _major(manifest.postgres) > _major(here):
        raise BackupError(
            f"{file} was made from PostgreSQL {manifest.postgres}; {server.name} is {here}, which cannot read what a "
            "newer one has written. Nothing was changed."
        )
    check_alone(server)


def _major(postgres: str) -> int:
    return int(postgres.partition(".")[0].split()[0])


# -- dump ------------------------------------------------------------------------------------------------------


@contextmanager
def _written(file: Path, replace: bool) -> Iterator[IO[bytes]]:
    """A file that is in its place only once all of it is on the disk."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".partial", dir=file.absolute().parent)
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror}.") from None
    partial = Path(name)  # mkstemp: mode 0600
    try:
        with os.fdopen(handle, "wb") as raw:
            yield raw
            raw.flush()
            os.fsync(raw.fileno())
        if replace:
            partial.replace(file)
        else:
            os.link(partial, file)  # fails where a file has come there meanwhile
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror or error}. Nothing was left there.") from None
    finally:
        partial.unlink(missing_ok=True)


def _dump(server: Server, snapshot: str, archive: zipfile.ZipFile, tell: Tell) -> tuple[int, str]:
    """pg_dump into the archive; its size and SHA-256."""
    what = (f"--schema={server.schema}", f"--snapshot={snapshot}")
    command = server.command("pg_dump", "--format=custom", "--no-owner", "--no-privileges", *what)
    digest, size = hashlib.sha256(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, env=server.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
        )
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            with archive.open(DUMP, "w", force_zip64=True) as member:
                while chunk := process.stdout.read(CHUNK):
                    member.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    tell(f"{size / 1e6:.0f} MB")
            code = process.wait()
        finally:
            end(process)
        if code:
            raise BackupError(f"pg_dump failed: {last_error(said)}. Nothing was written.")
    return size, digest.hexdigest()


def tables_of(server: Server) -> dict[str, Table]:
    """Rows and checksum of every table; the session is to be set by SESSION."""
    query = sql.SQL(
        "SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'r' AND n.nspname = {}"
    )
    names = sorted(row["name"] for row in server.rows(query.format(server.schema).as_string(None)))
    found = {}
    for name in names:
        (row,) = server.rows(sql.SQL(ROWS).format(sql.Identifier(server.schema, name)).as_string(None))
        found[name] = Table(row["rows"], row["sum"])
    return found


# -- restore ---------------------------------------------------------------------------------------------------


def _replay(server: Server, dump: IO[bytes], manifest: Manifest, tell: Tell) -> None:
    """The dump into the database, in one transaction that is committed once every checksum fits."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as copy:
        try:
            while chunk := dump.read(CHUNK):  # a member of an archive is no file that a program could be given
                copy.write(chunk)
            copy.seek(0)
        except OSError as error:
            raise BackupError(f"no room in {tempfile.gettempdir()}: {error.strerror}. Nothing was changed.") from None
        psql = subprocess.Popen(
            server.command("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"),
            env=server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        reader = subprocess.Popen(
            server.command("pg_restore", "--no-owner", "--no-privileges", "--file=-"),
            env=server.environment,
            stdin=copy,
            stdout=subprocess.PIPE,
            stderr=said,
        )
        try:
            _feed(psql, reader, manifest, tell)
            code = reader.wait() or psql.wait()
        finally:
            end(reader)
            end(psql)  # without its COMMIT: the server takes everything back
        if code:
            raise BackupError(f"the restore failed and was taken back, nothing was changed: {last_error(said)}")


def _feed(psql: subprocess.Popen[bytes], reader: subprocess.Popen[bytes], manifest: Manifest, tell: Tell) -> None:
    assert psql.stdin is not None  # noqa: S101 - both are pipes
    assert reader.stdout is not None  # noqa: S101
    schema, size = sql.Identifier(manifest.schema).as_string(None), 0
    with suppress(BrokenPipeError):  # psql has ended with an error, which it tells
        psql.stdin.write(f"BEGIN; DROP SCHEMA IF EXISTS {schema} CASCADE;\n".encode())
        while chunk := reader.stdout.read(CHUNK):
            psql.stdin.write(chunk)
            size += len(chunk)
            tell(f"{size / 1e6:.0f} MB")
        if reader.wait() == 0:
            tell("comparing checksums")
            psql.stdin.write(_verification(manifest).encode() + b"COMMIT;\n")
        psql.stdin.close()


def _verification(manifest: Manifest) -> str:
    """SQL that fails unless every table holds what it held."""
    lines = [SESSION, "\nDO $verify$ DECLARE n bigint; s text; BEGIN\n"]
    for name, table in manifest.tables.items():
        rows = sql.SQL(ROWS).format(sql.Identifier(manifest.schema, name)).as_string(None)
        lines.append(f"{rows.replace(' FROM ', ' INTO n, s FROM ', 1)};\n")
        check = sql.SQL("IF n <> {} OR s <> {} THEN RAISE EXCEPTION USING MESSAGE = {}; END IF;\n").format(
            table.rows, table.checksum, f"table {name} has other rows than in the backup"
        )
        lines.append(check.as_string(None))
    return "".join([*lines, "END $verify$;\n"])


# -- small things ----------------------------------------------------------------------------------------------


def _value(server: Server, query: str) -> Any:
    return server.rows(query)[0]["value"]


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()

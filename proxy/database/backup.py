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

import psycopg
from psycopg import sql

from proxy import __version__
from proxy.database.connection import connected, libpq_url
from proxy.database.errors import DatabaseError, masked_url
from proxy.database.migrations import load_migrations
from proxy.database.postgres_tools import Tools, tools_for

FORMAT = 1
DUMP, MANIFEST = "database.dump", "manifest.json"
LEDGER = "_prisma_migrations"
CHUNK = 1024 * 1024

# A row as text looks the same wherever it is read with these.
SESSION = "SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; SET extra_float_digits = 1; SET bytea_output = 'hex'; "
ROWS = "SELECT count(*), coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::bigint), 0)::text FROM {} t"

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


def backup(url: str, file: Path, tell: Tell, *, replace: bool = False) -> Manifest:
    """Writes the database of `url` to `file`, readable by its owner alone. Raises BackupError, DatabaseError.

    What is written to the database meanwhile is not in it; nothing has to be stopped. `tell` hears of progress.
    """
    if file.exists() and not replace:
        raise BackupError(f"{file} is there already. Name another file, or give --force to replace it.")
    _, schema = libpq_url(url)
    with _written(file, replace) as raw, connected(url) as connection:
        tools = tools_for(connection, url)
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            connection.execute(SESSION)
            snapshot = _value(connection, "SELECT pg_export_snapshot()")
            tell("counting rows")
            tables = _tables(connection, schema)
            if LEDGER not in tables:
                raise BackupError(f"{masked_url(url)} holds no database of LiteLLM's. Check its name in the URL.")
            query = sql.SQL("SELECT migration_name FROM {} WHERE finished_at IS NOT NULL ORDER BY 1")
            applied = [row[0] for row in connection.execute(query.format(sql.Identifier(schema, LEDGER)))]
            with zipfile.ZipFile(raw, "w") as archive:
                size, digest = _dump(tools, schema, snapshot, archive, tell)
                manifest = Manifest(
                    format=FORMAT,
                    made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                    made_by=f"litellm-local {__version__}",
                    litellm=version("litellm"),
                    postgres=_value(connection, "SHOW server_version"),
                    schema=schema,
                    migrations=applied,
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


def restore(url: str, file: Path, tell: Tell) -> Manifest:
    """Replaces the database of `url` by what `file` holds, all or nothing. Raises BackupError, DatabaseError.

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
    _, schema = libpq_url(url)
    if schema != manifest.schema:
        raise BackupError(
            f"{file} holds the schema '{manifest.schema}', the URL names '{schema}'. Nothing was changed."
        )
    with connected(url) as connection:
        others = _value(
            connection,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'",
        )
        if others:
            raise BackupError(
                f"{others} other connections use {masked_url(url)}. Stop the gateways first, then run it again."
            )
        tools = tools_for(connection, url)
    with zipfile.ZipFile(file) as archive, archive.open(DUMP) as dump:
        _replay(tools, dump, manifest, tell)
    return manifest


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


def _dump(tools: Tools, schema: str, snapshot: str, archive: zipfile.ZipFile, tell: Tell) -> tuple[int, str]:
    """pg_dump into the archive; its size and SHA-256."""
    command = tools.command(
        "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--schema={schema}", f"--snapshot={snapshot}"
    )
    digest, size = hashlib.sha256(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=tools.environment, stdout=subprocess.PIPE, stderr=said)
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
            _end(process)
        if code:
            raise BackupError(f"pg_dump failed: {_last_line(said)}. Nothing was written.")
    return size, digest.hexdigest()


def _tables(connection: psycopg.Connection[Any], schema: str) -> dict[str, Table]:
    names = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'r' AND n.nspname = %s ORDER BY 1",
        (schema,),
    ).fetchall()
    found = {}
    for (name,) in names:
        row = connection.execute(sql.SQL(ROWS).format(sql.Identifier(schema, name))).fetchone()
        assert row is not None  # noqa: S101 - an aggregate has a row
        found[name] = Table(*row)
    return found


# -- restore ---------------------------------------------------------------------------------------------------


def _replay(tools: Tools, dump: IO[bytes], manifest: Manifest, tell: Tell) -> None:
    """The dump into the database, in one transaction that is committed once every checksum fits."""
    with tempfile.TemporaryFile() as said, tempfile.NamedTemporaryFile() as copy:
        # pg_restore wants to seek, which a member of an archive does not offer it.
        while chunk := dump.read(CHUNK):
            copy.write(chunk)
        copy.flush()
        psql = subprocess.Popen(
            tools.command("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"),
            env=tools.environment,
            stdin=subprocess.PIPE,
            stderr=said,
        )
        reader = subprocess.Popen(
            tools.command("pg_restore", "--no-owner", "--no-privileges", "--file=-", copy.name),
            env=tools.environment,
            stdout=subprocess.PIPE,
            stderr=said,
        )
        try:
            _feed(psql, reader, manifest, tell)
            code = reader.wait() or psql.wait()
        finally:
            _end(reader)
            _end(psql)  # without its COMMIT: the server takes everything back
        if code:
            raise BackupError(f"the restore failed and was taken back, nothing was changed: {_last_line(said)}")


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


def _value(connection: psycopg.Connection[Any], query: Any) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with suppress(OSError):
                pipe.close()


def _last_line(said: IO[bytes]) -> str:
    """The error as the program said it: its last line that names one."""
    said.seek(0)
    lines = [line.strip() for line in said.read().decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "error" in line or "FATAL" in line]
    return (errors or lines or ["no reason given"])[-1]

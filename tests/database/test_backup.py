"""Backup and restore on a real Postgres: the same rows come back, and whatever goes wrong, nothing is lost."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from proxy.database import backup as backups
from proxy.database import postgres_tools
from proxy.database.backup import BackupError, Manifest, backup, read_manifest, restore
from proxy.database.embedded import binaries
from proxy.database.errors import DatabaseError
from proxy.database.migrations import migrate
from proxy.database.servers import opened

KEYS, AWKWARD = '"LiteLLM_VerificationToken"', "tab\there, 'quote', \\backslash, \x01, ünïcödé 🙂"


def quiet(_: str) -> None:
    """Nobody asks how far it is."""


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def tables(url: str) -> dict:
    with opened(url) as server:
        server.execute(backups.SESSION)
        return backups.tables_of(server)


@pytest.fixture
def filled(url: str) -> str:
    """A database of LiteLLM's with keys, spend and awkward text in it."""
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(200):
            connection.execute(
                f"INSERT INTO {KEYS} (token, key_alias, spend, max_budget, metadata) VALUES (%s, %s, %s, %s, %s)",
                (f"hash-{number}", AWKWARD + str(number), number / 7, 1e-9, json.dumps({"a": [AWKWARD, None, 1e300]})),
            )
    return url


@pytest.fixture
def written(filled: str, tmp_path: Path) -> tuple[Path, Manifest]:
    file = tmp_path / "backup.zip"
    return file, backup(filled, file, quiet)


def test_every_table_comes_back(
    filled: str, written: tuple[Path, Manifest], new_database: Callable[[], str], tmp_path: Path
) -> None:
    file, manifest = written
    before = tables(filled)
    assert manifest.tables == before
    assert before["LiteLLM_VerificationToken"].rows == 200
    fresh = new_database()
    restore(fresh, file, quiet)
    assert tables(fresh) == before
    assert backup(fresh, tmp_path / "again.zip", quiet).tables == before
    assert not migrate(fresh).applied


def test_it_replaces_what_was_there(
    filled: str, written: tuple[Path, Manifest], new_database: Callable[[], str]
) -> None:
    other = new_database()
    migrate(other)
    run(other, f"INSERT INTO {KEYS} (token) VALUES ('of-the-other')", "CREATE TABLE of_a_newer_version (a int)")
    restore(other, written[0], quiet)
    assert tables(other) == tables(filled)


def test_the_file_is_for_its_owner_alone_and_never_overwritten_unasked(
    filled: str, written: tuple[Path, Manifest]
) -> None:
    file, _ = written
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BackupError, match="is there already"):
        backup(filled, file, quiet)
    assert backup(filled, file, quiet, replace=True).rows
    assert [left.name for left in file.parent.iterdir()] == [file.name]


def test_rows_written_meanwhile_make_no_difference(
    filled: str, new_database: Callable[[], str], tmp_path: Path
) -> None:
    over, number = threading.Event(), 0

    def write() -> None:
        nonlocal number
        with psycopg.connect(filled, autocommit=True) as connection:
            while not over.is_set():
                number += 1
                connection.execute(f"INSERT INTO {KEYS} (token) VALUES ('meanwhile-{number}')")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        manifest = backup(filled, tmp_path / "backup.zip", quiet)
    finally:
        over.set()
        writer.join()
    assert number > 1
    fresh = new_database()
    restore(fresh, tmp_path / "backup.zip", quiet)  # compares each table's rows with the manifest's
    assert tables(fresh) == manifest.tables


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 100)


def cut_in_half(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def flip_a_byte(file: Path) -> None:
    with file.open("r+b") as raw:
        raw.seek(file.stat().st_size // 2)
        byte = raw.read(1)[0]
        raw.seek(-1, os.SEEK_CUR)
        raw.write(bytes([byte ^ 0xFF]))


def swap_the_dump(file: Path) -> None:
    """A dump that is whole as far as a zip can tell."""
    rewrite(file, dump=b"PGDMP" + b"x" * 1000)


def rewrite(file: Path, dump: bytes | None = None, **changes: object) -> None:
    with zipfile.ZipFile(file) as archive:
        manifest, old = json.loads(archive.read("manifest.json")), archive.read("database.dump")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("database.dump", old if dump is None else dump)
        archive.writestr("manifest.json", json.dumps({**manifest, **changes}))


@pytest.mark.parametrize("damage", [cut_short, cut_in_half, empty, flip_a_byte, swap_the_dump])
def test_a_damaged_file_is_refused_and_nothing_changes(
    filled: str, written: tuple[Path, Manifest], damage: Callable[[Path], None]
) -> None:
    before = tables(filled)
    damage(written[0])
    with pytest.raises(BackupError, match="Nothing was changed"):
        restore(filled, written[0], quiet)
    assert tables(filled) == before


def test_rows_that_differ_from_the_manifest_are_taken_back(filled: str, written: tuple[Path, Manifest]) -> None:
    file, _ = written
    run(filled, f"DELETE FROM {KEYS} WHERE token = 'hash-3'")
    before = tables(filled)
    listed = {name: vars(table) for name, table in before.items()}  # of another moment than the dump
    rewrite(file, tables=listed)
    with pytest.raises(BackupError, match="LiteLLM_VerificationToken has other rows") as refused:
        restore(filled, file, quiet)
    assert "nothing was changed" in str(refused.value)
    assert tables(filled) == before


def test_a_dump_that_breaks_off_inside_is_taken_back(filled: str, written: tuple[Path, Manifest]) -> None:
    file, manifest = written
    with zipfile.ZipFile(file) as archive:
        dump = archive.read("database.dump")
    half = dump[: len(dump) // 2]
    rewrite(file, dump=half, dump_sha256=hashlib.sha256(half).hexdigest(), dump_bytes=len(half))
    before = tables(filled)
    with pytest.raises(BackupError, match="nothing was changed"):
        restore(filled, file, quiet)
    assert tables(filled) == before == manifest.tables


def test_a_restore_that_is_killed_is_taken_back(filled: str, tmp_path: Path) -> None:
    many = "SELECT 'many-' || n, repeat('x', 200) FROM generate_series(1, 200000) n"
    run(filled, f"INSERT INTO {KEYS} (token, key_alias) {many}")
    file = tmp_path / "backup.zip"
    backup(filled, file, quiet)
    run(filled, f"DELETE FROM {KEYS} WHERE token LIKE 'many-%'")
    before = tables(filled)
    program = "import sys; from pathlib import Path; from proxy.database.backup import restore; "
    program += "restore(sys.argv[1], Path(sys.argv[2]), print)"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", program, filled, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    while not (line := process.stdout.readline()).endswith("MB\n") or line == "0 MB\n":
        assert line, process.stderr.read()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    with psycopg.connect(filled, autocommit=True) as connection:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        while connection.execute(others).fetchone() != (0,):
            assert time.monotonic() < deadline, "the restore goes on without its process"
            time.sleep(0.05)
    assert tables(filled) == before
    restore(filled, file, quiet)
    assert tables(filled)["LiteLLM_VerificationToken"].rows == 200_200


def test_a_backup_of_a_newer_litellm_is_refused(filled: str, written: tuple[Path, Manifest]) -> None:
    file, manifest = written
    rewrite(file, migrations=[*manifest.migrations, "20991231000000_of_the_future"], litellm="9.9.9")
    with pytest.raises(BackupError, match=r"LiteLLM 9\.9\.9, which is newer"):
        restore(filled, file, quiet)


def test_a_backup_of_a_newer_postgres_is_refused(filled: str, written: tuple[Path, Manifest]) -> None:
    file, manifest = written
    before = tables(filled)
    rewrite(file, postgres="18.1 (of somebody's)")
    with pytest.raises(BackupError, match=r"made from PostgreSQL 18\.1 .* cannot read what a newer one has written"):
        restore(filled, file, quiet)
    rewrite(file, postgres="14.2")
    restore(filled, file, quiet)
    assert tables(filled) == before == manifest.tables


def test_an_older_one_is_migrated_afterwards(url: str, new_database: Callable[[], str], tmp_path: Path) -> None:
    migrate(url)
    run(
        url,
        "DELETE FROM _prisma_migrations WHERE migration_name = (SELECT max(migration_name) FROM _prisma_migrations)",
    )
    manifest = backup(url, tmp_path / "backup.zip", quiet)
    fresh = new_database()
    restore(fresh, tmp_path / "backup.zip", quiet)
    with psycopg.connect(fresh) as connection:
        assert connection.execute("SELECT count(*) FROM _prisma_migrations").fetchone() == (len(manifest.migrations),)


def test_gateways_must_be_stopped_first(filled: str, written: tuple[Path, Manifest]) -> None:
    with psycopg.connect(filled), pytest.raises(DatabaseError, match=r"1 other connections .* Stop the gateways"):
        restore(filled, written[0], quiet)


def test_what_is_no_database_of_litellms_is_not_backed_up(url: str, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"no database of LiteLLM's"):
        backup(url, tmp_path / "backup.zip", quiet)
    assert not list(tmp_path.glob("*backup*"))


def test_no_room_for_the_file(filled: str, tmp_path: Path) -> None:
    """A limit of the process stands in for a full disk: both fail in the midst of a write."""
    program = "import sys; from pathlib import Path; from proxy.database.backup import backup; "
    program += "backup(sys.argv[1], Path(sys.argv[2]), lambda _: None)"
    done = subprocess.run(
        [sys.executable, "-c", program, filled, str(tmp_path / "backup.zip")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        capture_output=True,
        text=True,
    )
    assert "cannot be written" in done.stderr
    assert not list(tmp_path.glob("*backup*"))


def test_a_folder_that_is_not_there(filled: str, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="cannot be written: No such file"):
        backup(filled, tmp_path / "none" / "backup.zip", quiet)
    with pytest.raises(BackupError, match="no such file"):
        read_manifest(tmp_path / "none.zip")


def test_no_password_in_errors(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError) as refused:
        backup("postgresql://litellm:of-nobody@127.0.0.1:1/litellm", tmp_path / "backup.zip", quiet)
    assert "of-nobody" not in str(refused.value)


def test_without_the_wheel_the_tools_on_path_are_taken(
    filled: str, new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, or for a server that wants TLS."""
    monkeypatch.setattr(postgres_tools, "WHEEL_FOLDERS", ())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DatabaseError, match="none is on PATH"):
        backup(filled, tmp_path / "backup.zip", quiet)
    monkeypatch.setenv("PATH", str(binaries()))
    manifest = backup(filled, tmp_path / "backup.zip", quiet)
    fresh = new_database()
    restore(fresh, tmp_path / "backup.zip", quiet)
    assert tables(fresh) == manifest.tables

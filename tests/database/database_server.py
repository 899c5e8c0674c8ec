"""Runs an embedded Postgres as the launcher does. Used by the tests in this folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.database.embedded import EmbeddedPostgres


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(postgres: EmbeddedPostgres) -> subprocess.Popen[bytes]:
    """Starts a prepared server; returns once it takes connections."""
    with postgres.log_file.open("ab") as log:
        process = subprocess.Popen(
            postgres.command(),
            env={**os.environ, **postgres.environment()},
            cwd=postgres.data_dir,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + 30
    while not postgres.is_ready():
        assert process.poll() is None, postgres.log_file.read_text()
        assert time.monotonic() < deadline, postgres.log_file.read_text()
        time.sleep(0.02)
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    process.wait(30)


@contextmanager
def running(postgres: EmbeddedPostgres) -> Iterator[subprocess.Popen[bytes]]:
    process = start(postgres)
    try:
        yield process
    finally:
        stop(process)

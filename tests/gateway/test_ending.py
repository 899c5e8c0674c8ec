"""A gateway that is told to stop serves whom it has let connect, and writes the spend of what it has just answered."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import Stack, until
from tests.gateway.processes import beside, running, spend_of

PROGRAM = """
import asyncio, sys
from proxy.gateway import mends
from proxy.gateway.__main__ import main

mend = mends.mend

def mend_and_log_slowly():
    from litellm.litellm_core_utils.litellm_logging import Logging
    log = Logging.async_success_handler

    async def log_slowly(self, *args, **named):
        await asyncio.sleep(1)
        await log(self, *args, **named)

    Logging.async_success_handler = log_slowly
    mend()

mends.mend = mend_and_log_slowly
sys.exit(main())
"""


PATIENT = """
import sys
from proxy.gateway import ending
from proxy.gateway.__main__ import main

ending.SILENT_SECONDS = 30
sys.exit(main())
"""

ASK = b"GET /health/liveliness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_is_still_being_logged_is_written(stack: Stack, tmp_path: Path, stream: bool) -> None:
    environment = beside(stack)
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
    with (
        running(environment, tmp_path, ["-c", PROGRAM]) as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        master = {"Authorization": f"Bearer {stack.master_key}"}
        key = client.post("/key/generate", json={}, headers=master).raise_for_status().json()["key"]
        own = {"Authorization": f"Bearer {key}"}
        client.post("/v1/chat/completions", json=body, headers=own).raise_for_status()
    assert [spend > 0 for spend in spend_of(stack, key)] == [True]


def test_whoever_has_connected_is_served(stack: Stack, tmp_path: Path) -> None:
    """Three stops, one of which may cut somebody off: who comes between the last look and the close, a moment that the
    system gives no way to be rid of."""
    outcomes = [at_a_stop(beside(stack), tmp_path) for _ in range(3)]
    assert sum(cut_off != [] for _, cut_off in outcomes) <= 1, outcomes
    assert {one for served, _ in outcomes for one in served} == {b"HTTP/1.1 200"}


def at_a_stop(environment: dict[str, str], folder: Path) -> tuple[set[bytes], list[str]]:
    """What 16 clients are told that ask on until the gateway is gone, and what breaks off."""
    address = ("127.0.0.1", int(environment["LITELLM_LOCAL_PORT"]))
    served: list[bytes] = []
    cut_off: list[str] = []

    def ask_until_refused() -> None:
        while True:
            try:
                connection = socket.create_connection(address, timeout=30)
            except OSError:  # it has ended
                return
            with connection:
                try:
                    connection.sendall(ASK)
                    served.append(connection.recv(1000)[:12])
                except OSError as error:
                    cut_off.append(repr(error))

    clients = [threading.Thread(target=ask_until_refused) for _ in range(16)]
    with running(environment, folder, ["-c", PATIENT]):
        for client in clients:
            client.start()
        until("some are served", lambda: len(served) > 100)
    for client in clients:
        client.join(60)
    return set(served), cut_off


def test_who_has_connected_may_still_ask(stack: Stack, tmp_path: Path) -> None:
    """For SILENT_SECONDS, which are as many here that the machine may be busy."""
    environment = beside(stack)
    port = environment["LITELLM_LOCAL_PORT"]
    address = ("127.0.0.1", int(port))

    def is_refused() -> bool:
        try:
            socket.create_connection(address, timeout=30).close()
        except OSError:
            return True
        return False

    with (
        running(environment, tmp_path, ["-c", PATIENT]),
        socket.create_connection(address, timeout=30) as connection,
    ):
        [gateway] = [one for one in psutil.Process().children() if one.environ().get("LITELLM_LOCAL_PORT") == port]
        gateway.terminate()
        until("nobody else may", is_refused)
        connection.sendall(ASK)
        assert connection.recv(1000)[:12] == b"HTTP/1.1 200"

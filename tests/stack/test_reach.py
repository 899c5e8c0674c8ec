"""Which certificate the edge shows, and so what this machine has to trust."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy import secrets
from proxy.stack import reach
from proxy.stack.certificates import FILE, self_signed
from proxy.stack.state import Run, StateDir


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    """A state folder with an edge's certificate."""
    state = StateDir(tmp_path / "state")
    pem = self_signed(state.root, "llm.example.test")
    file = state.root / FILE
    file.parent.mkdir(parents=True)
    file.write_text(pem, encoding="ascii")
    reach.keep_certificate(state)
    return state


@contextmanager
def an_edge(pem: Path) -> Iterator[Run]:
    """Shows that certificate to whoever connects, on a port of 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        context.wrap_socket(connection, server_side=True).close()
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield a_run(f"https://llm.example.test:{server.getsockname()[1]}", address="127.0.0.1")
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def a_run(url: str, *, address: str | None = None, mode: str = "double", simulator_url: str | None = None) -> Run:
    return Run(os.getpid(), url, mode, "", "", "compose", stack="compose", address=address, simulator_url=simulator_url)


def test_the_edges_own_certificate_is_to_be_trusted_and_an_authoritys_is_not_looked_for(
    state: StateDir, tmp_path: Path
) -> None:
    with an_edge(state.root / FILE) as run:
        assert reach.self_signed_shown(run, state) == state.certificate
    issued = tmp_path / "issued.pem"
    issued.write_text(self_signed(tmp_path, "llm.example.test"), encoding="ascii")
    with an_edge(issued) as run:
        assert reach.certificate_shown(run) is not None
        assert reach.self_signed_shown(run, state) is None
    assert reach.self_signed_shown(run, state) is None  # nobody there
    assert reach.self_signed_shown(a_run("http://127.0.0.1:4000"), state) is None


def test_clients_get_the_certificate_without_its_key(state: StateDir) -> None:
    text = state.certificate.read_text(encoding="ascii")
    assert text.startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE KEY" not in text
    assert ssl.create_default_context(cafile=str(state.certificate)).get_ca_certs()


def test_control_calls_go_where_they_can_be_made() -> None:
    values = {secrets.CONTROL_KEY: "control", secrets.MASTER_KEY: "master"}
    beside = a_run("http://127.0.0.1:1", simulator_url="http://127.0.0.1:2")
    assert reach.control_of(beside, values) == ("http://127.0.0.1:2", "control")
    assert reach.control_of(a_run("http://127.0.0.1:1"), values) == ("http://127.0.0.1:1", "master")
    assert reach.control_of(a_run("https://localhost", address="127.0.0.1"), values) is None
    assert reach.control_of(a_run("http://127.0.0.1:1", mode="live"), values) is None

"""Ports: free, taken, by whom, and what instead."""

from __future__ import annotations

import os
import socket

import pytest

from proxy.stack import ports


@pytest.fixture
def taken() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_busy_port_names_its_owner_and_a_free_one(taken: int) -> None:
    with pytest.raises(ports.PortError) as failure:
        ports.require_free("127.0.0.1", taken)
    message = str(failure.value)
    assert f"port {taken} on 127.0.0.1 is in use by" in message
    assert str(os.getpid()) in message
    offered = int(message.rsplit("--port ", 1)[1])
    assert ports.is_free("127.0.0.1", offered)


def test_a_preferred_port_is_kept_while_it_is_free(taken: int) -> None:
    free = ports.free_port()
    assert ports.free_port(preferred=free) == free
    assert ports.free_port(preferred=taken) != taken
    assert ports.free_port(preferred=free, avoid={free}) != free


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ports.PortError, match="an address of this machine"):
        ports.is_free("192.0.2.1", 4000)


def test_a_host_that_does_not_resolve_is_refused() -> None:
    with pytest.raises(ports.PortError, match="does not resolve"):
        ports.is_free("no host", 4000)

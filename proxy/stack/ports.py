"""Ports on this machine: is one free, who has it, which one is. Called by the launcher and `doctor`."""

from __future__ import annotations

import errno
import os
import socket

import psutil


class PortError(Exception):
    """A port cannot be used. The message names its owner and offers another."""


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on host:port now. Raises PortError where the address itself won't do."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As uvicorn and Postgres do: connections in TIME_WAIT of a server just stopped do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise PortError(f"the host {host!r} does not resolve ({error.strerror}). Use --host 127.0.0.1.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        hint = "ports below 1024 need root" if error.errno == errno.EACCES else f"is {host} an address of this machine?"
        raise PortError(f"cannot listen on {host}:{port} ({error.strerror}): {hint}") from None
    return True


def owner(port: int) -> str | None:
    """Name and pid of the process that listens on `port`, where this user may see it."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):  # macOS shows other processes' sockets to root only
        return None
    for connection in connections:
        if (
            connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.laddr.port == port
            and connection.pid
        ):
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.Error:
                return f"pid {connection.pid}"
    return None


def free_port(host: str = "127.0.0.1", *, preferred: int | None = None, avoid: set[int] | None = None) -> int:
    """`preferred` where it is free, else one the kernel picks; never one of `avoid`."""
    avoid = avoid or set()
    if preferred is not None and preferred not in avoid and is_free(host, preferred):
        return preferred
    while True:
        with socket.socket() as probe:
            probe.bind((host, 0))
            port: int = probe.getsockname()[1]
        if port not in avoid:
            return port


def require_free(host: str, port: int, option: str = "--port") -> None:
    """Raises PortError where host:port is taken: by whom, and which port near it is free, for that option."""
    if is_free(host, port):
        return
    other = next((p for p in range(port + 1, min(port + 100, 65536)) if is_free(host, p)), None)
    by = owner(port) or "another process"
    offer = f"use another port: {option} {other}" if other else f"use another port with {option}."
    raise PortError(f"port {port} on {host} is in use by {by}. Stop it, or {offer}")


def require_free_for_docker(host: str, port: int, option: str) -> None:
    """The same for a port that Docker is to publish, which may be one that only root can listen on."""
    if port >= 1024 or os.geteuid() == 0:
        require_free(host, port, option)
        return
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1" if host == "0.0.0.0" else host, port)) == 0:  # noqa: S104 - compared only
            by = owner(port) or "another process"
            raise PortError(f"port {port} on {host} is in use by {by}. Stop it, or use another port with {option}.")

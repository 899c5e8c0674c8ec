"""A recorder as a process of its own, and a provider that sends exactly what a test wants, when it wants."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from proxy.simulator import api_bases
from tests.simulator.running import Double, port_of, start

REAL_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")


class Recorder:
    def __init__(self, process: subprocess.Popen[str], file: Path) -> None:
        self.process = process
        self.file = file
        self.port = port_of(process)
        self.url = f"http://127.0.0.1:{self.port}"
        self.bases = api_bases(self.url)


RECORDER = ("-m", "proxy.simulator.cassettes")


def start_recorder(
    file: Path, bases: dict[str, str], *arguments: str, program: Sequence[str] = RECORDER
) -> subprocess.Popen[str]:
    words = [word for name, base in bases.items() for word in ("--base", f"{name}={base}")]
    return subprocess.Popen(
        [sys.executable, *program, str(file), *words, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in REAL_KEYS},
    )


@contextmanager
def recording(file: Path, bases: dict[str, str], program: Sequence[str] = RECORDER) -> Iterator[Recorder]:
    """A recorder until the end of the block; it then ends as it should."""
    process = start_recorder(file, bases, program=program)
    try:
        yield Recorder(process, file)
    finally:
        process.terminate()
        try:
            code = process.wait(15)
        finally:
            process.kill()
        _, said = process.communicate()
    assert code == 0, said
    assert "Traceback" not in said


@contextmanager
def simulating(*arguments: str) -> Iterator[Double]:
    """A simulator of its own until the end of the block."""
    process = start(*arguments)
    try:
        yield Double(port_of(process))
    finally:
        process.terminate()
        try:
            code = process.wait(15)
        finally:
            process.kill()
        said = process.communicate()
    assert (code, *said) == (0, "", "")


class Provider:
    """A TCP server that answers each connection with the pieces it is given, and keeps what it was sent."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.bases = api_bases(self.url)
        self.requests: queue.Queue[bytes] = queue.Queue()
        self.pieces: queue.Queue[bytes | None] = queue.Queue()
        """What to send next; b"" closes the connection, None resets it."""
        threading.Thread(target=self._serve, daemon=True).start()

    def say(self, *pieces: bytes | None) -> None:
        for piece in pieces:
            self.pieces.put(piece)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the accept that is waiting
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.requests.put(_read_request(connection))
                while piece := self.pieces.get():
                    connection.sendall(piece)
                if piece is None:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def head(status: str = "200 OK", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nConnection: close\r\n{lines}\r\n".encode()

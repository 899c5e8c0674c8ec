"""What the simulator's connections do with requests however they come: whole and answered at once, in pieces, one upon
the other; told by raw sockets, for a client would join it all up."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.simulator.running import Double

REPLY = {"reply": {"text": "At once."}}
LATE = {"when": {"text": {"equals": "late"}}, "reply": {"text": "In time.", "timing": {"first_token": 0.05}}}


def request(text: str = "Hello", version: str = "1.1", stream: bool = False, **headers: str) -> bytes:
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "stream": stream}).encode()
    sent = {
        "Host": "double",
        "Authorization": "Bearer any",
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"POST /openai/v1/chat/completions HTTP/{version}\r\n{head}\r\n".encode() + body


@contextmanager
def connected(double: Double) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", double.port), timeout=10) as sock:
        yield sock


class _Wire:
    """What http.client reads from: a file that it may not close, for the next answer is in it."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rb")

    def makefile(self, *_: object) -> _Wire:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        """Not yet."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def answers(sock: socket.socket) -> Callable[[], Answer]:
    """Reads one answer after the other from a connection."""
    wire: Any = _Wire(sock)

    def read() -> Answer:
        answer = http.client.HTTPResponse(wire)
        answer.begin()
        return Answer(answer.status, answer.headers, answer.read())

    return read


def said(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    content: str = json.loads(answer.body)["choices"][0]["message"]["content"]
    return content


@pytest.fixture(autouse=True)
def script(double: Double) -> None:
    double.rules(LATE, REPLY)


def outcomes(double: Double) -> list[str | None]:
    return [entry["outcome"] for entry in double.journal()]


def test_a_connection_is_used_again(double: Double) -> None:
    with connected(double) as sock:
        read = answers(sock)
        for text, reply in (("one", "At once."), ("late", "In time."), ("three", "At once."), ("late", "In time.")):
            sock.sendall(request(text))
            assert said(read()) == reply
    assert outcomes(double) == ["ok"] * 4


@pytest.mark.parametrize("order", [("one", "two", "late", "four"), ("late", "two", "late", "four")])
def test_requests_one_upon_the_other_are_answered_in_their_order(double: Double, order: tuple[str, ...]) -> None:
    with connected(double) as sock:
        sock.sendall(b"".join(request(text) for text in order))
        read = answers(sock)
        assert [said(read()) for _ in order] == ["In time." if text == "late" else "At once." for text in order]


def test_a_request_in_pieces(double: Double) -> None:
    whole = request()
    with connected(double) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (whole[:30], whole[30:-20], whole[-20:-5]):
            sock.sendall(part)
        # The headers are in: the journal has it, though the body is not.
        double.wait_for(lambda entries: len(entries) == 1)
        sock.sendall(whole[-5:])
        assert said(answers(sock)()) == "At once."
    assert outcomes(double) == ["ok"]


def test_a_client_that_goes_before_its_request_is_whole(double: Double) -> None:
    with connected(double) as sock:
        sock.sendall(request()[:-5])
        double.wait_for(lambda entries: len(entries) == 1)
    entries = double.wait_for(lambda entries: entries[0]["ended_at"] is not None)
    assert [entry["outcome"] for entry in entries] == ["error"]


def test_the_connection_ends_where_the_client_wants_it(double: Double) -> None:
    with connected(double) as sock:
        sock.sendall(request(Connection="close"))
        answer = answers(sock)()
        assert (said(answer), answer.headers["connection"]) == ("At once.", "close")
        assert sock.recv(1) == b""


def test_http_1_0_and_a_client_that_asks_before_it_sends(double: Double) -> None:
    with connected(double) as sock:
        sock.sendall(request(version="1.0"))
        assert said(answers(sock)()) == "At once."
        assert sock.recv(1) == b""
    head, _, body = request(Expect="100-continue").partition(b"\r\n\r\n")
    with connected(double) as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert said(answers(sock)()) == "At once."


def test_an_answer_of_every_kind_has_a_date_and_a_length_or_chunks(double: Double) -> None:
    double.rules({"when": {"text": {"equals": "fail"}}, "fault": {"status": 503}}, LATE, REPLY)
    with connected(double) as sock:
        read = answers(sock)
        for text, streams in (("at once", False), ("at once", True), ("late", False), ("late", True), ("fail", False)):
            sock.sendall(request(text, stream=streams))
            answer = read()
            assert answer.headers["date"]
            assert answer.headers["x-request-id"].startswith("req_")
            framing = (answer.headers["transfer-encoding"], answer.headers["content-length"])
            assert framing == (("chunked", None) if streams else (None, str(len(answer.body))))
            assert answer.status == (503 if text == "fail" else 200)


def test_what_is_no_request_is_told_so(double: Double) -> None:
    with connected(double) as sock:
        sock.sendall(request() + b"GARBAGE\r\n\r\n")
        read = answers(sock)
        assert said(read()) == "At once."
        assert read().status == 400
        assert sock.recv(1) == b""


BROKEN = """
from proxy.simulator.server import listen, serve

class Broken:
    def at_once(self, request, body):
        raise KeyError(request.path)

sock = listen("127.0.0.1", 0)
serve(Broken(), sock, lambda: print(sock.getsockname()[1], flush=True))
"""


def test_an_application_that_breaks_is_a_500_and_the_connection_goes_on() -> None:
    process = subprocess.Popen([sys.executable, "-c", BROKEN], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            read = answers(sock)
            for _ in range(2):
                sock.sendall(request())
                answer = read()
                assert (answer.status, answer.body) == (500, b"Internal Server Error")
    finally:
        process.terminate()
        process.communicate()

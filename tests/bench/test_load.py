"""One load against a server that answers late, or not at all."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import load
import pytest

pytestmark = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk, the load client, is not on PATH")


@contextmanager
def a_server(status: int, seconds: float) -> Iterator[str]:
    """Answers each POST with this status, after so many seconds; its URL."""
    told = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            told.wait(seconds)
            self.send_response(status)
            self.send_header("content-length", "0")
            with suppress(OSError):  # the client's time is over
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            told.set()
            server.shutdown()
            serving.join()


def test_what_was_answered_counts() -> None:
    with a_server(200, 0.1) as url:
        found = load.post(url, {}, {}, connections=2, seconds=4)
    assert found.requests >= 1
    assert found.per_second <= 20.5
    assert found.p50 >= 100


def test_a_load_that_got_no_answer_says_to_make_it_longer() -> None:
    with a_server(200, 60) as url, pytest.raises(load.NoAnswerError) as raised:
        load.post(url, {}, {}, connections=2, seconds=1)
    assert str(raised.value) == f"{url}: none of 2 requests was answered in 1 s; try more --seconds"


def test_an_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "WARM_UP_SECONDS", 1)
    with a_server(500, 0) as url, pytest.raises(load.LoadError, match=r"\d+ of \d+ requests failed"):
        load.warm_up(url, {}, {}, connections=2)


def test_a_warm_up_goes_on_until_there_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def tries(*asked: Any, seconds: int, **how: Any) -> load.Round:
        tried.append(seconds)
        return post(*asked, seconds=seconds, **how)

    post = load.post
    monkeypatch.setattr(load, "WARM_UP_SECONDS", 1)
    monkeypatch.setattr(load, "post", tries)
    with a_server(200, 3.5) as url:
        load.warm_up(url, {}, {}, connections=2)
    assert len(tried) > 1
    assert tried == [1, 2, 4, 8, 16][: len(tried)]


def test_a_warm_up_does_not_go_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "WARM_UP_SECONDS", 1)
    monkeypatch.setattr(load, "PATIENCE_SECONDS", 1)
    with a_server(200, 60) as url, pytest.raises(load.NoAnswerError):
        load.warm_up(url, {}, {}, connections=2)

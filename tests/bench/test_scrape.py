"""What /metrics weighs: asked once its counters stand still, before and after requests that are all made up."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from gateway import Stack
from scrape import SCRAPES, Scrape, keeps_its_size, made_up, measure, scrapes, show

from proxy.catalog import load_catalog
from proxy.stack.state import StateDir
from tests.bench.conftest import run

KEY = "sk-" + "of-the-stack"
MOVING = 4


class Gateway(BaseHTTPRequestHandler):
    """As far as it is asked: metrics that move at first, replies for the one key, and what was asked."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    asked: list[dict[str, str]] = []  # noqa: RUF012 - of the class, for the test to read
    scraped = 0
    refusal = 401

    def do_GET(self) -> None:
        Gateway.scraped += 1
        counted = 'litellm_proxy_total_requests{model="a"} ' + "1" * min(Gateway.scraped, MOVING)
        self.answer(200, f"# HELP litellm_proxy_total_requests of all\n{counted}\nprocess_threads {Gateway.scraped}\n")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name: self.headers[name] for name in ("authorization", "user-agent", "x-forwarded-for")}
        Gateway.asked.append({**headers, "model": body["model"], "user": body["user"]})
        self.answer(200 if headers["authorization"] == f"Bearer {KEY}" else Gateway.refusal, "{}")

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack whose gateway is the one above, in this process."""
    Gateway.asked, Gateway.scraped, Gateway.refusal = [], 0, 401
    server = Server(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url, environment = f"http://127.0.0.1:{server.server_port}", {"LITELLM_MASTER_KEY": KEY}
    yield Stack(url, os.getpid(), environment, KEY, url, StateDir(tmp_path))
    server.shutdown()
    server.server_close()


def test_it_waits_for_the_counters(stack: Stack) -> None:
    async def scrape() -> Scrape:
        async with httpx.AsyncClient(base_url=stack.url, trust_env=False) as client:
            return await scrapes(client, stack)

    found = asyncio.run(scrape())
    assert Gateway.scraped == MOVING + 1 + SCRAPES  # once more to see that they stand still
    last = httpx.get(f"{stack.url}/metrics", trust_env=False).text
    assert found.size == len(last)
    assert found.samples == 2
    assert found.took > 0


def test_nothing_that_is_made_up_comes_twice(stack: Stack) -> None:
    numbers = [*range(0, 600, 7), 255, 256, 257, 65_535, 65_536, 131_072]

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=stack.url, trust_env=False) as client:
            for number in numbers:
                await made_up(client, number)

    asyncio.run(ask())
    for name in Gateway.asked[0]:
        assert len({one[name] for one in Gateway.asked}) == len(set(numbers)), name


def test_all_models_are_asked_then_as_many_as_wanted(stack: Stack) -> None:
    asyncio.run(measure(stack, 50))
    known = [one["model"] for one in Gateway.asked if one["authorization"] == f"Bearer {KEY}"]
    assert known == list(load_catalog().models)
    assert len(Gateway.asked) == len(known) + 1 + 50


def test_a_made_up_key_that_is_answered_is_told(stack: Stack) -> None:
    Gateway.refusal = 200
    with pytest.raises(RuntimeError, match="answered 200"):
        asyncio.run(measure(stack, 1))


def test_digits_may_come_but_no_samples(capsys: pytest.CaptureFixture[str]) -> None:
    before = Scrape(size=100_000, samples=1000, took=20.0, cpu=15.0)
    digits, samples = replace(before, size=102_000), replace(before, size=102_001, samples=1020)
    assert keeps_its_size(before, before)
    assert keeps_its_size(before, digits)
    assert not keeps_its_size(before, samples)
    show(before, digits, 10)
    assert "grew" not in capsys.readouterr().out
    show(before, samples, 10)
    assert capsys.readouterr().out.splitlines()[-1] == "grew by 2.0%"


def test_of_a_real_gateway(tmp_path: Path) -> None:
    key = "sk-" + "set-by-whoever-measures"  # as by `litellm-local env`
    done = run("scrape.py", "--requests", "40", folder=tmp_path, LITELLM_MASTER_KEY=key)
    assert done.returncode == 0, done.stdout + done.stderr
    heading, *rows = done.stdout.splitlines()
    assert heading.split() == ["bytes", "samples", "ms", "CPU", "ms"]
    found = {re.split(r" {2,}", row)[0]: row[28:].split() for row in rows}
    assert list(found) == ["before", "after 40 made-up keys"]
    before, after = found.values()
    assert int(before[0]) > 50 * int(before[1]) > 0
    assert before[1] == after[1]

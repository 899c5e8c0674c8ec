"""The limits of proxy.yaml at a scale a test can wait for: a gateway of its own, three seconds per request."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httpx
import pytest

from proxy.catalog import project_root
from proxy.simulator import api_bases
from tests.conftest import free_port
from tests.gateway.processes import gateway_environment, running, write_catalog
from tests.gateway.upstream import Upstream

SECONDS = 3.0
PER_MINUTE = 4
MODEL = "gpt-4o-mini"  # has no fallback
KEY = "sk-" + "limits-of-a-test"
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def upstream():
    return Upstream()


@pytest.fixture(scope="module")
def url(stack, upstream, tmp_path_factory):
    folder = tmp_path_factory.mktemp("limits")
    limits = {"request_timeout_seconds": SECONDS, "requests_per_minute": PER_MINUTE, "max_body_mb": 0.5}
    catalog = write_catalog(folder / "proxy.yaml", **limits)
    with upstream.running() as openai:
        bases = {**api_bases(stack.simulator_url), "openai": openai}
        with running(gateway_environment(folder, catalog, stack.database_url, KEY, bases), folder) as served:
            # The first one loads much, which counts for its deadline.
            first = chat("hi", "gpt-4o")
            httpx.post(f"{served}/v1/chat/completions", json=first, headers=BEARER, timeout=60, trust_env=False)
            yield served


@pytest.fixture
def client(url):
    with httpx.Client(base_url=url, headers=BEARER, timeout=60, trust_env=False) as client:
        yield client


def chat(text, model="gpt-5-mini", **fields):
    return {"model": model, "messages": [{"role": "user", "content": text}], "num_retries": 0, **fields}


def post_in_time(client, body):
    began = time.monotonic()
    answer = client.post("/v1/chat/completions", json=body)
    assert SECONDS - 0.5 < time.monotonic() - began < SECONDS + 5
    return answer


@pytest.mark.parametrize("text", ["hang", "dribble"])
def test_no_whole_answer_in_time_is_504_and_the_upstream_call_is_cancelled(client, upstream, text):
    answer = post_in_time(client, chat(text, disable_fallbacks=True))
    assert answer.status_code == 504
    assert answer.json()["error"]["type"] == "timeout_error"
    assert "3 seconds" in answer.json()["error"]["message"]
    assert upstream.hung_up.acquire(timeout=10)


def test_a_stream_that_dribbles_ends_with_an_error_event(client, upstream):
    answer = post_in_time(client, chat("dribble", model="gpt-4o", stream=True))
    assert answer.status_code == 200
    events = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert len(events) > 3
    assert json.loads(events[-1][6:])["error"]["code"] == "timeout"
    assert "[DONE]" not in answer.text
    assert upstream.hung_up.acquire(timeout=10)


def test_a_stream_cut_short_ends_with_an_error_that_names_no_file(client):
    answer = client.post("/v1/chat/completions", json=chat("cut", stream=True, disable_fallbacks=True))
    assert answer.status_code == 200
    events = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert len(events) > 1
    assert json.loads(events[-1][6:])["error"]["message"]
    assert "[DONE]" not in answer.text
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text


def test_a_body_that_is_sent_too_slowly_is_408(url):
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 100\r\n"
        )
        connection.sendall(head.encode() + b'\r\n{"model":')
        received = b""
        while chunk := connection.recv(65536):  # ends: the gateway closes the connection
            received += chunk
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"timeout_error" in received


def test_the_body_limit_is_the_configured_one(client):
    answer = client.post("/v1/chat/completions", json=chat("x" * 600_000))
    assert answer.status_code == 413
    assert "0.5 MB" in answer.json()["error"]["message"]


def test_over_the_models_limit_429_says_when_to_come_back(client, upstream):
    if time.time() % 60 > 50:  # the limit's minute is UTC's: all of it must fall into one
        time.sleep(60.2 - time.time() % 60)
    before = upstream.calls
    answers = [client.post("/v1/chat/completions", json=chat("hi", model=MODEL)) for _ in range(PER_MINUTE + 2)]
    assert [answer.status_code for answer in answers] == [200] * PER_MINUTE + [429] * 2
    assert upstream.calls - before == PER_MINUTE
    wait = int(answers[-1].headers["retry-after"])
    assert 0 < wait <= 60
    time.sleep(wait - 5)  # not yet: the minute of the limit is the whole UTC minute
    assert client.post("/v1/chat/completions", json=chat("hi", model=MODEL)).status_code == 429
    time.sleep(5)
    answers = [client.post("/v1/chat/completions", json=chat("hi", model=MODEL)) for _ in range(PER_MINUTE + 1)]
    assert [answer.status_code for answer in answers] == [200] * PER_MINUTE + [429]


def start(folder, stack, **changes):
    catalog = project_root() / "config" / "proxy.yaml"
    environment = gateway_environment(folder, catalog, stack.database_url, KEY, api_bases(stack.simulator_url))
    return subprocess.run(
        [sys.executable, "-m", "proxy.gateway"],
        env={**environment, **changes},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_without_its_database_the_gateway_says_so_and_ends(stack, tmp_path):
    gone = f"postgresql://litellm:secret@127.0.0.1:{free_port()}/litellm"
    done = start(tmp_path, stack, DATABASE_URL=gone, LITELLM_LOCAL_DATABASE_WAIT="1")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("gateway: the database is not ready after 1 s")
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_told_at_once(stack, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = start(tmp_path, stack, LITELLM_LOCAL_PORT=port)
    assert done.returncode == 1
    assert done.stderr.strip() == f"gateway: cannot listen on 127.0.0.1:{port}: Address already in use"

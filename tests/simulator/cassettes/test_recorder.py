"""The recorder passes bytes on as they come and keeps them, whatever the provider does."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.render.litellm import LIVE_BASES
from proxy.simulator import api_bases
from proxy.simulator.cassettes import notation
from proxy.simulator.cassettes.load import read_file
from proxy.simulator.cassettes.model import Exchange, Response
from proxy.simulator.cassettes.recorder import PREFIXES, REAL_BASES
from tests.simulator.cassettes.exchanges import chat
from tests.simulator.cassettes.running import Provider, Recorder, head, recording, start_recorder

KEY = "sk-" + "made-up-for-the-recorder-tests"
EVENTS = [b'data: {"n":1}\n\n', b'data: {"n":2}\n\n', b"data: [DONE]\n\n"]


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()


@pytest.fixture
def recorder(provider: Provider, tmp_path: Path) -> Iterator[Recorder]:
    with recording(tmp_path / "cassette.yaml", provider.bases) as running:
        yield running


@pytest.fixture
def client(recorder: Recorder) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {KEY}", "Accept-Encoding": "gzip", "x-double-scope": "mine"}
    with httpx.Client(base_url=recorder.bases["openai"], headers=headers, timeout=20, trust_env=False) as made:
        yield made


def until(what: str, found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (value := found()):
        assert time.monotonic() < deadline, f"{what}: not within 20 s"
        time.sleep(0.01)
    return value


def recorded(recorder: Recorder, count: int = 1) -> list[Exchange]:
    return until("recorded", lambda: len(found := read_file(recorder.file).all) == count and found)


def response_of(exchange: Exchange) -> Response:
    assert exchange.response is not None
    return exchange.response


def chunks_of(exchange: Exchange) -> list[bytes]:
    response = response_of(exchange)
    return [notation.chunk_bytes(response, chunk) for chunk in response.chunks or []]


def test_it_serves_the_simulators_paths_and_reaches_the_providers_litellm_reaches() -> None:
    assert api_bases("") == PREFIXES
    assert {("gemini" if name == "google" else name): base for name, base in REAL_BASES.items()} == LIVE_BASES


def test_a_request_reaches_the_provider_as_it_was_less_what_is_ours(provider: Provider, client: httpx.Client) -> None:
    provider.say(head(Content_Length="2"), b"{}", b"")
    body = b'{"model": "gpt-4o",  "odd spacing":1}'
    client.post("/chat/completions?a=b%2Fc", content=body, headers={"X-Custom": "kept"})
    asked = provider.requests.get(timeout=5)
    first, *lines = asked.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    sent = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}
    assert first == "POST /openai/v1/chat/completions?a=b%2Fc HTTP/1.1"
    assert asked.endswith(body)
    assert sent["authorization"] == f"Bearer {KEY}"
    assert sent["x-custom"] == "kept"
    assert sent["accept-encoding"] == "identity"
    assert sent["host"] == provider.url.removeprefix("http://")
    assert not [name for name in sent if name.startswith("x-double")]


def test_an_answer_comes_back_as_it_is_and_is_kept(
    provider: Provider, client: httpx.Client, recorder: Recorder
) -> None:
    body = json.dumps({"id": "x", "content": "Hällo"}, indent=2).encode() + b"\n"
    headers = {"Content_Type": "application/json", "X_Request_Id": "req_1", "Set_Cookie": "session=abcdefgh12345678"}
    provider.say(head("418 I'm a teapot", Content_Length=str(len(body)), **headers), body, b"")
    answer = client.post("/chat/completions", json=chat(f"echo {KEY}"))
    assert (answer.status_code, answer.content, answer.headers["x-request-id"]) == (418, body, "req_1")
    (exchange,) = recorded(recorder)
    response = response_of(exchange)
    assert (exchange.provider, exchange.api, exchange.path) == ("openai", "chat", "/openai/v1/chat/completions")
    assert exchange.request.json_ == chat("echo [scrubbed]")
    assert (response.status, notation.body_bytes(response)) == (418, body)
    assert response.headers == {"content-type": "application/json"}
    assert response.ended is None
    text = recorder.file.read_text()
    assert not [secret for secret in (KEY, "req_1", "abcdefgh12345678") if secret in text]


def test_a_stream_is_passed_on_event_by_event_before_the_next_is_there(
    provider: Provider, client: httpx.Client, recorder: Recorder
) -> None:
    provider.say(head(Content_Type="text/event-stream"))
    with client.stream("POST", "/chat/completions", json=chat(stream=True)) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        pieces = answer.iter_raw()
        for event in EVENTS:
            provider.say(event)  # not sent before the one before it was read
            assert next(pieces) == event
        provider.say(b"")
        assert list(pieces) == []
    (exchange,) = recorded(recorder)
    assert chunks_of(exchange) == EVENTS
    assert response_of(exchange).ended is None


def test_events_are_kept_whole_with_the_time_at_which_they_were(
    provider: Provider, client: httpx.Client, recorder: Recorder
) -> None:
    """However they are split and joined on the wire."""
    pause = 0.2
    provider.say(head(Content_Type="text/event-stream"))
    began = time.monotonic()
    with client.stream("POST", "/chat/completions", json=chat(stream=True)) as answer:
        pieces = answer.iter_raw()
        provider.say(EVENTS[0][:7])
        next(pieces)
        time.sleep(pause)  # the provider's pause: it is what is recorded here
        provider.say(EVENTS[0][7:] + EVENTS[1])
        next(pieces)
        provider.say(EVENTS[2], b"")
        list(pieces)
    took = time.monotonic() - began
    (exchange,) = recorded(recorder)
    response = response_of(exchange)
    assert chunks_of(exchange) == EVENTS
    waits = [chunk.after for chunk in response.chunks or []]
    assert waits[0] >= pause
    assert waits[1] == 0
    assert sum(waits) + response.after <= took + 0.001  # they are rounded


@pytest.mark.parametrize("ending", [b"", None], ids=["closed", "reset"])
def test_a_stream_that_breaks_off_breaks_off_for_the_client_too(
    ending: bytes | None, provider: Provider, client: httpx.Client, recorder: Recorder
) -> None:
    provider.say(head(Content_Type="text/event-stream", Transfer_Encoding="chunked"))
    got = b""
    with client.stream("POST", "/chat/completions", json=chat(stream=True)) as answer:
        pieces = answer.iter_raw()
        for part in (EVENTS[0], EVENTS[1][:5]):
            provider.say(b"%x\r\n%b\r\n" % (len(part), part))
            got += next(pieces)
        provider.say(ending)
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    assert got == EVENTS[0] + EVENTS[1][:5]
    (exchange,) = recorded(recorder)
    assert chunks_of(exchange) == [EVENTS[0], EVENTS[1][:5]]
    assert response_of(exchange).ended == "cut"


def test_a_body_that_breaks_off_is_kept_as_such(provider: Provider, client: httpx.Client, recorder: Recorder) -> None:
    provider.say(head(Content_Type="application/json", Content_Length="100"), b'{"id":', b"")
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/chat/completions", json=chat())
    (exchange,) = recorded(recorder)
    assert (response_of(exchange).text, response_of(exchange).ended) == ('{"id":', "cut")


def test_a_dropped_connection_is_dropped_for_the_client_and_kept(
    provider: Provider, client: httpx.Client, recorder: Recorder
) -> None:
    provider.say(None)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        client.post("/chat/completions", json=chat())
    (exchange,) = recorded(recorder)
    assert exchange.response is None
    assert exchange.failure is not None
    assert exchange.failure.kind == "dropped"
    assert exchange.request.json_ == chat()


def test_a_provider_that_cannot_be_reached_is_a_dropped_connection_and_kept(
    provider: Provider, client: httpx.Client, recorder: Recorder
) -> None:
    provider.close()
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        client.post("/chat/completions", json=chat())
    (exchange,) = recorded(recorder)
    assert exchange.failure is not None
    assert exchange.failure.kind == "unreachable"
    assert "ConnectError" in exchange.failure.message


def test_a_client_that_goes_ends_the_request_to_the_provider(
    provider: Provider, client: httpx.Client, recorder: Recorder
) -> None:
    provider.say(head(Content_Type="text/event-stream"), EVENTS[0])
    with client.stream("POST", "/chat/completions", json=chat(stream=True)) as answer:
        assert next(answer.iter_raw()) == EVENTS[0]
    (exchange,) = recorded(recorder)
    assert response_of(exchange).ended == "left"
    assert chunks_of(exchange) == [EVENTS[0]]


def test_a_client_that_goes_at_the_last_event_has_the_whole_stream(
    provider: Provider, client: httpx.Client, recorder: Recorder
) -> None:
    """As SDKs do that stop reading at [DONE]: the provider's end comes right after."""
    provider.say(head(Content_Type="text/event-stream"), *EVENTS)
    got = b""
    with client.stream("POST", "/chat/completions", json=chat(stream=True)) as answer:
        for piece in answer.iter_raw():
            got += piece
            if got.endswith(EVENTS[-1]):
                break
    provider.say(b"")
    (exchange,) = recorded(recorder)
    assert response_of(exchange).ended is None
    assert b"".join(chunks_of(exchange)) == b"".join(EVENTS)


def test_what_is_compressed_all_the_same_is_kept_readable(
    provider: Provider, client: httpx.Client, recorder: Recorder
) -> None:
    body = gzip.compress(b'{"id":"x"}')
    provider.say(head(Content_Encoding="gzip", Content_Length=str(len(body))), body, b"")
    answer = client.post("/chat/completions", json=chat())
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json() == {"id": "x"}
    (exchange,) = recorded(recorder)
    assert response_of(exchange).json_ == {"id": "x"}
    assert "content-encoding" not in response_of(exchange).headers


def test_other_calls_and_probes_pass_and_are_not_recorded(
    provider: Provider, client: httpx.Client, recorder: Recorder
) -> None:
    for send in (
        lambda: client.get("/models"),
        lambda: client.post("/embeddings", json={}),
        lambda: client.post("/chat/completions", json=chat(), headers={"x-double-scope": "probes"}),
        lambda: client.post("/chat/completions", json=chat("the one to record")),
    ):
        provider.say(head(Content_Length="2"), b"{}", b"")
        assert send().json() == {}
    (exchange,) = recorded(recorder)
    assert exchange.request.json_ == chat("the one to record")


def test_it_says_what_it_does(recorder: Recorder) -> None:
    with httpx.Client(base_url=recorder.url, trust_env=False) as anyone:
        assert anyone.get("/healthz").json() == {
            "status": "ok",
            "file": str(recorder.file),
            "exchanges": 0,
            "recorded": 0,
            "problem": None,
        }
        answer = anyone.get("/v1/chat/completions")
        assert answer.status_code == 404
        assert "/openai/v1, /anthropic, /gemini/v1beta" in answer.json()["error"]["message"]


def test_killed_within_a_stream_it_leaves_a_cassette_with_what_came_before(provider: Provider, tmp_path: Path) -> None:
    file = tmp_path / "cassette.yaml"
    process = start_recorder(file, provider.bases)
    try:
        recorder = Recorder(process, file)
        with httpx.Client(base_url=recorder.bases["openai"], timeout=20, trust_env=False) as client:
            provider.say(head(Content_Length="2"), b"{}", b"")
            client.post("/chat/completions", json=chat("before"))
            recorded(recorder)
            provider.say(head(Content_Type="text/event-stream"), EVENTS[0])
            with client.stream("POST", "/chat/completions", json=chat("within", stream=True)) as answer:
                pieces = answer.iter_raw()
                assert next(pieces) == EVENTS[0]
                process.send_signal(signal.SIGKILL)
                with pytest.raises(httpx.HTTPError):
                    list(pieces)
            provider.say(b"")
    finally:
        process.kill()
        process.wait(10)
        process.communicate()
    assert [one.request.json_["messages"][0]["content"] for one in read_file(file).all] == ["before"]
    with recording(file, provider.bases) as again, httpx.Client(base_url=again.bases["openai"], timeout=20) as client:
        provider.say(head(Content_Length="2"), b"{}", b"")
        client.post("/chat/completions", json=chat("after"))
        assert [one.request.json_["messages"][0]["content"] for one in recorded(again, 2)] == ["before", "after"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_within_a_stream_it_keeps_what_came(number: int, provider: Provider, tmp_path: Path) -> None:
    file = tmp_path / "cassette.yaml"
    process = start_recorder(file, provider.bases)
    try:
        recorder = Recorder(process, file)
        provider.say(head(Content_Type="text/event-stream"), EVENTS[0])
        with httpx.stream(
            "POST", f"{recorder.bases['openai']}/chat/completions", json=chat(stream=True), timeout=20
        ) as answer:
            pieces = answer.iter_raw()
            assert next(pieces) == EVENTS[0]
            process.send_signal(number)
            assert process.wait(15) == 0
        provider.say(b"")
    finally:
        process.kill()
        process.communicate()
    (exchange,) = read_file(file).all
    assert response_of(exchange).ended == "left"
    assert chunks_of(exchange) == [EVENTS[0]]
    assert [one.name for one in tmp_path.iterdir()] == ["cassette.yaml"]


LIMITED_WHEN_TOLD = """
import resource, runpy, signal, sys
from pathlib import Path
file, before = Path(sys.argv[1]), resource.getrlimit(resource.RLIMIT_FSIZE)
def limit(number, _):
    size = file.stat().st_size + 10 if number == signal.SIGUSR1 else before[0]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    (file.parent.parent / signal.Signals(number).name).touch()
signal.signal(signal.SIGUSR1, limit)
signal.signal(signal.SIGUSR2, limit)
runpy.run_module("proxy.simulator.cassettes", run_name="__main__")
"""


@pytest.fixture
def limited(provider: Provider, tmp_path: Path) -> Iterator[Recorder]:
    """A recorder whose files cannot grow after a SIGUSR1, until a SIGUSR2."""
    (tmp_path / "cassettes").mkdir()
    with recording(tmp_path / "cassettes" / "cassette.yaml", provider.bases, ("-c", LIMITED_WHEN_TOLD)) as running:
        yield running


def test_a_full_disk_stops_no_request_and_loses_nothing_recorded(provider: Provider, limited: Recorder) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    client = httpx.Client(base_url=limited.bases["openai"], headers=headers, timeout=20, trust_env=False)

    def ask(text: str) -> None:
        provider.say(head(Content_Length="2"), b"{}", b"")
        assert client.post("/chat/completions", json=chat(text)).json() == {}

    def problem() -> Any:
        return httpx.get(f"{limited.url}/healthz", trust_env=False).json()["problem"]

    def tell(number: signal.Signals) -> None:
        limited.process.send_signal(number)
        until(number.name, (limited.file.parent.parent / number.name).exists)

    with client:
        ask("before")
        recorded(limited)
        tell(signal.SIGUSR1)
        ask("while it is full")
        assert "cannot be written (File too large)" in until("told", problem)
        assert len(recorded(limited)) == 1
        assert sorted(one.name for one in limited.file.parent.iterdir()) == [".cassette.yaml.lock", "cassette.yaml"]
        tell(signal.SIGUSR2)
        ask("after")
        texts = [one.request.json_["messages"][0]["content"] for one in recorded(limited, 3)]
        assert texts == ["before", "while it is full", "after"]
        assert problem() is None


def test_a_file_that_another_recorder_holds_is_refused(recorder: Recorder, provider: Provider) -> None:
    second = start_recorder(recorder.file, provider.bases)
    said = second.communicate(timeout=20)
    assert second.returncode == 2
    assert "is being recorded by another recorder" in said[1]


def test_a_bad_file_or_base_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 3\n")
    process = start_recorder(tmp_path / "a.yaml", {})
    assert "a.yaml:1: version: this litellm-local reads cassettes of version 1, not 3" in process.communicate()[1]
    assert process.returncode == 2
    process = start_recorder(tmp_path / "b.yaml", {"mistral": "https://api.mistral.ai"})
    assert "mistral" in process.communicate()[1]
    assert process.returncode == 2


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start_recorder(tmp_path / "a.yaml", {}, "--port", str(taken.getsockname()[1]))
        assert "cannot listen on port" in process.communicate()[1]
        assert process.returncode == 2

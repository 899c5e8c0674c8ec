"""The edge's certificate: self-signed at first, then issued and renewed by an ACME authority, no request failing."""

from __future__ import annotations

import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

import httpx
import pytest
from cryptography import x509
from typing_extensions import Self

from proxy.stack.certificates import FILE
from tests.conftest import until
from tests.containers.edge import DOMAIN, Edge


class Asking(ABC):
    """Clients in threads of their own until the end: `answered` requests, and what went wrong."""

    pause = 0.05

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.answered = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @abstractmethod
    def ask(self) -> Iterator[None]:
        """One request after the other, yielding at each that was answered as it should be."""

    def _run(self) -> None:
        try:
            for _ in self.ask():
                self.answered += 1
                if self._stop.wait(self.pause):
                    return
        except (httpx.HTTPError, OSError) as error:
            self.failures.append(f"after {self.answered}: {error!r}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class OnOneConnection(Asking):
    """Again and again on the connection it holds; `ports` are those that it came from."""

    pause = 0.2  # nginx closes a connection after a thousand requests

    def __init__(self, edge: Edge, *, http2: bool) -> None:
        super().__init__(edge)
        self.http2 = http2
        self.ports: set[int] = set()

    def ask(self) -> Iterator[None]:
        with self.edge.client(http2=self.http2) as client:
            while True:
                answer = client.get("/health/liveliness").raise_for_status()
                self.ports.add(answer.extensions["network_stream"].get_extra_info("client_addr")[1])
                yield


class OnNewConnections(Asking):
    """On a new connection each time."""

    def ask(self) -> Iterator[None]:
        while True:
            with self.edge.client() as client:
                client.get("/health/liveliness").raise_for_status()
            yield


class Streaming(Asking):
    """Reads one long stream; `answered` are its lines."""

    def ask(self) -> Iterator[None]:
        # Words that differ: LiteLLM ends a stream that says the same again and again.
        text = " ".join(map(str, range(2000)))
        reply = {"text": text, "timing": {"first_token": 0.1, "tokens_per_second": 10}}
        self.edge.control("POST", "/rules", {"when": {"text": "and on and on"}, "reply": reply})
        ask = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "and on and on"}]}
        with self.edge.client() as client, client.stream("POST", "/v1/chat/completions", json=ask) as stream:
            for _ in stream.raise_for_status().iter_lines():
                yield
        raise OSError("the stream has ended")


def test_the_first_certificate_is_self_signed_for_the_domain(edge: Edge) -> None:
    context = ssl.create_default_context(cafile=str(edge.project.state / FILE))
    with httpx.Client(verify=context, trust_env=False) as client:
        answer = client.get(
            f"https://127.0.0.1:{edge.https_port}/health/liveliness", extensions={"sni_hostname": DOMAIN}
        )
    assert answer.status_code == 200


def test_issued_and_renewed_while_requests_go_on(edge: Edge, capsys: pytest.CaptureFixture[str]) -> None:
    own = edge.certificate()

    def another_than(*known: x509.Certificate) -> x509.Certificate | None:
        shown = edge.certificate()
        return None if shown.serial_number in {one.serial_number for one in known} else shown

    held = OnOneConnection(edge, http2=False), OnOneConnection(edge, http2=True)
    stream = Streaming(edge)
    with held[0], held[1], OnNewConnections(edge) as new, stream:
        until("a stream", lambda: stream.answered, 10)
        began = time.monotonic()
        edge.project.up("pebble", "certbot")
        issued = until("a certificate", lambda: another_than(own), 90)
        issued_after = time.monotonic() - began
        renewed = until("another certificate", lambda: another_than(own, issued), 90)
        renewed_after = time.monotonic() - began
        for one in (*held, new, stream):
            enough = one.answered + 20
            until("more answers", lambda one=one, enough=enough: one.answered >= enough or one.failures)
        edge.project.compose("stop", "certbot", "pebble")
    with capsys.disabled():
        asked = ", ".join(str(one.answered) for one in (*held, new))
        print(f"\nissued after {issued_after:.1f} s, renewed after {renewed_after:.1f} s; {asked} requests meanwhile")
    assert [one.failures for one in (*held, new, stream)] == [[], [], [], []]
    assert [len(one.ports) for one in held] == [1, 1]  # the same connection from first to last
    for one in (issued, renewed):
        assert "Pebble" in one.issuer.rfc4514_string()
        assert one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        ) == [DOMAIN]

"""The edge's certificate: self-signed at first, then issued and renewed by an ACME authority, no request failing."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from cryptography import x509

from proxy.stack.certificates import FILE
from tests.conftest import until
from tests.containers.edge import DOMAIN, Edge


class Held:
    """A client on one connection, asking again and again: `failures`, and the ports that it came from."""

    def __init__(self, edge: Edge, http2: bool) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self.ports: set[int] = set()
        self._edge, self._http2 = edge, http2
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._edge.client(http2=self._http2) as client:
            while not self._stop.is_set():
                try:
                    answer = client.get("/health/liveliness")
                    if answer.status_code != 200:
                        self.failures.append(f"{answer.status_code} {answer.text}")
                    self.ports.add(answer.extensions["network_stream"].get_extra_info("client_addr")[1])
                except (httpx.HTTPError, OSError) as error:
                    self.failures.append(repr(error))
                self.answered += 1
                self._stop.wait(0.05)

    def __enter__(self) -> Held:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def new_connections(edge: Edge) -> Iterator[list[str]]:
    """Asks on a connection of its own each time, and gives the failures."""
    stop, failures = threading.Event(), []

    def run() -> None:
        while not stop.wait(0.05):
            try:
                with edge.client() as client:
                    client.get("/health/liveliness").raise_for_status()
            except httpx.HTTPError as error:
                failures.append(repr(error))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield failures
    finally:
        stop.set()
        thread.join()


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

    timing = {"first_token": 0.1, "tokens_per_second": 10}
    edge.control("POST", "/rules", {"when": {"text": "all along"}, "reply": {"text": "word " * 300, "timing": timing}})
    ask = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "all along"}]}
    held = [Held(edge, http2=False), Held(edge, http2=True)]
    with (
        edge.client() as client,
        held[0],
        held[1],
        new_connections(edge) as failures,
        client.stream("POST", "/v1/chat/completions", json=ask) as stream,
    ):
        began = time.monotonic()
        edge.project.up("pebble", "certbot")
        issued = until("a certificate", lambda: another_than(own), 90)
        issued_after = time.monotonic() - began
        renewed = until("another certificate", lambda: another_than(own, issued), 90)
        renewed_after = time.monotonic() - began
        journal = edge.control("GET", "/journal?text=all%20along")["entries"]
        assert [call["ended_at"] for call in journal] == [None], "the stream ended before the renewal"
        edge.project.compose("stop", "certbot", "pebble")
        assert list(stream.iter_lines())[-2:] == ["data: [DONE]", ""]
    with capsys.disabled():
        asked = " and ".join(str(one.answered) for one in held)
        print(f"\nissued after {issued_after:.1f} s, renewed after {renewed_after:.1f} s, {asked} requests meanwhile")
    assert failures == []
    for one in held:
        assert one.failures == []
        assert len(one.ports) == 1  # the same connection from first to last
        assert one.answered > 50
    for one in (issued, renewed):
        assert "Pebble" in one.issuer.rfc4514_string()
        assert one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        ) == [DOMAIN]

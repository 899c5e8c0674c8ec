"""The control calls: who may make them, and what they say to mistakes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.simulator.running import CONTROL_KEY, Double, port_of, start


@pytest.mark.parametrize("path", ["/_double/faults", "/_double/journal"])
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {CONTROL_KEY}"}])
def test_a_key_is_needed(double: Double, path: str, method: str, header: dict[str, str]) -> None:
    double.faults({"kind": "drop", "model": "none"})
    answer = double.http.request(method, path, headers=header, json={"faults": []} if method == "PUT" else None)
    assert answer.status_code == (405 if (method, path) == ("PUT", "/_double/journal") else 401)
    assert "error" in answer.json()
    assert len(double.control.get("/faults").json()["faults"]) == 1


def test_health_needs_no_key(double: Double) -> None:
    answer = double.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_faults_are_replaced_shown_and_cleared(double: Double) -> None:
    double.faults({"kind": "drop"}, {"kind": "hang"})
    double.faults({"kind": "cut", "after_chunks": 2, "times": 3, "provider": None})
    [shown] = double.control.get("/faults").json()["faults"]
    assert shown == {
        "kind": "cut", "provider": None, "model": None, "status": None, "seconds": None, "after_chunks": 2,
        "times": 3, "retry_after": None, "used": 0,
    }  # fmt: skip
    assert double.control.delete("/faults").json() == {"faults": []}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "dropp"}, "faults[0].kind: 'dropp' is unknown (did you mean 'drop'?); valid: status, delay, hang"),
        ({}, "faults[0].kind: is missing; valid: status"),
        ({"kind": ["drop"]}, "faults[0].kind: ['drop'] is unknown"),
        ({"kind": "drop", "provder": "x"}, "faults[0]: unknown field 'provder' (did you mean 'provider'?)"),
        ({"kind": "drop", "provider": "opnai"}, "faults[0].provider: 'opnai' is unknown (did you mean 'openai'?)"),
        ({"kind": "drop", "provider": []}, "faults[0].provider: [] is unknown"),
        ({"kind": "drop", "model": 5}, "faults[0].model: must be the upstream's model name"),
        ({"kind": "status"}, "faults[0].status: kind 'status' needs it"),
        ({"kind": "delay"}, "faults[0].seconds: kind 'delay' needs it"),
        ({"kind": "status", "status": 200}, "faults[0].status: must be a whole number from 400 to 599, not 200"),
        ({"kind": "status", "status": "503"}, "faults[0].status: must be a whole number"),
        ({"kind": "status", "status": True}, "faults[0].status: must be a whole number"),
        ({"kind": "drop", "times": 0}, "faults[0].times: must be a whole number of at least 1"),
        ({"kind": "cut", "after_chunks": -1}, "faults[0].after_chunks: must be a whole number of at least 0"),
        ({"kind": "delay", "seconds": -1}, "faults[0].seconds: must be a number of seconds"),
        ({"kind": "delay", "seconds": "1"}, "faults[0].seconds: must be a number of seconds"),
        ({"kind": "drop", "status": 503}, "faults[0].status: has no meaning for kind 'drop'"),
        ("drop", "faults[0]: must be an object"),
    ],
)
def test_a_wrong_rule_is_400_and_changes_nothing(double: Double, fault: Any, message: str) -> None:
    double.faults({"kind": "drop", "model": "none"})
    answer = double.control.put("/faults", json={"faults": [fault]})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(message)
    assert len(double.control.get("/faults").json()["faults"]) == 1


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"{", 400, "the body is no valid JSON"),
        (b"[]", 400, 'the body must be a JSON object {"faults": [...]}'),
        (b'{"faults": [], "other": 1}', 400, "unknown field 'other'"),
        (b" " * 1_100_000, 413, "the body is larger than"),
    ],
)
def test_a_wrong_body(double: Double, content: bytes, status: int, message: str) -> None:
    answer = double.control.put("/faults", content=content)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(message)


@pytest.mark.parametrize("since", ["x", "-1", "1.5"])
def test_since_must_be_a_number(double: Double, since: str) -> None:
    answer = double.control.get("/journal", params={"since": since})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("since: must be the seq of an entry")


def test_an_unknown_path_names_the_nearest(double: Double) -> None:
    answer = double.control.get("/fault")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].endswith("did you mean /_double/faults?")


def test_without_a_key_control_is_open_on_loopback() -> None:
    process = start(key=None)
    try:
        url = f"http://127.0.0.1:{port_of(process)}/_double"
        assert httpx.put(f"{url}/faults", json={"faults": []}).status_code == 200
        assert httpx.get(f"{url}/journal").status_code == 200
    finally:
        process.terminate()
        process.communicate(timeout=10)

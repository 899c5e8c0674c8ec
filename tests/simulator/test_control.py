"""The control calls: who may make them, and what they say to mistakes."""

from __future__ import annotations

import httpx
import pytest

from tests.simulator.running import CONTROL_KEY, Double, port_of, start

CALLS = [
    ("GET", "/script"), ("PUT", "/script"), ("DELETE", "/script"), ("POST", "/rules"), ("DELETE", "/rules/1"),
    ("GET", "/journal"), ("DELETE", "/journal"), ("GET", "/events"), ("GET", "/scopes"), ("DELETE", "/scopes/default"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {CONTROL_KEY}"}])
def test_a_key_is_needed(double: Double, method: str, path: str, header: dict[str, str]) -> None:
    double.rules({"fault": "drop", "when": {"model": "none"}})
    answer = double.http.request(method, "/_double" + path, headers=header, json={"rules": []})
    assert answer.status_code == 401
    assert "control key" in answer.json()["error"]["message"]
    assert len(double.script()["rules"]) == 1


def test_health_needs_no_key(double: Double) -> None:
    answer = double.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("since", ["x", "-1", "1.5"])
def test_since_must_be_a_number(double: Double, since: str) -> None:
    answer = double.control.get("/journal", params={"since": since})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("since: must be the seq of an entry")


def test_an_unknown_path_names_the_nearest(double: Double) -> None:
    answer = double.control.get("/scripts")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].endswith("did you mean /_double/script?")


def test_without_a_key_control_is_open_on_loopback() -> None:
    process = start(key=None)
    try:
        url = f"http://127.0.0.1:{port_of(process)}/_double"
        assert httpx.put(f"{url}/script", json={"rules": []}).status_code == 200
        assert httpx.get(f"{url}/journal").status_code == 200
    finally:
        process.terminate()
        process.communicate(timeout=10)

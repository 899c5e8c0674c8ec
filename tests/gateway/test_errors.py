"""Errors in the caller's dialect."""

from __future__ import annotations

import json

import pytest

from proxy.gateway.errors import as_gemini


@pytest.mark.parametrize(
    ("code", "status", "name"),
    [("429", 429, "RESOURCE_EXHAUSTED"), ("400", 400, "INVALID_ARGUMENT"), ("odd", 500, "INTERNAL")],
)
def test_an_error_of_openais_shape_becomes_geminis(code: str, status: int, name: str) -> None:
    body = json.dumps({"error": {"message": "No.", "type": "odd", "param": None, "code": code}}).encode()
    assert json.loads(as_gemini(body)) == {"error": {"code": status, "message": "No.", "status": name}}


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"code": 429, "message": "No.", "status": "RESOURCE_EXHAUSTED", "details": []}}',
        b'{"detail": "Not Found"}',
        b'{"error": "No."}',
        b"[]",
        b"<html>",
        b"",
    ],
)
def test_what_is_no_such_error_stays_as_it_is(body: bytes) -> None:
    assert as_gemini(body) is body

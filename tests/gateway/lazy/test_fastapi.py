"""Validators of parameters: the same, made by the first request that needs one."""

from __future__ import annotations

from typing import Annotated

import pytest
from fastapi import FastAPI, Header, Query
from fastapi._compat import v2
from pydantic import BaseModel, Field
from starlette.testclient import TestClient

from proxy.gateway.lazy import fastapi as lazily

REQUESTS = [
    ("GET", "/things/7?size=3&tag=a&tag=b", None),
    ("GET", "/things/seven?size=99", None),
    ("POST", "/things", {"name": "one", "parts": [{"name": "two"}]}),
    ("POST", "/things", {"name": 1, "parts": [{}]}),
    ("POST", "/things", None),
]


class Thing(BaseModel):
    name: str
    parts: list[Thing] = []
    size: int = Field(default=1, le=10)


def an_app() -> FastAPI:
    app = FastAPI()

    @app.get("/things/{number}")
    def find(
        number: int,
        size: Annotated[int, Query(le=10)],
        tag: Annotated[list[str], Query()] = [],  # noqa: B006
        x_any: Annotated[str | None, Header()] = None,
    ) -> dict[str, object]:
        return {"number": number, "size": size, "tag": tag, "x": x_any}

    @app.post("/things")
    def make(thing: Thing) -> Thing:
        return thing

    return app


def answers(app: FastAPI) -> list[tuple[int, object]]:
    client = TestClient(app)
    return [(reply.status_code, reply.json()) for reply in (client.request(m, p, json=j) for m, p, j in REQUESTS)]


@pytest.fixture
def as_ever(monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """An app made before; after the test FastAPI is as it was."""
    monkeypatch.setattr(v2.ModelField, "__post_init__", v2.ModelField.__post_init__)
    monkeypatch.setattr(v2.ModelField, "_type_adapter", None, raising=False)
    monkeypatch.delattr(v2.ModelField, "_type_adapter")
    return an_app()


def test_replies_and_schema_are_the_same(as_ever: FastAPI) -> None:
    lazily.install()
    app = an_app()
    assert answers(app) == answers(as_ever)
    assert app.openapi() == as_ever.openapi()
    assert [status for status, _ in answers(app)] == [200, 422, 200, 422, 422]


def test_a_validator_is_made_once_when_it_is_needed(as_ever: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    build = v2.ModelField.__post_init__

    def noted(self: v2.ModelField) -> None:
        made.append(self.name)
        build(self)

    monkeypatch.setattr(v2.ModelField, "__post_init__", noted)
    lazily.install()
    client = TestClient(an_app())
    assert made == []
    for _ in range(2):
        client.get("/things/7?size=3").raise_for_status()
    assert sorted(made) == sorted(set(made))
    assert {"number", "size"} <= set(made)
    assert "thing" not in made

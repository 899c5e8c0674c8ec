"""Validators of parameters and dependencies of routes: the same, made once, by the first that needs one."""

from __future__ import annotations

import sys
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Header, Query, Request, Security
from fastapi._compat import shared, v2
from fastapi.dependencies import utils
from fastapi.exceptions import PydanticV1NotSupportedError
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer, SecurityScopes
from pydantic import BaseModel, Field
from starlette.testclient import TestClient

from proxy.gateway.lazy import fastapi as lazily

REQUESTS = [
    ("GET", "/things/7?size=3&tag=a&tag=b", None),
    ("GET", "/things/seven?size=99", None),
    ("POST", "/things", {"name": "one", "parts": [{"name": "two"}]}),
    ("POST", "/things", {"name": 1, "parts": [{}]}),
    ("POST", "/things", None),
    ("GET", "/people/me?depth=2", None),
    ("GET", "/people/me?depth=deep", None),
    ("GET", "/people/me/3?depth=4", None),
    ("GET", "/people/me/three", None),
    ("GET", "/scopes", None),
    ("GET", "/more-scopes", None),
    ("GET", "/named?depth=5", None),
]


class Thing(BaseModel):
    name: str
    parts: list[Thing] = []
    size: int = Field(default=1, le=10)


def person(request: Request, name: str, depth: int = 1) -> list[object]:
    return [request.url.path, name, depth]


def checked(
    key: Annotated[str | None, Security(APIKeyHeader(name="x-key", auto_error=False))],
    who: Annotated[list[object], Depends(person)],
) -> list[object]:
    return [key, *who]


def scopes(
    asked: SecurityScopes, _: Annotated[str | None, Depends(OAuth2PasswordBearer("token", auto_error=False))]
) -> list[str]:
    return asked.scopes


def depth_of(depth: int = 0) -> int:
    return depth


def an_app() -> FastAPI:
    app = FastAPI()

    @app.get("/people/{name}")
    @app.get("/people/{name}/{depth}")
    def see(who: Annotated[list[object], Depends(checked)]) -> list[object]:
        return who

    @app.get("/scopes")
    def show(found: Annotated[list[str], Security(scopes, scopes=["read"])]) -> list[str]:
        return found

    @app.get("/more-scopes")
    def show_more(found: Annotated[list[str], Security(scopes, scopes=["read", "write"])]) -> list[str]:
        return found

    @app.get("/named", dependencies=[Depends(depth_of), Depends(scopes)])
    def named(
        one: Annotated[int, Depends(depth_of)], two: Annotated[int, Depends(depth_of, use_cache=False)]
    ) -> list[int]:
        return [one, two]

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
    monkeypatch.setattr(utils, "get_dependant", utils.get_dependant)
    monkeypatch.setattr(shared, "is_pydantic_v1_model_class", shared.is_pydantic_v1_model_class)
    monkeypatch.setattr(v2.ModelField, "__post_init__", v2.ModelField.__post_init__)
    monkeypatch.setattr(v2.ModelField, "_type_adapter", None, raising=False)
    monkeypatch.delattr(v2.ModelField, "_type_adapter")
    return an_app()


def test_replies_and_schema_are_the_same(as_ever: FastAPI) -> None:
    lazily.install()
    app = an_app()
    assert answers(app) == answers(as_ever)
    assert app.openapi() == as_ever.openapi()
    expected = [200, 422, 200, 422, 422, 200, 422, 200, 422, 200, 200, 200]
    assert [status for status, _ in answers(app)] == expected


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


def test_dependencies_are_worked_out_once(as_ever: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    worked_out: list[object] = []
    work_out = utils.get_dependant

    def noted(**asked: object) -> object:
        worked_out.append(asked["call"])
        return work_out(**asked)  # type: ignore[arg-type]

    monkeypatch.setattr(utils, "get_dependant", noted)
    lazily.install()
    app = FastAPI()

    def see(who: Annotated[list[object], Depends(checked)]) -> list[object]:
        return who

    for path in ("/people/{name}", "/things/1/{size}", "/things/2/{size}", "/things", "/people/{name}/all"):
        app.get(path)(see)
    assert worked_out.count(checked) == 3
    of = [route.dependant.dependencies[0] for route in app.routes if isinstance(route, APIRoute)]
    assert of[1] is of[2] is of[3]
    for one, query, path in (
        (of[0], ["depth"], ["name"]),
        (of[3], ["name", "depth"], []),
        (of[4], ["depth"], ["name"]),
    ):
        assert [field.name for field in one.dependencies[1].query_params] == query
        assert [field.name for field in one.dependencies[1].path_params] == path


def test_models_of_pydantics_first_version_are_refused(as_ever: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    lazily.install()
    from pydantic.v1 import main

    old = type("Old", (main.BaseModel,), {"__annotations__": {}})
    for annotation in (old, list[old], old | None):  # type: ignore[valid-type]
        assert shared.annotation_is_pydantic_v1(annotation)
        with pytest.raises(PydanticV1NotSupportedError):
            add(annotation)
    assert not shared.annotation_is_pydantic_v1(Thing)
    monkeypatch.delitem(sys.modules, "pydantic.v1.main")
    assert not shared.annotation_is_pydantic_v1(Thing)
    assert "pydantic.v1.main" not in sys.modules


def add(annotation: object) -> None:
    """A route with such a body."""

    def make(thing: object) -> None: ...

    make.__annotations__["thing"] = annotation
    FastAPI().post("/old")(make)

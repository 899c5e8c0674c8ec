"""Which levers are installed, and where."""

from __future__ import annotations

import logging
from typing import Any, get_args

import pytest

from proxy.catalog import load_catalog, project_root
from proxy.catalog.models import Lever, Speed
from proxy.gateway import made_for, speed

CATALOG = load_catalog()


def catalog_with(**settings: Any) -> Any:
    return CATALOG.model_copy(update={"speed": Speed(**settings)})


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(speed, "LEVERS", {name: lambda name=name: names.append(name) for name in speed.LEVERS})
    return names


def test_names_are_those_that_the_catalogue_knows() -> None:
    assert set(speed.LEVERS) == set(get_args(Lever))


def test_the_file_for_operators_names_them_all() -> None:
    text = (project_root() / "config" / "proxy.yaml").read_text(encoding="utf-8")
    named = text[text.index("`without` names") : text.index("\nspeed:")].replace("\n#", " ")
    assert [name.strip() for name in named.split(":")[1].split(",")] == list(speed.LEVERS)


def test_they_are_made_for_the_litellm_of_the_lock() -> None:
    assert f"\nlitellm=={made_for.MADE_FOR} " in (project_root() / "requirements.lock").read_text(encoding="utf-8")


def test_all_are_on_by_default(installed: list[str]) -> None:
    speed.install(CATALOG)
    assert installed == list(speed.LEVERS)


def test_some_can_be_left_off(installed: list[str]) -> None:
    speed.install(catalog_with(without=["routes", "savings"]))
    assert set(speed.LEVERS) - set(installed) == {"routes", "savings"}


def test_all_can_be_left_off(installed: list[str]) -> None:
    speed.install(catalog_with(enabled=False))
    assert installed == []


def test_another_litellm_is_left_as_it_is(
    installed: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(made_for, "version", lambda _: "9.9.9")
    with caplog.at_level(logging.WARNING, logger="proxy.gateway"):
        speed.install(CATALOG)
    assert installed == []
    assert "9.9.9" in caplog.text

"""config/proxy.schema.json: in step with the models, fits the file, refuses what the models refuse."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from proxy.catalog import project_root
from proxy.catalog.load import default_path
from proxy.catalog.schema import json_schema, schema_text

SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def shipped() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(default_path().read_text(encoding="utf-8"))
    return data


def test_schema_file_is_in_step_with_the_models() -> None:
    file = project_root() / "config" / "proxy.schema.json"
    assert file.read_text(encoding="utf-8") == schema_text(), (
        "run: litellm-local config schema --out config/proxy.schema.json"
    )


def test_shipped_file_names_the_schema_and_fits_it() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    first = default_path().read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=./proxy.schema.json"
    assert [error.message for error in VALIDATOR.iter_errors(shipped())] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("limitss",), {}),
        (("limits", "retrys"), 3),
        (("models", "gpt-4o", "max_tokens"), 1000),
        (("models", "gpt 4o"), {}),
        (("models", "gpt-4o", "price_per_1k", "input"), -1),
        (("limits", "requests_per_minute"), "1000"),
        (("limits", "requests_per_minute"), True),
        (("providers", "openai", "api"), "opnai"),
        (("providers", "openai", "base_url"), "api.openai.com/v1"),
        (("providers", "openai", "base_url"), "https://me:secret@api.openai.com/v1"),
        (("edge", "tls", "issuer"), "self"),
        (("breaker", "enabled"), "yes"),
        (("breaker", "failed_request"), 2),
        (("breaker", "failed_requests"), 0),
        (("breaker", "probe_seconds"), 0),
        (("breaker", "without_fallback"), "wait"),
        (("speed", "without"), ["routs"]),
        (("speed", "without"), "routes"),
    ],
)
def test_schema_refuses_a_mistake(path: tuple[str, ...], value: Any) -> None:
    data = shipped()
    target = data
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    assert not VALIDATOR.is_valid(data)


def test_every_field_is_described() -> None:
    """Editors show the description beside the key."""

    def described(field: dict[str, Any]) -> bool:
        reference = field.get("$ref", "").rpartition("/")[2]
        return bool(field.get("description") or SCHEMA["$defs"].get(reference, {}).get("description"))

    sections = {"the file": SCHEMA, **SCHEMA["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, field in section["properties"].items()
        if not described(field)
    ]
    assert bare == []

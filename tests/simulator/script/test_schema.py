"""config/double.schema.json: in step with the models, fits the examples, refuses what the models refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from proxy.catalog import project_root
from proxy.cli.config import config
from proxy.simulator.script.schema import json_schema, schema_text
from tests.simulator.script.test_load import EXAMPLES

SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_file_is_in_step_with_the_models() -> None:
    file = project_root() / "config" / "double.schema.json"
    assert file.read_text(encoding="utf-8") == schema_text(), (
        "run: litellm-local config schema double --out config/double.schema.json"
    )


def test_the_command_writes_it() -> None:
    done = CliRunner().invoke(config, ["schema", "double"])
    assert (done.exit_code, done.output) == (0, schema_text())


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_name_the_schema_and_fit_it(file: Path) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    text = file.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "# yaml-language-server: $schema=../double.schema.json"
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    "rule",
    [
        {"reply": "x"},
        {"reply": {}, "for": "30s", "after": 2},
        {"fault": 503},
        {"fault": "hang"},
        {"fault": {"kind": "delay", "seconds": "1s"}},
        {"reply": {"json": {"any": ["thing"]}}, "when": {"model": ["a", "b"], "text": {"matches": "x"}}},
    ],
)
def test_it_takes_what_can_be_meant(rule: dict[str, Any]) -> None:
    assert [error.message for error in VALIDATOR.iter_errors({"rules": [rule]})] == []


@pytest.mark.parametrize(
    "rule",
    [
        {"replyy": "x"},
        {"reply": 5},
        {"fault": "hangg"},
        {"fault": 200},
        {"fault": {"kind": "status", "status": 200}},
        {"reply": "x", "times": 0},
        {"reply": "x", "when": {"txt": "x"}},
        {"reply": "x", "when": {"provider": "gemini"}},
        {"reply": "x", "probability": 2},
    ],
)
def test_it_refuses_a_mistake(rule: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({"rules": [rule]})


def test_every_field_is_described() -> None:
    """Editors show the description beside the key."""
    sections = {"the script": SCHEMA, **SCHEMA["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, field in section.get("properties", {}).items()
        if not field.get("description")
    ]
    assert bare == []

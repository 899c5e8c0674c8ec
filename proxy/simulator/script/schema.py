"""The JSON Schema of scripts, for editors. Written by `litellm-local config schema double`."""

from __future__ import annotations

import json
from typing import Any

from proxy.simulator.script.model import Script


def json_schema() -> dict[str, Any]:
    """The schema as plain data (draft 2020-12)."""
    schema = Script.model_json_schema()
    schema["title"] = "litellm-local: a script of the double"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """The schema as the text of config/double.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"

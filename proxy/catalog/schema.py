"""The JSON Schema of config/proxy.yaml, for editors. Written by `litellm-local config schema`."""

from __future__ import annotations

import json
from typing import Any

from proxy.catalog.models import Catalog


def json_schema() -> dict[str, Any]:
    """The schema as plain data (draft 2020-12)."""
    schema = Catalog.model_json_schema()
    schema["title"] = "litellm-local: config/proxy.yaml"
    for section in schema["properties"].values():
        if "patternProperties" in section:  # pydantic leaves other names open there
            section["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """The schema as the text of config/proxy.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"

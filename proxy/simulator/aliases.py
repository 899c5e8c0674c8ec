"""The gateway's names for upstream models, told to the simulator at its start, so that rules may use either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

VARIABLE = "LITELLM_LOCAL_ALIASES"

Aliases = Mapping[tuple[str, str], tuple[str, ...]]
"""(provider, upstream model) -> aliases."""


class AliasError(ValueError):
    """What is in the variable is not what it is for."""


def read_aliases(text: str | None) -> Aliases:
    """The variable's JSON, `{"alias": ["provider", "upstream"]}`, turned round. Raises AliasError."""
    if not text:
        return {}
    wanted = f'{VARIABLE} must be JSON, {{"alias": ["provider", "upstream model"], ...}}'
    try:
        given: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise AliasError(f"{wanted}: {error}") from None
    if not isinstance(given, dict):
        raise AliasError(wanted)
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for alias, model in given.items():
        if not (isinstance(model, list) and len(model) == 2 and all(isinstance(part, str) for part in model)):
            raise AliasError(f"{wanted}; {alias!r} is not so")
        key = (model[0], model[1])
        found[key] = (*found.get(key, ()), alias)
    return found

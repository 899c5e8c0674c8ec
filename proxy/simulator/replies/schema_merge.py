"""Two JSON schemas folded into one that allows what both allow; used by schema_instance.py for $ref and allOf."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")
FALSE: dict[str, Any] = {"enum": []}
"""The schema that allows nothing, as an object."""


def merged(first: Any, second: Any) -> dict[str, Any]:
    """One schema for `first` and `second` together. Where two words cannot be folded, the second's stays."""
    if first is False or second is False:
        return dict(FALSE)
    first = {} if first is True else first
    second = {} if second is True else second
    both = {**first, **second}
    for word in first.keys() & second.keys():
        both[word] = _word(word, first[word], second[word])
    return both


def _word(word: str, first: Any, second: Any) -> Any:
    if first == second:
        return second
    if word in LOWER_BOUNDS:
        return max(first, second)
    if word in UPPER_BOUNDS:
        return min(first, second)
    if word == "type":
        return _types(first, second)
    if word == "required":
        return list(dict.fromkeys([*first, *second]))
    if word == "enum":
        return [option for option in first if option in second]
    if word in ("properties", "patternProperties", "$defs", "definitions"):
        return _properties(first, second)
    if word in ("anyOf", "oneOf"):
        return [{"allOf": [one, other]} for one in first for other in second]
    if word == "allOf":
        return [*first, *second]
    if word in ("items", "additionalProperties"):
        return {"allOf": [first, second]} if False not in (first, second) else False
    if word == "not":
        return {"anyOf": [first, second]}
    if word == "uniqueItems":
        return first or second
    if word == "multipleOf" and isinstance(first, int) and isinstance(second, int):
        return math.lcm(first, second)
    return second


def _types(first: Any, second: Any) -> list[str]:
    one = first if isinstance(first, list) else [first]
    other = second if isinstance(second, list) else [second]
    common = [kind for kind in one if kind in other]
    if "integer" not in common and "integer" in [*one, *other] and "number" in [*one, *other]:
        common.append("integer")
    return common


def _properties(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    both = {**first, **second}
    for name in first.keys() & second.keys():
        if first[name] != second[name]:
            both[name] = {"allOf": [first[name], second[name]]}
    return both

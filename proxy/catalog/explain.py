"""pydantic's findings in the words of the file: what is wrong on which line, and what would be right.

For any file that `source` parses and a pydantic model describes; `Words` are what is particular to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from proxy.catalog.problems import did_you_mean
from proxy.catalog.source import Path, Source


@dataclass(frozen=True)
class Words:
    """What is to be known of a file to explain its mistakes.

    `root`: the model of the whole. `other_names`: key or value as people write it who know the thing by another
    name -> ours. `right_form`: key -> how its value is written. `secret`: keys whose value is never repeated.
    """

    root: type[BaseModel]
    other_names: Mapping[str, str] = field(default_factory=dict)
    right_form: Mapping[str, str] = field(default_factory=dict)
    secret: frozenset[str] = frozenset()


_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list, such as [a, b]",
    "dict_type": "a mapping, key: value",
    "model_type": "a mapping, key: value",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def explain(source: Source, details: ErrorDetails, words: Words) -> None:
    """Adds to `source` the problem behind one pydantic error."""
    location = details["loc"]
    kind, value = details["type"], details["input"]
    of_key = bool(location) and location[-1] == "[key]"
    path: Path = location[:-1] if of_key else location
    if kind == "missing":
        source.problem(path[:-1], f"'{path[-1]}' is missing", of_key=True)
    elif kind == "extra_forbidden":
        source.problem(path, f"unknown key{_suggest_key(path, words)}", of_key=True)
    else:
        message = _explain_value(kind, value, path, details.get("ctx") or {}, words)
        source.problem(path, message, of_key=of_key)


def _explain_value(kind: str, value: Any, path: Path, context: Mapping[str, Any], words: Words) -> str:
    name = str(path[-1]) if path else ""
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, {_instead(value, name in words.secret)}{_unquote_hint(kind, value)}"
    if kind in _BOUNDS:
        must, bound = _BOUNDS[kind]
        return f"must be {must} {context[bound]:g}, not {value}"
    if kind == "literal_error":
        known = [option for option in context["expected"].replace("'", "").replace(" or ", ", ").split(", ") if option]
        return f"'{value}' is not one of {', '.join(known)}{_nearest(str(value), known, words)}"
    if kind == "string_pattern_mismatch":
        shown = "" if name in words.secret else f"'{value}' will not do: "
        return f"{shown}{_right_form(path, words)}"
    if kind == "finite_number":
        return f"must be a finite number, not {value}"
    if kind == "too_short":
        return "must have at least one entry"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "value_error":
        return str(context["error"])
    return kind.replace("_", " ")


def _instead(value: Any, secret: bool) -> str:
    if value is None:
        return "but nothing is given"
    if isinstance(value, bool):
        return f"not {str(value).lower()}"
    if isinstance(value, str):
        return "not text" if secret else f"not the text '{value}'"
    if isinstance(value, dict):
        return "not a mapping"
    return "not a list" if isinstance(value, list) else f"not {value}"


def _unquote_hint(kind: str, value: Any) -> str:
    """What would mend the most common wrong types."""
    if kind in {"int_type", "int_from_float", "float_type"} and isinstance(value, str):
        digits = value.replace(",", "").replace("_", "").replace(" ", "")
        if digits != value and digits.isdigit():
            return f"; write {digits}"
        return "; remove the quotes" if value.replace(".", "", 1).isdigit() else ""
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "; put it in quotes"
    if kind == "list_type" and isinstance(value, str):
        return f"; write [{value}]"
    return ""


def _right_form(path: Path, words: Words) -> str:
    parts = [str(part) for part in path]
    for part in (parts[-1], *parts[-2:-1], parts[0]):
        if part in words.right_form:
            return words.right_form[part]
    return "use lower-case letters, digits and -"


def _suggest_key(path: Path, words: Words) -> str:
    """The known key that is meant, of those that may stand where the unknown one does."""
    known = fields_at(words.root, path[:-1])
    name = str(path[-1])
    other = words.other_names.get(name.lower())
    if other in known:
        return f"; did you mean '{other}'?"
    return did_you_mean(name, known)


def _nearest(name: str, known: list[str], words: Words) -> str:
    other = words.other_names.get(name.lower())
    if other in known:
        return f"; did you mean '{other}'?"
    hint = did_you_mean(name, known)
    return hint if "did you mean" in hint else ""


def fields_at(root: type[BaseModel], path: Path) -> list[str]:
    """Names of the keys that a file of `root` may have at a path, such as () or ("models", "gpt-4o")."""
    current: Any = root
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = _fields(current).get(str(part))
            current = _bare(field) if field else None
        elif get_origin(current) is dict:
            current = _bare(get_args(current)[1])
        elif get_origin(current) is list:
            current = _bare(get_args(current)[0])
    return list(_fields(current)) if isinstance(current, type) and issubclass(current, BaseModel) else []


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """The model's keys as files write them, with their types."""
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _bare(annotation: Any) -> Any:
    """The type without what may be None, and without notes on it."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _bare(next(option for option in get_args(annotation) if option is not type(None)))
    return annotation

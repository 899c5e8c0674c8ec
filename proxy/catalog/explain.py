"""pydantic's findings in the words of the file: what is wrong on which line, and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from proxy.catalog.models import Catalog
from proxy.catalog.problems import did_you_mean
from proxy.catalog.source import Path, Source

# What people write who know the thing by its other name.
_OTHER_NAMES = {
    "max_tokens": "context_window",
    "max_input_tokens": "context_window",
    "model": "upstream",
    "rpm": "requests_per_minute",
    "rps": "requests_per_second",
    "num_retries": "retries",
    "retry_after": "retry_delay_seconds",
    "timeout": "request_timeout_seconds",
    "request_timeout": "request_timeout_seconds",
    "api_key": "key_env",
    "price": "price_per_1k",
    "cost": "price_per_1k",
    "replicas.initial": "min",
}

_RIGHT_FORM = {
    "models": "an alias starts with a letter or digit and has only letters, digits and . _ : - in it",
    "providers": "a provider's name is in lower case: letters, digits, - and _",
    "upstream": "a model's name has only letters, digits and . _ : / @ - in it, and no spaces",
    "key_env": "this is the NAME of an environment variable, such as OPENAI_API_KEY, never the key itself",
    "path": "a path starts with /",
    "image": "an image is written registry/name:tag",
    "url": "a PostgreSQL URL is written postgresql://user@host:5432/database",
    "domain": "a domain is written llm.your-company.com, in lower case, without https://",
    "email": "an address is written name@your-company.com",
    "host": "an address is written 127.0.0.1 or 0.0.0.0",
    "cpu": "CPU is written 500m (thousandths of a core) or 1",
    "memory": "memory is written 512Mi or 1Gi",
}
_SECRET_FIELDS = {"key_env", "url"}  # people paste keys and passwords here: their value is never repeated

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


def explain(source: Source, details: ErrorDetails) -> None:
    """Adds to `source` the problem behind one pydantic error."""
    location = details["loc"]
    kind, value = details["type"], details["input"]
    of_key = bool(location) and location[-1] == "[key]"
    path: Path = location[:-1] if of_key else location
    if kind == "missing":
        source.problem(path[:-1], f"'{path[-1]}' is missing", of_key=True)
    elif kind == "extra_forbidden":
        source.problem(path, f"unknown key{_suggest_key(path)}", of_key=True)
    else:
        source.problem(path, _explain_value(kind, value, path, details.get("ctx") or {}), of_key=of_key)


def _explain_value(kind: str, value: Any, path: Path, context: Mapping[str, Any]) -> str:
    name = str(path[-1]) if path else ""
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, {_instead(value, name)}{_unquote_hint(kind, value)}"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"must be {words} {context[bound]:g}, not {value}"
    if kind == "literal_error":
        known = [option for option in context["expected"].replace("'", "").replace(" or ", ", ").split(", ") if option]
        return f"'{value}' is not one of {', '.join(known)}{_nearest(str(value), known)}"
    if kind == "string_pattern_mismatch":
        shown = "" if name in _SECRET_FIELDS else f"'{value}' will not do: "
        return f"{shown}{_right_form(path)}"
    if kind == "finite_number":
        return f"must be a finite number, not {value}"
    if kind == "too_short":
        return "must have at least one entry"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "value_error":
        return str(context["error"])
    return kind.replace("_", " ")


def _instead(value: Any, name: str) -> str:
    if value is None:
        return "but nothing is given"
    if isinstance(value, bool):
        return f"not {str(value).lower()}"
    if isinstance(value, str):
        return "not text" if name in _SECRET_FIELDS else f"not the text '{value}'"
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


def _right_form(path: Path) -> str:
    parts = [str(part) for part in path]
    for part in (parts[-1], *parts[-2:-1], parts[0]):
        if part in _RIGHT_FORM:
            return _RIGHT_FORM[part]
    return "use lower-case letters, digits and -"


def _suggest_key(path: Path) -> str:
    """The known key that is meant, of those that may stand where the unknown one does."""
    known = fields_at(path[:-1])
    name = str(path[-1])
    other = _OTHER_NAMES.get(name.lower())
    if other in known:
        return f"; did you mean '{other}'?"
    return did_you_mean(name, known)


def _nearest(name: str, known: list[str]) -> str:
    hint = did_you_mean(name, known)
    return hint if "did you mean" in hint else ""


def fields_at(path: Path) -> list[str]:
    """Names of the keys that config/proxy.yaml may have at a path, such as () or ("models", "gpt-4o")."""
    current: Any = Catalog
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(part))
            current = field.annotation if field else None
        elif get_origin(current) is dict:
            current = get_args(current)[1]
        if get_origin(current) in (Union, UnionType):
            current = next(option for option in get_args(current) if option is not type(None))
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []

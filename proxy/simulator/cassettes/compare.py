"""When two requests are the same, and how two differ. Pure; used by replay.

Left aside is what changes from run to run and says nothing about the question: who asks (`user`, `metadata`), cache
keys, and the ids of tool calls, of which only counts which results belong to which calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

VOLATILE = frozenset({"user", "metadata", "safety_identifier", "prompt_cache_key", "labels"})
"""Fields at the top of a body."""

MISSING = object()

_ID_FIELDS = ("tool_call_id", "tool_use_id", "call_id")
_CALL_TYPES = ("function", "tool_use", "function_call", "server_tool_use")
_SHOWN = 60  # characters of a value in a message


def normalised(body: Any) -> Any:
    """A request's JSON without what is left aside."""
    if not isinstance(body, dict):
        return body
    kept = {name: value for name, value in body.items() if name not in VOLATILE and value is not None}
    if kept.get("stream") is False:  # as if it were not there
        del kept["stream"]
    return _renamed(kept, {})


def key_of(request: Any) -> str:
    """Equal for requests that are the same: 1 and 1.0 are, true and 1 are not."""
    return json.dumps(_whole_numbers(request), sort_keys=True, separators=(",", ":"))


def differences(recorded: Any, asked: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, recorded value, asked value) of each place where they differ; MISSING where one has nothing."""
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in [*recorded, *(name for name in asked if name not in recorded)]:
            here = f"{path}.{name}" if path else name
            yield from differences(recorded.get(name, MISSING), asked.get(name, MISSING), here)
    elif isinstance(recorded, list) and isinstance(asked, list):
        for index in range(max(len(recorded), len(asked))):
            here = f"{path}.{index}" if path else str(index)
            yield from differences(_at(recorded, index), _at(asked, index), here)
    elif recorded is MISSING or asked is MISSING or key_of(recorded) != key_of(asked):
        yield path or "the body", recorded, asked


def told(difference: tuple[str, Any, Any]) -> str:
    """`messages.0.content is "rain", recorded: "sun"`."""
    path, recorded, asked = difference
    if isinstance(recorded, str) and isinstance(asked, str):
        start = _first_difference(recorded, asked)
        return f"{path} is {_excerpt(asked, start)}, recorded: {_excerpt(recorded, start)}"
    return f"{path} is {_shown(asked)}, recorded: {_shown(recorded)}"


def _renamed(value: Any, ids: dict[str, str]) -> Any:
    """The value with the ids of tool calls numbered in the order in which they come."""
    if isinstance(value, list):
        return [_renamed(part, ids) for part in value]
    if not isinstance(value, dict):
        return value
    is_call = value.get("type") in _CALL_TYPES
    renamed = {}
    for name, part in value.items():
        if name in _ID_FIELDS or (name == "id" and is_call):
            renamed[name] = ids.setdefault(part, f"call {len(ids) + 1}") if isinstance(part, str) else part
        elif name in ("functionCall", "functionResponse") and isinstance(part, dict):
            renamed[name] = {inner: _renamed(one, ids) for inner, one in part.items() if inner != "id"}
        else:
            renamed[name] = _renamed(part, ids)
    return renamed


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole_numbers(part) for name, part in value.items()}
    return [_whole_numbers(part) for part in value] if isinstance(value, list) else value


def _at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else MISSING


def _first_difference(left: str, right: str) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(left), len(right)))


def _excerpt(text: str, start: int) -> str:
    """The part of a text round `start`."""
    begin = 0 if start < _SHOWN // 2 else start - 15
    cut = text[begin : begin + _SHOWN]
    before, after = "…" if begin else "", "…" if begin + _SHOWN < len(text) else ""
    return json.dumps(before + cut + after, ensure_ascii=False)


def _shown(value: Any) -> str:
    if value is MISSING:
        return "not given"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"

"""Copies of what LiteLLM keeps, so that nobody changes what others get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel


def copies_of(value: Any) -> Callable[[], Any]:
    """What makes copies of `value`, which itself must stay as it is. A copy shares nothing that can change with it, of
    dictionaries, lists, sets and pydantic's models; objects of other kinds are shared."""
    if isinstance(value, dict):
        inside = _changing(value)
        return lambda: _filled(value.copy(), inside)
    if isinstance(value, (list, set)):
        makers = [copies_of(one) if _changes(one) else None for one in value]
        if not any(makers):
            return value.copy
        return lambda: type(value)(make() if make else one for make, one in zip(makers, value, strict=True))
    if isinstance(value, BaseModel):
        fields, extra = _changing(value.__dict__), _changing(value.__pydantic_extra__ or {})

        def copy() -> Any:
            new = value.__copy__()
            _filled(new.__dict__, fields)
            if extra:
                _filled(new.__pydantic_extra__ or {}, extra)
            return new

        return copy
    return lambda: value


def _changes(value: Any) -> bool:
    return isinstance(value, (dict, list, set, BaseModel))


def _changing(content: dict[str, Any]) -> list[tuple[str, Callable[[], Any]]]:
    return [(name, copies_of(one)) for name, one in content.items() if _changes(one)]


def _filled(content: dict[str, Any], inside: list[tuple[str, Callable[[], Any]]]) -> dict[str, Any]:
    for name, make in inside:
        content[name] = make()
    return content

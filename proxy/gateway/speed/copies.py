"""Copies of what LiteLLM keeps, so that nobody changes what others get."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_CHANGING = (dict, list, set)


def fresh(value: Any) -> Any:
    """A copy that shares nothing that can change with what it is made from; objects of other kinds are shared."""
    if isinstance(value, dict):
        return {
            name: fresh(one) if type(one) in _CHANGING or isinstance(one, BaseModel) else one
            for name, one in value.items()
        }
    if isinstance(value, (list, set)):
        return type(value)(fresh(one) for one in value)
    if isinstance(value, BaseModel):
        copy = value.model_copy()
        for content in (copy.__dict__, copy.__pydantic_extra__ or {}):
            for name, one in content.items():
                if type(one) in _CHANGING or isinstance(one, BaseModel):
                    content[name] = fresh(one)
        return copy
    return value

"""FastAPI makes a validator for each parameter of each route, 2,300 of them for LiteLLM's 740 paths, of which a gateway
uses a few dozen: each is made when a request first needs it."""

from __future__ import annotations

from typing import Any


class Later:
    """Stands for a field's validator until somebody asks for it; then `build` puts that into its place."""

    def __init__(self, build: Any) -> None:
        self.build = build

    def __get__(self, field: Any, kind: Any = None) -> Any:
        if field is None:
            return self
        self.build(field)
        return field.__dict__["_type_adapter"]


def install() -> None:
    from fastapi._compat import v2

    model_field: Any = v2.ModelField
    model_field._type_adapter = Later(model_field.__post_init__)
    model_field.__post_init__ = lambda _: None

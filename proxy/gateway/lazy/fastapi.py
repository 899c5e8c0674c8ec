"""What FastAPI makes for each of the routes that LiteLLM has on 740 paths, and a gateway needs once, or for the few
dozen that are asked: validators when a request first needs them, what dependencies need once for all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

_PARAMETERS = ("path_params", "query_params", "header_params", "cookie_params", "body_params")
_NAMES = ("request", "websocket", "http_connection", "response", "background_tasks", "security_scopes")


def install() -> None:
    make_validators_later()
    share_dependencies()
    know_old_models_without_pydantic_v1()


class Later:
    """Stands for a field's validator until somebody asks for it; then `build` puts that into its place."""

    def __init__(self, build: Any) -> None:
        self.build = build

    def __get__(self, field: Any, kind: Any = None) -> Any:
        if field is None:
            return self
        self.build(field)
        return field.__dict__["_type_adapter"]


def make_validators_later() -> None:
    """2,300 of them, one for each parameter."""
    from fastapi._compat import v2

    model_field: Any = v2.ModelField
    model_field._type_adapter = Later(model_field.__post_init__)
    model_field.__post_init__ = lambda _: None


def share_dependencies() -> None:
    """A route's own dependencies with theirs, 13 for the check of a key, are worked out from their signatures anew for
    each route, though they are the same wherever none of their parameters is one of the route's path."""
    from fastapi.dependencies import utils

    of: Any = utils
    work_out, named_in = of.get_dependant, of.get_path_param_names
    known: dict[Any, tuple[Any, frozenset[str]]] = {}

    def get_dependant(*, path: str, call: Any, **asked: Any) -> Any:
        key = (id(call), *((name, tuple(x) if isinstance(x, list) else x) for name, x in sorted(asked.items())))
        found, names = known.get(key, (None, frozenset()))
        if found is None or not names.isdisjoint(named_in(path)):
            found = work_out(path=path, call=call, **asked)
            names = frozenset(_parameters(found))
            if names.isdisjoint(named_in(path)):
                known[key] = found, names  # which holds the call, so that no other one gets its id
        return found

    of.get_dependant = get_dependant  # routing.py keeps the other one, for the routes themselves


def know_old_models_without_pydantic_v1() -> None:
    """It refuses models of pydantic's version 1, and loads that, 5 MB, to tell them: where nobody has, none are."""
    from fastapi._compat import shared

    compat: Any = shared
    is_old = compat.is_pydantic_v1_model_class

    def is_pydantic_v1_model_class(cls: Any) -> bool:
        return "pydantic.v1.main" in sys.modules and bool(is_old(cls))

    compat.is_pydantic_v1_model_class = is_pydantic_v1_model_class


def _parameters(dependant: Any) -> Iterator[str]:
    """The names of all its parameters, and of its dependencies'."""
    for kind in _PARAMETERS:
        yield from (field.name for field in getattr(dependant, kind))
    yield from (name for kind in _NAMES if (name := getattr(dependant, f"{kind}_param_name")))
    for inner in dependant.dependencies:
        yield str(inner.name)
        yield from _parameters(inner)

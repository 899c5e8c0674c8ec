"""Who asks and what they may: the same answers, looked up once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from proxy.gateway.speed.copies import copies_of

_MOST = 1000


def remember_keys() -> None:
    """A virtual key is kept as JSON and made into an object, validated, six times in a request. Here this is done once
    for what is kept; each caller gets an object of its own."""
    from litellm.proxy.common_utils.cache_pydantic_utils import CacheCodec

    decode = CacheCodec.deserialize
    known: dict[tuple[int, type], tuple[dict[str, Any], dict[str, Any], Callable[[], Any]]] = {}

    def deserialize(cached: Any, model_type: Any) -> Any:
        if type(cached) is not dict:
            return decode(cached, model_type)
        key = (id(cached), model_type)
        found = known.get(key)
        # `id` tells one dictionary for as long as it is held; what is kept might be changed in place
        if found is not None and found[0] is cached and found[1] == cached:
            return found[2]()
        made = decode(cached, model_type)
        if made is None or made is cached:
            return made
        if len(known) >= _MOST:
            known.clear()
        known[key] = (cached, copies_of(cached)(), copies_of(made))
        return known[key][2]()

    CacheCodec.deserialize = staticmethod(deserialize)


def remember_routes() -> None:
    """Whether a path is one of LiteLLM's management routes, or another kind, is found by a regular expression for each
    of them, a hundred in a request. What a path and a pattern make is always the same."""
    from litellm.proxy.auth.route_checks import RouteChecks

    RouteChecks._route_matches_pattern = staticmethod(lru_cache(maxsize=10_000)(RouteChecks._route_matches_pattern))

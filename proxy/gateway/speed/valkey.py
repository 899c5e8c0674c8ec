"""LiteLLM's client of the Valkey that several gateways share."""

from __future__ import annotations

from typing import Any


def remember_clients() -> None:
    """LiteLLM finds its client by a hash of all that it was made with, which it works out for each command."""
    from litellm.caching.redis_cache import RedisCache

    work_out = RedisCache._get_async_client_cache_key

    def get_async_client_cache_key(self: Any) -> str:
        known: tuple[dict[str, Any], str] | None = self.__dict__.get("_speed_client")
        if known is None or known[0] != self.redis_kwargs:
            known = self.__dict__["_speed_client"] = (dict(self.redis_kwargs), work_out(self))
        return known[1]

    cache: Any = RedisCache
    cache._get_async_client_cache_key = get_async_client_cache_key

"""Python's own work: memory, settings."""

from __future__ import annotations

import gc
import logging
from typing import Any

from proxy.gateway import collecting

_YOUNG, _MIDDLE, _OLD = 5_000, 20, 50


def collect_less_often() -> None:
    """Python looks for garbage cycles after each 700 objects more; a request makes some thousand and leaves few."""
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


def hold_memory_in_huge_pages() -> None:
    """A request goes through objects all over some 300 MB, each page of which the processor has to find: see
    proxy/gateway/pages.py."""
    collecting.huge_pages = True


def remember_settings() -> None:
    """LiteLLM asks its settings fifty times in a request, and each time works out whether the file or the database has
    the say."""
    from litellm.proxy.config_resolvers.settings_store import SettingsStore

    look_up = SettingsStore.__getitem__
    missing = object()

    def find(self: Any, key: str) -> Any:
        # LiteLLM puts another object in the place of each of these when it changes
        known = self.__dict__.get("_speed_known")
        if (
            known is None
            or known[0] is not self._yaml_values
            or known[1] is not self._database_rows
            or known[2] is not self._runtime_values
            or known[3] is not self._deleted_runtime_keys
        ):
            sources = (self._yaml_values, self._database_rows, self._runtime_values, self._deleted_runtime_keys)
            known = self.__dict__["_speed_known"] = (*sources, {})
        values = known[4]
        found = values.get(key, values)
        if found is values:
            try:
                found = look_up(self, key)
            except KeyError:
                found = missing
            values[key] = found
        return found

    def get_item(self: Any, key: str) -> Any:
        found = find(self, key)
        if found is missing:
            raise KeyError(key)
        return found

    def get(self: Any, key: str, default: Any = None) -> Any:
        found = find(self, key)
        return default if found is missing else found

    SettingsStore.__getitem__ = get_item
    SettingsStore.get = get


def read_caches_silently() -> None:
    """Each look into one of LiteLLM's caches writes what it found, the whole key with all its settings, into a line
    for a log that is not kept."""
    from litellm.caching.dual_cache import DualCache

    read = DualCache.async_get_cache

    async def async_get_cache(
        self: Any, key: Any, parent_otel_span: Any = None, local_only: bool = False, **named: Any
    ) -> Any:
        if self.in_memory_cache is not None and not verbose():
            found = await self.in_memory_cache.async_get_cache(key, **named)
            if found is not None or self.redis_cache is None or local_only is not False:
                return found
        return await read(self, key, parent_otel_span, local_only, **named)

    def verbose() -> bool:
        return bool(litellm.set_verbose) or verbose_logger.isEnabledFor(logging.DEBUG)

    import litellm
    from litellm._logging import verbose_logger

    DualCache.async_get_cache = async_get_cache


def name_targets_lightly() -> None:
    """LiteLLM notes what a look into one of its stores is for, twenty times in a request, each by a generator and two
    more objects. Here it is one."""
    from litellm import _internal_context as context

    target = context._service_target

    class ServiceTarget:
        __slots__ = ("name", "token")

        def __init__(self, name: str | None) -> None:
            self.name = name

        def __enter__(self) -> None:
            self.token = target.set(self.name)

        def __exit__(self, *_: object) -> None:
            try:  # noqa: SIM105 - suppress() is one more object
                target.reset(self.token)
            except ValueError:  # closed from another context
                pass

    context.service_target = ServiceTarget

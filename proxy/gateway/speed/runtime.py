"""Python's own work: collecting, settings."""

from __future__ import annotations

import gc
from typing import Any

_YOUNG, _MIDDLE, _OLD = 20_000, 20, 20


def collect_less_often() -> None:
    """Python looks for garbage cycles after each 700 objects more; a request makes some thousand and leaves few."""
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


def remember_settings() -> None:
    """LiteLLM asks its settings fifty times in a request, and each time works out whether the file or the database has
    the say."""
    from litellm.proxy.config_resolvers.settings_store import SettingsStore

    look_up = SettingsStore.__getitem__
    missing = object()

    def get_item(self: Any, key: str) -> Any:
        sources = (self._yaml_values, self._database_rows, self._runtime_values, self._deleted_runtime_keys)
        known = self.__dict__.get("_known")
        if known is None or any(was is not now for was, now in zip(known[0], sources, strict=True)):
            known = self.__dict__["_known"] = (sources, {})
        values = known[1]
        if key not in values:
            try:
                values[key] = look_up(self, key)
            except KeyError:
                values[key] = missing
        found = values[key]
        if found is missing:
            raise KeyError(key)
        return found

    def get(self: Any, key: str, default: Any = None) -> Any:
        try:
            return get_item(self, key)
        except KeyError:
            return default

    SettingsStore.__getitem__ = get_item
    SettingsStore.get = get

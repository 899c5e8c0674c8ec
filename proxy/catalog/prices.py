"""LiteLLM's bundled map of models: list prices, context windows, retirement dates.

Used by `checks` (is a price in the right unit?) and `drift` (what has changed at the providers?). The file
is read as data: importing LiteLLM takes seconds, and its own loader may fetch a newer map.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FIELDS = (
    "litellm_provider", "mode", "input_cost_per_token", "output_cost_per_token", "deprecation_date",
    "max_input_tokens", "max_output_tokens",
)  # fmt: skip
"""What is read of an entry; the rest would be 4 MB in the launcher and in each gateway."""
MAP_FILE = "model_prices_and_context_window_backup.json"


@dataclass(frozen=True)
class UsualPrices:
    """What is usual, in US dollars per 1,000 tokens, and whose prices these are."""

    cheapest: float
    dearest: float
    whose: str

    def __str__(self) -> str:
        if self.cheapest == self.dearest:
            return f"{self.cheapest:.10g}"
        return f"{self.cheapest:.10g} to {self.dearest:.10g}"


@lru_cache(maxsize=1)
def bundled_map() -> dict[str, dict[str, Any]]:
    """The map of the installed LiteLLM; empty where there is none."""
    spec = find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return {}
    try:
        text = (Path(spec.submodule_search_locations[0]) / MAP_FILE).read_text(encoding="utf-8")
    except OSError:
        return {}
    entries: dict[str, dict[str, Any]] = json.loads(text)
    entries.pop("sample_spec", None)
    return {name: {field: one[field] for field in FIELDS if field in one} for name, one in entries.items()}


def entry(api: str, upstream: str, prices: dict[str, dict[str, Any]] | None = None) -> dict[str, Any] | None:
    """The map's entry of a provider's model, or None. Keys carry the provider for Gemini, not for the others."""
    prices = bundled_map() if prices is None else prices
    for key in (f"{api}/{upstream}", upstream):
        found = prices.get(key)
        if found is not None and found.get("litellm_provider") == api:
            return found
    return None


def usual_prices(api: str, upstream: str, side: str) -> UsualPrices | None:
    """What the model costs (`side` is input or output), by the best evidence in the map.

    Its own entry; or, for one the map has dropped, the same model at other providers; or all of its provider.
    """
    field = f"{side}_cost_per_token"
    listed = (entry(api, upstream) or {}).get(field)
    if listed:
        return UsualPrices(listed * 1000, listed * 1000, "its list price")
    elsewhere = [found[field] for key, found in bundled_map().items() if upstream in key and found.get(field)]
    if elsewhere:
        return UsualPrices(min(elsewhere) * 1000, max(elsewhere) * 1000, "the same model elsewhere")
    known = _provider_prices(api, field)
    return UsualPrices(min(known) * 1000, max(known) * 1000, f"models of {api}") if known else None


@lru_cache(maxsize=16)
def _provider_prices(api: str, field: str) -> tuple[float, ...]:
    return tuple(
        found[field]
        for found in bundled_map().values()
        if found.get("litellm_provider") == api and found.get("mode") in ("chat", "responses") and found.get(field)
    )

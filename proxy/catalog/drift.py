"""What has changed at the providers since config/proxy.yaml was written, for `config check`.

Compares each model with LiteLLM's bundled map: retired or retiring upstreams, list prices and context
windows that differ. Nothing here changes a value or stops a start: the operator decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

from proxy.catalog.models import Catalog, Model
from proxy.catalog.prices import bundled_map, entry
from proxy.catalog.retired import RETIRED
from proxy.catalog.source import Path

Kind = Literal["retired", "retiring", "unlisted", "price", "window", "repeat"]
NOTICE_DAYS = 90  # how long before its retirement a model is warned about


@dataclass(frozen=True)
class Drift:
    """One difference: its kind, the alias it concerns, where in the file, and the words for the operator."""

    kind: Kind
    alias: str
    path: Path
    message: str


def drift(catalog: Catalog, today: date, prices: dict[str, dict[str, Any]] | None = None) -> list[Drift]:
    """All differences, in the order of the file. `prices` defaults to the map of the installed LiteLLM."""
    prices = bundled_map() if prices is None else prices
    found: list[Drift] = []
    for alias, model in catalog.models.items():
        api = catalog.providers[model.provider].api
        listed = entry(api, model.upstream, prices)
        found += _retirement(alias, model, api, listed, today)
        if listed is not None:
            found += _window(alias, model, listed)
            found += _prices(alias, model, listed)
    found += _repeats(catalog)
    return found


def _retirement(alias: str, model: Model, api: str, listed: dict[str, Any] | None, today: date) -> Iterator[Drift]:
    path = ("models", alias, "upstream")
    known = RETIRED.get((api, model.upstream))
    day = known.on if known else _date((listed or {}).get("deprecation_date"))
    source = f" (see {known.source})" if known else ""
    if day is None and listed is None:
        message = f"{model.upstream} is not in LiteLLM's map of {api} models: misspelt, very new, or retired"
        yield Drift("unlisted", alias, path, message)
    elif day is not None and day <= today:
        message = f"{model.upstream} was retired on {day}; the provider refuses requests for it{source}"
        yield Drift("retired", alias, path, message)
    elif day is not None and (day - today).days <= NOTICE_DAYS:
        message = f"{model.upstream} retires on {day}, {_days(day - today)} from today{source}"
        yield Drift("retiring", alias, path, message)


def _window(alias: str, model: Model, listed: dict[str, Any]) -> Iterator[Drift]:
    prompt, reply = listed.get("max_input_tokens"), listed.get("max_output_tokens")
    if not prompt or prompt == model.context_window:
        return
    message = f"{model.upstream} takes prompts of {prompt:,} tokens, not {model.context_window:,}"
    if reply and prompt + reply == model.context_window:
        message += f": the {model.context_window:,} are {prompt:,} in + {reply:,} out"
    yield Drift("window", alias, ("models", alias, "context_window"), message)


def _prices(alias: str, model: Model, listed: dict[str, Any]) -> Iterator[Drift]:
    ours = (_per_1k(model.price_per_1k.input), _per_1k(model.price_per_1k.output))
    theirs = tuple(_per_1k(listed.get(f"{side}_cost_per_token"), 1000) for side in ("input", "output"))
    if any(their is not None and our != their for our, their in zip(ours, theirs, strict=True)):
        message = f"list price of {model.upstream} is {_shown(theirs)} per 1K in / out, not {_shown(ours)}"
        yield Drift("price", alias, ("models", alias, "price_per_1k"), message)


def _repeats(catalog: Catalog) -> Iterator[Drift]:
    """Two aliases of one upstream in a chain: it has just failed, and would be asked again."""
    for alias, chain in catalog.fallbacks.items():
        asked: dict[tuple[str, str], str] = {}
        for index, member in enumerate([alias, *chain]):
            model = catalog.models[member]
            first = asked.setdefault((model.provider, model.upstream), member)
            if first != member:
                message = f"{member} is the same upstream as {first} ({model.upstream}), which has failed by then"
                yield Drift("repeat", alias, ("fallbacks", alias, index - 1), message)


def _date(text: Any) -> date | None:
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def _days(span: timedelta) -> str:
    return "1 day" if span.days == 1 else f"{span.days} days"


def _per_1k(price: float | None, factor: int = 1) -> Decimal | None:
    """As an exact decimal: 2.5e-07 * 1000 in binary is not 0.00025."""
    return None if price is None else (Decimal(repr(price)) * factor).normalize()


def _shown(prices: tuple[Decimal | None, ...]) -> str:
    return " / ".join("?" if price is None else f"{price:f}" for price in prices)

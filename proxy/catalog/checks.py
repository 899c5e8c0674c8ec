"""Checks that look at several places of config/proxy.yaml at once.

They run on the plain data, beside pydantic's, so that one run reports every mistake; whatever has not the
expected form is left to pydantic to name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard

from proxy.catalog.prices import usual_prices
from proxy.catalog.problems import did_you_mean
from proxy.catalog.source import Source

# A wrong unit is off by 1,000. Less than that: an own contract may be well below the list, an old model above.
WRONG_UNIT = 25


def check_across(source: Source) -> None:
    """Adds to `source` what is wrong between its sections."""
    providers, models = _mapping(source.data, "providers"), _mapping(source.data, "models")
    for name, provider in providers.items():
        if isinstance(provider, dict):
            _check_base_url(source, name, provider)
    for alias, model in models.items():
        if isinstance(model, dict):
            _check_model(source, alias, model, providers)
    for alias, chain in _mapping(source.data, "fallbacks").items():
        _check_chain(source, alias, chain, models)
    workers = _mapping(source.data, "gateway").get("workers")
    if isinstance(workers, int) and workers > 1:
        source.problem(
            ("gateway", "workers"),
            "must be 1: each worker would let through the whole of requests_per_minute by itself, "
            "as they share no counter",
        )


def _check_base_url(source: Source, name: str, provider: dict[str, Any]) -> None:
    """What LiteLLM appends to a base differs between providers; the end of a right one is known for two of them."""
    url = provider.get("base_url")
    if not isinstance(url, str):
        return
    end = url.rstrip("/").rpartition("/")[2]
    path = ("providers", name, "base_url")
    if provider.get("api") == "anthropic" and end in ("v1", "messages"):
        source.problem(path, "leave out /v1 and what follows: for Anthropic, /v1/messages is appended")
    elif provider.get("api") == "gemini" and end not in ("v1", "v1beta"):
        source.problem(path, "must end in /v1beta (or /v1): for Gemini, /models/... is appended")
    elif provider.get("api") == "openai" and end in ("completions", "chat", "responses"):
        source.problem(path, "must end before /chat/completions, which is appended; OpenAI's own ends in /v1")


def _check_model(source: Source, alias: str, model: dict[str, Any], providers: dict[str, Any]) -> None:
    provider, upstream = model.get("provider"), model.get("upstream")
    if not isinstance(provider, str):
        return
    if provider not in providers:
        source.problem(
            ("models", alias, "provider"), f"unknown provider '{provider}'{did_you_mean(provider, providers)}"
        )
        return
    api = _mapping(providers, provider).get("api")
    if not isinstance(api, str) or not isinstance(upstream, str):
        return
    if upstream.startswith(f"{api}/"):
        source.problem(
            ("models", alias, "upstream"),
            f"write '{upstream.removeprefix(f'{api}/')}': the provider already says '{api}'",
        )
        return
    temperature = model.get("temperature")
    if api == "anthropic" and _is_number(temperature) and 1 < temperature <= 2:
        source.problem(("models", alias, "temperature"), f"Anthropic takes 0 to 1, not {temperature}")
    _check_prices(source, alias, model, api, upstream)


def _check_prices(source: Source, alias: str, model: dict[str, Any], api: str, upstream: str) -> None:
    """A price per token or per million in place of one per 1,000 is off by a factor of a thousand."""
    for side, price in _mapping(model, "price_per_1k").items():
        if side not in ("input", "output") or not _is_number(price) or not 0 < price < float("inf"):
            continue
        usual = usual_prices(api, upstream, side)
        if usual is None or usual.cheapest / WRONG_UNIT < price < usual.dearest * WRONG_UNIT:
            continue
        unit, factor = ("1,000,000 tokens", 0.001) if price > usual.dearest else ("single token", 1000.0)
        source.problem(
            ("models", alias, "price_per_1k", side),
            f"{price:g} is no price per 1,000 tokens ({usual.whose}: {usual}). "
            f"If it is dollars per {unit}, write {price * factor:.10g}",
        )


def _check_chain(source: Source, alias: str, chain: Any, models: dict[str, Any]) -> None:
    """A chain is flat: it is asked as written and the chains of its members are not followed.

    So two models may name each other, and what makes a request ask a model twice is only the chain itself:
    one that comes back to its own model, or names one twice.
    """
    if alias not in models:
        source.problem(("fallbacks", alias), f"unknown model '{alias}'{did_you_mean(alias, models)}", of_key=True)
    if not isinstance(chain, list):
        return
    for index, target in _texts(chain):
        path = ("fallbacks", alias, index)
        if target not in models:
            source.problem(path, f"unknown fallback model '{target}'{did_you_mean(target, models)}")
        elif target == alias and index == 0:
            source.problem(path, f"'{alias}' cannot be its own fallback; remove it")
        elif target == alias:
            way = " -> ".join([alias, *(str(member) for member in chain[: index + 1])])
            source.problem(path, f"a cycle: {way} would ask '{alias}' again; remove it")
        elif target in chain[:index]:
            source.problem(path, f"'{target}' is already in this chain; remove one of the two")


def _mapping(data: Any, key: str) -> dict[str, Any]:
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, dict) else {}


def _texts(items: list[Any]) -> Iterator[tuple[int, str]]:
    return ((index, item) for index, item in enumerate(items) if isinstance(item, str))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)

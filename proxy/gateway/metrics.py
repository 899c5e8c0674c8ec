"""Keeps /metrics affordable: its size depends on what is served here, not on what clients write. Used by app.py.

LiteLLM 1.106.2 makes a series for every path, model and user agent that anybody sends, without a key, and for each
virtual key and model 20 series of each of 8 histograms, 57 KB. Labels that only a client's word stands behind are left
out by the configuration (render/litellm.py), which also has the last bound on series; here are those that it cannot
name: labels of single metrics, and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from starlette.routing import Match

from proxy.catalog import Catalog
from proxy.gateway.made_for import fits

OTHER = "other"
"""LiteLLM's own word for what it does not know."""
MOST_PATHS = 1024
"""Paths whose route is remembered; a client may make up any number of them."""

TIMED = frozenset(
    {
        "litellm_request_total_latency_metric",
        "litellm_request_queue_time_seconds",
        "litellm_llm_api_latency_metric",
        "litellm_llm_api_time_to_first_token_metric",
        "litellm_overhead_latency_metric",
        "litellm_deployment_latency_per_output_token",
    }
)
"""Histograms: told by model, not by who asked."""
CALLERS = frozenset({"hashed_api_key", "api_key_alias", "team", "team_alias", "user", "org_id", "org_alias"})
MODELS = ("requested_model", "model_group", "model", "litellm_model_name", "fallback_model")


def bound(catalog: Catalog, app: Any) -> None:
    """Bounds the metrics of the LiteLLM this was made for; of another one only what its configuration bounds.

    To be called before LiteLLM starts, when its callback takes over the names of the labels. `app` is its FastAPI app.
    """
    if not fits("/metrics is bounded by its configuration alone (proxy/gateway/metrics.py)"):
        return
    from litellm.types.integrations.prometheus import PrometheusMetricLabels, UserAPIKeyLabelValues

    labels_of = PrometheusMetricLabels.get_labels

    def get_labels(label_name: str) -> list[str]:
        labels: list[str] = labels_of(label_name)
        return [label for label in labels if label not in CALLERS] if label_name in TIMED else labels

    PrometheusMetricLabels.get_labels = staticmethod(get_labels)
    finish, bounded = UserAPIKeyLabelValues.__post_init__, bounded_values(catalog, route_finder(app))

    def post_init(self: Any) -> None:
        finish(self)
        bounded(self)

    UserAPIKeyLabelValues.__post_init__ = post_init


def bounded_values(catalog: Catalog, route_of: Callable[[str], str]) -> Callable[[Any], None]:
    """What puts `other` for each model, provider and route in LiteLLM's label values that is none of ours.

    Who is not let in is counted by route alone.
    """
    providers = {provider.api for provider in catalog.providers.values()}
    models = {*catalog.models, *(model.upstream for model in catalog.models.values())}
    models |= {f"{catalog.providers[model.provider].api}/{model.upstream}" for model in catalog.models.values()}

    def bounded(values: Any) -> None:
        refused = values.exception_status == "401"
        for name in MODELS:
            _put(values, name, models, refused=refused)
        _put(values, "api_provider", providers, refused=refused)
        if values.route:
            object.__setattr__(values, "route", route_of(values.route))

    return bounded


def _put(values: Any, name: str, known: Iterable[str], *, refused: bool) -> None:
    value = getattr(values, name)
    if value and (refused or value not in known):
        object.__setattr__(values, name, None if refused else OTHER)


def route_finder(app: Any) -> Callable[[str], str]:
    """The route that serves a path, as the app writes it (`/engines/{model}/chat/completions`)."""

    @lru_cache(maxsize=MOST_PATHS)
    def route_of(path: str) -> str:
        routes = list(_written(app.routes))
        if any(path == template for template, _, _ in routes):
            return path
        scope = {"type": "http", "method": "GET", "root_path": "", "headers": []}
        for template, prefix, route in routes:
            if path.startswith(prefix) and route.matches({**scope, "path": path[len(prefix) :]})[0] is not Match.NONE:
                return template
        return OTHER

    return route_of


def _written(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Each route as it is written, the prefix of the routers that it is in, and itself."""
    for route in routes:
        if hasattr(route, "original_router"):  # FastAPI keeps an included router whole
            yield from _written(route.original_router.routes, prefix + route.include_context.prefix)
        elif hasattr(route, "path_format"):
            yield prefix + route.path_format, prefix, route

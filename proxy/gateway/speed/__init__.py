"""Has LiteLLM need less CPU for a request, and answer, count and charge as before. Used by app.py.

Each lever is one function that changes one thing in LiteLLM; its comment says why, and LEVERS what it gave: the CPU of
a request with it as a multiple of the same without (scripts/bench/levers.py). `speed` in proxy.yaml switches them off,
one by one or all; tests/gateway/test_speed.py holds replies, headers, spend and metrics equal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version

from proxy.catalog import Catalog
from proxy.gateway.speed import auth, callbacks, metrics, openai_sdk, prices, routing, runtime, spend

log = logging.getLogger("proxy.gateway")

MADE_FOR = "1.106.2"


def _streams() -> None:
    from proxy.gateway.speed import streams  # it imports LiteLLM, which must find its environment complete

    streams.repeat_plain_chunks()


LEVERS: Mapping[str, Callable[[], None]] = {
    "registered_prices": prices.register_prices_once,
    "model_infos": prices.remember_model_infos,
    "deployments": prices.remember_deployments,
    "garbage": runtime.collect_less_often,
    "settings": runtime.remember_settings,
    "cache_reads": runtime.read_caches_silently,
    "keys": auth.remember_keys,
    "routes": auth.remember_routes,
    "short_prompts": routing.count_only_long_prompts,
    "sync_callbacks": callbacks.no_thread_for_no_callback,
    "idle_callbacks": callbacks.skip_idle_callbacks,
    "label_values": metrics.make_labels_directly,
    "limit_gauges": metrics.leave_gauges_without_series_alone,
    "openai_replies": openai_sdk.read_replies_by_plan,
    "openai_requests": openai_sdk.send_plain_requests_as_they_are,
    "openai_ids": openai_sdk.make_ids_in_stock,
    "stream_chunks": _streams,
    "cookies": openai_sdk.look_for_cookies_where_there_are_some,
    "team_rows": spend.share_rows,
    "row_metadata": spend.read_metadata_once,
    "savings": spend.skip_savings_of_nothing,
    "spend_rows": spend.write_rows_as_json,
}


def install(catalog: Catalog) -> None:
    """Installs what proxy.yaml leaves on. Another LiteLLM, as an image may bring, is left as it is, with a warning."""
    if not catalog.speed.enabled:
        return
    found = version("litellm")
    if found != MADE_FOR:
        log.warning("LiteLLM is %s: what makes %s faster is left out (proxy/gateway/speed)", found, MADE_FOR)
        return
    for name, lever in LEVERS.items():
        if name not in catalog.speed.without:
            lever()

"""Has LiteLLM need less CPU for a request, and answer, count and charge as before. Used by app.py.

Each lever is one function that changes one thing in LiteLLM; its comment says why, and LEVERS what it gave: the CPU of
a request with it as a multiple of the same without (scripts/bench/levers.py; 2 shared cores, equal gateways differ by
0.03 to 0.1, so what is above 0.97 is not shown by that alone; with a star: from the time that what it changes takes in
a request, with it and without in turns of a second, in one gateway at 16 connections). By LiteLLM's own command, with
all: 0.36 to 0.39, streaming 0.28. `speed` in proxy.yaml switches them off, one by one or all; tests/gateway/speed holds
replies, headers, spend and metrics equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy.catalog import Catalog
from proxy.gateway.made_for import fits
from proxy.gateway.speed import (
    auth,
    callbacks,
    cycles,
    mcp,
    metrics,
    openai_sdk,
    prices,
    routing,
    runtime,
    spend,
    stream_ends,
    threads,
    valkey,
)


def _streams() -> None:
    from proxy.gateway.speed import streams  # it imports LiteLLM, which must find its environment complete

    streams.repeat_plain_chunks()


LEVERS: Mapping[str, Callable[[], None]] = {
    "registered_prices": prices.register_prices_once,  # 0.71
    "model_infos": prices.remember_model_infos,  # 0.95
    "deployments": prices.remember_deployments,  # 0.90
    "garbage": runtime.collect_less_often,  # 0.93
    "huge_pages": runtime.hold_memory_in_huge_pages,  # 0.90 (one at a time)
    "settings": runtime.remember_settings,  # 0.91
    "cache_reads": runtime.read_caches_silently,  # 0.95
    "targets": runtime.name_targets_lightly,  # streaming 0.98
    "keys": auth.remember_keys,  # 0.91
    "routes": auth.remember_routes,  # 0.99*
    "short_prompts": routing.count_only_long_prompts,  # 0.79
    "threads": threads.prepare_in_place,  # 0.94
    "sync_callbacks": callbacks.no_thread_for_no_callback,  # 0.86
    "log_turns": callbacks.log_in_turns,  # 0.91 (one at a time)
    "label_values": metrics.make_labels_directly,  # 0.99*
    "limit_gauges": metrics.leave_gauges_of_the_unlimited_alone,  # 0.97
    "openai_replies": openai_sdk.read_replies_by_plan,  # 0.87; streaming 0.84
    "openai_requests": openai_sdk.send_plain_requests_as_they_are,  # 0.87
    "openai_ids": openai_sdk.make_ids_in_stock,  # 0.96
    "openai_addresses": openai_sdk.remember_addresses,  # 0.95
    "stream_chunks": _streams,  # streaming 0.77*
    "stream_ends": stream_ends.put_streams_together_once,  # streaming 0.75
    "stream_cycles": cycles.let_streams_go,  # streaming 0.92
    "reply_cycles": cycles.let_replies_go,  # 0.99, by the time of the search for garbage
    "cookies": openai_sdk.look_for_cookies_where_there_are_some,  # 0.93
    "team_rows": spend.share_rows,  # 0.95
    "row_metadata": spend.read_metadata_that_say_something,  # 0.96
    "row_sizes": spend.measure_rows_once,  # 0.98
    "row_texts": spend.write_plain_texts_at_once,  # 0.95
    "savings": spend.skip_savings_of_nothing,  # 0.98*
    "spend_rows": spend.write_rows_as_json,  # 0.96
    "valkey_trips": valkey.send_together,  # where there is a Valkey: 0.90
    "valkey_callers": valkey.let_callers_go,  # where there is a Valkey: 0.99, by the same
    "mcp_later": mcp.load_later,  # memory 0.95
}


def install(catalog: Catalog) -> None:
    """Installs what proxy.yaml leaves on, in the LiteLLM these were made for."""
    if not catalog.speed.enabled or not fits("what makes it faster is left out (proxy/gateway/speed)"):
        return
    for name, lever in LEVERS.items():
        if name not in catalog.speed.without:
            lever()

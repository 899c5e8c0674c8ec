"""Has LiteLLM need less CPU for a request, and answer, count and charge as before. Used by app.py.

Each lever is one function that changes one thing in LiteLLM; its comment says why and what it gave: the CPU of a
request with it, as a multiple of the same without (scripts/bench/levers.py, all others on). `speed` in proxy.yaml
switches them off, one by one or all; tests/gateway/test_speed.py holds replies, headers, spend and metrics equal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version

from proxy.catalog import Catalog
from proxy.gateway.speed import prices

log = logging.getLogger("proxy.gateway")

MADE_FOR = "1.106.2"

LEVERS: Mapping[str, Callable[[], None]] = {
    "registered_prices": prices.register_prices_once,
    "model_infos": prices.remember_model_infos,
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
        if name not in catalog.speed.off:
            lever()

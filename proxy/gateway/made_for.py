"""The LiteLLM that mends.py, away.py, metrics.py, lazy/ and speed/ were made for: they change what is inside of it."""

from __future__ import annotations

import logging
from importlib.metadata import version

log = logging.getLogger("proxy.gateway")

MADE_FOR = "1.106.2"


def fits(otherwise: str) -> bool:
    """Whether this is that LiteLLM. Another one, as an image may bring, is left as it is; `otherwise` says in the log
    what that means."""
    found = version("litellm")
    if found != MADE_FOR:
        log.warning("LiteLLM is %s, not %s: %s", found, MADE_FOR, otherwise)
    return found == MADE_FOR

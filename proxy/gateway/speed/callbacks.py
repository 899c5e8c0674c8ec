"""What LiteLLM calls after each request."""

from __future__ import annotations

from typing import Any


def no_thread_for_no_callback() -> None:
    """For each request LiteLLM has a thread go through its callbacks a second time, for those that are not
    asynchronous. The only one is "cache", which is left on the list by its own cache of nothing, and does nothing
    unless replies are cached."""
    import litellm
    from litellm.litellm_core_utils.litellm_logging import Logging

    is_internal = Logging._is_internal_litellm_proxy_callback

    def is_internal_or_idle(self: Any, callback: Any) -> bool:
        return (callback == "cache" and litellm.cache is None) or is_internal(self, callback)

    Logging._is_internal_litellm_proxy_callback = is_internal_or_idle

"""What LiteLLM calls after each request."""

from __future__ import annotations

from functools import lru_cache
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


def skip_idle_callbacks() -> None:
    """Of LiteLLM's 18 callbacks for a request that went well, most are of classes that do nothing then; each passes
    redaction, two hooks and checks. Here those are left out whose class has none of the methods that are called."""
    import litellm
    from litellm.integrations.custom_guardrail import CustomGuardrail
    from litellm.integrations.custom_logger import CustomLogger
    from litellm.litellm_core_utils.litellm_logging import Logging

    combine = Logging.get_combined_callback_list
    called = ("async_log_success_event", "async_log_stream_event", "async_logging_hook")

    @lru_cache(maxsize=1000)
    def is_idle(kind: Any) -> bool:
        is_plain = (
            issubclass(kind, CustomLogger) and not issubclass(kind, CustomGuardrail) and "__call__" not in dir(kind)
        )
        return is_plain and all(getattr(kind, name) is getattr(CustomLogger, name) for name in called)

    def get_combined_callback_list(
        self: Any, dynamic_success_callbacks: list[Any] | None, global_callbacks: list[Any]
    ) -> list[Any]:
        found: list[Any] = combine(self, dynamic_success_callbacks, global_callbacks)
        if global_callbacks is not litellm._async_success_callback:
            return found
        return [one for one in found if not is_idle(one.__class__) or set(called) & vars(one).keys()]

    Logging.get_combined_callback_list = get_combined_callback_list

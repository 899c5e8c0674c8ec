"""Work that needs no thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

_PROVIDERS = ("openai/", "anthropic/", "gemini/")
"""Whose calls are prepared without asking anything of anybody."""
_MOST = 32_000
"""Characters of a prompt that are prepared in a moment."""


def prepare_in_place() -> None:
    """A thread prepares each call to a provider, and leaves the sending to the event loop: half a millisecond of work,
    for which three threads take Python's lock from each other. Here the event loop does it where it is short, and
    where it cannot have to wait: prompts of plain text, to providers whose keys are at hand."""
    import litellm

    submit: Any = ThreadPoolExecutor.submit

    def submit_or_do(self: ThreadPoolExecutor, work: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        if args or named or not is_short(work):
            return submit(self, work, *args, **named)
        done = asyncio.get_running_loop().create_future()  # which run_in_executor hands on as it is
        done.set_result(work())
        return done

    def is_short(work: Any) -> bool:
        """Whether this is LiteLLM's `partial(context.run, partial(completion, ...))`, of a short prompt."""
        call = work.args[0] if type(work) is partial and len(work.args) == 1 else None
        return (
            type(call) is partial
            and call.func is litellm.main.completion
            and call.keywords["model"].startswith(_PROVIDERS)
            and not call.keywords.get("tools")
            and is_short_text(call.keywords["messages"])
            and not call.keywords["litellm_logging_obj"].dynamic_input_callbacks
            and are_quick(tuple(one if type(one) is str else type(one) for one in litellm.input_callback))
        )

    pool: Any = ThreadPoolExecutor
    pool.submit = submit_or_do


def is_short_text(messages: Any) -> bool:
    left = _MOST
    for message in messages if type(messages) is list else [None]:
        text = message.get("content") if type(message) is dict else None
        if type(text) is not str or (left := left - 100 - len(text)) < 0:
            return False
    return True


@lru_cache(maxsize=100)
def are_quick(kinds: tuple[Any, ...]) -> bool:
    """Whether callbacks, of these classes or by these names, have nothing to do before a call."""
    from litellm.integrations.custom_logger import CustomLogger

    return all(
        kind == "cache"
        if isinstance(kind, str)
        else issubclass(kind, CustomLogger) and kind.log_pre_api_call is CustomLogger.log_pre_api_call
        for kind in kinds
    )

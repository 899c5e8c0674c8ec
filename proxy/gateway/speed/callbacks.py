"""What LiteLLM calls after each request."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Mapping
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


def log_in_turns() -> None:
    """LiteLLM logs a request right behind its reply, or before it, while the next one is there already. Here some are
    logged together: what logging goes through, the processor has at hand from the second one on, and the requests
    between two turns have it out of their way. Who has a budget, or a limit of tokens or of requests at once, is logged
    at once, as the next request is held against it. (How many tokens a model had in a minute is known a moment later;
    requests under way do not count there either.)"""
    from litellm.litellm_core_utils.litellm_logging import Logging
    from litellm.litellm_core_utils.logging_worker import LoggingWorker

    process, flush = LoggingWorker._process_log_task, LoggingWorker.flush
    turns = Turns()

    async def process_log_task(self: Any, task: Any, sem: Any, queue: Any) -> None:
        logging = inspect.getcoroutinelocals(task["coroutine"]).get("self")
        if isinstance(logging, Logging) and is_unlimited(logging.model_call_details):
            try:
                await turns.next()
            except asyncio.CancelledError:  # LiteLLM logs at its exit what has not begun
                sem.release()
                raise
        await process(self, task, sem, queue)

    async def flush_at_once(self: Any) -> None:
        turns.end()
        await flush(self)

    LoggingWorker._process_log_task = process_log_task
    LoggingWorker.flush = flush_at_once


class Turns:
    """Lets those that wait go on together: when there are MOST, or TURN_SECONDS after the first."""

    def __init__(self) -> None:
        self._turn = asyncio.Event()
        self._waiting = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def next(self) -> None:
        loop = asyncio.get_running_loop()
        if self._turn.is_set() or self._loop is not loop:
            self._turn, self._waiting, self._loop = asyncio.Event(), 0, loop
            loop.call_later(TURN_SECONDS, self._turn.set)
        turn = self._turn
        self._waiting += 1
        if self._waiting == MOST:
            turn.set()
        await turn.wait()

    def end(self) -> None:
        """Lets those go on that wait now."""
        self._turn.set()


TURN_SECONDS = 0.1
MOST = 8


def is_unlimited(call: Mapping[str, Any]) -> bool:
    """Whether the next request of whom this call was for is held against nothing that logging this one changes."""
    import litellm
    from litellm.litellm_core_utils.core_helpers import get_litellm_metadata_from_kwargs
    from litellm.proxy._types import UserAPIKeyAuth

    metadata = get_litellm_metadata_from_kwargs(call)
    key = metadata.get("user_api_key_auth")
    if not isinstance(key, UserAPIKeyAuth) or litellm.max_budget:
        return False
    if metadata.get("tags") or (key.team_id and key.user_id):  # a tag may have a budget, and a member of a team
        return False
    limits, snapshots, settings = limits_of(UserAPIKeyAuth)
    return (
        not any(getattr(key, name) for name in limits)
        and not any((snapshot := getattr(key, name)) and snapshot.max_budget for name in snapshots)
        and not any((texts := getattr(key, name)) and any(map(_LIMIT.search, texts)) for name in settings)
    )


@lru_cache
def limits_of(kind: type[Any]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The names by which LiteLLM's model of a key has limits and budgets, or who may have some; what it has seen of
    others' budgets; and what operators set."""
    names = tuple(kind.model_fields)
    seen = tuple(name for name in names if name.endswith("_budget_snapshot"))
    limits = tuple(name for name in names if name in _OWNERS or (_LIMIT.search(name) and name not in seen))
    return limits, seen, tuple(name for name in names if name.endswith("metadata"))


_LIMIT = re.compile("(?<!rpm_)limit|budget|max_")  # requests a minute are counted before they are sent on
_OWNERS = {"project_id", "agent_id", "invoked_agent_id", "matched_model_access_groups"}

"""Postgres and Valkey, watched: whether each answers, and what is weaker while one does not. Used by app.py.

A gateway goes on without either: see away.py for what it does without Postgres. What is away is in the log, in /health
under `stores_away`, and in /metrics as `litellm_local_store_up`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from prometheus_client import Gauge
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("proxy.gateway")

EVERY_SECONDS = 2.0
PATIENCE_SECONDS = 2.0

UP = Gauge(
    "litellm_local_store_up", "Whether Postgres and Valkey answer: 1, or 0", ["store"], multiprocess_mode="livemin"
)


@dataclass
class Store:
    """`ping` raises where it does not answer. `meanwhile` says what is weaker while it does not."""

    name: str
    ping: Callable[[], Awaitable[object]]
    meanwhile: str
    is_there: Callable[[], bool] = lambda: True  # whether this gateway has one, asked when LiteLLM has started
    away_since: float | None = None  # by the wall clock

    @property
    def away(self) -> bool:
        return self.away_since is not None

    def lost(self, why: BaseException) -> None:
        """Whoever has seen that it does not answer may say so."""
        if self.away_since is None:
            self.away_since = time.time()
            reason = " ".join(str(why).split())[:200] or type(why).__name__
            log.warning("%s does not answer (%s). Meanwhile %s.", self.name, reason, self.meanwhile)
        UP.labels(self.name).set(0)

    def answered(self) -> None:
        if self.away_since is not None:
            log.warning("%s answers again, after %.0f s", self.name, time.time() - self.away_since)
            self.away_since = None
        UP.labels(self.name).set(1)

    def told(self) -> dict[str, Any]:
        since = datetime.fromtimestamp(self.away_since or time.time(), timezone.utc)
        return {"store": self.name, "since": since.isoformat(timespec="seconds"), "meanwhile": self.meanwhile}


class Stores:
    """ASGI middleware: watches the stores from LiteLLM's start to its end."""

    def __init__(self, app: ASGIApp, stores: Sequence[Store]) -> None:
        self.app = app
        self._stores = stores

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        watching: list[asyncio.Task[None]] = []

        async def watch_from_now(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                watching.extend(asyncio.create_task(_watch(store)) for store in self._stores if store.is_there())
            await send(message)

        try:
            await self.app(scope, receive, watch_from_now)
        finally:
            for task in watching:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def away(self) -> list[dict[str, Any]]:
        return [store.told() for store in self._stores if store.away]


async def answers(store: Store) -> bool:
    """Asks it now."""
    try:
        await asyncio.wait_for(store.ping(), PATIENCE_SECONDS)
    except Exception as error:  # whatever it is, it is no answer
        store.lost(error)
        return False
    store.answered()
    return True


async def _watch(store: Store) -> None:
    while True:
        await answers(store)
        await asyncio.sleep(EVERY_SECONDS)

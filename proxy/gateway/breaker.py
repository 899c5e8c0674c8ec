"""Which deployments are down, as the attempts at them tell, so that requests need not wait for what cannot come.

Knows nothing of LiteLLM: breaker_hooks.py tells it of each attempt, asks it before the next one, and has a deployment
that is down probed. Each scope of the providers' double has breakers of its own, for each has providers of its own.
Used from one event loop; each worker process learns for itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.catalog import Catalog

log = logging.getLogger("proxy.gateway")

NOT_ASKED = "is not asked, for its provider is down; come back in {seconds} s"
"""What clients read, after the model's name."""
MOST_KEPT = 10_000
"""Deployments whose last attempts failed, over all scopes; beyond it the oldest is forgotten."""
PROBES_AT_ONCE = 8
SLACK = 0.95
"""Of the time that a request's retries take: timers are not exact."""


class Key(NamedTuple):
    """A deployment, by its id, as a scope of the double meets it; the scope is "" where there is no double."""

    scope: str
    deployment: str


@dataclass(frozen=True)
class Threshold:
    """A deployment counts as down when `failures` attempts in a row have failed, over `seconds` at least."""

    failures: int
    seconds: float


def threshold(catalog: Catalog) -> Threshold:
    """So many attempts as `failed_requests` make, and never less time than one request's retries take: what passes
    sooner is theirs to wait out, however many requests meet it at once."""
    limits = catalog.limits
    failures = catalog.breaker.failed_requests * (limits.retries + 1)
    return Threshold(failures, limits.retries * limits.retry_delay_seconds * SLACK)


@dataclass(eq=False)
class Run:
    """Failures with no success between them. `began` is when the first was met, `opened` when they were enough."""

    began: float
    failures: int = 0
    opened: float | None = None
    probes: set[asyncio.Task[None]] = field(default_factory=set)


class Breakers:
    """`probe(key)` asks a deployment something small: whether it is up. `name(key)` is what the log calls it.
    `on_change(key, opened)` is told of each breaker that opens or closes."""

    def __init__(
        self,
        threshold: Threshold,
        *,
        probe: Callable[[Key], Awaitable[bool]],
        probe_seconds: float,
        name: Callable[[Key], str] = str,
        on_change: Callable[[Key, bool], None] = lambda _key, _opened: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._probe = probe
        self._probe_seconds = probe_seconds
        self._name = name
        self._on_change = on_change
        self._clock = clock
        self._runs: dict[Key, Run] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._gate: asyncio.Semaphore | None = None

    @property
    def retry_after(self) -> int:
        """Seconds in which to come back to what is down: by then it has been probed again."""
        return math.ceil(self._probe_seconds)

    def is_open(self, key: Key) -> bool:
        run = self._runs.get(key)
        return run is not None and run.opened is not None

    def open(self) -> list[tuple[Key, float]]:
        """What is down, and for how many seconds."""
        now = self._clock()
        return [(key, now - run.opened) for key, run in self._runs.items() if run.opened is not None]

    def failed(self, key: Key, cause: str, attempts: int = 1, since: float | None = None) -> None:
        """An attempt failed; or one took, `since` then, what so many attempts would have. `cause` is for the log."""
        now = self._clock()
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = Run(now if since is None else since)
            if len(self._runs) > MOST_KEPT:
                self._close(next(iter(self._runs)), "is forgotten")
        run.failures += attempts
        if run.opened is None and self._is_enough(run, now):
            run.opened = now
            log.warning(
                "breaker: %s is down: %d attempts in a row failed in %.0f s, the last by %s; probed every %g s",
                *(self._name(key), run.failures, now - run.began, cause, self._probe_seconds),
            )
            self._on_change(key, True)
            self._watch(key, run)

    def _is_enough(self, run: Run, now: float) -> bool:
        return run.failures >= self._threshold.failures and now - run.began >= self._threshold.seconds

    def succeeded(self, key: Key, began: float) -> None:
        """An attempt that began at `began`, on this clock, was answered. One from before the first failure tells
        nothing."""
        run = self._runs.get(key)
        if run is not None and began >= run.began:
            self._close(key, "has answered a request")

    def forget(self, scope: str) -> None:
        """Has everything in a scope count as up."""
        for key in [key for key in self._runs if key.scope == scope]:
            self._close(key, "is forgotten")

    def now(self) -> float:
        """The time on the clock that attempts are measured by."""
        return self._clock()

    def _close(self, key: Key, why: str) -> None:
        run = self._runs.pop(key)
        if run.opened is not None:
            log.warning("breaker: %s %s after %.0f s", self._name(key), why, self._clock() - run.opened)
            self._on_change(key, False)

    # -- asking again ------------------------------------------------------------------------------------

    def _watch(self, key: Key, run: Run) -> None:
        # Not in the context of the request that happened to be the last: that one is over, a probe is none of its.
        watch = contextvars.Context().run(asyncio.ensure_future, self._watching(key, run))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _watching(self, key: Key, run: Run) -> None:
        """Probes at once, for it may have been the requests and not the provider; then again and again, without waiting
        for the last one: in an outage some hang, and what has recovered meanwhile would be noticed late."""
        while self._runs.get(key) is run:
            task = asyncio.ensure_future(self._probe_once(key, run))
            run.probes.add(task)
            task.add_done_callback(run.probes.discard)
            await asyncio.sleep(self._probe_seconds)
        for task in run.probes:
            task.cancel()

    async def _probe_once(self, key: Key, run: Run) -> None:
        if self._gate is None:
            self._gate = asyncio.Semaphore(PROBES_AT_ONCE)
        async with self._gate:
            try:
                is_up = await self._probe(key)
            except Exception:
                log.exception("breaker: the probe of %s broke", self._name(key))
                return
        if is_up and self._runs.get(key) is run:
            self._close(key, "is back")

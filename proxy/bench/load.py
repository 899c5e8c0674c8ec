"""One load: so many connections, each asking again as soon as it has its answer, until the time is over."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from proxy.bench.deployment import tls_of
from proxy.checks import Target

WAIT = 60.0  # seconds for one answer
NO_ANSWER = "no answer"  # stands where a status would


@dataclass(frozen=True)
class Load:
    """What is asked. `seconds` bounds it: what is then under way is given up and not counted."""

    path: str
    key: str = field(repr=False)
    models: Sequence[str]
    seconds: float
    connections: int
    stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Loaded:
    """What came of it: answers by status, and the milliseconds each good one took."""

    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.statuses["200"] / self.seconds if self.seconds else 0.0

    def percentile(self, percent: int) -> float | None:
        """Of the good answers, in milliseconds; None where there are too few to say."""
        if len(self.milliseconds) < 2:
            return None
        return statistics.quantiles(self.milliseconds, n=100, method="inclusive")[percent - 1]


async def run_load(target: Target, load: Load, say: Callable[[str], None]) -> Loaded:
    """Runs it, telling once a second how far it is. An answer that fails is counted, not raised."""
    found = Loaded()
    url, options = _where(target, load.path)
    bodies = itertools.cycle(_body(model, load.stream) for model in load.models)
    connector = aiohttp.TCPConnector(limit=load.connections)
    wait = aiohttp.ClientTimeout(total=WAIT)
    headers = {"Authorization": f"Bearer {load.key}", **load.headers, **options.pop("headers", {})}
    async with aiohttp.ClientSession(connector=connector, timeout=wait, headers=headers) as session:
        began = time.monotonic()
        asking = [asyncio.create_task(_ask_on(session, url, options, bodies, found)) for _ in range(load.connections)]
        try:
            while (left := began + load.seconds - time.monotonic()) > 0:
                await asyncio.wait(asking, timeout=min(1.0, left))
                so_far = sum(found.statuses.values())
                say(f"{so_far} requests, {max(0, began + load.seconds - time.monotonic()):.0f} s left")
        finally:
            found.seconds = time.monotonic() - began
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
    return found


async def _ask_on(
    session: aiohttp.ClientSession, url: URL, options: Mapping[str, Any], bodies: Any, found: Loaded
) -> None:
    while True:
        began = time.monotonic()
        try:
            async with session.post(url, json=next(bodies), **options) as answer:
                await answer.read()
                status = str(answer.status)
        except (aiohttp.ClientError, asyncio.TimeoutError):
            status = NO_ANSWER
            await asyncio.sleep(0.05)  # refused at once: not a busy loop
        found.statuses[status] += 1
        if status == "200":
            found.milliseconds.append((time.monotonic() - began) * 1000)


def _body(model: str, stream: bool) -> dict[str, Any]:
    question = [{"role": "user", "content": "How much does this machine hold?"}]
    return {"model": model, "messages": question, "max_tokens": 16, "stream": stream}


def _where(target: Target, path: str) -> tuple[URL, dict[str, Any]]:
    """The address to connect to, and what makes the deployment known there by its name."""
    url = URL(target.url + path)
    options: dict[str, Any] = {"ssl": tls_of(target)} if url.scheme == "https" else {}
    if target.address is None:
        return url, options
    options["headers"] = {"Host": url.authority}
    if url.scheme == "https":
        options["server_hostname"] = url.host
    return url.with_host(target.address), options

"""Does the gateway hold, for long? No request fails that was not meant to, memory stays, and every cent is counted.

    .venv/bin/python scripts/bench/soak.py [--minutes N] [--share F] [--json FILE]

Brings a stack of its own up (double mode, no limit of requests per minute), measures how many requests a second it
serves, and then asks for a share of that: streaming and plain, three providers, several virtual keys; one request in
fifty meets a scripted fault, in a scope of its own. At the end the spend in Postgres, in the log and of the keys, has
to be what the replies cost: by their header, streams by their usage and the prices of proxy.yaml. Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from ending import in_order
from footprint import memory
from gateway import Stack, a_stack
from rounds import family

from proxy.catalog import load_catalog

MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4", "gemini-2.0-flash")
KEYS = 6
AT_ONCE = 16
ONE_FAULT_IN = 50
FAULTS = {"claude-sonnet-4": 400, "gpt-4o": 401}
"""In the scope of faults, what these models' provider answers; the second has a fallback, which answers then."""
CALIBRATION_SECONDS = 10
SAMPLE_SECONDS = 5.0
WARM_UP = 0.25
"""Share of the time after which memory is looked at."""
WRITTEN_WITHIN = 60.0
CENT = Decimal("0.01")


@dataclass
class Tally:
    """What came back: how often what, and what it cost in US dollars, by key."""

    counts: Counter[str] = field(default_factory=Counter)
    cost: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    failures: list[str] = field(default_factory=list)
    replies: int = 0


@dataclass(frozen=True)
class Asked:
    """One request."""

    key: str
    model: str
    stream: bool
    faulty: bool
    text: str

    @property
    def expected(self) -> int:
        return 400 if self.faulty and FAULTS[self.model] == 400 else 200


def main() -> int:
    parser = argparse.ArgumentParser(description="The gateway under load for long.")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--share", type=float, default=0.6, help="of the requests a second it can serve")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, a_stack(Path(folder)) as stack:
        figures = asyncio.run(soak(stack, given.minutes * 60, given.share))
    show(figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1, default=str), encoding="utf-8")
    return 0 if figures["passed"] else 1


async def soak(stack: Stack, seconds: float, share: float) -> dict[str, Any]:
    tally, chance = Tally(), random.Random(1)  # noqa: S311 - the same requests each time
    limits = httpx.Limits(max_connections=4 * AT_ONCE)
    async with httpx.AsyncClient(base_url=stack.url, limits=limits, timeout=60, trust_env=False) as client:
        master = {"Authorization": f"Bearer {stack.environment['LITELLM_MASTER_KEY']}"}
        keys = []
        for _ in range(KEYS):
            made = await client.post("/key/generate", json={}, headers=master)
            keys.append(made.raise_for_status().json()["key"])
        rules = {"rules": [{"when": {"model": model}, "fault": status} for model, status in FAULTS.items()]}
        faults = {**master, "x-double-scope": "soak-faults"}
        (await client.put("/_double/script", json=rules, headers=faults)).raise_for_status()
        await ask_for(client, tally, keys, chance, seconds=2, rate=None)
        capacity = await ask_for(client, tally, keys, chance, seconds=CALIBRATION_SECONDS, rate=None)
        sampling = asyncio.create_task(sample(stack.pid))
        served = await ask_for(client, tally, keys, chance, seconds=seconds, rate=capacity * share)
        sampling.cancel()
        memory = (await asyncio.gather(sampling, return_exceptions=True))[0]
        if isinstance(memory, psutil.NoSuchProcess):
            raise RuntimeError(f"the gateway ended under load. Its log:\n{stack.log('gateway')}")
        spend = await written(stack, keys, tally)
    cost = sum(tally.cost.values(), Decimal(0))
    right = all(abs(one - cost) < CENT / 2 for one in (spend["log"], spend["keys"]))
    return {
        "capacity_per_second": capacity,
        "served_per_second": served,
        "seconds": seconds,
        "requests": dict(tally.counts),
        "unscripted_failures": len(tally.failures),
        "first_failures": tally.failures[:10],
        "replies": tally.replies,
        "cost": cost,
        "spend": spend,
        "memory": memory,
        "passed": not tally.failures and right and spend["rows"] == tally.replies,
    }


async def ask_for(
    client: httpx.AsyncClient,
    tally: Tally,
    keys: Sequence[str],
    chance: random.Random,
    *,
    seconds: float,
    rate: float | None,
) -> float:
    """Asks for so long, at a rate per second or as fast as AT_ONCE can; requests a second that were served."""
    began, number, free = time.monotonic(), 0, asyncio.Semaphore(AT_ONCE if rate is None else 4 * AT_ONCE)
    running: set[asyncio.Task[None]] = set()
    while time.monotonic() - began < seconds:
        if rate is not None:
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        await free.acquire()
        task = asyncio.create_task(one(client, tally, next_request(chance, keys, number)))
        task.add_done_callback(lambda _: free.release())
        running.add(task)
        task.add_done_callback(running.discard)
        number += 1
    await asyncio.gather(*running)
    return number / (time.monotonic() - began)


def next_request(chance: random.Random, keys: Sequence[str], number: int) -> Asked:
    faulty = number % ONE_FAULT_IN == ONE_FAULT_IN - 1
    model = chance.choice(list(FAULTS) if faulty else MODELS)
    stream = not faulty and chance.random() < 0.5
    return Asked(chance.choice(keys), model, stream, faulty, f"{number} words " * chance.randint(1, 60))


async def one(client: httpx.AsyncClient, tally: Tally, asked: Asked) -> None:
    """Sends a request and adds what came to the tally; what should not have come is told in it, too."""
    headers = {"Authorization": f"Bearer {asked.key}"} | ({"x-double-scope": "soak-faults"} if asked.faulty else {})
    body: dict[str, Any] = {"model": asked.model, "messages": [{"role": "user", "content": asked.text}]}
    if asked.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    tally.counts["faulty" if asked.faulty else "streaming" if asked.stream else "plain"] += 1
    try:
        answer = await client.post("/v1/chat/completions", json=body, headers=headers)
        if answer.status_code != asked.expected:
            raise ValueError(f"{answer.status_code} {answer.text[:200]}")
        if answer.status_code == 200:
            tally.cost[asked.key] += streamed_cost(asked, answer.text) if asked.stream else plain_cost(answer)
            tally.replies += 1
    except (httpx.HTTPError, ValueError, KeyError) as error:
        tally.failures.append(f"{asked.model}, {'stream' if asked.stream else 'plain'}: {error!r}")


def plain_cost(answer: httpx.Response) -> Decimal:
    return Decimal(answer.headers["x-litellm-response-cost"])


def streamed_cost(asked: Asked, text: str) -> Decimal:
    """Of a whole stream; ValueError for one that was cut."""
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        raise ValueError(f"a stream that ends with {text[-200:]!r}")
    usage = next(found for event in reversed(events[:-1]) if (found := json.loads(event).get("usage")))
    price = prices()[asked.model]
    return (usage["prompt_tokens"] * price[0] + usage["completion_tokens"] * price[1]) / 1000


@lru_cache
def prices() -> dict[str, tuple[Decimal, Decimal]]:
    """US dollars per 1,000 tokens in and out, by model."""
    listed = {alias: model.price_per_1k for alias, model in load_catalog().models.items()}
    return {alias: (Decimal(str(one.input)), Decimal(str(one.output))) for alias, one in listed.items()}


async def sample(pid: int) -> dict[str, Any]:
    """Until cancelled: memory of the gateway and its engine; then how it was and grew, in MB (PSS) and MB an hour."""
    seen: dict[str, list[tuple[float, float]]] = {"gateway": [], "engine": []}
    began = time.monotonic()
    try:
        while True:
            gateway, *engine = family(pid)
            at = (time.monotonic() - began) / 3600
            seen["gateway"].append((at, memory([gateway])))
            seen["engine"].append((at, memory(engine)))
            await asyncio.sleep(SAMPLE_SECONDS)
    except asyncio.CancelledError:
        return {name: grown(samples) for name, samples in seen.items()}


def grown(samples: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The slope by least squares of what came after the warm-up."""
    steady = [one for one in samples if one[0] >= samples[-1][0] * WARM_UP]
    at, size = (sum(one[index] for one in steady) / len(steady) for index in (0, 1))
    spread = sum((one[0] - at) ** 2 for one in steady)
    slope = sum((one[0] - at) * (one[1] - size) for one in steady) / spread if spread else 0.0
    return {"first": samples[0][1], "steady": steady[0][1], "last": samples[-1][1], "mb_per_hour": slope}


async def written(stack: Stack, keys: Sequence[str], tally: Tally) -> dict[str, Any]:
    """What Postgres has of the keys, once it has all or no more comes: rows, and US dollars in the log and by key."""
    hashes = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    log = 'SELECT count(*), coalesce(sum(spend), 0) FROM "LiteLLM_SpendLogs" WHERE api_key = ANY(%s) AND spend > 0'
    by_key = 'SELECT coalesce(sum(spend), 0) FROM "LiteLLM_VerificationToken" WHERE token = ANY(%s)'
    cost, deadline = sum(tally.cost.values(), Decimal(0)), time.monotonic() + WRITTEN_WITHIN
    with psycopg.connect(stack.environment["DATABASE_URL"].partition("?")[0], autocommit=True) as database:
        while True:
            rows, spent = database.execute(log, (hashes,)).fetchone() or (0, 0)
            (of_keys,) = database.execute(by_key, (hashes,)).fetchone() or (0,)
            found = {"rows": rows, "log": Decimal(str(spent)), "keys": Decimal(str(of_keys))}
            complete = rows >= tally.replies and abs(found["keys"] - cost) < CENT / 2
            if complete or time.monotonic() > deadline:
                return found
            await asyncio.sleep(1)


def show(figures: dict[str, Any]) -> None:
    spend = figures["spend"]
    print(f"{'passed' if figures['passed'] else 'FAILED'}, {figures['seconds'] / 60:.1f} minutes")
    print(f"  capacity, asked for      {figures['capacity_per_second']:.0f}/s, {figures['served_per_second']:.0f}/s")
    print(f"  requests                 {', '.join(f'{n} {what}' for what, n in sorted(figures['requests'].items()))}")
    print(f"  failed, not scripted     {figures['unscripted_failures']}")
    for failure in figures["first_failures"]:
        print(f"    {failure}")
    print(f"  replies, rows of spend   {figures['replies']}, {spend['rows']}")
    print(f"  cost of the replies      {figures['cost']:.6f} USD")
    print(f"  in the log, of the keys  {spend['log']:.6f}, {spend['keys']:.6f} USD")
    for name, size in figures["memory"].items():
        print(
            f"  {name:<25}{size['first']:.0f} MB, warm {size['steady']:.0f}, at the end {size['last']:.0f}; "
            f"{size['mb_per_hour']:+.1f} MB an hour"
        )


if __name__ == "__main__":
    sys.exit(in_order(main))

"""What /metrics weighs and costs, before and after requests that nobody here knows.

    .venv/bin/python scripts/bench/scrape.py [--requests N]

Brings a stack of its own up, has it answer some requests of each model, and scrapes it. Then it is sent requests that
each have another key, model, user agent, address and user, all made up, and is scraped again. A scrape's time is
the median of some, its CPU their mean. Exit code 1 where the size differs by more than the digits of its numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from ending import in_order
from gateway import Stack, a_stack
from rounds import cpu_seconds

from proxy.catalog import load_catalog

AT_ONCE = 16
SCRAPES = 21
DIGITS = 0.02
"""Share by which the size may grow: counters have more digits then."""


@dataclass(frozen=True)
class Scrape:
    """Bytes and samples of the reply; milliseconds it took, and of CPU in the gateway."""

    size: int
    samples: int
    took: float
    cpu: float


def main() -> int:
    parser = argparse.ArgumentParser(description="What /metrics weighs and costs.")
    parser.add_argument("--requests", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, a_stack(Path(folder)) as stack:
        before, after = asyncio.run(measure(stack, given.requests))
    show(before, after, given.requests)
    return 0 if keeps_its_size(before, after) else 1


def show(before: Scrape, after: Scrape, number: int) -> None:
    print(f"{'':<28}{'bytes':>9}{'samples':>9}{'ms':>8}{'CPU ms':>8}")
    for name, one in (("before", before), (f"after {number} made-up keys", after)):
        print(f"{name:<28}{one.size:>9}{one.samples:>9}{one.took:>8.1f}{one.cpu:>8.1f}")
    if not keeps_its_size(before, after):
        print(f"grew by {after.size / before.size - 1:.1%}")


def keeps_its_size(before: Scrape, after: Scrape) -> bool:
    return after.size <= before.size * (1 + DIGITS)


async def measure(stack: Stack, number: int) -> tuple[Scrape, Scrape]:
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=stack.url, limits=limits, timeout=60, trust_env=False) as client:
        for model in load_catalog().models:
            (await post(client, stack.key, model)).raise_for_status()
        await made_up(client, 0)  # its kind of refusal is told once
        before = await scrapes(client, stack)
        numbers = iter(range(1, number + 1))

        async def send() -> None:
            for one in numbers:
                if (status := (await made_up(client, one)).status_code) != 401:
                    raise RuntimeError(f"a made-up key was answered {status}")

        await asyncio.gather(*(send() for _ in range(AT_ONCE)))
        return before, await scrapes(client, stack)


async def post(client: httpx.AsyncClient, key: str, model: str, **headers: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "user": headers.get("user-agent", "me")}
    return await client.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}", **headers})


async def made_up(client: httpx.AsyncClient, number: int) -> httpx.Response:
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return await post(
        client, f"sk-made-up-{number}", f"model-{number}", **{"user-agent": f"a/{number}", "x-forwarded-for": address}
    )


async def scrapes(client: httpx.AsyncClient, stack: Stack) -> Scrape:
    """Once the counters stand still: LiteLLM counts behind its replies."""
    headers = {"Authorization": f"Bearer {stack.environment['LITELLM_MASTER_KEY']}"}

    async def scrape() -> httpx.Response:
        return (await client.get("/metrics", headers=headers)).raise_for_status()

    counted, found = "", []
    while counted != (counted := requests_of((await scrape()).text)):  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.5)
    for _ in range(SCRAPES):
        cpu, began = cpu_seconds([stack.pid]), time.perf_counter()
        answer = await scrape()
        took = time.perf_counter() - began
        lines = answer.text.splitlines()
        samples = sum(not line.startswith("#") for line in lines)
        found.append(Scrape(len(answer.content), samples, took * 1000, (cpu_seconds([stack.pid]) - cpu) * 1000))
    return Scrape(
        found[-1].size,
        found[-1].samples,
        statistics.median(one.took for one in found),
        statistics.mean(one.cpu for one in found),
    )


def requests_of(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith("litellm_proxy_"))


if __name__ == "__main__":
    sys.exit(in_order(main))

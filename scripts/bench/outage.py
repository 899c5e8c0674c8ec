"""What an outage costs: answers of a dead model's fallback beside the same fallback asked by itself.

    eval "$(litellm-local env)"
    .venv/bin/python scripts/bench/outage.py [--requests N] [--rounds N] [--json FILE]

Against the stack in the environment, in double mode, in a scope of its own. One request after the other, in rounds that
take turns, so that a slow moment of the machine meets both. Also tells how long the first requests took, how often the
dead models were asked after that, and how many seconds it took until what was up again was asked again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from ending import in_order

CHAINS = {"gpt-4o": ["gpt-4o-mini"], "gpt-5-mini": ["gpt-4o", "claude-opus-4.1", "gemini-2.5-pro"]}
"""Dead models, and who is asked for them: all but the last are dead too."""
PATIENCE = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(description="An outage's answers beside those of the fallback itself.")
    parser.add_argument("--requests", type=int, default=40, help="in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    try:
        url, key = os.environ["LITELLM_PROXY_URL"], os.environ["LITELLM_MASTER_KEY"]
    except KeyError as missing:
        raise RuntimeError(f'{missing} is not set; eval "$(litellm-local env)"') from None
    found = {}
    for model, chain in CHAINS.items():
        headers = {"Authorization": f"Bearer {key}", "x-double-scope": f"bench-{uuid.uuid4().hex}"}
        with httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False) as client:
            found[model] = measure(client, model, chain, given.requests, given.rounds)
            show(model, chain, found[model])
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


def measure(client: httpx.Client, model: str, chain: list[str], requests: int, rounds: int) -> dict[str, Any]:
    dead, answers = [model, *chain[:-1]], chain[-1]
    for one in (model, *chain):  # what is loaded with a first request is not to be timed
        seconds_of(client, one)
    rule = {"rules": [{"when": {"model": dead}, "fault": 503}]}
    added = client.post("/_double/rules", json=rule).raise_for_status().json()["ids"][0]
    with ThreadPoolExecutor() as threads:
        first = list(threads.map(lambda _: seconds_of(client, model), range(2)))
    before = asked(client, dead)
    healthy: list[float] = []
    outage: list[float] = []
    for _ in range(rounds):
        healthy += [seconds_of(client, answers) for _ in range(requests)]
        outage += [seconds_of(client, model) for _ in range(requests)]
    upstream = asked(client, dead) - before
    client.delete(f"/_double/rules/{added}").raise_for_status()
    began = time.monotonic()
    while asked(client, [model]) == 0 or asked(client, dead) == before + upstream:
        seconds_of(client, model)
        if time.monotonic() - began > PATIENCE:
            raise RuntimeError(f"{model} is not asked again")
        time.sleep(0.1)
    return {
        "first_seconds": first,
        "healthy_ms": figures(healthy),
        "outage_ms": figures(outage),
        "calls_of_dead_models": upstream,
        "back_after_seconds": time.monotonic() - began,
    }


def seconds_of(client: httpx.Client, model: str) -> float:
    began = time.perf_counter()
    body = {"model": model, "messages": [{"role": "user", "content": "How much does an outage cost?"}]}
    client.post("/v1/chat/completions", json=body).raise_for_status()
    return time.perf_counter() - began


def asked(client: httpx.Client, models: list[str]) -> int:
    """How often these models were asked in the scope."""
    found = client.get("/_double/journal").raise_for_status().json()["entries"]
    return sum(entry["alias"] in models for entry in found)


def figures(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(one * 1000 for one in seconds)
    return {"p50": statistics.median(ordered), "p99": ordered[int(len(ordered) * 0.99)], "count": len(ordered)}


def show(model: str, chain: list[str], one: dict[str, Any]) -> None:
    healthy, outage = one["healthy_ms"], one["outage_ms"]
    print(f"{' → '.join([model, *chain])}, all but the last dead")
    print(f"  first requests           {', '.join(f'{seconds:.1f} s' for seconds in one['first_seconds'])}")
    print(f"  {chain[-1] + ' itself':<25}p50 {healthy['p50']:.1f} ms  p99 {healthy['p99']:.1f} ms")
    print(f"  in the outage            p50 {outage['p50']:.1f} ms  p99 {outage['p99']:.1f} ms")
    print(f"  over                     p50 {outage['p50'] - healthy['p50']:.1f} ms")
    print(f"  calls of dead models     {one['calls_of_dead_models']} in {outage['count']} requests")
    print(f"  back after               {one['back_after_seconds']:.1f} s")


if __name__ == "__main__":
    sys.exit(in_order(main))

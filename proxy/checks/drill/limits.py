"""What happens at the limits of proxy.yaml: requests a minute, and seconds for a whole request.

At a gateway whose limits are scaled down, as the real ones are too wide to wait for; the report says so.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from proxy.catalog import Catalog
from proxy.checks.drill.cases import reply_text
from proxy.checks.drill.report import Outcome
from proxy.checks.drill.run import Deployment, replies
from proxy.checks.target import short

REQUESTS = 10
OVER = 3
SECONDS = 3.0
SLACK_SECONDS = 10.0  # on a busy machine


def scaled(catalog: Catalog) -> Catalog:
    """The catalogue with limits that a drill can reach."""
    limits = catalog.limits.model_copy(update={"requests_per_minute": REQUESTS, "request_timeout_seconds": SECONDS})
    return catalog.model_copy(update={"limits": limits})


def said(catalog: Catalog) -> str:
    """In words, what was scaled."""
    limits = catalog.limits
    return (
        f"limits, scaled down for the drill: {REQUESTS} requests a minute instead of {limits.requests_per_minute}, "
        f"{SECONDS:g} s for a whole request instead of {limits.request_timeout_seconds:g} s"
    )


async def run_limits(
    deployment: Deployment, models: list[str], on_outcome: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Tries the limits of `deployment`, which serves a catalogue that `scaled` made, with each of `models`."""
    found: list[Outcome] = []

    async def note(outcome: Awaitable[Outcome]) -> None:
        found.append(await outcome)
        on_outcome(found[-1])

    slow = [(model, *one) for model in models for one in SLOW]
    await asyncio.gather(*(note(_whole_request(deployment, *one)) for one in slow))
    for models_at_once in _disjoint(deployment.catalog, models):
        await _a_fresh_minute()
        await asyncio.gather(*(note(_requests_a_minute(deployment, model)) for model in models_at_once))
    return found


def _disjoint(catalog: Catalog, models: list[str]) -> list[list[str]]:
    """The models in groups of which none uses up another's minute, by itself or as its fallback."""
    groups: list[tuple[set[str], list[str]]] = []
    for model in models:
        touched = {model, *catalog.fallbacks.get(model, ())[:1]}
        for used, group in groups:
            if not used & touched:
                used |= touched
                group.append(model)
                break
        else:
            groups.append((touched, [model]))
    return [group for _, group in groups]


async def _a_fresh_minute() -> None:
    """LiteLLM counts by the UTC minute, and what was asked before counts in this one."""
    await asyncio.sleep(60.1 - time.time() % 60)


SLOW: tuple[tuple[str, bool, Mapping[str, Any]], ...] = (
    ("whole, never answered", False, {"fault": {"kind": "hang"}}),
    ("stream, never answered", True, {"fault": {"kind": "hang"}}),
    ("stream, dribbling", True, {"reply": {"text": reply_text("x"), "timing": {"tokens_per_second": 2}}}),
)


async def _requests_a_minute(deployment: Deployment, model: str) -> Outcome:
    chain = deployment.catalog.fallbacks.get(model) or ()
    promised = f"exactly {REQUESTS} reach it, then " + (chain[0] if chain else "429 with retry-after")
    began, sent = time.monotonic(), time.time()
    async with deployment.scope(replies(deployment.catalog)) as scope:
        asking = [
            deployment.ask(model, scope, stream=False, patience=SECONDS + SLACK_SECONDS) for _ in range(REQUESTS + OVER)
        ]
        answers = await asyncio.gather(*asking, return_exceptions=True)
        calls = Counter(call.model for call in await deployment.calls(scope, sent))
    asked = ", ".join(f"{name} ×{count}" for name, count in calls.items())
    wrong = _wrong_counts(model, chain, calls, answers)
    statuses = Counter(a.status_code if isinstance(a, httpx.Response) else type(a).__name__ for a in answers)
    answer = ", ".join(f"{count} × {status}" for status, count in statuses.items())
    how = f"{REQUESTS + OVER} at once"
    verdict: Any = "differs" if wrong else "as promised"
    return Outcome(
        model, "request limit", how, verdict, time.monotonic() - began, promised, asked, answer, tuple(wrong)
    )


def _wrong_counts(
    model: str, chain: Any, calls: Counter[str], answers: list[httpx.Response | BaseException]
) -> list[str]:
    wrong = [] if calls[model] == REQUESTS else [f"{calls[model]} requests reached {model}"]
    responses = [answer for answer in answers if isinstance(answer, httpx.Response)]
    wrong += [f"no answer: {type(a).__name__} {a}" for a in answers if isinstance(a, BaseException)][:1]
    if chain:
        if calls[chain[0]] != OVER:
            wrong.append(f"{calls[chain[0]]} went to {chain[0]} instead of {OVER}")
        wrong += [f"an answer of {a.status_code}: {short(a.text)}" for a in responses if a.status_code != 200][:1]
        return wrong
    refused = [answer for answer in responses if answer.status_code == 429]
    if len(refused) != OVER:
        wrong.append(f"{len(refused)} were refused with 429 instead of {OVER}")
    waits = [answer.headers.get("retry-after", "none") for answer in refused]
    wrong += [f"retry-after: {wait}" for wait in waits if not (wait.isdecimal() and 1 <= int(wait) <= 60)][:1]
    return wrong


async def _whole_request(
    deployment: Deployment, model: str, how: str, stream: bool, rule: Mapping[str, Any]
) -> Outcome:
    headers_first = stream and "reply" in rule
    promised = f"{'an error event' if headers_first else '504'} after {SECONDS:g} s"
    began = time.monotonic()
    async with deployment.scope([rule]) as scope:
        try:
            response = await deployment.ask(model, scope, stream=stream, patience=SECONDS + SLACK_SECONDS)
        except httpx.HTTPError as error:
            wrong = [f"no answer: {type(error).__name__} {error}"]
            return Outcome(
                model, "time limit", how, "differs", time.monotonic() - began, promised, differences=tuple(wrong)
            )
    took = time.monotonic() - began
    ended_in_error = '"error"' in response.text and "[DONE]" not in response.text
    right = response.status_code == 200 and ended_in_error if headers_first else response.status_code == 504
    wrong = [] if right else [f"the client got: {response.status_code} {short(response.text)}"]
    if took < SECONDS - 0.1:
        wrong.append(f"after {took:.1f} s")
    answer = f"{response.status_code}{' error event' if headers_first and right else ''} after {took:.1f} s"
    verdict: Any = "differs" if wrong else "as promised"
    return Outcome(model, "time limit", how, verdict, took, promised, "", answer, tuple(wrong))

"""What happens at the limits of proxy.yaml: requests a minute, and seconds for a whole request.

At a gateway whose limits are scaled down, as the real ones are too wide to wait for; the report says so.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from proxy.catalog import Catalog
from proxy.checks.drill.cases import asked_of
from proxy.checks.drill.report import Outcome, Verdict
from proxy.checks.drill.run import Deployment, replies
from proxy.checks.target import short

REQUESTS = 10
OVER = 3
SECONDS = 5.0
SLOW_AT_ONCE = 8
WORDS_PER_SECOND = 5  # of an answer that dribbles
SLACK_SECONDS = 60.0  # on a busy machine, which is not what is tried here
ROOM_SECONDS = 10.0  # of a minute, for the requests that must all fall into it

HANG, DRIBBLE, SLOW_RETRIES, REQUEST_LIMIT = KINDS = ("hang", "dribble", "slow-retries", "request-limit")
"""What is tried here, by the names that faults.py has for all else."""


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
    deployment: Deployment,
    models: Sequence[str],
    on_outcome: Callable[[Outcome], None] = lambda _: None,
    *,
    only: Collection[str] = (),
) -> list[Outcome]:
    """Tries the limits of `deployment`, which serves a catalogue that `scaled` made, with each of `models`; all KINDS
    or those in `only`."""
    async with deployment.scope(replies(deployment.catalog)) as scope:
        for model in deployment.catalog.models:  # what LiteLLM loads with the first request is not to be timed
            await deployment.ask(model, scope, stream=True, patience=SECONDS + SLACK_SECONDS)
    gate = asyncio.Semaphore(SLOW_AT_ONCE)

    async def slow(model: str, one: Slow) -> Outcome:
        async with gate:
            outcome = await _time_limit(deployment, model, one)
        on_outcome(outcome)
        return outcome

    chosen = [one for one in slow_cases(deployment.catalog) if not only or one.kind in only]
    found = list(await asyncio.gather(*(slow(model, one) for model in models for one in chosen)))
    for together in apart(deployment.catalog, models) if not only or REQUEST_LIMIT in only else ():
        await _a_fresh_minute()
        for model in together:
            found.append(await _request_limit(deployment, model))
            on_outcome(found[-1])
    return found


# -- the time limit --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slow:
    """A request that does not end in time: by which rule, and how often its model is asked until then, if all is quick.

    `begun`: whether the client has had some of the answer, which then ends in an error event instead of being 504.
    """

    kind: str
    stream: bool
    rule: Mapping[str, Any]
    asked: int = 1
    begun: bool = False

    @property
    def how(self) -> str:
        return "stream" if self.stream else "whole"


def slow_cases(catalog: Catalog) -> list[Slow]:
    text = "word " * int(3 * SECONDS * WORDS_PER_SECOND)
    dribbling = {"reply": {"text": text, "timing": {"tokens_per_second": WORDS_PER_SECOND}}}
    found = [
        Slow(HANG, False, {"fault": "hang"}),
        Slow(HANG, True, {"fault": "hang"}),
        Slow(DRIBBLE, False, dribbling),
        Slow(DRIBBLE, True, dribbling, begun=True),
    ]
    gap = catalog.limits.retry_delay_seconds
    asked = math.ceil(SECONDS / gap) if gap else 0
    most = REQUESTS - len(found) - 1
    if 1 < asked <= min(catalog.limits.retries, most):  # neither one attempt nor all of them fit in
        found.append(Slow(SLOW_RETRIES, False, {"fault": 503}, asked))
    return found


async def _time_limit(deployment: Deployment, model: str, slow: Slow) -> Outcome:
    promised = f"{'an error event' if slow.begun else '504'} after {SECONDS:g} s, and the upstream call is ended"
    began = time.monotonic()
    async with deployment.scope([slow.rule]) as scope:
        sent = time.time()
        try:
            response = await deployment.ask(model, scope, stream=slow.stream, patience=SECONDS + SLACK_SECONDS)
        except httpx.HTTPError as error:
            why = (f"no answer: {type(error).__name__} {error}",)
            took = time.monotonic() - began
            return Outcome(model, slow.kind, slow.how, "differs", took, promised, differences=why)
        took = time.monotonic() - began
        calls = await deployment.calls(scope, sent, wait_for=min(slow.asked, 2))
    wrong = _wrong_ending(slow, response)
    if took < SECONDS - 0.1:
        wrong.append(f"after {took:.1f} s")
    asked = Counter(call.model for call in calls)
    if set(asked) != {model} or not min(slow.asked, 2) <= asked[model] <= slow.asked:
        wrong.append(f"{model} was to be asked {f'2 to {slow.asked} times' if slow.asked > 1 else 'once'}")
    if not all(call.over for call in calls):
        wrong.append("the upstream call went on")
    answer = f"{response.status_code}{' error event' if slow.begun and not wrong else ''} after {took:.1f} s"
    verdict: Verdict = "differs" if wrong else "as promised"
    return Outcome(model, slow.kind, slow.how, verdict, took, promised, asked_of(calls), answer, tuple(wrong))


def _wrong_ending(slow: Slow, response: httpx.Response) -> list[str]:
    text = response.text
    if slow.begun:
        lines = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
        text = lines[-1] if len(lines) > 1 else text
    try:
        error = json.loads(text)["error"]
        timed_out = error["type"] == "timeout_error" and f"within {SECONDS:g} seconds" in error["message"]
    except (ValueError, LookupError, TypeError):
        timed_out = False
    right = timed_out and response.status_code == (200 if slow.begun else 504)
    return [] if right else [f"the client got: {response.status_code} {short(response.text)}"]


# -- the request limit -----------------------------------------------------------------------------------------


def apart(catalog: Catalog, models: Sequence[str]) -> list[list[str]]:
    """The models in groups, a minute each, of which none uses up another's, by itself or as its fallback."""
    groups: list[tuple[set[str], list[str]]] = []
    for model in sorted(models, key=lambda model: not catalog.fallbacks.get(model)):
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


async def _request_limit(deployment: Deployment, model: str) -> Outcome:
    """Sends what is too much at once; a second time where a slow machine made another thing of the first."""
    if 60 - time.time() % 60 < ROOM_SECONDS:
        await _a_fresh_minute()
    outcome = await _too_many(deployment, model)
    if outcome.verdict == "left out":
        await _a_fresh_minute()
        outcome = await _too_many(deployment, model)
    return outcome


async def _too_many(deployment: Deployment, model: str) -> Outcome:
    chain = deployment.catalog.fallbacks.get(model) or ()
    promised = f"exactly {REQUESTS} reach it, then " + (chain[0] if chain else "429 with retry-after")
    how = f"{REQUESTS + OVER} at once"
    began, sent = time.monotonic(), time.time()
    patience = SECONDS + SLACK_SECONDS
    async with deployment.scope(replies(deployment.catalog)) as scope:
        asking = (deployment.ask(model, scope, stream=False, patience=patience) for _ in range(REQUESTS + OVER))
        answers = await asyncio.gather(*asking, return_exceptions=True)
        into_next = int(sent // 60) != int(time.time() // 60)
        calls = Counter(call.model for call in await deployment.calls(scope, sent))
    took = time.monotonic() - began
    statuses = Counter(a.status_code if isinstance(a, httpx.Response) else type(a).__name__ for a in answers)
    asked = ", ".join(f"{name} ×{count}" for name, count in calls.items())
    answer = ", ".join(f"{count} × {status}" for status, count in statuses.items())

    def outcome(verdict: Verdict, *differences: str) -> Outcome:
        return Outcome(model, REQUEST_LIMIT, how, verdict, took, promised, asked, answer, differences)

    if into_next or statuses[504]:
        why = "and fell into two minutes" if into_next else f"of which some met the limit of {SECONDS:g} s"
        return outcome("left out", f"the machine is too slow for it: the requests took {took:.1f} s, {why}")
    wrong = _wrong_counts(model, chain, calls, answers)
    return outcome("differs", *wrong) if wrong else outcome("as promised")


def _wrong_counts(
    model: str, chain: Sequence[str], calls: Counter[str], answers: Sequence[httpx.Response | BaseException]
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

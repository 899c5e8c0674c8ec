"""What an outage costs: the first requests pay the retries, the next go straight on, and what is back is asked again.

Each in a scope of its own, which has breakers of its own; so do the other cases, none of which makes enough requests to
open one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import httpx

from proxy.catalog import Catalog
from proxy.checks.drill.cases import read_answer
from proxy.checks.drill.report import Outcome
from proxy.checks.drill.run import SLACK_SECONDS, Deployment, replies
from proxy.checks.target import short

KIND = "outage"
NEXT = 3  # requests that must not wait any more
BACK_SECONDS = 10.0
ASK_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Outage:
    """The first `failing` of `models`, a model and its chain, are down."""

    models: tuple[str, ...]
    failing: int
    stream: bool = False

    @property
    def model(self) -> str:
        return self.models[0]

    @property
    def down(self) -> tuple[str, ...]:
        return self.models[: self.failing]

    @property
    def answers(self) -> str | None:
        """Who answers meanwhile; None: nobody."""
        return self.models[self.failing] if self.failing < len(self.models) else None

    @property
    def how(self) -> str:
        shape = "stream" if self.stream else "whole"
        if len(self.models) == 1:
            return f"{shape}, no other model"
        if self.answers is None:
            return f"{shape}, all are down"
        return f"{shape}, the first is down" if self.failing == 1 else f"{shape}, all but the last are down"

    @property
    def name(self) -> str:
        return f"{self.model} {KIND} {self.how}"


def outages(catalog: Catalog, models: Collection[str] = ()) -> Iterator[Outage]:
    """Every outage, or those of the chains that begin with one of `models`; none where the breaker is switched off."""
    if not catalog.breaker.enabled:
        return
    for alias in models or catalog.models:
        chain = (alias, *catalog.fallbacks.get(alias, ()))
        if len(chain) > 1:
            yield Outage(chain, 1)
        if len(chain) > 2:
            yield Outage(chain, len(chain) - 1, stream=True)
        if len(chain) > 1 or catalog.breaker.without_fallback == "refuse":
            yield Outage(chain, len(chain))


def promised(catalog: Catalog, outage: Outage) -> str:
    paying = catalog.breaker.failed_requests
    then = f"answered by {outage.answers}" if outage.answers else "503 with retry-after"
    return (
        f"{paying} requests make all their attempts, then none is made: {then}; asked again within {BACK_SECONDS:g} s "
        "of its return"
    )


async def run_outages(
    deployment: Deployment, chosen: Sequence[Outage], on_outcome: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Plays them all at once; what differs a second time by itself, for a busy machine is late with everything."""

    async def first(outage: Outage) -> Outcome:
        outcome = await _play(deployment, outage)
        on_outcome(outcome)
        return outcome

    outcomes = await asyncio.gather(*(first(outage) for outage in chosen))
    return [
        await _play(deployment, outage) if outcome.differs else outcome
        for outage, outcome in zip(chosen, outcomes, strict=True)
    ]


async def _play(deployment: Deployment, outage: Outage) -> Outcome:
    catalog, began = deployment.catalog, time.monotonic()
    async with deployment.scope(replies(catalog)) as scope:
        scene = _Scene(deployment, outage, scope)
        try:
            await scene.play()
        except httpx.HTTPError as error:
            scene.wrong.append(f"no answer: {type(error).__name__} {error}")
        calls = await scene.calls()
    asked = ", ".join(f"{model} ×{count}" for model, count in calls.items())
    return Outcome(
        *(outage.model, KIND, outage.how, "differs" if scene.wrong else "as promised"),
        seconds=time.monotonic() - began,
        promised=promised(catalog, outage),
        asked=asked,
        answer=scene.back,
        differences=tuple(scene.wrong),
    )


class _Scene:
    """An outage as it is played: `wrong` is what was otherwise than promised, `back` when the model was there again."""

    def __init__(self, deployment: Deployment, outage: Outage, scope: str) -> None:
        self.wrong: list[str] = []
        self.back = ""
        self._deployment = deployment
        self._outage = outage
        self._scope = scope
        self._sent = time.time()
        limits = deployment.catalog.limits
        self._attempts = limits.retries + 1
        per_model = self._attempts * limits.retry_delay_seconds
        self._patience = per_model * len(outage.models) + SLACK_SECONDS

    async def play(self) -> None:
        down = list(self._outage.down)
        fails = {"name": KIND, "when": {"model": down}, "fault": {"kind": "status", "status": 503}}
        added = await self._deployment.control(
            "POST", "/_double/rules", self._scope, json=fails, params={"first": "true"}
        )
        paying = self._deployment.catalog.breaker.failed_requests
        self._judge("while it paid", await asyncio.gather(*(self._ask() for _ in range(paying))), known=False)
        paid = await self.calls()
        for model in down:
            if paid[model] != paying * self._attempts:
                self.wrong.append(f"{model} was asked {paid[model]} times by the first {paying} requests")
        self._judge("after that", [await self._ask() for _ in range(NEXT)], known=True)
        asked = await self.calls()
        for model in down:
            if asked[model] != paid[model]:
                self.wrong.append(f"{model} was asked {asked[model] - paid[model]} times more by the next {NEXT}")
        await self._deployment.control("DELETE", f"/_double/rules/{added['ids'][0]}", self._scope)
        await self._return(time.monotonic())

    async def _return(self, began: float) -> None:
        """Asks until the model answers itself; no request must fail meanwhile, where there is another model."""
        while True:
            response = await self._ask()
            took = time.monotonic() - began
            if read_answer(response.status_code, response.text, self._outage.stream).by == self._outage.model:
                break
            # What was down with it comes back by itself, one sooner, one later.
            self._judge("until it was back", [response], known=True, by_any=True)
            if took > BACK_SECONDS + SLACK_SECONDS or self.wrong:
                break
            await asyncio.sleep(ASK_EVERY_SECONDS)
        self.back = f"back after {took:.1f} s"
        if took > BACK_SECONDS:
            self.wrong.append(f"{self._outage.model} was not asked again within {BACK_SECONDS:g} s, but {self.back}")

    async def _ask(self) -> httpx.Response:
        return await self._deployment.ask(
            self._outage.model, self._scope, stream=self._outage.stream, patience=self._patience
        )

    async def calls(self) -> Counter[str]:
        return Counter(call.model for call in await self._deployment.calls(self._scope, self._sent))

    def _judge(self, when: str, responses: Sequence[httpx.Response], *, known: bool, by_any: bool = False) -> None:
        """`known`: whether the breaker knows of the outage. `by_any`: whoever of the chain answers will do."""
        for response in responses:
            answer = read_answer(response.status_code, response.text, self._outage.stream)
            if self._outage.answers is None and not answer.by:
                told = not known or response.headers.get("retry-after", "").isdecimal()
                fits = answer.status is not None and 500 <= answer.status < 600 and told
                fits = fits and (not known or answer.status == 503)
            else:
                fits = answer.by in self._outage.models if by_any else answer.by == self._outage.answers
            if not fits:
                said = f", {short(response.text)}" if response.is_error else ""
                self.wrong.append(f"{when} the client got: {answer}{said}")
                return

"""Runs cases against a double: each in a scope of its own, many at once, since they mostly wait.

The scopes are scripted and read through the double's control API, the gateway's or (where it is known) the
simulator's own, which spares the gateway the work.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from proxy.catalog import Catalog
from proxy.checks.drill.cases import (
    Call,
    Case,
    Expected,
    Observed,
    Pause,
    as_known,
    as_promised,
    asked_of,
    differences,
    pauses,
    read_answer,
    reply_text,
    soonest,
)
from proxy.checks.drill.report import Outcome, Verdict
from proxy.checks.target import Target, short

AT_ONCE = 96
APART_SECONDS = 0.03  # between the starts of two cases
CONTROL_SECONDS = 30.0
SLACK_SECONDS = 60.0  # on top of what a case should take, on a busy machine


class DrillError(Exception):
    """The drill cannot be held. The message says why and what to do."""


class Deployment:
    """The gateway under drill and the control of its double. Use it as a context manager."""

    def __init__(self, target: Target, catalog: Catalog) -> None:
        self.target = target
        self.catalog = catalog
        self._upstreams = {(model.provider, model.upstream): alias for alias, model in catalog.models.items()}
        local = httpx.URL(target.url).host in ("127.0.0.1", "localhost", "::1")
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=AT_ONCE)
        self._client = httpx.AsyncClient(limits=limits, trust_env=not local, timeout=CONTROL_SECONDS)
        beside = target.simulator_url and target.control_key
        self._control_url = (target.simulator_url if beside else target.url) or ""
        self._control_key = (target.control_key if beside else target.key) or ""

    async def __aenter__(self) -> Deployment:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def check(self) -> None:
        """Raises DrillError where this is no double, or serves none of the catalogue's models."""
        try:
            answer = await self._client.get(f"{self.target.url}/v1/models", headers=_bearer(self.target.key))
        except httpx.HTTPError as error:
            raise DrillError(f"{self.target.url} does not answer ({type(error).__name__} {error})") from None
        if answer.status_code != 200:
            raise DrillError(f"{self.target.url}/v1/models: {answer.status_code} {short(answer.text)}")
        mode = answer.headers.get("x-litellm-local-mode")
        if mode != "double":
            what = "live" if mode == "live" else "not a litellm-local"
            raise DrillError(
                f"{self.target.url} is {what}: only a double can be made to fail. "
                "Start one with: litellm-local up --mode double"
            )
        served = {entry["id"] for entry in answer.json()["data"]}
        if missing := [alias for alias in self.catalog.models if alias not in served]:
            raise DrillError(
                f"{self.target.url} does not serve {', '.join(missing)}; it was started with another proxy.yaml"
            )

    @asynccontextmanager
    async def scope(self, rules: Sequence[Mapping[str, Any]]) -> AsyncIterator[str]:
        """A fresh scope that answers by these rules only; forgotten afterwards."""
        name = f"drill-{uuid.uuid4().hex}"
        script = {"strict": True, "inherit": False, "rules": list(rules)}
        await self.control("PUT", "/_double/script", name, json=script)
        try:
            yield name
        finally:
            await self.control("DELETE", f"/_double/scopes/{name}", name)

    async def control(self, method: str, path: str, scope: str, **options: Any) -> Any:
        headers = {**_bearer(self._control_key), "x-double-scope": scope}
        options.setdefault("timeout", CONTROL_SECONDS)
        answer = await self._client.request(method, self._control_url + path, headers=headers, **options)
        if answer.is_error:
            raise DrillError(f"{method} {self._control_url}{path}: {answer.status_code} {short(answer.text)}")
        return answer.json()

    async def ask(self, model: str, scope: str, *, stream: bool, patience: float) -> httpx.Response:
        """A chat completion of that scope."""
        body = {"model": model, "messages": [{"role": "user", "content": "This is a drill."}], "stream": stream}
        headers = {**_bearer(self.target.key), "x-double-scope": scope}
        url = f"{self.target.url}/v1/chat/completions"
        return await self._client.post(url, headers=headers, json=body, timeout=patience)

    async def calls(self, scope: str, began: float, *, wait_for: int = 0) -> tuple[Call, ...]:
        """The upstream calls of a scope; `wait_for` so many to have ended, if they do within a few seconds."""
        params: dict[str, Any] = {"wait_for": wait_for, "timeout": 10} if wait_for else {}
        journal = await self.control("GET", "/_double/journal", scope, params=params)
        entries = sorted(journal["entries"], key=lambda entry: entry["seq"])
        return tuple(
            Call(
                self._upstreams.get((entry["provider"], entry["model"])) or str(entry["model"]),
                entry["started_at"] - began,
                (entry["ended_at"] or entry["started_at"]) - began,
                entry["ended_at"] is not None,
            )
            for entry in entries
        )


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


class Budget:
    """Keeps the drill itself below the models' requests per minute, which it is not there to try.

    A case holds its attempts from before it begins until a minute after it has ended, so that whichever minute they
    fall into has room for them.
    """

    SHARE = 0.9  # of the limit; others may be using the gateway

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._room = max(1, int(per_minute * self.SHARE))
        self._clock = clock
        self._held: list[tuple[float | None, dict[str, int]]] = []

    def take(self, attempts: dict[str, int]) -> Callable[[], None] | None:
        """Holds them, and gives what to call when the case has ended; None where there is no room now.

        More than there ever is room for may go alone.
        """
        now = self._clock()
        self._held = [(until, one) for until, one in self._held if until is None or until > now]
        used = {model: sum(one.get(model, 0) for _, one in self._held) for model in attempts}
        if any(used[model] and used[model] + count > self._room for model, count in attempts.items()):
            return None
        entry: tuple[float | None, dict[str, int]] = (None, attempts)
        self._held.append(entry)

        def ended() -> None:
            self._held[self._held.index(entry)] = (self._clock() + 60, attempts)

        return ended


async def run_cases(
    deployment: Deployment,
    cases: Iterable[Case],
    on_outcome: Callable[[Outcome], None] = lambda _: None,
    *,
    at_once: int = AT_ONCE,
) -> list[Outcome]:
    """Runs the cases, the longest first, and tells of each as it ends; the outcomes are in the cases' order.

    Whether pauses were too long shows when all have ended: see `soonest`. A stream that was cut into and differs is
    tried again by itself when all is quiet: a busy gateway may see the end of a connection before it has read what
    came before it. Raises DrillError where the double cannot be controlled.
    """
    known = {case: as_known(deployment.catalog, case)[0] for case in cases}
    waiting = sorted(known, key=lambda case: -known[case].seconds)
    budget = Budget(deployment.catalog.limits.requests_per_minute)
    tried: dict[Case, Tried] = {}
    running: dict[asyncio.Task[Tried], tuple[Case, Callable[[], None]]] = {}
    try:
        while waiting or running:
            started = False
            for case in waiting if len(running) < at_once else ():
                if ended := budget.take(_attempts(known[case])):
                    waiting.remove(case)
                    running[asyncio.create_task(_run(deployment, case))] = case, ended
                    started = True
                    break
            if started:  # one by one, so that they do not all wake from their pauses together
                await asyncio.sleep(APART_SECONDS)
            elif running:
                await asyncio.wait(running, timeout=1, return_when=asyncio.FIRST_COMPLETED)
            else:  # all hangs on the models' requests per minute
                await asyncio.sleep(1)
            for task in [task for task in running if task.done()]:
                case, ended = running.pop(task)
                ended()
                tried[case] = task.result()
                on_outcome(tried[case].outcome)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    for case, one in tried.items():
        if case.moment == "midway" and one.outcome.differs:
            tried[case] = await _run(deployment, case)
    late = soonest((case, one.pauses) for case, one in tried.items())
    return [tried[case].with_late(late.get(case, [])) for case in known]


@dataclass(frozen=True)
class Tried:
    """A case that was run: what is known of it before the pauses of all cases are."""

    outcome: Outcome
    pauses: Sequence[Pause] = ()

    def with_late(self, words: list[str]) -> Outcome:
        if not words:
            return self.outcome
        return replace(self.outcome, verdict="differs", differences=(*self.outcome.differences, *words))


def _attempts(expected: Expected) -> dict[str, int]:
    found: dict[str, int] = {}
    for turn in expected.turns:
        found[turn.model] = found.get(turn.model, 0) + turn.attempts
    return found


def script(catalog: Catalog, case: Case) -> list[dict[str, Any]]:
    """The rules of a case: the fault for those that fail, and each model answering with its name."""
    fails: dict[str, Any] = {
        "name": case.kind.name,
        "when": {"model": list(case.models[: case.failing])},
        "fault": case.kind.at(case.moment),
    }
    if case.times is not None:
        fails["times"] = case.times
    return [fails, *replies(catalog)]


def replies(catalog: Catalog) -> list[dict[str, Any]]:
    return [{"when": {"model": alias}, "reply": {"text": reply_text(alias)}} for alias in catalog.models]


async def _run(deployment: Deployment, case: Case) -> Tried:
    promised = as_promised(deployment.catalog, case)
    known, deviations = as_known(deployment.catalog, case)
    began = time.monotonic()

    def tried(verdict: Verdict, pauses: Sequence[Pause] = (), **fields: Any) -> Tried:
        seconds = time.monotonic() - began
        outcome = Outcome(case.model, case.kind.name, case.how, verdict, seconds, str(promised), **fields)
        return Tried(outcome, pauses)

    async with deployment.scope(script(deployment.catalog, case)) as scope:
        sent = time.time()
        patience = max(promised.seconds, known.seconds) + SLACK_SECONDS
        try:
            response = await deployment.ask(case.model, scope, stream=case.stream, patience=patience)
        except httpx.HTTPError as error:
            late = isinstance(error, httpx.TimeoutException)
            why = f"no answer within {patience:.0f} s" if late else f"no answer: {type(error).__name__} {error}"
            asked = asked_of(await deployment.calls(scope, sent))
            return tried("differs", asked=asked, differences=(why,))
        observed = Observed(
            await deployment.calls(scope, sent), read_answer(response.status_code, response.text, case.stream)
        )
    said: dict[str, Any] = {"asked": asked_of(observed.calls), "answer": str(observed.answer)}
    wrong = differences(promised, observed)
    if not wrong:
        return tried("as promised", pauses(promised, observed), **said)
    if known != promised:
        wrong = differences(known, observed)
        if not wrong:
            return tried("known", pauses(known, observed), **said, deviations=deviations)
    if response.is_error:
        wrong.append(f"its words: {short(response.text)}")
    return tried("differs", **said, differences=tuple(wrong))

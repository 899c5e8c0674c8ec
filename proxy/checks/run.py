"""Runs the checks side by side, a few at a time, and tells of each as it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection

import httpx

from proxy.checks.report import Result
from proxy.checks.smoke import CHECKS, Check
from proxy.checks.target import TIMEOUT, CheckFailed, Session, Target, Transport, expect_status

AT_ONCE = 4


def run_checks(
    target: Target, on_result: Callable[[Result], None] = lambda _: None, *, only: Collection[str] = ()
) -> list[Result]:
    """Runs all checks, or those named in `only`; never raises for what a deployment does wrong."""
    return asyncio.run(_run(target, on_result, only))


async def _run(target: Target, on_result: Callable[[Result], None], only: Collection[str]) -> list[Result]:
    limits = httpx.Limits(max_connections=AT_ONCE * 2)
    # trust_env: a deployment may be behind a company's proxy, but one on this machine never is.
    local = httpx.URL(target.url).host in ("127.0.0.1", "localhost", "::1")
    own = Transport(target, limits=limits) if target.address or target.authority else None
    async with httpx.AsyncClient(timeout=TIMEOUT, limits=limits, trust_env=not local, transport=own) as client:
        began = time.monotonic()
        try:
            session = await _open(target, client)
        except (CheckFailed, httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            reason = str(error) or type(error).__name__
            result = Result("reachable", "failed", time.monotonic() - began, f"{target.url}: {reason}")
            on_result(result)
            return [result]
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(check: Check, model: str | None) -> Result:
            async with gate:
                result = await _one(check, session, model)
            on_result(result)
            return result

        chosen = [
            (check, model)
            for check in CHECKS
            for model in (session.models if check.per_model else [None])
            if not only or check.name in only or _name(check, model) in only
        ]
        together = [pair for pair in chosen if not pair[0].alone]
        results = list(await asyncio.gather(*(one(*pair) for pair in together)))
        # These change what others would see, so they run by themselves.
        results += [await one(*pair) for pair in chosen if pair[0].alone]
        return results


async def _open(target: Target, client: httpx.AsyncClient) -> Session:
    """Asks the deployment what it is: its models, and whether it is a double."""
    session = Session(target, client, [], "live")
    answer = await session.request("GET", "/v1/models")
    expect_status(answer, 200)
    models = [entry["id"] for entry in answer.json()["data"]]
    return Session(target, client, models, answer.headers.get("x-litellm-local-mode", "live"))


def _name(check: Check, model: str | None) -> str:
    return f"{check.name}[{model}]" if model else check.name


async def _one(check: Check, session: Session, model: str | None) -> Result:
    began = time.monotonic()
    name = _name(check, model)
    if check.costs and session.mode != "double":
        return Result(name, "left out", 0.0, f"{session.mode} deployment: {check.costs}")
    if check.needs_control and not session.target.control_key:
        return Result(name, "left out", 0.0, "no control of the simulator from here")
    try:
        await check.run(session, model or "")
    except CheckFailed as failure:
        return Result(name, "failed", time.monotonic() - began, str(failure))
    except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        # An answer of another shape than the API's: the check could not read it.
        return Result(name, "failed", time.monotonic() - began, f"unreadable answer: {type(error).__name__} {error}")
    return Result(name, "passed", time.monotonic() - began)

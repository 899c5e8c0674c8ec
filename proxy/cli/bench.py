"""`bench`: how many requests a deployment answers, and whether that is enough."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psutil

from proxy.cli.options import deployment_options, json_option, state_option, target_of
from proxy.cli.progress import steps_for
from proxy.stack.state import StateDir

if TYPE_CHECKING:
    from proxy.bench import Loaded, Used
    from proxy.checks import Target
    from proxy.stack.steps import Steps

CEILING_SECONDS = 2.0
CHAT = "/v1/chat/completions"


@click.command()
@click.option("--seconds", type=click.IntRange(1, 300), default=20, show_default=True, help="How long to ask.")
@click.option("--connections", type=click.IntRange(1, 256), default=16, show_default=True, help="How many at once.")
@click.option("--stream", is_flag=True, help="Ask for streams.")
@click.option("--live", is_flag=True, help="Also where the providers are real: it costs money.")
@deployment_options
@state_option
@json_option
def bench(
    seconds: int,
    connections: int,
    stream: bool,
    live: bool,
    url: str | None,
    key: str | None,
    state_dir: Path,
    as_json: bool,
) -> None:
    """Measure how many requests the service answers here.

    Asks all models in turn with a virtual key of its own, which it deletes. Exit code 1 where requests failed; 429,
    the limit of requests a minute, is no failure.
    """
    from proxy.bench import Load, deployment, models_of, sentences

    state = StateDir(state_dir)
    target = target_of(url, key, state)
    steps = steps_for(sys.stderr)

    async def measured() -> tuple[str | None, list[str], Loaded, Used, float | None]:
        async with deployment.client_of(target) as client:
            mode = await deployment.mode_of(client)
            if mode != "double" and not live:
                _refuse(target.url, mode)
            models = await models_of(client)
            async with deployment.a_key(client) as virtual:
                with steps.live():
                    load = Load(CHAT, virtual, models, seconds, connections, stream)
                    found, used = await _measure(target, load, _gateway(target, state), steps)
            return mode, models, found, used, await _ceiling(target, connections, stream, steps)

    mode, models, found, used, ceiling = asyncio.run(measured())
    said = sentences(found, len(models), ceiling)
    if as_json:
        facts = {"url": target.url, "mode": mode, "models": models, "connections": connections, "stream": stream}
        click.echo(json.dumps({**facts, **_figures(found, used, ceiling), "verdict": said}, indent=1))
    else:
        _show(found, used, said)
    failed = sum(count for status, count in found.statuses.items() if status not in ("200", "429"))
    raise click.exceptions.Exit(1 if failed or not found.statuses["200"] else 0)


def _refuse(url: str, mode: str | None) -> None:
    from proxy.bench import BenchError

    what = "is live, so each request costs money" if mode == "live" else "does not say that its providers are simulated"
    raise BenchError(
        f"{url} {what}. Measure one in double mode (litellm-local up --mode double), or give --live to pay for it."
    )


async def _measure(target: Target, load: Any, gateway: list[psutil.Process], steps: Steps) -> tuple[Loaded, Used]:
    from proxy.bench import Used, run_load

    with steps.step("Load") as step:
        before = _cpu(gateway)
        found = await run_load(target, load, step.say)
        cpu = _cpu(gateway)
        step.note(f"{sum(found.statuses.values())} requests, {load.connections} at once, {target.url}")
    answered = sum(found.statuses.values())
    if before is None or cpu is None or not answered:
        return found, Used()
    return found, Used((cpu - before) / answered * 1000, _memory(gateway))


async def _ceiling(target: Target, connections: int, stream: bool, steps: Steps) -> float | None:
    """Requests a second that the load client reaches at the simulator itself; None where that is out of reach."""
    from proxy.bench import Load, run_load
    from proxy.checks import Target
    from proxy.gateway.scopes import SCOPE_HEADER

    if target.simulator_url is None or target.simulator_url == target.url:
        return None
    apart = {SCOPE_HEADER: "bench"}  # from the journal that tests look at
    load = Load(f"/openai{CHAT}", "any", ["gpt-4o"], CEILING_SECONDS, connections, stream, apart)
    with steps.live(), steps.step("Load client alone") as step:
        return (await run_load(Target(target.simulator_url, "any"), load, step.say)).per_second or None


def _gateway(target: Target, state: StateDir) -> list[psutil.Process]:
    """The gateway's processes where it runs here, outside containers."""
    run = state.read_run()
    if run is None or run.stack != "embedded" or run.url != target.url or "gateway" not in run.services:
        return []
    try:
        process = psutil.Process(int(run.services["gateway"]["pid"]))
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _cpu(processes: list[psutil.Process]) -> float | None:
    """CPU seconds so far; None where there are no processes, or one has gone (a restart under load)."""
    try:
        times = [process.cpu_times() for process in processes]
    except psutil.Error:
        return None
    return sum(one.user + one.system for one in times) if times else None


def _memory(processes: list[psutil.Process]) -> float | None:
    """In MB: PSS where the kernel tells it, else the resident size."""
    try:
        full = [process.memory_full_info() for process in processes]
    except psutil.Error:
        return None
    return sum(getattr(one, "pss", one.rss) for one in full) / 1e6


def _figures(found: Loaded, used: Used, ceiling: float | None) -> dict[str, Any]:
    return {
        "seconds": round(found.seconds, 2),
        "statuses": dict(found.statuses),
        "per_second": found.per_second,
        "per_minute": found.per_second * 60,
        "p50_ms": found.percentile(50),
        "p99_ms": found.percentile(99),
        "cpu_ms_per_request": used.cpu_ms,
        "memory_mb": used.memory_mb,
        "client_ceiling_per_second": ceiling,
    }


def _show(found: Loaded, used: Used, said: list[str]) -> None:
    rows = {
        "requests/s": f"{found.per_second:.0f}",
        "p50, p99": " and ".join(f"{one:.0f} ms" for one in map(found.percentile, (50, 99)) if one is not None) or "-",
        "by status": ", ".join(f"{status}: {count}" for status, count in sorted(found.statuses.items())) or "none",
        "gateway's CPU": f"{used.cpu_ms:.1f} ms a request" if used.cpu_ms is not None else "not on this machine",
        "gateway's memory": f"{used.memory_mb:.0f} MB" if used.memory_mb is not None else "not on this machine",
    }
    for name, value in rows.items():
        click.echo(f"{name:<18}{value}")
    click.echo("\n" + "\n".join(said))

"""`drill`: every fallback chain through every kind of fault, against what proxy.yaml promises."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from proxy.catalog import project_root
from proxy.cli.options import deployment_options, json_option, state_option, target_of
from proxy.cli.progress import steps_for
from proxy.stack.state import Run, StateDir

if TYPE_CHECKING:
    from proxy.catalog import Catalog
    from proxy.checks import Target
    from proxy.checks.drill.report import Outcome


@click.command()
@click.option("--chain", "chains", multiple=True, metavar="MODEL", help="Only this model's chain (may be repeated).")
@click.option("--fault", "faults", multiple=True, metavar="KIND", help="Only this kind of fault (may be repeated).")
@click.option(
    "--limits/--no-limits",
    default=None,
    help="Also try the limits, at a second gateway with small ones.  [default: yes, unless something is selected]",
)
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Also write JUnit XML there.")
@deployment_options
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=lambda: project_root() / "config" / "proxy.yaml",
    show_default="what the gateway here was started with, else config/proxy.yaml",
    help="What is promised.",
)
@state_option
@json_option
def drill(
    chains: tuple[str, ...],
    faults: tuple[str, ...],
    limits: bool | None,
    junit: Path | None,
    url: str | None,
    key: str | None,
    config: Path,
    state_dir: Path,
    as_json: bool,
) -> None:
    """Take every chain through every kind of fault, in scopes of its own, side by side.

    Says who was asked, when, how often and who answered, against what proxy.yaml promises. Exit code 1 where anything
    is otherwise. What LiteLLM is known to do otherwise is marked with ~ and explained at the end.

    \b
    Kinds of fault:
      400 401 403 404 408 409 413 422 429 500 502 503 504 529, 429+retry-after
      delay  drop  cut  malformed  error-event
      outage: some requests in a row meet it, and then it ends
      at the limits: hang  dribble  slow-retries  request-limit
    """
    from proxy.catalog import load_catalog
    from proxy.checks.drill import limits as at_limits
    from proxy.checks.drill import report
    from proxy.checks.report import junit as junit_xml

    state = StateDir(state_dir)
    target = target_of(url, key, state)
    run = state.read_run()
    here = target.simulator_url is not None and run is not None and run.stack == "embedded"
    # Held against what the gateway here was started with, unless told otherwise.
    given = click.get_current_context().get_parameter_source("config") is not ParameterSource.DEFAULT
    catalog = load_catalog(Path(run.config) if run and run.url == target.url and not given else config)
    _check_names(catalog, chains, faults)
    if limits is None:
        limits = bool(set(faults) & set(at_limits.KINDS)) or (here and not (chains or faults))
    if limits and not here:
        raise click.UsageError("the limits are tried at a gateway beside the running one: only where it runs.")
    steps = steps_for(sys.stderr)
    with steps.live(), steps.step("Drill") as step:
        outcomes = asyncio.run(_run(target, catalog, chains, faults, state if limits else None, step.say))
        step.note(report.summary(outcomes))
        step.failed = any(outcome.differs for outcome in outcomes)
    if as_json:
        click.echo(json.dumps(report.as_json(outcomes), indent=1))
    else:
        _print(catalog, outcomes)
    if junit:
        junit.write_text(junit_xml(report.results(outcomes), "litellm-local drill"), encoding="utf-8")
    raise click.exceptions.Exit(1 if any(outcome.differs for outcome in outcomes) else 0)


def _check_names(catalog: Catalog, chains: Sequence[str], faults: Sequence[str]) -> None:
    from proxy.checks.drill import limits, outages
    from proxy.checks.drill.faults import kinds

    known = [*(kind.name for kind in kinds(catalog)), outages.KIND, *limits.KINDS]
    for given, names, option in ((chains, list(catalog.models), "--chain"), (faults, known, "--fault")):
        if wrong := [name for name in given if name not in names]:
            raise click.BadParameter(f"{wrong[0]!r} is unknown. Known: {', '.join(names)}", param_hint=option)


async def _run(
    target: Target,
    catalog: Catalog,
    chains: Sequence[str],
    faults: Sequence[str],
    state: StateDir | None,
    say: Callable[[str], None],
) -> list[Outcome]:
    """`state`: that of the stack beside which the limits are tried; None leaves them out."""
    from dataclasses import replace

    from proxy.checks.drill.cases import cases
    from proxy.checks.drill.limits import KINDS, run_limits, scaled
    from proxy.checks.drill.outages import KIND as OUTAGE
    from proxy.checks.drill.outages import outages, run_outages
    from proxy.checks.drill.run import Deployment, run_cases
    from proxy.stack.beside import gateway_beside

    chosen = list(cases(catalog, models=chains, only=faults))
    down = list(outages(catalog, chains)) if not faults or OUTAGE in faults else []
    if not (chosen or down) and state is None:
        why = "the breaker is switched off" if OUTAGE in faults else "tried with --limits only"
        raise click.UsageError(f"{', '.join(faults)}: {why}.")
    done = 0

    def tell(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        say(f"{done} of {len(chosen) + len(down)}: {outcome.name}")

    async def at_faults() -> list[Outcome]:
        async with Deployment(target, catalog) as deployment:
            return await run_cases(deployment, chosen, tell)

    async def in_outages() -> list[Outcome]:
        async with Deployment(target, catalog) as deployment:
            return await run_outages(deployment, down, tell)

    async def at_limits(run: Run, state: StateDir) -> list[Outcome]:
        small = scaled(catalog)
        async with gateway_beside(run, state, small) as url, Deployment(replace(target, url=url), small) as deployment:
            models = list(dict.fromkeys(chains)) or list(catalog.models)
            only = set(faults) & set(KINDS)
            return await run_limits(deployment, models, lambda outcome: say(outcome.name), only=only)

    async with Deployment(target, catalog) as deployment:
        await deployment.check()
    work = [asyncio.create_task(at_faults()), asyncio.create_task(in_outages())]
    if state and (run := state.read_run()):
        work.append(asyncio.create_task(at_limits(run, state)))  # meanwhile: both mostly wait
    try:
        return [outcome for outcomes in await asyncio.gather(*work) for outcome in outcomes]
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


def _print(catalog: Catalog, outcomes: Sequence[Outcome]) -> None:
    from proxy.checks.drill import report
    from proxy.checks.drill.limits import KINDS, said

    at_limits = [outcome for outcome in outcomes if outcome.kind in KINDS]
    for line in report.table(catalog, [outcome for outcome in outcomes if outcome not in at_limits]):
        click.echo(line)
    if at_limits:
        click.echo(f"\nAt the {said(catalog)}")
        for line in report.table(catalog, at_limits):
            click.echo(line)
    click.echo(f"\n{report.summary(outcomes)}")

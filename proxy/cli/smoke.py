"""`smoke`: prove a running deployment, this machine's or any other."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy import secrets
from proxy.cli.options import NOT_RUNNING, json_option, state_option
from proxy.cli.progress import steps_for
from proxy.stack.state import StateDir

if TYPE_CHECKING:
    from proxy.checks import Target

MARKS = {"passed": "✓", "failed": "✗", "left out": "-"}


@click.command()
@click.option("--url", envvar="LITELLM_PROXY_URL", help="Deployment to check.  [default: the one running here]")
@click.option("--key", envvar="LITELLM_MASTER_KEY", help="Its master key; better given in LITELLM_MASTER_KEY.")
@click.option("--only", multiple=True, metavar="NAME", help="Run this check only (may be repeated).")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Also write JUnit XML there.")
@state_option
@json_option
def smoke(
    url: str | None, key: str | None, only: tuple[str, ...], junit: Path | None, state_dir: Path, as_json: bool
) -> None:
    """Run the smoke checks. Exit code 1 where one fails.

    Against a live deployment only what is safe and costs nothing runs, and what was left out is said.
    """
    from proxy import checks
    from proxy.checks.report import junit as junit_xml

    target = _target(url, key, StateDir(state_dir))
    known = {check.name for check in checks.CHECKS}
    if wrong := [name for name in only if name.split("[")[0] not in known]:
        raise click.BadParameter(
            f"no check is named {wrong[0]!r}. Known: {', '.join(sorted(known))}", param_hint="--only"
        )
    steps = steps_for(sys.stderr)
    with steps.live(), steps.step("Smoke checks") as step:
        results = checks.run_checks(target, lambda result: step.say(result.name), only=only)
        step.note(f"{sum(result.passed for result in results)} of {len(results)} passed, {target.url}")
    if as_json:
        click.echo(json.dumps([asdict(result) for result in results], indent=1))
    else:
        for result in results:
            reason = f"  {result.reason}" if result.reason else ""
            click.echo(f"{MARKS[result.outcome]} {result.name:<46} {result.seconds:6.2f} s{reason}")
    if junit:
        junit.write_text(junit_xml(results), encoding="utf-8")
    raise click.exceptions.Exit(1 if any(result.failed for result in results) else 0)


def _target(url: str | None, key: str | None, state: StateDir) -> Target:
    from proxy.checks import Target

    run = state.read_run()
    here = run is not None and (url is None or url.rstrip("/") == run.url)
    if here:
        assert run is not None  # noqa: S101
        values = secrets.merge_environment(secrets.read_env_file(Path(run.env_file)))
        return Target(
            url=run.url,
            key=key or values[secrets.MASTER_KEY],
            simulator_url=run.simulator_url,
            control_key=values.get(secrets.CONTROL_KEY) if run.simulator_url else None,
        )
    if url is None:
        click.echo(
            "litellm-local is not running here. Start it (litellm-local up), or name a deployment: --url", err=True
        )
        raise click.exceptions.Exit(NOT_RUNNING)
    if not key:
        raise click.UsageError("give the deployment's master key in LITELLM_MASTER_KEY, or with --key.")
    return Target(url=url.rstrip("/"), key=key)

"""`smoke`: prove a running deployment, this machine's or any other."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from proxy.cli.options import deployment_options, json_option, state_option, target_of
from proxy.cli.progress import steps_for
from proxy.stack.state import StateDir

MARKS = {"passed": "✓", "failed": "✗", "left out": "-"}


@click.command()
@deployment_options
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

    target = target_of(url, key, StateDir(state_dir))
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

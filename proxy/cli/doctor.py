"""`doctor`: what on this machine would keep the service from starting, and what to do about it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from proxy.cli.options import config_option, env_file_option, json_option, state_option
from proxy.stack.state import StateDir

MARKS = {"ok": "✓", "warning": "!", "failed": "✗"}


@click.command()
@config_option
@state_option
@env_file_option
@json_option
def doctor(config: Path, state_dir: Path, env_file: Path, as_json: bool) -> None:
    """Check this machine and say what to mend. Exit code 1 where something has failed."""
    from proxy.stack.preflight import Machine, examine

    findings = examine(Machine(config=config, state=StateDir(state_dir), env_file=env_file))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            first, *rest = finding.text.splitlines()
            click.echo(f"{MARKS[finding.level]} {finding.name:<14} {first}")
            for line in rest:
                click.echo(f"  {'':<14} {line}")
    raise click.exceptions.Exit(1 if any(finding.level == "failed" for finding in findings) else 0)

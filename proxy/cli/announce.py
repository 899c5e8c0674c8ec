"""What `up` does and says once a stack is up, whichever it is: the smoke checks, and where everything is."""

from __future__ import annotations

import json

import click

from proxy.stack import reach
from proxy.stack.state import Run, StateDir
from proxy.stack.steps import Steps


def prove(run: Run, state: StateDir, steps: Steps) -> bool:
    """Runs the smoke checks; whether none has failed."""
    from proxy.checks import run_checks

    with steps.step("Smoke checks") as step:
        results = run_checks(reach.target(run, state), lambda result: step.say(result.name))
        failed = [result for result in results if result.failed]
        step.failed = bool(failed)
        step.note(f"{sum(result.passed for result in results)} of {len(results)} passed, {run.url}")
    for result in failed:
        steps.say(f"  ✗ {result.name}: {result.reason}")
    if failed:
        log = state.log("gateway") if run.stack == "embedded" else "litellm-local logs gateway"
        steps.say(f"  The service stays up for you to look at. Gateway log: {log}")
    return not failed


def announce(run: Run, state: StateDir, seconds: float, *, as_json: bool) -> None:
    """Where the service is, and what is needed to use it."""
    logs = str(state.logs) if run.stack == "embedded" else "litellm-local logs"
    if as_json:
        click.echo(json.dumps({"url": run.url, "mode": run.mode, "env_file": run.env_file, "logs": logs}))
        return
    click.echo(f"\nReady in {seconds:.1f} s: {run.url}")
    for name, value in _rows(run, state, logs):
        click.echo(f"  {name:<19} {value}")
    click.echo("")


def _rows(run: Run, state: StateDir, logs: str) -> list[tuple[str, str]]:
    metrics = f"  {run.url}/metrics" if run.address is None else ""  # the edge does not let anybody see them
    rows = [
        ("OpenAI base URL", f"{run.url}/v1"),
        ("Anthropic base URL", run.url),
        ("Admin UI", f"{run.url}/ui  (admin + master key)"),
        ("API docs", f"{run.url}/docs"),
        ("Usage, metrics" if metrics else "Usage", f"{run.url}/usage{metrics}"),
        ("Mode", "double: providers are simulated" if run.mode == "double" else "live: real providers, real money"),
    ]
    if reach.self_signed_shown(run, state):
        rows.append(("Certificate", f"self-signed; for clients to trust: {state.certificate}"))
    if run.recording:
        rows.append(("Recording", f"what the providers answer, into {run.recording}"))
    if run.replaying:
        rows.append(("Replaying", f"{run.replaying}, in the scope default and those that inherit from it"))
    rows += [
        ("Key", f'LITELLM_MASTER_KEY in {run.env_file}; for a shell: eval "$(litellm-local env)"'),
        ("Logs", logs),
    ]
    return rows

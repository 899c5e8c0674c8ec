"""`upgrade`: the containers brought to a new image, and back where that fails."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from proxy.cli.options import json_option, require_run, state_option
from proxy.stack.state import Run, StateDir, StateError

SMOKE_FAILED = 1


@click.command()
@state_option
@click.option(
    "--build/--no-build", default=None, help="Make the gateway's image here.  [default: where its source has changed]"
)
@click.option(
    "--pull",
    type=click.Choice(["always", "missing", "never"]),
    default="missing",
    show_default=True,
    help="When to fetch images.",
)
@click.option("--smoke/--no-smoke", default=True, show_default=True, help="Prove the service in the end, or go back.")
@json_option
def upgrade(state_dir: Path, build: bool | None, pull: Any, smoke: bool, as_json: bool) -> None:
    """Bring the running containers to a new image, as this checkout and its configuration have it.

    \b
    The database is backed up and migrated first; then gateways are replaced one after the other, behind the edge
    without a request failing. Where anything fails, all is put back as it was.
    """
    from proxy.stack.compose_plan import ComposeOptions, make_plan

    state = StateDir(state_dir)
    run = require_run(state)
    if run.stack != "compose":
        raise StateError("only containers are upgraded. For the embedded stack: litellm-local down, then up.")
    options = ComposeOptions(
        config=Path(run.config),
        state=state.root,
        env_file=Path(run.env_file),
        database=_own_database(run),
        **{**run.layout, "without": tuple(run.layout.get("without", ()))},
    )
    with state.hold():
        code = _upgrade(make_plan(options), state, run, build=build, pull=pull, smoke=smoke, as_json=as_json)
    raise click.exceptions.Exit(code)


def _own_database(run: Run) -> str | None:
    """The URL of a database that is not ours, from what the gateways were given."""
    if run.database == "compose":
        return None
    url = Path(run.env_file)
    raise StateError(f"the database is one of your own: {url}") if url is None else None


def _upgrade(plan: Any, state: StateDir, run: Run, *, smoke: bool, as_json: bool, **images: Any) -> int:
    from proxy.cli.announce import announce, prove
    from proxy.cli.progress import steps_for
    from proxy.stack.compose import ComposeStack, Images
    from proxy.stack.upgrade import Upgrade

    began = time.monotonic()
    steps = steps_for(sys.stderr if as_json else sys.stdout)
    stack = ComposeStack(plan, state, steps, Images(**images))
    work = Upgrade(stack, state, steps)
    with steps.live():
        ...
    return 0

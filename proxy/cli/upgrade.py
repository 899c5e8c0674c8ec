"""`upgrade`: the containers brought to a new image, and back where that fails."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.options import image_options, json_option, require_run, state_option
from proxy.stack.state import Run, StateDir, StateError

if TYPE_CHECKING:
    from proxy.stack.compose_plan import ComposePlan
    from proxy.stack.steps import Step


@click.command()
@state_option
@image_options
@click.option("--smoke/--no-smoke", default=True, show_default=True, help="Prove the service in the end, or go back.")
@json_option
def upgrade(state_dir: Path, build: bool | None, pull: Any, smoke: bool, as_json: bool) -> None:
    """Bring the running containers to a new image, as this checkout and its configuration have it.

    \b
    The database is backed up and migrated first; then gateways are replaced one after the other, behind the edge
    without a request failing. Where anything fails, all is put back as it was.
    """
    from proxy.cli.up_compose import signals_as_ctrl_c
    from proxy.stack.compose_plan import ComposeOptions, make_plan

    state = StateDir(state_dir)
    run = require_run(state)
    if run.stack != "compose":
        raise StateError("only containers are upgraded. For the embedded stack: litellm-local down, then up.")
    options = ComposeOptions(
        config=Path(run.config),
        state=state.root,
        env_file=Path(run.env_file),
        database=_own_database(run, state),
        **{**run.layout, "without": tuple(run.layout.get("without", ()))},
    )
    with state.hold(), signals_as_ctrl_c():
        code = _upgrade(make_plan(options), state, build=build, pull=pull, smoke=smoke, as_json=as_json)
    raise click.exceptions.Exit(code)


def _own_database(run: Run, state: StateDir) -> str | None:
    """The URL of a database that is not ours, as the gateways have it."""
    if run.database == "compose":
        return None
    try:
        return (state.root / "secrets" / "gateway" / "DATABASE_URL").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StateError(f"{error.filename} cannot be read ({error.strerror}): what database is it?") from None


def _upgrade(plan: ComposePlan, state: StateDir, *, smoke: bool, as_json: bool, **images: Any) -> int:
    from proxy.cli.announce import announce, prove
    from proxy.cli.progress import steps_for
    from proxy.cli.up_compose import INTERRUPTED
    from proxy.stack.compose import ComposeStack, Images, StackError
    from proxy.stack.upgrade import Upgrade

    began = time.monotonic()
    steps = steps_for(sys.stderr if as_json else sys.stdout)
    stack = ComposeStack(plan, state, steps, Images(**images))
    work = Upgrade(stack, state, steps)
    try:
        with steps.live():
            if not work.run(lambda step: _back_up(plan, state, step)):
                steps.say("All is as this checkout and its configuration have it: there is nothing to upgrade.")
                return 0
            if smoke and not prove(stack.run, state, steps):
                raise StackError("the smoke checks fail after the upgrade")
    except (Exception, KeyboardInterrupt) as error:
        for line in getattr(error, "log", []):
            steps.say(f"    {line}")
        if work.has_begun:
            steps.say("! The upgrade has failed; going back to what was there before.")
            with steps.live():
                work.roll_back()
            steps.say("All is as it was; the service was up all along." if plan.options.edge else "All is as it was.")
        if isinstance(error, KeyboardInterrupt):
            return INTERRUPTED
        raise
    stack.mark_ready(proven=True if smoke else None)
    announce(stack.run, state, time.monotonic() - began, as_json=as_json)
    return 0


def _back_up(plan: ComposePlan, state: StateDir, step: Step) -> None:
    """Into the state folder, where the ones before it stay, too."""
    from proxy.database.backup import backup
    from proxy.stack.containers_postgres import served

    file = state.root / "backups" / f"before-upgrade-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}.backup"
    file.parent.mkdir(mode=0o700, exist_ok=True)
    if own := plan.options.database or plan.catalog.database.url:
        backup(own, file, step.say)
    else:
        with served(state, plan.options.env_file) as database:
            backup(database, file, step.say)
    step.note(f"{file}, {file.stat().st_size / 1e6:.1f} MB")

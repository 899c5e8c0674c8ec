"""`up --stack compose`: the containers brought up or up to date, proven, and followed until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from proxy.cli.announce import announce, prove
from proxy.cli.progress import steps_for
from proxy.stack.compose import ComposeStack, Images
from proxy.stack.compose_plan import LAYOUT, ComposeOptions, make_plan
from proxy.stack.state import StateDir
from proxy.stack.steps import Steps

SMOKE_FAILED, INTERRUPTED = 1, 130


def up_compose(state: StateDir, database: str | None, *, smoke: bool, detach: bool, as_json: bool, **given: Any) -> int:
    """Runs it; returns the exit code. `given` are the options of `up`."""
    options = ComposeOptions(
        config=Path(given["config"]).absolute(),
        state=state.root,
        env_file=Path(given["env_file"]).absolute(),
        database=database,
        **{name: given[name] for name in LAYOUT},
    )
    steps = steps_for(sys.stderr if as_json else sys.stdout)
    with state.hold(), signals_as_ctrl_c():
        stack = ComposeStack(make_plan(options), state, steps, Images(given["build"], given["pull"]))
        return _serve(stack, state, steps, smoke=smoke, detach=detach, as_json=as_json)


def _serve(stack: ComposeStack, state: StateDir, steps: Steps, *, smoke: bool, detach: bool, as_json: bool) -> int:
    began = time.monotonic()
    steps.say(f"litellm-local: {stack.run.mode} mode ({stack.plan.choice.reason}), in containers")
    try:
        with steps.live():
            stack.start()
            passed = not smoke or prove(stack.run, state, steps)
    except KeyboardInterrupt:
        _stop_half_way(stack, steps)
        return INTERRUPTED
    except Exception as error:
        for line in getattr(error, "log", []):
            steps.say(f"    {line}")
        raise
    stack.mark_ready(proven=passed if smoke else None)
    announce(stack.run, state, time.monotonic() - began, as_json=as_json)
    if not detach:
        _follow(stack, steps, as_json=as_json)
    return 0 if passed else SMOKE_FAILED


def _stop_half_way(stack: ComposeStack, steps: Steps) -> None:
    """After Ctrl-C before all was ready: what was up before stays, what was not goes."""
    if stack.was_up:
        steps.say("Interrupted. The containers stay as they are now; run up again, or litellm-local down.")
        return
    steps.say("Stopping …")
    if stack.has_begun:
        stack.stop()


def _follow(stack: ComposeStack, steps: Steps, *, as_json: bool) -> None:
    """Shows the containers' logs until Ctrl-C, which stops them, or until somebody else does."""
    steps.say("Following the logs. Ctrl-C stops the service; its data stays. (--detach leaves it running.)")
    try:
        stack.compose.run("logs", "--follow", "--tail", "0", on_line=lambda line: click.echo(line, err=as_json))
    except KeyboardInterrupt:
        steps.say("Stopping …")
    stack.stop()


@contextmanager
def signals_as_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP end the command in order, as Ctrl-C does, which does so in the background, too."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

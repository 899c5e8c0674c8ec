"""`up`: bring the whole service up, prove it, stay with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.options import config_option, env_file_option, json_option, state_option
from proxy.cli.progress import steps_for
from proxy.stack.state import Run, StateDir, StateError, tail

if TYPE_CHECKING:
    from proxy.stack.embedded import EmbeddedStack, UpOptions

SMOKE_FAILED = 1


@click.command()
@config_option
@state_option
@env_file_option
@click.option("--host", help="Address to listen on.  [default: as in proxy.yaml, 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: as in proxy.yaml, 4000]")
@click.option(
    "--mode",
    type=click.Choice(["auto", "double", "live"]),
    default="auto",
    show_default=True,
    help="double: providers are simulated; live: real ones; auto: double when no provider key is set.",
)
@click.option("--without", multiple=True, metavar="PROVIDER", help="Leave a provider's models out (may be repeated).")
@click.option(
    "--database",
    metavar="URL",
    envvar="LITELLM_LOCAL_DATABASE_URL",
    help="postgresql:// URL of a database of your own.  [default: embedded]",
)
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Record what the real providers answer into a cassette (live mode).",
)
@click.option(
    "--replay",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Answer from a cassette (double mode).",
)
@click.option(
    "--smoke/--no-smoke",
    default=None,
    help="Run the smoke checks once up.  [default: smoke; no smoke with --record and --replay]",
)
@click.option("--detach", "-d", is_flag=True, help="Return when ready; the service keeps running.")
@json_option
def up(
    config: Path,
    state_dir: Path,
    env_file: Path,
    host: str | None,
    port: int | None,
    mode: str,
    without: tuple[str, ...],
    database: str | None,
    record: Path | None,
    replay: Path | None,
    smoke: bool | None,
    detach: bool,
    as_json: bool,
) -> None:
    """Bring the whole service up, prove it with the smoke checks, and stay in the foreground.

    Ctrl-C stops everything in order; data stays for the next start.
    """
    state = StateDir(state_dir)
    database = None if database in (None, "", "embedded") else database
    _check_database_url(database)
    if state.is_held():
        _report_running(state, as_json)
        return
    if detach:
        _detach(state, as_json)
        return
    from proxy.stack.embedded import UpOptions

    options = UpOptions(
        config=config.absolute(),
        state=state.root,
        env_file=env_file.absolute(),
        host=host,
        port=port,
        mode=mode,  # type: ignore[arg-type]  # click.Choice has seen to it
        without=without,
        database=database,
        record=record.absolute() if record else None,
        replay=replay.absolute() if replay else None,
    )
    if smoke is None:  # its questions are none that a cassette should hold, or holds
        smoke = record is None and replay is None
    with state.hold():
        code = asyncio.run(_serve(options, state, smoke=smoke, as_json=as_json))
    raise click.exceptions.Exit(code)


def _check_database_url(url: str | None) -> None:
    if url is not None and not url.startswith(("postgresql://", "postgres://")):
        raise click.BadParameter(
            "give a postgresql://user:password@host:port/name URL, or leave it out for the embedded Postgres.",
            param_hint="--database",
        )


# -- foreground --------------------------------------------------------------------------------------------


async def _serve(options: UpOptions, state: StateDir, *, smoke: bool, as_json: bool) -> int:
    """Runs the stack until a signal; returns the exit code."""
    from proxy.stack.embedded import EmbeddedStack

    began = time.monotonic()
    steps = steps_for(sys.stderr if as_json else sys.stdout)
    if left := await asyncio.to_thread(state.stop_leftovers):
        steps.say(f"Stopped what an earlier launcher left running: {', '.join(left)}.")
    with _event_log(state) as record:

        def report(text: str) -> None:
            steps.say(f"! {text}")
            if not _writes_into(state.log("launcher")):
                record(text)

        stack = EmbeddedStack(options, state, steps, lambda event: report(f"{event.service} {event.text}"))
        stop = _stop_on_signals(stack)
        steps.say(f"litellm-local: {stack.run.mode} mode ({stack.plan.choice.reason})")
        if stack.run.recording:
            steps.say(f"Recording what the providers answer into {stack.run.recording}; keys are left out.")
        try:
            with steps.live():
                if not await _unless_stopped(stack.start(), stop):
                    return 130
                passed = not smoke or await _unless_stopped(_prove(stack, state, steps), stop)
            if stop.is_set():
                return 130
            stack.mark_ready(proven=passed if smoke else None)
            _announce(stack.run, state, time.monotonic() - began, as_json=as_json)
            await stop.wait()
            steps.say("Stopping …")
            return 0 if passed else SMOKE_FAILED
        except Exception as error:
            for line in getattr(error, "log", []):
                steps.say(f"    {line}")
            raise
        finally:
            await stack.stop()


async def _unless_stopped(work: Any, stop: asyncio.Event) -> Any:
    """The result of `work`, or None where the stop signal came first (the work is then cancelled)."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        return None
    result = task.result()
    return True if result is None else result


def _stop_on_signals(stack: EmbeddedStack) -> asyncio.Event:
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            stack.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return stop


@contextlib.contextmanager
def _event_log(state: StateDir) -> Iterator[Callable[[str], None]]:
    """A writer of dated lines into the launcher's own log."""
    with state.open_log("launcher") as file:

        def record(text: str) -> None:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n".encode())
            file.flush()

        yield record


def _writes_into(path: Path) -> bool:
    """Whether our standard output is that file, as it is when detached."""
    here, there = os.fstat(sys.stdout.fileno()), path.stat()
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


async def _prove(stack: EmbeddedStack, state: StateDir, steps: Any) -> bool:
    from proxy.checks import Target, run_checks
    from proxy.secrets import CONTROL_KEY, MASTER_KEY

    values = stack.plan.secrets
    target = Target(
        url=stack.run.url,
        key=values[MASTER_KEY],
        simulator_url=stack.run.simulator_url,
        control_key=values[CONTROL_KEY] if stack.run.simulator_url else None,
    )
    with steps.step("Smoke checks") as step:
        results = await asyncio.to_thread(run_checks, target, lambda result: step.say(result.name))
        failed = [result for result in results if result.failed]
        step.failed = bool(failed)
        step.note(f"{sum(result.passed for result in results)} of {len(results)} passed")
    for result in failed:
        steps.say(f"  ✗ {result.name}: {result.reason}")
    if failed:
        steps.say(f"  The service stays up for you to look at. Gateway log: {state.log('gateway')}")
    return not failed


def _announce(run: Run, state: StateDir, seconds: float, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"url": run.url, "mode": run.mode, "env_file": run.env_file, "logs": str(state.logs)}))
        return
    rows = [
        ("OpenAI base URL", f"{run.url}/v1"),
        ("Anthropic base URL", run.url),
        ("Admin UI", f"{run.url}/ui  (admin + master key)"),
        ("API docs", f"{run.url}/docs"),
        ("Usage, metrics", f"{run.url}/usage  {run.url}/metrics"),
        (
            "Mode",
            "double: providers are simulated" if run.mode == "double" else "live: real providers, real money",
        ),
        ("Key", f'LITELLM_MASTER_KEY in {run.env_file}; for a shell: eval "$(litellm-local env)"'),
        ("Logs", str(state.logs)),
    ]
    if run.recording:
        rows.insert(-2, ("Recording", f"what the providers answer, into {run.recording}"))
    if run.replaying:
        rows.insert(-2, ("Replaying", f"{run.replaying}, in the scope default and those that inherit from it"))
    click.echo(f"\nReady in {seconds:.1f} s: {run.url}")
    for name, value in rows:
        click.echo(f"  {name:<19} {value}")
    click.echo("")


# -- already up, detached ----------------------------------------------------------------------------------


def _report_running(state: StateDir, as_json: bool) -> None:
    """A second `up`: waits for the first one to be ready, and says where it is."""
    run = _wait_ready(state, lambda: state.is_held())
    if run is None:
        raise StateError("the other litellm-local on this folder stopped before it was ready. Run up again.")
    if not as_json:
        click.echo(f"litellm-local is already up (launcher pid {run.launcher_pid}). To change it: litellm-local down")
    _announce(run, state, time.time() - run.started_at, as_json=as_json)


def _wait_ready(state: StateDir, alive: Callable[[], bool]) -> Run | None:
    while alive():
        run = state.read_run()
        if run and run.ready:
            return run
        time.sleep(0.1)
    return None


def _detach(state: StateDir, as_json: bool) -> None:
    """Starts the same command in a session of its own, shows its progress, returns when it is ready."""
    state.prepare()
    arguments = [word for word in sys.argv[1:] if word not in ("--detach", "-d", "--json")]
    path = state.log("launcher")
    with state.open_log("launcher") as log:
        shown = path.stat().st_size
        child = subprocess.Popen(
            [sys.executable, "-m", "proxy.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        while child.poll() is None:
            shown = _show_more(path, shown, as_json)
            run = state.read_run()
            if run and run.ready and run.launcher_pid == child.pid:
                break
            time.sleep(0.1)
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise
    _show_more(path, shown, as_json)
    if child.poll() is not None:
        if as_json:
            click.echo("\n".join(tail(path, 20)), err=True)
        raise click.exceptions.Exit(child.returncode or 1)
    assert run is not None  # noqa: S101 - the loop ended by it
    if as_json:
        _announce(run, state, 0, as_json=True)
    if run.proven is False:
        raise click.exceptions.Exit(SMOKE_FAILED)


def _show_more(path: Path, offset: int, as_json: bool) -> int:
    with path.open("rb") as file:
        file.seek(offset)
        text = file.read()
    click.echo(text.decode("utf-8", "replace"), nl=False, err=as_json)
    return offset + len(text)

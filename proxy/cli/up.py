"""`up`: bring the whole service up, prove it, stay with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from proxy.cli import containers
from proxy.cli.announce import announce, prove
from proxy.cli.options import (
    PORT,
    compose_options,
    config_option,
    env_file_option,
    image_options,
    json_option,
    mode_options,
    state_option,
)
from proxy.cli.progress import steps_for
from proxy.memory import give_back, keep_one_heap
from proxy.stack.state import Run, StateDir, StateError, tail

if TYPE_CHECKING:
    from proxy.stack.embedded import EmbeddedStack, UpOptions

SMOKE_FAILED = 1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@config_option
@state_option
@env_file_option
@click.option(
    "--stack",
    type=click.Choice(["embedded", "compose"]),
    default="embedded",
    show_default=True,
    help="embedded: processes, with nothing but Python; compose: containers, by docker-compose.yml.",
)
@click.option("--host", help="Address to listen on.  [default: as in proxy.yaml, 127.0.0.1]")
@click.option("--port", type=PORT, help="Port to listen on.  [default: as in proxy.yaml, 4000]")
@mode_options
@click.option(
    "--database",
    metavar="URL",
    envvar="LITELLM_LOCAL_DATABASE_URL",
    help="postgresql:// URL of a database of your own; or compose: Postgres in a container, the rest not.  "
    "[default: the stack's own]",
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
@compose_options
@image_options
@json_option
def up(stack: str, state_dir: Path, database: str | None, smoke: bool | None, **given: Any) -> None:
    """Bring the whole service up, prove it with the smoke checks, and stay in the foreground.

    Ctrl-C stops everything in order; data stays for the next start.
    """
    state = StateDir(state_dir)
    database = None if database in (None, "", "embedded") else database
    _check_options(stack)
    _check_database_url(database)
    _check_no_other(stack, state)
    if state.is_held():
        _report_running(state, given["as_json"])
        return
    if smoke is None:  # its questions are none that a cassette should hold, or holds
        smoke = given["record"] is None and given["replay"] is None
    if stack == "compose":
        from proxy.cli.up_compose import up_compose

        code = up_compose(state, None if database == "compose" else database, smoke=smoke, **given)
    elif given["detach"]:
        _detach(state, given["as_json"])
        return
    else:
        code = _up_embedded(state, database, smoke=smoke, **given)
    raise click.exceptions.Exit(code)


def _up_embedded(state: StateDir, database: str | None, *, smoke: bool, as_json: bool, **given: Any) -> int:
    keep_one_heap()
    from proxy.stack.embedded import UpOptions

    record, replay = given["record"], given["replay"]
    options = UpOptions(
        config=given["config"].absolute(),
        state=state.root,
        env_file=given["env_file"].absolute(),
        host=given["host"],
        port=given["port"],
        mode=given["mode"],
        without=given["without"],
        database=database,
        record=record.absolute() if record else None,
        replay=replay.absolute() if replay else None,
    )
    with state.hold():
        if (last := state.last_run()) and last.project:  # of a launcher that was killed
            containers.stop(state, volumes=False)
        return asyncio.run(_serve(options, state, smoke=smoke, as_json=as_json))


EMBEDDED_ONLY = ("host", "record", "replay")
COMPOSE_ONLY = ("edge", "domain", "email", "replicas", "http_port", "https_port", "build", "pull")


def _check_options(stack: str) -> None:
    """Ends the command at an option that the stack asked for does not have."""
    context = click.get_current_context()
    for name in EMBEDDED_ONLY if stack == "compose" else COMPOSE_ONLY:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            other = "embedded" if stack == "compose" else "compose"
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --stack {other}.")


def _check_no_other(stack: str, state: StateDir) -> None:
    """Raises StateError where the other stack is up on this folder."""
    run = state.read_run()
    if run is None or run.stack == stack:
        return
    if run.stack == "compose" and not state.is_held() and not _has_containers(run):
        state.clear_run()  # they were removed by other means
        return
    raise StateError(
        f"the {run.stack} stack is up on {state.root} ({run.url}). "
        f"Stop it first (litellm-local down), or give this one a folder of its own: --state DIR"
    )


def _has_containers(run: Run) -> bool:
    from proxy.stack.docker import DockerError, Engine

    try:
        return bool(Engine.connect().containers(run.project or ""))
    except DockerError:
        return True  # as the run file says


def _check_database_url(url: str | None) -> None:
    if url not in (None, "compose") and not str(url).startswith(("postgresql://", "postgres://")):
        raise click.BadParameter(
            "give a postgresql://user:password@host:port/name URL, or compose for Postgres in a container, or leave it "
            "out for the stack's own Postgres.",
            param_hint="--database",
        )


# -- foreground --------------------------------------------------------------------------------------------


async def _serve(options: UpOptions, state: StateDir, *, smoke: bool, as_json: bool) -> int:
    """Runs the stack until a signal; returns the exit code."""
    from proxy.stack.embedded import EmbeddedStack

    began = time.monotonic()
    stacks: list[EmbeddedStack] = []
    stop = _stop_on_signals(stacks)
    steps = steps_for(sys.stderr if as_json else sys.stdout)
    if left := await asyncio.to_thread(state.stop_leftovers):
        steps.say(f"Stopped what an earlier launcher left running: {', '.join(left)}.")
    with _event_log(state) as record:

        def report(text: str) -> None:
            steps.say(f"! {text}")
            if not _writes_into(state.log("launcher")):
                record(text)

        stack = EmbeddedStack(options, state, steps, lambda event: report(f"{event.service} {event.text}"))
        stacks.append(stack)
        steps.say(f"litellm-local: {stack.run.mode} mode ({stack.plan.choice.reason})")
        if stack.run.recording:
            steps.say(f"Recording what the providers answer into {stack.run.recording}; keys are left out.")
        try:
            with steps.live():
                if not await _unless_stopped(stack.start(), stop):
                    return 130
                passed = not smoke or await _unless_stopped(asyncio.to_thread(prove, stack.run, state, steps), stop)
            if stop.is_set():
                return 130
            stack.mark_ready(proven=passed if smoke else None)
            announce(stack.run, state, time.monotonic() - began, as_json=as_json)
            give_back()
            await stop.wait()
            steps.say("Stopping …")
            return 0 if passed else SMOKE_FAILED
        except Exception as error:
            for line in getattr(error, "log", []):
                steps.say(f"    {line}")
            raise
        finally:
            await stack.stop()


async def _unless_stopped(work: Coroutine[Any, Any, Any], stop: asyncio.Event) -> Any:
    """The result of `work`, or None where the stop signal came first (the work is then cancelled)."""
    if stop.is_set():
        work.close()
        return None
    task = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        return None
    result = task.result()
    return True if result is None else result


def _stop_on_signals(stacks: Sequence[EmbeddedStack]) -> asyncio.Event:
    """What is set by the first signal; a second one kills these stacks. To be called before anything else: until then
    Ctrl-C cancels every task at once, and asyncio cannot take back a process that it has half started."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            for stack in stacks:
                stack.kill()
        stop.set()

    for number in SIGNALS:
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


# -- already up, detached ----------------------------------------------------------------------------------


def _report_running(state: StateDir, as_json: bool) -> None:
    """A second `up`: waits for the first one to be ready, and says where it is."""
    run = _wait_ready(state, lambda: state.is_held())
    if run is None:
        raise StateError("the other litellm-local on this folder stopped before it was ready. Run up again.")
    if not as_json:
        click.echo(f"litellm-local is already up (launcher pid {run.launcher_pid}). To change it: litellm-local down")
    announce(run, state, time.time() - run.started_at, as_json=as_json)


def _wait_ready(state: StateDir, alive: Callable[[], bool]) -> Run | None:
    while alive():
        run = state.read_run()
        if run and run.ready:
            return run
        time.sleep(0.1)
    return None


def _detach(state: StateDir, as_json: bool) -> None:
    """Starts the same command in a session of its own, shows its progress, returns when it is ready.

    A signal before that stops it, and ends this command with the signal's exit code.
    """
    state.prepare()
    arguments = [word for word in sys.argv[1:] if word not in ("--detach", "-d", "--json")]
    path = state.log("launcher")
    came = _signals_that_come()
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
    while child.poll() is None and not came:
        with contextlib.suppress(OSError):  # of a terminal that is gone: its SIGHUP comes next
            shown = _show_more(path, shown, as_json)
        run = state.read_run()
        if run and run.ready and run.launcher_pid == child.pid:
            break
        time.sleep(0.1)
    if came:
        _stop(child, came)
        with contextlib.suppress(OSError):
            click.echo("Stopped.", err=True)
        raise click.exceptions.Exit(128 + came[0])
    _show_more(path, shown, as_json)
    if child.poll() is not None:
        if as_json:
            click.echo("\n".join(tail(path, 20)), err=True)
        raise click.exceptions.Exit(child.returncode or 1)
    assert run is not None  # noqa: S101 - the loop ended by it
    if as_json:
        announce(run, state, 0, as_json=True)
    if run.proven is False:
        raise click.exceptions.Exit(SMOKE_FAILED)


def _signals_that_come() -> list[int]:
    """Those that have come, to be looked at: one that raised could leave a process behind that is just being started.
    What is ignored, as SIGHUP under nohup, stays so."""
    came: list[int] = []
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: came.append(number))
    return came


def _stop(launcher: subprocess.Popen[bytes], came: Sequence[int]) -> None:
    """Until it has ended; signals that still come go on to it, as it kills its services at a second one."""
    told = 0
    while launcher.poll() is None:
        if told < len(came):
            told = len(came)
            launcher.terminate()
        time.sleep(0.1)


def _show_more(path: Path, offset: int, as_json: bool) -> int:
    with path.open("rb") as file:
        file.seek(offset)
        text = file.read()
    click.echo(text.decode("utf-8", "replace"), nl=False, err=as_json)
    return offset + len(text)

"""`down`, `status`, `logs`, `env`: a running service, looked at and stopped."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import psutil

from proxy import secrets
from proxy.cli import containers
from proxy.cli.options import NOT_RUNNING, json_option, require_run, state_option
from proxy.stack import reach
from proxy.stack.state import Run, StateDir, StateError, tail

SERVICES = ("gateway", "simulator", "recorder", "postgres", "launcher")
CONTAINERS = ("edge", "certbot", "valkey", "prometheus", "migrate")  # besides them


@click.command()
@state_option
@click.option("--wipe", is_flag=True, help="Also delete the data: database, logs, run state.")
@click.option("--yes", is_flag=True, help="Do not ask before --wipe deletes.")
def down(state_dir: Path, wipe: bool, yes: bool) -> None:
    """Stop the service. Its data stays, unless --wipe."""
    state = StateDir(state_dir)
    if wipe and not yes:
        click.confirm(f"Delete the database and everything else in {state.root}?", abort=True)
    stopped = _stop_launcher(state)
    left = state.stop_leftovers()
    stopped |= containers.stop(state, volumes=wipe)
    if stopped:
        click.echo("Stopped.")
    elif left:
        click.echo(f"Stopped what an earlier launcher left running: {', '.join(left)}.")
    else:
        click.echo("litellm-local was not running here.")
    state.clear_run()
    if wipe and state.root.exists():
        with state.hold():
            _wipe(state)
        click.echo(f"Deleted {state.root}.")


def _stop_launcher(state: StateDir) -> bool:
    if not state.is_held():
        return False
    run = state.read_run()
    if run is None:  # it has the lock but has not written its run file yet, or is on its last instruction
        deadline = time.monotonic() + 5
        while run is None and state.is_held() and time.monotonic() < deadline:
            time.sleep(0.05)
            run = state.read_run()
        if run is None:
            if not state.is_held():
                return True
            raise StateError(
                f"something holds {state.root} but says nothing of itself. Wait for it to end, then try again."
            )
    with suppress(psutil.NoSuchProcess):
        launcher = psutil.Process(run.launcher_pid)
        launcher.send_signal(signal.SIGTERM)
        click.echo(f"Stopping (launcher pid {run.launcher_pid}) …", err=True)
        if not _has_ended(launcher, 60 if run.project is None else 120):  # containers are given longer
            click.echo("The launcher does not stop; killing it.", err=True)
            launcher.kill()
            _has_ended(launcher, 10)
    return True


def _has_ended(process: psutil.Process, seconds: float) -> bool:
    """Whether it ends in time; one that only waits for its parent to take note has."""
    deadline = time.monotonic() + seconds
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _wipe(state: StateDir) -> None:
    try:
        shutil.rmtree(state.root)
    except OSError as error:
        raise StateError(
            f"{error.filename} cannot be deleted ({error.strerror}). Delete {state.root} by hand."
        ) from None


@click.command()
@state_option
@json_option
def status(state_dir: Path, as_json: bool) -> None:
    """What runs, where and in which mode. Exit code 3 where nothing does."""
    state = StateDir(state_dir)
    run = state.read_run()
    if run is None:
        left = [f"{process.name()} (pid {process.pid})" for process in state.leftovers()]
        if as_json:
            click.echo(json.dumps({"running": False, "leftovers": left}))
        else:
            click.echo("litellm-local is not running here. Start it with: litellm-local up")
            if left:
                click.echo(f"An earlier launcher left running: {', '.join(left)}. `up` or `down` will stop them.")
        raise click.exceptions.Exit(NOT_RUNNING)
    services = _service_states(run) if run.stack == "embedded" else containers.states(run)
    running = any(service["running"] for service in services.values())
    ready = run.ready and (run.stack == "embedded" or all(map(_is_well, services.values())))
    if as_json:
        values = {
            "running": running,
            "stack": run.stack,
            "ready": ready,
            "url": run.url,
            "mode": run.mode,
            "database": run.database,
            "simulator_url": run.simulator_url,
            "recorder": _recorder_state(run),
            "config": run.config,
            "env_file": run.env_file,
            "logs": str(state.logs) if run.stack == "embedded" else "litellm-local logs",
            "launcher_pid": run.launcher_pid if state.is_held() else None,
            "seconds": round(time.time() - run.started_at, 1),
            "services": services,
        }
        click.echo(json.dumps(values, indent=1))
    else:
        _show_status(run, services, ready=ready)
        if recorder := _recorder_state(run):
            click.echo(f"  {recorded(recorder)}")
        logs = f"logs in {state.logs}" if run.stack == "embedded" else f"containers of {run.project}"
        click.echo(f"  {logs}, configuration {run.config}")
    if not running and run.stack == "compose":
        raise click.exceptions.Exit(NOT_RUNNING)


def _is_well(service: dict[str, Any]) -> bool:
    return bool(service["running"]) and service["state"] in ("running", "healthy")


def _show_status(run: Run, services: dict[str, dict[str, Any]], *, ready: bool) -> None:
    word = "ready" if ready else "not ready" if run.ready else "starting"
    click.echo(f"{word}  {run.url}  mode {run.mode}  database {run.database}")
    for name, service in services.items():
        memory = f"{service['memory_mb']} MB" if service["memory_mb"] is not None else "-"
        word = service.get("state") or ("running" if service["running"] else "down")
        click.echo(f"  {name:<10} {word:<9} pid {service['pid']:<8} {memory:>8}  restarts {service['restarts']}")


def _recorder_state(run: Run) -> dict[str, Any] | None:
    """What the recorder says of itself; of one that does not answer, the file alone. None where none is asked for."""
    if run.recorder_url is None:
        return None
    import httpx  # slow to import, and needed here only

    try:
        said: dict[str, Any] = httpx.get(f"{run.recorder_url}/healthz", timeout=5, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return {"file": run.recording, "recorded": None, "exchanges": None, "problem": "the recorder does not answer"}
    return {name: said.get(name) for name in ("file", "recorded", "exchanges", "problem")}


def recorded(recorder: dict[str, Any]) -> str:
    """A recorder's state in a line."""
    text = f"recording into {recorder['file']}"
    if recorder["recorded"] is not None:
        earlier = recorder["exchanges"] - recorder["recorded"]
        text += f": {recorder['recorded']} exchanges" + (f" ({earlier} before them)" if earlier else "")
    return text + (f"  ! {recorder['problem']}" if recorder["problem"] else "")


def _service_states(run: Run) -> dict[str, dict[str, Any]]:
    states: dict[str, dict[str, Any]] = {}
    for name, service in run.services.items():
        pid = int(service["pid"])
        memory: int | None = None
        running = False
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            running = process.status() != psutil.STATUS_ZOMBIE
            family = [process, *process.children(recursive=True)]
            memory = round(sum(_memory(member) for member in family) / 1e6)
        states[name] = {"running": running, "pid": pid, "memory_mb": memory, "restarts": service["restarts"]}
    return states


def _memory(process: psutil.Process) -> int:
    """PSS in bytes where the kernel tells it (shared pages counted once over all), else the resident size."""
    with suppress(psutil.Error):
        info = process.memory_full_info()
        return int(getattr(info, "pss", info.uss))
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


@click.command()
@click.argument("service", type=click.Choice(SERVICES + CONTAINERS), required=False)
@state_option
@click.option("-f", "--follow", is_flag=True, help="Keep printing as more is written, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=40, show_default=True, help="How many last lines.")
def logs(service: str | None, state_dir: Path, follow: bool, lines: int) -> None:
    """Show what the services wrote; all of them, or one."""
    state = StateDir(state_dir)
    run = state.read_run()
    if run is not None and run.stack == "compose":
        containers.show_logs(run, state, service, follow=follow, lines=lines)
        return
    chosen = [service] if service else [name for name in SERVICES if state.log(name).exists()]
    if not any(state.log(name).exists() for name in chosen):
        click.echo(f"No logs in {state.logs} yet. Start the service with: litellm-local up", err=True)
        raise click.exceptions.Exit(1)
    width = max(len(name) for name in chosen)

    def show(name: str, line: str) -> None:
        click.echo(line if service else f"{name:<{width}} | {line}")

    offsets = {}
    for name in chosen:
        path = state.log(name)
        offsets[name] = path.stat().st_size if path.exists() else 0
        for line in tail(path, lines):
            show(name, line)
    while follow:
        for name in chosen:
            offsets[name], new = _more(state.log(name), offsets[name])
            for line in new:
                show(name, line)
        time.sleep(0.2)


def _more(path: Path, offset: int) -> tuple[int, Iterator[str]]:
    """What was appended to a log since `offset`, whole lines only, and where to go on."""
    try:
        if path.stat().st_size < offset:
            offset = 0  # it was set aside and begun anew
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return 0, iter(())
    whole = data[: data.rfind(b"\n") + 1]
    return offset + len(whole), iter(whole.decode("utf-8", "replace").splitlines())


@click.command()
@state_option
@json_option
def env(state_dir: Path, as_json: bool) -> None:
    """Print variables that point a client at the service: eval "$(litellm-local env)"."""
    state = StateDir(state_dir)
    run = require_run(state)
    url, key = run.url, reach.secrets_of(run).get(secrets.MASTER_KEY, "")
    values = {
        "LITELLM_PROXY_URL": url,
        "LITELLM_MASTER_KEY": key,
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": key,
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": key,
    }
    if reach.self_signed_shown(run, state):
        values["LITELLM_LOCAL_CA"] = str(state.certificate)  # for curl --cacert and the like
    on_terminal = sys.stdout.isatty() and "LITELLM_LOCAL_SHOW_KEYS" not in os.environ
    shown = {name: secrets.mask(value) if on_terminal and value == key else value for name, value in values.items()}
    if as_json:
        click.echo(json.dumps(shown))
    else:
        for name, value in shown.items():
            click.echo(f"export {name}={shlex.quote(value)}")
    if on_terminal:
        click.echo('# keys are cut short on a terminal; use: eval "$(litellm-local env)"', err=True)

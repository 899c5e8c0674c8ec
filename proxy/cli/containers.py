"""What `down`, `status` and `logs` do about containers. The rest of those commands is in stack.py."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import click

from proxy.stack.state import Run, StateDir


def stop(state: StateDir, *, volumes: bool) -> bool:
    """Takes down the containers of this state folder, where it has any; whether there were some."""
    from proxy.stack.compose import compose_of, other_folder, take_down
    from proxy.stack.docker import DockerError, Engine

    run = state.last_run()
    known = run is not None and run.project is not None
    if run is None or run.project is None:
        run = _rendered(state)
    if run is None or run.project is None:
        return False
    try:
        there = Engine.connect().containers(run.project)
    except DockerError as error:
        if known:
            raise
        if volumes:
            click.echo(f"Docker volumes of the project {run.project}, if there are any, stay: {error}", err=True)
        return False
    if other := other_folder(there, state):
        raise DockerError(f"the Compose project {run.project} runs from another state folder ({other}): it stays.")
    if there or volumes:
        if there:
            click.echo(f"Stopping the containers of {run.project} …", err=True)
        take_down(compose_of(run, state), state, volumes=volumes)
    return bool(there)


def _rendered(state: StateDir) -> Run | None:
    """The project that `config render compose` has named, for what was started without `up`, or is down by now."""
    from proxy import secrets
    from proxy.catalog import project_root
    from proxy.stack.compose_plan import COMPOSE_ENV, DATABASE_ENV, PROJECT

    named = [secrets.read_env_file(state.root / name).get(PROJECT) for name in (COMPOSE_ENV, DATABASE_ENV)]
    if (project := named[0] or named[1]) is None:
        return None
    files = [str(project_root() / "docker-compose.yml")]
    return Run(0, "", "", "", "", "compose", stack="compose", project=project, compose_files=files)


def states(run: Run) -> dict[str, dict[str, Any]]:
    """What `status` shows of each container, by service."""
    from proxy.stack.docker import Engine

    engine = Engine.connect()
    # What is done, as the migration is, is not shown.
    shown = [one for one in engine.containers(run.project or "") if (one.state, one.exit_code) != ("exited", 0)]
    with ThreadPoolExecutor(8) as pool:  # the engine takes a second for each
        memories = list(pool.map(engine.memory, shown))
    return {
        one.label: {
            "running": one.state == "running",
            "state": (one.health or one.state) if one.state == "running" else one.state,
            "pid": one.pid,
            "memory_mb": None if memory is None else round(memory / 1e6),
            "restarts": one.restarts,
            "container": one.name,
        }
        for one, memory in zip(shown, memories, strict=True)
    }


def show_logs(run: Run, state: StateDir, service: str | None, *, follow: bool, lines: int) -> None:
    """What the containers wrote, as `docker compose logs` shows it."""
    from proxy.stack.compose import compose_of
    from proxy.stack.docker import Engine

    there = {one.service for one in Engine.connect().containers(run.project or "")}
    if not there or (service is not None and service not in there):
        click.echo(f"There is no container of {service or run.project}. See: litellm-local status", err=True)
        raise click.exceptions.Exit(1)
    options = ["--tail", str(lines), *(["--follow"] if follow else []), *(["--no-log-prefix"] if service else [])]
    compose = replace(compose_of(run, state), profiles=("*",))
    compose.run("logs", *options, *([service] if service else []), on_line=click.echo)

"""The database of the containers, for a command that needs no more of them: backup, restore, a change of the salt.

A running one is taken as it is; else the service `postgres` is started alone, and stopped in the end. Asked inside its
container, at its own socket, as the role that owns the data: no password is needed, and nothing has to be published.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy import secrets
from proxy.catalog import project_root
from proxy.database.servers import InContainer
from proxy.render.compose import compose_env
from proxy.stack.compose_plan import COMPOSE_ENV, DATABASE_ENV, PROJECT, operators_variables, project_of
from proxy.stack.docker import Compose, Container, DockerError, Engine
from proxy.stack.files import write_files
from proxy.stack.state import StateDir

FILE = "docker-compose.yml"
VOLUME = "postgres"
# The socket is where config/postgres/postgresql.conf has it, whatever the image's own default.
SETTINGS = {"PGHOST": "/var/run/postgresql", "PGDATABASE": "litellm", "PGOPTIONS": "-c role=litellm", "PGTZ": "UTC"}


def project_name(state: StateDir, env_file: Path) -> str:
    """The Compose project of a state folder: the one that is up, that was rendered, or that would be."""
    run = state.last_run()
    if run is not None and run.project:
        return run.project
    for name in (COMPOSE_ENV, DATABASE_ENV):
        if rendered := secrets.read_env_file(state.root / name).get(PROJECT):
            return rendered
    return project_of(state.root, {**secrets.read_env_file(env_file), **os.environ})


def has_data(state: StateDir, env_file: Path) -> bool:
    """Whether there is a database in a volume of this state folder's project. Raises DockerError."""
    project = project_name(state, env_file)
    return f"{project}_{VOLUME}" in Engine.connect().volumes(project)


def gateways(state: StateDir, env_file: Path) -> list[str]:
    """Names of the gateways that run. Raises DockerError."""
    found = Engine.connect().containers(project_name(state, env_file))
    return [one.name for one in found if one.service == "gateway" and one.state in ("running", "restarting", "paused")]


@contextmanager
def served(state: StateDir, env_file: Path) -> Iterator[InContainer]:
    """The database for as long as it is needed. Raises DockerError."""
    engine, project = Engine.connect(), project_name(state, env_file)
    before = _postgres(engine, project)
    if before is not None and before.is_up:
        yield _inside(before)
        return
    others = [one for one in engine.containers(project) if one.service != "postgres"]
    compose = Compose(project, project_root(), (project_root() / FILE,), _prepared(state, env_file, project))
    try:
        compose.run("up", "--detach", "--no-build", "--no-deps", "--wait", "postgres")
        now = _postgres(engine, project)
        if now is None:
            raise DockerError(f"the container of Postgres is gone. Run it again; see: docker ps --all | grep {project}")
        yield _inside(now)
    finally:
        compose.run(*(("stop", "postgres") if before or others else ("down",)))


def _postgres(engine: Engine, project: str) -> Container | None:
    return next((one for one in engine.containers(project) if one.service == "postgres"), None)


def _inside(container: Container) -> InContainer:
    settings = [f"--env={name}={value}" for name, value in SETTINGS.items()]
    docker = shutil.which("docker") or "docker"
    return InContainer((docker, "exec", "--interactive", *settings, container.id), f"the database of {container.name}")


def _prepared(state: StateDir, env_file: Path, project: str) -> Path:
    """The variables' file, with all that the container reads in its place. What is there already stays as it is."""
    name = secrets.POSTGRES_PASSWORD
    password = f"secrets/postgres/{name}"
    values = secrets.ensure_secrets(env_file)
    rendered = next((state.root / one for one in (COMPOSE_ENV, DATABASE_ENV) if (state.root / one).exists()), None)
    files = {} if (state.root / password).exists() else {password: f"{values[name]}\n"}
    if rendered is None:
        operators = operators_variables({**values, **os.environ})
        files[DATABASE_ENV] = compose_env({PROJECT: project, "LITELLM_LOCAL_STATE": state.root, **operators})
    try:
        write_files(state.root, files)
    except OSError as error:
        raise DockerError(f"cannot write {error.filename}: {error.strerror or error}") from None
    return rendered or state.root / DATABASE_ENV

"""Options that several commands share, and what they default to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from proxy import secrets
from proxy.catalog import project_root
from proxy.stack.state import Run, StateDir

F = TypeVar("F", bound=Callable[..., Any])

NOT_RUNNING = 3  # exit code of commands that need a running service, as systemctl status has it


def state_option(command: F) -> F:
    return click.option(
        "--state",
        "state_dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="LITELLM_LOCAL_STATE",
        default=lambda: project_root() / ".litellm-local",
        show_default=".litellm-local",
        help="Folder of data, logs and run file.",
    )(command)


def config_option(command: F) -> F:
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        default=lambda: project_root() / "config" / "proxy.yaml",
        show_default="config/proxy.yaml",
        help="The configuration file.",
    )(command)


def env_file_option(command: F) -> F:
    return click.option(
        "--env-file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="LITELLM_LOCAL_ENV_FILE",
        default=lambda: project_root() / ".env",
        show_default=".env",
        help="File of secrets and provider keys; made on first start.",
    )(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def require_run(state: StateDir) -> Run:
    """The running service's run file; ends the command where none runs."""
    run = state.read_run()
    if run is None:
        click.echo("litellm-local is not running here. Start it with: litellm-local up", err=True)
        raise click.exceptions.Exit(NOT_RUNNING)
    return run


def running_target(state: StateDir) -> tuple[str, str] | None:
    """(URL, master key) of the service that runs on this state folder, or None."""
    run = state.read_run()
    if run is None:
        return None
    values = secrets.merge_environment(secrets.read_env_file(Path(run.env_file)))
    return run.url, values.get(secrets.MASTER_KEY, os.environ.get(secrets.MASTER_KEY, ""))

"""Options that several commands share, and what they default to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from proxy.catalog import project_root
from proxy.stack.state import Run, StateDir

if TYPE_CHECKING:
    from proxy.checks import Target

F = TypeVar("F", bound=Callable[..., Any])

PORT = click.IntRange(1, 65535)
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


def mode_options(command: F) -> F:
    mode = click.option(
        "--mode",
        type=click.Choice(["auto", "double", "live"]),
        default="auto",
        show_default=True,
        help="double: providers are simulated; live: real ones; auto: double when no provider key is set.",
    )
    without = click.option(
        "--without", multiple=True, metavar="PROVIDER", help="Leave a provider's models out (may be repeated)."
    )
    return mode(without(command))


def compose_options(command: F) -> F:
    """How the containers are laid out."""
    options = (
        click.option("--edge", is_flag=True, help="Behind the edge, which alone is published: HTTPS and its limits."),
        click.option("--domain", metavar="NAME", help="Public name, to be certified.  [default: as in proxy.yaml]"),
        click.option("--email", metavar="ADDRESS", help="Where Let's Encrypt writes to.  [default: as in proxy.yaml]"),
        click.option(
            "--replicas", type=click.IntRange(1), default=1, show_default=True, help="Gateways, behind the edge."
        ),
        click.option("--http-port", type=PORT, default=80, show_default=True, help="Of the edge."),
        click.option("--https-port", type=PORT, default=443, show_default=True, help="Of the edge."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def image_options(command: F) -> F:
    """What is done about images before containers start."""
    build = click.option(
        "--build/--no-build", default=None, help="Make the gateway's image.  [default: where it is not up to date]"
    )
    pull = click.option(
        "--pull",
        type=click.Choice(["always", "missing", "never"]),
        default="missing",
        show_default=True,
        help="When to fetch images.",
    )
    return build(pull(command))


def deployment_options(command: F) -> F:
    url = click.option(
        "--url", envvar="LITELLM_PROXY_URL", help="Address of the deployment.  [default: the one running here]"
    )
    key = click.option("--key", envvar="LITELLM_MASTER_KEY", help="Its master key; better given in LITELLM_MASTER_KEY.")
    return url(key(command))


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def require_run(state: StateDir) -> Run:
    """The running service's run file; ends the command where none runs."""
    run = state.read_run()
    if run is None:
        click.echo("litellm-local is not running here. Start it with: litellm-local up", err=True)
        raise click.exceptions.Exit(NOT_RUNNING)
    return run


def target_of(url: str | None, key: str | None, state: StateDir) -> Target:
    """The deployment that the options name, or the one running here; ends the command where there is none."""
    from proxy.checks import Target
    from proxy.stack import reach

    run = state.read_run()
    if run is not None and (url is None or url.rstrip("/") == run.url):
        return reach.target(run, state, key)
    if url is None:
        click.echo(
            "litellm-local is not running here. Start it (litellm-local up), or name a deployment: --url", err=True
        )
        raise click.exceptions.Exit(NOT_RUNNING)
    if not key:
        raise click.UsageError("give the deployment's master key in LITELLM_MASTER_KEY, or with --key.")
    return Target(url=url.rstrip("/"), key=key)

"""How errors reach the user: the expected ones as their own message, the others as one line and a file."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path

import click


def user_errors() -> tuple[type[Exception], ...]:
    """The exceptions whose message is written for the user. Imported late: only a failing command needs them."""
    from proxy.bench.deployment import BenchError
    from proxy.catalog import CatalogError
    from proxy.checks.drill.run import DrillError
    from proxy.database.engine import EngineSetupError
    from proxy.database.migrations import DatabaseError
    from proxy.secrets import SecretsError
    from proxy.simulator.cassettes.load import CassetteError
    from proxy.simulator.client import DoubleError
    from proxy.stack.compose_plan import OptionsError
    from proxy.stack.docker import DockerError
    from proxy.stack.mode import ModeError
    from proxy.stack.ports import PortError
    from proxy.stack.service import ServiceError
    from proxy.stack.state import StateError

    return (
        BenchError,
        CassetteError,
        CatalogError,
        DatabaseError,
        DockerError,
        DoubleError,
        DrillError,
        EngineSetupError,
        ModeError,
        OptionsError,
        PortError,
        SecretsError,
        ServiceError,
        StateError,
    )


def report_unexpected(error: Exception) -> None:
    """A defect or a broken machine: says what, and keeps the traceback in a file for a bug report."""
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.errno == 28:
        click.echo(
            f"litellm-local: the disk is full ({error.filename or 'no space left'}). Free some and run it again.",
            err=True,
        )
        return
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="litellm-local-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            traceback.print_exception(error, file=file)
        kept = f" Details are in {Path(file.name)}."
    except OSError:
        kept = ""
    click.echo(f"litellm-local: unexpected error: {what}.{kept}", err=True)

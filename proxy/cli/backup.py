"""`backup` and `restore`: the database into one file, and back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy.cli.database import COMPOSE, Place, database_options
from proxy.cli.progress import steps_for
from proxy.stack.state import StateError

if TYPE_CHECKING:
    from proxy.database.backup import Manifest


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE where it is there already.")
@database_options
def backup(file: Path, force: bool, place: Place) -> None:
    """Write the database (virtual keys, users, budgets, spend) to FILE.

    The service may be up (the spend of the last seconds may then be missing) or down. FILE is readable by you alone;
    the secrets in .env are not in it.
    """
    from proxy.database.backup import backup as write

    if not place.exists():
        raise StateError(
            f"there is no database in {place.state.root}: litellm-local was never up there. See --state, --database."
        )
    steps = steps_for(sys.stdout)
    with steps.live(), steps.step("Backup") as step, place.opened() as database:
        manifest = write(database, file, step.say, replace=force)
        step.note(f"{_told(manifest)}, {file.stat().st_size / 1e6:.1f} MB")
    click.echo(f"Written: {file}. Keep a copy of {place.env_file} too, apart from it: it holds the keys.")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask before the database is replaced.")
@database_options
def restore(file: Path, yes: bool, place: Place) -> None:
    """Replace the database by what FILE holds, all of it or nothing.

    The service must be down. A damaged file, or one of a newer LiteLLM or PostgreSQL, is refused before anything
    changes. A file of the embedded database goes into that of the containers, and the other way round.
    """
    from proxy.database.backup import read_manifest
    from proxy.database.backup import restore as replay

    place.check_idle()
    manifest = read_manifest(file)
    click.echo(f"{file}: {_told(manifest)}, made {manifest.made_at} by {manifest.made_by}, LiteLLM {manifest.litellm}")
    if not yes:
        click.confirm(f"Replace {place.told} by it?", abort=True)
    steps = steps_for(sys.stdout)
    with steps.live(), place.state.hold(), place.opened() as database:
        with steps.step("Restore") as step:
            replay(database, file, step.say)
            step.note("every table has its rows and its checksum")
        if isinstance(database, str):
            from proxy.database.migrations import migrate

            with steps.step("Migrations") as step:
                report = migrate(database, lambda p: step.say(f"{p.done}/{p.total} {p.name}"))
                step.note(f"{len(report.applied)} applied" if report.applied else "up to date")
    how = " --stack compose, or --database compose" if place.kind == COMPOSE else ""
    click.echo(f"Restored. Start the service: litellm-local up{how}")


def _told(manifest: Manifest) -> str:
    def rows(table: str) -> int:
        return manifest.tables[table].rows if table in manifest.tables else 0

    keys, spend = rows("LiteLLM_VerificationToken"), rows("LiteLLM_SpendLogs")
    return f"{len(manifest.tables)} tables, {manifest.rows:,} rows ({keys:,} keys, {spend:,} requests)"

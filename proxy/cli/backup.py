"""`backup` and `restore`: the database into one file, and back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy import secrets
from proxy.cli.options import config_option, env_file_option, state_option
from proxy.cli.progress import steps_for
from proxy.stack.state import StateDir, StateError

if TYPE_CHECKING:
    from proxy.database.backup import Manifest

database_option = click.option(
    "--database",
    metavar="URL",
    envvar="LITELLM_LOCAL_DATABASE_URL",
    help="postgresql:// URL of a database of your own.  [default: as in proxy.yaml, embedded]",
)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE where it is there already.")
@config_option
@state_option
@env_file_option
@database_option
def backup(file: Path, force: bool, config: Path, state_dir: Path, env_file: Path, database: str | None) -> None:
    """Write the database (virtual keys, users, budgets, spend) to FILE.

    The service may be up (the spend of the last seconds may then be missing) or down. FILE is readable by you alone;
    the secrets in .env are not in it.
    """
    from proxy.database.backup import backup as write

    steps = steps_for(sys.stdout)
    state = StateDir(state_dir)
    if not _own_database(database, config) and not state.postgres.exists():
        raise StateError(f"there is no database in {state.root}: litellm-local was never up there. See --state.")
    with steps.live(), steps.step("Backup") as step, _database(database, config, state, env_file) as url:
        manifest = write(url, file, step.say, replace=force)
        step.note(f"{_told(manifest)}, {file.stat().st_size / 1e6:.1f} MB")
    click.echo(f"Written: {file}. Keep a copy of {env_file} too, apart from it: it holds the keys.")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask before the database is replaced.")
@config_option
@state_option
@env_file_option
@database_option
def restore(file: Path, yes: bool, config: Path, state_dir: Path, env_file: Path, database: str | None) -> None:
    """Replace the database by what FILE holds, all of it or nothing.

    The service must be down. A damaged file, or one of a newer LiteLLM, is refused before anything changes.
    """
    from proxy.database.backup import read_manifest
    from proxy.database.backup import restore as replay
    from proxy.database.migrations import migrate

    state = StateDir(state_dir)
    if state.is_held():
        raise StateError("litellm-local is up. Stop it first: litellm-local down. Nothing was changed.")
    manifest = read_manifest(file)
    click.echo(f"{file}: {_told(manifest)}, made {manifest.made_at} by {manifest.made_by}, LiteLLM {manifest.litellm}")
    if not yes:
        click.confirm("Replace the whole database by it?", abort=True)
    steps = steps_for(sys.stdout)
    with steps.live(), state.hold(), _database(database, config, state, env_file) as url:
        with steps.step("Restore") as step:
            replay(url, file, step.say)
            step.note("every table has its rows and its checksum")
        with steps.step("Migrations") as step:
            report = migrate(url, lambda p: step.say(f"{p.done}/{p.total} {p.name}"))
            step.note(f"{len(report.applied)} applied" if report.applied else "up to date")


def _told(manifest: Manifest) -> str:
    def rows(table: str) -> int:
        return manifest.tables[table].rows if table in manifest.tables else 0

    keys, spend = rows("LiteLLM_VerificationToken"), rows("LiteLLM_SpendLogs")
    return f"{len(manifest.tables)} tables, {manifest.rows:,} rows ({keys:,} keys, {spend:,} requests)"


def _own_database(database: str | None, config: Path) -> str | None:
    from proxy.catalog import load_catalog

    return load_catalog(config).database.url if database in (None, "", "embedded") else database


@contextmanager
def _database(database: str | None, config: Path, state: StateDir, env_file: Path) -> Iterator[str]:
    """URL of the database that the service would use: one's own, the running embedded one, or that one started."""
    from proxy.database.embedded import EmbeddedPostgres
    from proxy.stack.ports import free_port

    if own := _own_database(database, config):
        yield own
        return
    run = state.read_run()
    values = secrets.ensure_secrets(Path(run.env_file) if run else env_file)
    state.prepare()
    port = state.remembered_ports().get("postgres")
    up = run is not None and port is not None
    postgres = EmbeddedPostgres(
        data_dir=state.postgres,
        log_file=state.log("postgres"),
        port=port if up and port is not None else free_port(),
        password=values[secrets.POSTGRES_PASSWORD],
    )
    if up:
        yield postgres.url()
    else:
        with postgres.served() as url:
            yield url

"""`migrate`: LiteLLM's migrations on a database of one's own, apart from `up`."""

from __future__ import annotations

import sys

import click

from proxy.cli.progress import steps_for


@click.command()
@click.option(
    "--database",
    metavar="URL",
    envvar="DATABASE_URL",
    required=True,
    help="postgresql:// URL; better given in DATABASE_URL, where no process list shows it.",
)
@click.option("--check", is_flag=True, help="Only say what is pending; exit code 1 where something is.")
@click.option("--resolve", metavar="NAME", help="Mark a failed migration as rolled back, so that it is tried again.")
def migrate(database: str, check: bool, resolve: str | None) -> None:
    """Apply LiteLLM's migrations to a database.

    `up` does this by itself. Use it before starting several gateways on one database, or after a failed migration.
    """
    from proxy.database import migrations

    if check:
        names = migrations.pending(database)
        for name in names:
            click.echo(name)
        click.echo(f"{len(names)} pending" if names else "up to date", err=True)
        raise click.exceptions.Exit(1 if names else 0)
    if resolve:
        migrations.resolve_failed(database, resolve)
        click.echo(f"{resolve} is marked as rolled back.")
    steps = steps_for(sys.stdout)
    with steps.live(), steps.step("Migrations") as step:
        report = migrations.migrate(database, lambda p: step.say(f"{p.done}/{p.total} {p.name}"))
        step.note(f"{len(report.applied)} applied" if report.applied else "up to date")
    for warning in report.warnings:
        click.echo(f"! {warning}", err=True)

"""`litellm-local config`: check, show and render config/proxy.yaml."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from proxy.catalog import Catalog, CatalogError, load_catalog
from proxy.catalog.drift import Drift, drift
from proxy.catalog.load import read_catalog
from proxy.catalog.problems import describe, shown
from proxy.catalog.schema import schema_text
from proxy.catalog.source import Source
from proxy.cli.k8s import check_manifests, render_k8s
from proxy.cli.options import (
    compose_options,
    config_option,
    env_file_option,
    json_option,
    mode_options,
    state_option,
)
from proxy.database.errors import masked_url
from proxy.render.litellm import litellm_config, litellm_yaml
from proxy.simulator import api_bases
from proxy.simulator.script.schema import schema_text as double_schema_text

out_option = click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.  [default: standard output]"
)


@click.group()
def config() -> None:
    """Check, show and render config/proxy.yaml."""


@config.command()
@config_option
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings, too.")
@click.option("--k8s", is_flag=True, help="Kubernetes manifests rather than the file: those it renders to, or PATHS.")
@click.argument("paths", nargs=-1)
@json_option
def check(config: Path, strict: bool, k8s: bool, paths: tuple[str, ...], as_json: bool) -> None:
    """Say all that is wrong with the file, and what has changed at the providers.

    With --k8s, what is wrong with Kubernetes manifests beyond what a schema sees: in what the file renders to, or in
    PATHS: files, folders, or - for standard input.

    \b
    Exit code: 0 right (warnings or not), 1 not right (or, with --strict, warned about).
    """
    if k8s:
        _check_k8s(config, paths, strict, as_json)
        return
    if paths:
        raise click.UsageError("PATHS are Kubernetes manifests: add --k8s. For another proxy.yaml: --config.")
    try:
        catalog, source = read_catalog(config)
    except CatalogError as error:
        _report_problems(error, as_json)
        sys.exit(1)
    warnings = drift(catalog, today())
    if as_json:
        _print_json({"ok": True, "file": str(config), "problems": [], "warnings": _as_data(warnings, source)})
    else:
        _report_warnings(config, catalog, warnings, source)
    if strict and warnings:
        sys.exit(1)


def _check_k8s(config: Path, paths: tuple[str, ...], strict: bool, as_json: bool) -> None:
    try:
        findings = check_manifests(config, paths)
    except CatalogError as error:
        _report_problems(error, as_json)
        sys.exit(1)
    problems = [one for one in findings if not one.warning]
    warnings = [one for one in findings if one.warning]
    if as_json:
        shapes = [[{"where": one.where, "message": one.message} for one in some] for some in (problems, warnings)]
        _print_json({"ok": not problems, "problems": shapes[0], "warnings": shapes[1]})
    else:
        for one in findings:
            click.echo(f"{one.where}: {'warning: ' if one.warning else ''}{one.message}")
        counts = f"{_count(len(problems), 'problem')}, {_count(len(warnings), 'warning')}"
        click.echo(f"\n{counts}." if findings else "The manifests are right.")
    if problems or (strict and warnings):
        sys.exit(1)


@config.command()
@config_option
@json_option
def show(config: Path, as_json: bool) -> None:
    """Show models, fallback chains and limits."""
    catalog = load_catalog(config)
    if as_json:
        _print_json(_public(catalog))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 140  # a pipe has no width to fit into
    console.print(_models_table(catalog), "")
    console.print(_chains_table(catalog, "->" if console.options.ascii_only else "→"), "")
    console.print(_limits_table(catalog))


@config.group()
def render() -> None:
    """Render what other programs read."""


@render.command("litellm")
@config_option
@click.option("--double", metavar="URL", help="Send all providers' requests to the simulator at this URL.")
@out_option
def render_litellm(config: Path, double: str | None, out: Path | None) -> None:
    """LiteLLM's config.yaml. Keys are named, not contained: LiteLLM reads them from the environment."""
    bases = api_bases(double) if double else None
    try:
        rendered = litellm_config(load_catalog(config), api_bases=bases)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    _write(litellm_yaml(rendered), out)


@render.command("compose")
@config_option
@env_file_option
@state_option
@mode_options
@click.option("--port", type=click.IntRange(1, 65535), help="Port of 127.0.0.1.  [default: as proxy.yaml says]")
@compose_options
def render_compose(**given: Any) -> None:
    """Files and variables for docker-compose.yml, into the state folder; secrets are made where missing."""
    from proxy.stack.compose_plan import COMPOSE_ENV, ComposeOptions, make_plan

    plan = make_plan(ComposeOptions(state=given.pop("state_dir"), **given))
    plan.write()
    click.echo(f"Wrote {len(plan.files) + 1} files below {plan.root}, for {plan.choice.mode} mode. Start it:", err=True)
    click.echo(f"  docker compose --env-file {shown(plan.root / COMPOSE_ENV)} up -d", err=True)


render.add_command(render_k8s)


@config.command()
@click.argument("file", type=click.Choice(["proxy", "double"]), default="proxy")
@out_option
def schema(file: str, out: Path | None) -> None:
    """The JSON Schema of config/proxy.yaml, or of the double's scripts, for editors.

    They are kept as config/proxy.schema.json and config/double.schema.json.
    """
    _write(schema_text() if file == "proxy" else double_schema_text(), out)


def today() -> date:
    return datetime.now(timezone.utc).date()


def _report_problems(error: CatalogError, as_json: bool) -> None:
    if as_json:
        found = [{"line": p.line or None, "path": p.path, "message": p.message} for p in error.problems]
        _print_json({"ok": False, "file": str(error.file), "problems": found, "warnings": []})
        return
    for problem in error.problems:
        click.echo(describe(error.file, problem))
    click.echo(f"\n{_count(len(error.problems), 'problem')}. Nothing was started or changed.")


def _report_warnings(file: Path, catalog: Catalog, warnings: list[Drift], source: Source) -> None:
    for warning in warnings:
        click.echo(f"{shown(file)}:{source.line(warning.path)}: warning: {warning.alias}: {warning.message}")
    if warnings:
        click.echo()
    what = [
        _count(len(catalog.providers), "provider"),
        _count(len(catalog.models), "model"),
        _count(len(catalog.fallbacks), "fallback chain"),
    ]
    click.echo(f"{shown(file)} is right: {', '.join(what)}.")
    if warnings:
        click.echo(
            f"{_count(len(warnings), 'warning')}: no value is changed by them and the service starts as written."
        )


def _as_data(warnings: list[Drift], source: Source) -> list[dict[str, Any]]:
    return [
        {
            "kind": warning.kind,
            "model": warning.alias,
            "line": source.line(warning.path),
            "path": ".".join(map(str, warning.path)),
            "message": warning.message,
        }
        for warning in warnings
    ]


def _public(catalog: Catalog) -> dict[str, Any]:
    """The catalogue as data, without a password that may stand in the database's URL."""
    data = catalog.model_dump(mode="json")
    if catalog.database.url:
        data["database"]["url"] = masked_url(catalog.database.url)
    return data


def _models_table(catalog: Catalog) -> Table:
    table = Table(title="Models", title_justify="left")
    for heading in ("alias", "provider", "upstream"):
        table.add_column(heading, overflow="fold")
    for heading in ("temperature", "window", "$ / 1K in", "$ / 1K out"):
        table.add_column(heading, justify="right")
    for alias, model in catalog.models.items():
        price = model.price_per_1k
        table.add_row(
            alias,
            model.provider,
            model.upstream,
            f"{model.temperature:g}",
            f"{model.context_window:,}",
            _dollars(price.input),
            _dollars(price.output),
        )
    return table


def _chains_table(catalog: Catalog, arrow: str) -> Table:
    table = Table(title="Fallbacks", title_justify="left")
    table.add_column("model", overflow="fold")
    table.add_column("asked in its place, in this order", overflow="fold")
    for alias in catalog.models:
        table.add_row(alias, f" {arrow} ".join(catalog.fallbacks.get(alias, [])) or "-")
    return table


def _limits_table(catalog: Catalog) -> Table:
    limits = catalog.limits
    table = Table(title="Limits", title_justify="left", show_header=False)
    table.add_row("requests per minute, each model", f"{limits.requests_per_minute:,}")
    table.add_row("attempts", f"{limits.retries + 1}, {limits.retry_delay_seconds:g} s apart")
    table.add_row("whole request", f"{limits.request_timeout_seconds:g} s")
    table.add_row("body", f"{limits.max_body_mb:g} MB, {limits.max_nesting} levels deep")
    return table


def _dollars(price: float) -> str:
    return f"{price:.10f}".rstrip("0").rstrip(".")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _write(text: str, out: Path | None) -> None:
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {out}: {error.strerror or error}") from None
    click.echo(f"Wrote {out}.", err=True)

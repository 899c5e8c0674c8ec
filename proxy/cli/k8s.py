"""Kubernetes: `config render k8s`, and what `config check --k8s` reads: files, folders or a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from proxy import secrets
from proxy.catalog import Catalog, load_catalog, project_root
from proxy.catalog.problems import shown
from proxy.cli.options import config_option, env_file_option
from proxy.render.k8s import COMPONENTS, Images, Manifest, files, filled_secret, manifests, text
from proxy.render.k8s.checks import Finding, Given, check
from proxy.render.k8s.patch import patched
from proxy.stack.mode import ModeError, check_master_key, choose_mode, without_providers

KUSTOMIZATION = "kustomization.yaml"
# What is read of a kustomization. More of it is kustomize's own business.
_READ = {"apiVersion", "kind", "resources", "components", "patches"}


@click.command("k8s")
@config_option
@env_file_option
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Write the folder of manifests and kustomizations."
)
@click.option("--secrets", "secret", is_flag=True, help="The Secret alone, filled from .env; to standard output only.")
@click.option(
    "--with", "components", multiple=True, type=click.Choice(COMPONENTS), help="Change the set-up; may be repeated."
)
@click.option("--without", multiple=True, metavar="PROVIDER", help="Leave a provider and its models out.")
@click.option(
    "--image",
    help="Image of the gateway, the migration and the simulator.  "
    "[default: LITELLM_LOCAL_GATEWAY_IMAGE, else as proxy.yaml says]",
)
def render_k8s(
    config: Path,
    env_file: Path,
    out: Path | None,
    secret: bool,
    components: tuple[str, ...],
    without: tuple[str, ...],
    image: str | None,
) -> None:
    """Manifests for Kubernetes.

    To standard output: what `kubectl apply -f -` takes, all but the Secret. With --out: a folder for
    `kubectl apply -k`.
    """
    if out is not None and (secret or components):
        raise click.UsageError("--out writes the whole folder, and never a secret: leave out --secrets and --with.")
    catalog = without_providers(load_catalog(config), without)
    if secret:
        click.echo(text([_secret(catalog, env_file, double="double" in components)]), nl=False)
        return
    images = _images(catalog, image)
    try:
        if out is None:
            click.echo(text(manifests(catalog, images, postgres_files(), components)), nl=False)
            return
        rendered = files(catalog, images, postgres_files())
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    _write(out, rendered)
    click.echo(f"Wrote {len(rendered)} files below {shown(out)}. Next: {shown(out)}/QUICK_DEPLOY.md", err=True)


def check_manifests(config: Path, paths: Sequence[str]) -> list[Finding]:
    """What is wrong with these files and folders, `-` for standard input; with none, in what the file renders to.

    Raises click.ClickException for what cannot be read, CatalogError for a wrong file.
    """
    if paths:
        return check([one for path in paths for one in _read(path)])
    catalog = load_catalog(config)
    images = _images(catalog, None)
    found = set()
    for components in ((), *((name,) for name in COMPONENTS), COMPONENTS):
        found.update(check([Given(one) for one in manifests(catalog, images, postgres_files(), components)]))
    return sorted(found, key=lambda finding: (finding.warning, finding))


def postgres_files() -> dict[str, str]:
    """The database container's files, shared with docker-compose.yml."""
    folder = project_root() / "config" / "postgres"
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(folder.iterdir())}


def _images(catalog: Catalog, gateway: str | None) -> Images:
    others = {
        name: os.environ[f"LITELLM_LOCAL_{name.upper()}_IMAGE"]
        for name in ("postgres", "valkey")
        if os.environ.get(f"LITELLM_LOCAL_{name.upper()}_IMAGE")
    }
    chosen = gateway or os.environ.get("LITELLM_LOCAL_GATEWAY_IMAGE") or catalog.kubernetes.image
    return Images(chosen, **others)


def _secret(catalog: Catalog, env_file: Path, *, double: bool) -> Manifest:
    values = secrets.ensure_secrets(env_file)
    try:
        choice = choose_mode("double" if double else "live", catalog, {**values, **os.environ})
    except ModeError as error:  # says what to do in the words of `up`
        raise ModeError(str(error).replace("--mode double", "--with double")) from None
    check_master_key(choice.mode, values[secrets.MASTER_KEY], str(env_file))
    return filled_secret(catalog, values, choice.keys)


def _write(out: Path, rendered: dict[str, str]) -> None:
    """What an earlier run wrote and this one does not is taken away; other files, as of the operator, stay."""
    try:
        for name, content in rendered.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(content, encoding="utf-8")
        heading = next(iter(rendered.values())).splitlines()[0]
        for file in sorted(out.rglob("*.yaml")):
            name = file.relative_to(out).as_posix()
            if name not in rendered and file.read_text(encoding="utf-8").startswith(heading):
                file.unlink()
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror or error}") from None


# -- manifests as they come --------------------------------------------------------------------------------


def _read(path: str) -> list[Given]:
    if path == "-":
        return _documents(sys.stdin.read(), "standard input")
    place = Path(path)
    if place.is_dir():
        if (place / KUSTOMIZATION).is_file():
            return _kustomized(place, [])
        found = [one for pattern in ("*.yaml", "*.yml") for file in sorted(place.rglob(pattern)) for one in _file(file)]
        if not found:
            raise click.ClickException(f"{path}: there are no manifests in this folder.")
        return found
    return _file(place)


def _file(file: Path) -> list[Given]:
    try:
        return _documents(file.read_text(encoding="utf-8"), str(shown(file)))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.ClickException(f"{file}: cannot be read: {reason}.") from None


def _documents(content: str, where: str) -> list[Given]:
    try:
        documents = [one for one in yaml.safe_load_all(content) if one is not None]
    except yaml.YAMLError as error:
        raise click.ClickException(f"{where}: is not YAML: {' '.join(str(error).split())}") from None
    if not all(isinstance(one, dict) for one in documents):
        raise click.ClickException(f"{where}: holds something that is no manifest.")
    return [
        Given(one, where) for one in documents if not str(one.get("apiVersion")).startswith("kustomize.config.k8s.io")
    ]


def _kustomized(folder: Path, before: list[Given]) -> list[Given]:
    """As `kubectl kustomize` puts it together, as far as this project's own folders need it; `before` is what a
    component is laid over."""
    try:
        data: Any = yaml.safe_load((folder / KUSTOMIZATION).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise click.ClickException(
            f"{folder / KUSTOMIZATION}: cannot be read: {' '.join(str(error).split())}"
        ) from None
    unknown = sorted(set(data) - _READ) if isinstance(data, dict) else ["what it is"]
    if unknown:
        raise click.ClickException(
            f"{folder / KUSTOMIZATION}: {', '.join(unknown)} is not understood here. Let kustomize do it:\n"
            f"  kubectl kustomize {folder} | litellm-local config check --k8s -"
        )
    found = list(before)
    for name in data.get("resources") or []:
        found += _kustomized(folder / name, []) if (folder / name).is_dir() else _file(folder / name)
    for name in data.get("components") or []:
        found = _kustomized(folder / name, found)
    patches = [
        one.manifest
        for patch in data.get("patches") or []
        for one in (_documents(patch["patch"], KUSTOMIZATION) if "patch" in patch else _file(folder / patch["path"]))
    ]
    if not patches:
        return found
    files_ = {id(one.manifest): one.file for one in found}
    try:
        result = patched([one.manifest for one in found], patches)
    except KeyError as error:
        raise click.ClickException(f"{folder / KUSTOMIZATION}: a patch is for {error}, which is not there.") from None
    return [Given(one, files_.get(id(one), str(shown(folder)))) for one in result]

"""config/proxy.yaml -> a checked `Catalog`, or one error that names every mistake in it.

The gateway, the launcher and the commands call `load_catalog`; `config check` calls `read_catalog` to
have the lines for its warnings as well.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from proxy.catalog.checks import check_across
from proxy.catalog.explain import explain
from proxy.catalog.models import Catalog
from proxy.catalog.prices import bundled_map
from proxy.catalog.problems import CatalogError, Problem
from proxy.catalog.source import Source, parse
from proxy.catalog.words import WORDS


def project_root() -> Path:
    """The folder that holds config/ and proxy/."""
    return Path(__file__).resolve().parents[2]


def default_path() -> Path:
    return project_root() / "config" / "proxy.yaml"


def load_catalog(path: Path | None = None) -> Catalog:
    """Reads and checks the file (default: config/proxy.yaml of the project). Raises CatalogError."""
    try:
        return read_catalog(path)[0]
    finally:
        bundled_map.cache_clear()  # 2 MB in the launcher and in each gateway


def read_catalog(path: Path | None = None) -> tuple[Catalog, Source]:
    """As `load_catalog`, with the source that knows the lines."""
    file = path or default_path()
    source = parse(_read(file))
    if source.data is None and not source.problems:
        source.problems.append(Problem(0, "", f"the file is empty; {_restore_hint(file)}"))
    elif not isinstance(source.data, dict) and source.data is not None:
        source.problem((), "the file must be a mapping (providers:, models:, ...) at its top level")
    if isinstance(source.data, dict):
        catalog = _validate(source)
        check_across(source)
        if catalog is not None and not source.problems:
            return catalog, source
    raise CatalogError(file, source.problems)


def _validate(source: Source) -> Catalog | None:
    try:
        return Catalog.model_validate(source.data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            explain(source, details, WORDS)
        return None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        reason = f"no such file; {_restore_hint(file)}"
    except IsADirectoryError:
        reason = "is a folder; name the file in it"
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    raise CatalogError(file, [Problem(0, "", reason)])


def _restore_hint(file: Path) -> str:
    if file.resolve() == default_path():
        return "restore it with: git checkout config/proxy.yaml"
    return "start from a copy of config/proxy.yaml"

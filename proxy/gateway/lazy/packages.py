"""Packages that hand on names of their modules, thousands of classes, of which a gateway asks for a few.

The `__init__` of these says `from .module import Name` and hardly anything else, so that all their modules are loaded
when one of them is. Here a name is fetched when it is asked for. A package whose `__init__` does more is loaded as
ever. `install` is called once, before LiteLLM is imported.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

# OpenAI's SDK: 1,700 kinds of objects of all its APIs; MCP's: three versions of its protocol, and a server;
# pydantic as it was before version 2: prisma's client has five small things of it
_PACKAGES = ("openai.types", "openai.resources", "mcp", "mcp_types", "pydantic.v1")

ALL = "__all__"
_LISTED = re.compile(rf"^{ALL}\b(?: = (\[[^]]*\]|\([^)]*\)|[^\n]*))?", re.MULTILINE)


def install() -> None:
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _PACKAGES and not fullname.startswith(tuple(f"{name}." for name in _PACKAGES)):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.submodule_search_locations is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        exports = exports_of(self.get_data(self.path), self.name, Path(self.path).parent)
        if exports is None:
            super().exec_module(module)
        else:
            make_lazy(module, exports)


Exports = dict[str, tuple[str, str]]
"""name -> the module that has it, and its name there."""


def exports_of(source: bytes, package: str, folder: Path) -> Exports | None:
    """What a package hands on; None where its `__init__` does more than that.

    A name that is a module's of the package, too, cannot wait: the import of that module would take its place.
    """
    exports: Exports = {}
    files = {one.name for one in folder.iterdir()}  # as they are written: Batch is not batch.py, whatever the disk says
    for line in ast.parse(source).body:
        if isinstance(line, ast.ImportFrom) and line.module != "__future__":
            module = importlib.util.resolve_name("." * line.level + (line.module or ""), package)
            names = _names(line, module)
            if names is None:
                return None
            for name, shown in names:
                is_module = not files.isdisjoint({shown, f"{shown}.py"})
                if is_module and (module, name) != (package, shown):
                    return None
                exports[shown] = (module, name)
        elif (assigned := _assigned(line)) and isinstance(assigned[1], ast.Name) and assigned[1].id in exports:
            exports[assigned[0]] = exports[assigned[1].id]
        elif not _says_nothing(line):
            return None
    return exports


def _names(line: ast.ImportFrom, module: str) -> list[tuple[str, str]] | None:
    """What a line imports, with its name here; None where that cannot be told."""
    if line.names[0].name != "*":
        return [(one.name, one.asname or one.name) for one in line.names if one.name != ALL]
    spec = importlib.util.find_spec(module)
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        return None
    said = _LISTED.findall(importlib.util.decode_source(spec.loader.get_data(spec.loader.path)))
    return [(name, name) for name in ast.literal_eval(said[0])] if len(said) == 1 else None


def _assigned(line: ast.stmt) -> tuple[str, ast.expr] | None:
    """The one name that a line gives a value to, and that."""
    if isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name):
        return line.targets[0].id, line.value
    return None


def _says_nothing(line: ast.stmt) -> bool:
    """A docstring, an import from the future, or `__all__`."""
    if assigned := _assigned(line):
        return assigned[0] == ALL and isinstance(assigned[1], ast.List)
    return isinstance(line, ast.ImportFrom) or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))


def make_lazy(module: ModuleType, exports: Exports) -> None:
    package = module.__name__

    def fetch(name: str) -> Any:
        origin = exports.get(name)
        if origin is None or origin[0] == package:
            value = _submodule(package, name)
        else:
            value = getattr(importlib.import_module(origin[0]), origin[1])
        setattr(module, name, value)
        return value

    module.__dict__.update(__getattr__=fetch, __dir__=lambda: [*module.__dict__, *exports], __all__=list(exports))


def _submodule(package: str, name: str) -> ModuleType:
    """One that would be there, had the package's names been loaded."""
    missing = AttributeError(f"module {package!r} has no attribute {name!r}")
    if name.startswith("__"):
        raise missing
    full = f"{package}.{name}"
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise
        raise missing from None

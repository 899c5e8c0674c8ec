"""Half of LiteLLM's start and memory is one module that nothing uses: prisma's generated `types.py`.

Its 10 MB declare a TypedDict for every possible query, 334 MB and some seconds in each process, and serve
annotations alone. `install` puts a stand-in in its place that becomes the real module as soon as anything but
the four names imported at run time is asked for. Called once, before LiteLLM is imported.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "prisma.types"
# Imported by name in prisma's modules, but for annotations only, which are never evaluated.
_ANNOTATIONS = ("DatasourceOverride", "HttpConfig", "MetricsFormat", "Serializable")


class LazyTypes(ModuleType):
    """Stands in for `prisma.types` and turns into it."""

    def __init__(self, file: Path) -> None:
        super().__init__(NAME)
        self._loader: SourceFileLoader | None = SourceFileLoader(NAME, str(file))
        self._lock = threading.RLock()
        self.__spec__ = importlib.util.spec_from_loader(NAME, self._loader)
        self.__file__ = str(file)
        self.__package__ = "prisma"
        self.__dict__.update(dict.fromkeys(_ANNOTATIONS, Any))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        with self._lock:
            loader, self._loader = self._loader, None
            if loader:
                loader.exec_module(self)
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {NAME!r} has no attribute {name!r}") from None


def install() -> bool:
    """Whether the stand-in is in place: not where prisma is missing, not generated, or imported already."""
    spec = importlib.util.find_spec("prisma")
    if spec is None or not spec.submodule_search_locations or "prisma" in sys.modules:
        return False
    file = Path(spec.submodule_search_locations[0]) / "types.py"
    if not file.is_file():
        return False
    sys.modules[NAME] = LazyTypes(file)
    return True

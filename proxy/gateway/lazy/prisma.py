"""Half of LiteLLM's start and memory is one module that nothing uses: prisma's generated `types.py`.

Its 10 MB declare a TypedDict for every possible query, 334 MB and some seconds in each process, and serve
annotations alone. `install` puts a stand-in in its place that becomes the real module as soon as anything but
the four names imported at run time is asked for. Called once, before LiteLLM is imported.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from proxy.gateway.lazy.modules import LazyModule

NAME = "prisma.types"
# Imported by name in prisma's modules, but for annotations only, which are never evaluated.
_ANNOTATIONS = ("DatasourceOverride", "HttpConfig", "MetricsFormat", "Serializable")


def install() -> bool:
    """Whether the stand-in is in place: not where prisma is missing, not generated, or imported already."""
    spec = importlib.util.find_spec("prisma")
    if spec is None or not spec.submodule_search_locations or "prisma" in sys.modules:
        return False
    file = Path(spec.submodule_search_locations[0]) / "types.py"
    if not file.is_file():
        return False
    sys.modules[NAME] = LazyModule(SourceFileLoader(NAME, str(file)), dict.fromkeys(_ANNOTATIONS, Any))
    return True

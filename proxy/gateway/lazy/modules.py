"""Modules that come along with LiteLLM's import, are large, and serve what hardly anybody asks of a gateway.

`install` has them loaded when they are used for the first time. Called once, before LiteLLM is imported.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

_LATER = ("soundfile",)  # 13 MB with numpy: the length of audio that is passed through to AWS Transcribe
_NEVER = ("httpx._main",)  # 6 MB with rich and pygments: httpx's own command, which it goes without


def install() -> None:
    for name in _NEVER:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # to import it then is an ImportError
    for name in _LATER:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            sys.modules[name] = LazyModule(spec.loader)


class LazyModule(ModuleType):
    """Stands in for a module and turns into it as soon as something is asked of it that is not among `known`.

    importlib's own LazyLoader does so already when the module is imported by others, before Python 3.12.
    """

    def __init__(self, loader: SourceFileLoader, known: Mapping[str, Any] | None = None) -> None:
        super().__init__(loader.name)
        self._loader: SourceFileLoader | None = loader
        self._lock = threading.RLock()
        self.__spec__ = importlib.util.spec_from_loader(loader.name, loader)
        self.__file__ = loader.path
        self.__package__ = loader.name.rpartition(".")[0]
        self.__dict__.update(known or {})

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
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None

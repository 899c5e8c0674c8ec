"""Packages hand on the same names, loaded when they are asked for."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.gateway.lazy.packages import _PACKAGES, _Finder, exports_of

NAMES = """
import importlib, json, pkgutil, sys
from pathlib import Path
from proxy.gateway.lazy import packages as lazily

def packages(name):
    yield name
    for one in pkgutil.iter_modules(importlib.import_module(name).__path__):
        if one.ispkg and f"{name}.{one.name}" != "mcp.cli":  # which ends the process: more is to be installed
            yield from packages(f"{name}.{one.name}")

def what(value):
    return [getattr(value, "__module__", None), getattr(value, "__qualname__", None), type(value).__qualname__]

if sys.argv[1] == "lazy":
    lazily.install()
found = {}
for name in [each for root in lazily._PACKAGES for each in packages(root)]:
    package = importlib.import_module(name)
    exports = lazily.exports_of(Path(package.__file__).read_bytes(), name, Path(package.__file__).parent)
    for each in exports or ():
        found[f"{name}.{each}"] = what(getattr(package, each))
print(json.dumps(found))
"""

LOADED = """
import json, sys
from proxy.gateway.lazy import packages
if sys.argv[1] == "lazy":
    packages.install()
import openai
chat = openai.AsyncOpenAI(api_key="any").chat.completions
from openai.types.chat import ChatCompletion
from mcp.types import CallToolResult
from pydantic.v1 import Extra
print(json.dumps([name for name in sys.modules if name.startswith(packages._PACKAGES)]))
"""


def told(program: str, how: str):
    done = subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_all_names_are_what_they_are_without() -> None:
    lazy = told(NAMES, "lazy")
    assert lazy == told(NAMES, "as ever")
    assert len(lazy) > 1500
    assert all(any(name.startswith(f"{package}.") for name in lazy) for package in _PACKAGES)


def test_what_is_not_asked_for_is_not_loaded() -> None:
    lazy, whole = told(LOADED, "lazy"), told(LOADED, "as ever")
    assert set(lazy) < set(whole)
    assert len(lazy) < len(whole) / 2
    for name in ("openai.types.evals.create_eval_jsonl_run_data_source", "mcp_types.methods", "pydantic.v1.main"):
        assert name in whole
        assert name not in lazy


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Writes a package below one of those that are meant, and gives its import."""
    monkeypatch.setattr("proxy.gateway.lazy.packages._PACKAGES", ("lazy_here",))
    monkeypatch.syspath_prepend(str(tmp_path))
    finder = _Finder()
    sys.meta_path.insert(0, finder)

    def write(**modules: str):
        folder = tmp_path / "lazy_here"
        folder.mkdir()
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text)
        return importlib.import_module("lazy_here")

    yield write
    sys.meta_path.remove(finder)
    for name in [name for name in sys.modules if name.startswith("lazy_here")]:
        del sys.modules[name]


HEAD = '"""Says what it has."""\nfrom __future__ import annotations\n'


def test_a_name_is_fetched_once_it_is_asked_for(packages) -> None:
    lazy = packages(__init__=HEAD + "from .one import a as b\nfrom .two import c", one="a = object()", two="c = 2")
    assert "lazy_here.one" not in sys.modules
    assert lazy.b is lazy.b is sys.modules["lazy_here.one"].a
    assert "lazy_here.two" not in sys.modules
    assert {"b", "c"} <= set(dir(lazy))


def test_from_and_star_imports(packages) -> None:
    packages(
        __init__="from .one import a\nfrom json import dumps as write\nfrom . import two", one="a = 1", two="c = 2"
    )
    got: dict = {}
    exec("from lazy_here import a, write\nfrom lazy_here import two", got)  # noqa: S102 - as a module has them
    assert (got["a"], got["write"]([]), got["two"].c) == (1, "[]", 2)
    got = {}
    exec("from lazy_here import *", got)  # noqa: S102
    assert {"a", "write", "two"} <= set(got)


def test_what_a_module_hands_on_whole_and_under_another_name(packages) -> None:
    lazy = packages(
        __init__="from .one import *\nfrom .two import *\nfrom .one import __all__ as __all__\nversion = a",
        one="__all__ = ['a', 'b']\na, b, c = 1, 2, 3",
        two='__all__ = "d", "e"\nd, e = 4, 5',
    )
    assert lazy.version == lazy.a == 1
    assert "lazy_here.two" not in sys.modules
    assert (lazy.d, lazy.e) == (4, 5)
    with pytest.raises(AttributeError, match="c"):
        _ = lazy.c


def test_modules_are_there_as_attributes(packages) -> None:
    lazy = packages(__init__="from .one import a", one="a = 1")
    assert lazy.one.a == 1


@pytest.mark.parametrize("name", ["missing", "__wrapped__"])
def test_what_it_does_not_have(packages, name) -> None:
    lazy = packages(__init__="from .one import a", one="a = 1")
    with pytest.raises(AttributeError, match=name):
        getattr(lazy, name)


def test_a_module_that_fails_says_why(packages) -> None:
    lazy = packages(__init__="from .one import a", one="import not_there_at_all")
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        _ = lazy.a
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        _ = lazy.one


@pytest.mark.parametrize(
    "init",
    [
        "from .one import a\nprint",
        "from .one import *",  # it does not say what that is
        "from .said_twice import *\nfrom .one import a",
        "from .one import a\nb = c = a",
        "from .one import a\nb = missing if False else a",
        "from .one import one",  # else the module would stand in the name's place
        "from .one import a\n__all__ = sorted('a')",
        "import json\nfrom .one import a",
    ],
)
def test_a_package_that_does_more_is_loaded_as_ever(packages, init) -> None:
    lazy = packages(__init__=init, one="a = 1\none = 1", said_twice="__all__ = ['a']\na = b = 1\n__all__ += ['b']")
    assert "lazy_here.one" in sys.modules
    assert exports_of(init.encode(), "lazy_here", Path(lazy.__file__).parent) is None

"""The pytest plugin: fixture `llm_double`, marker `llm_double`, and what a failing test shows of the double.

Loaded by pytest through the entry point in pyproject.toml, in every project of the environment. So nothing heavy is
imported here: what a fixture needs comes with the first test that asks for it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from proxy.pytest_plugin.double import LlmDouble
    from proxy.pytest_plugin.session import Session

__all__ = ["LlmDouble", "llm_double"]

MARKER = "llm_double"
_DOUBLE: pytest.StashKey[LlmDouble] = pytest.StashKey()
_SESSION: pytest.StashKey[Session] = pytest.StashKey()
_BY_WORKERS: pytest.StashKey[bool] = pytest.StashKey()
_USED = "llm_double_used"
_HELP = {
    "url": "URL of the gateway to test against; its master key is taken from LITELLM_MASTER_KEY. "
    "[default: LITELLM_PROXY_URL, else the stack that runs on this machine]",
    "start": "Start a stack, and stop it at the end, where none is configured and none runs. [default: yes]",
    "strict": "Each test: a request that no rule takes, and a rule that no request used, fail it. [default: no]",
}


def __getattr__(name: str) -> Any:
    """`LlmDouble`, for the type of a test's argument."""
    if name == "LlmDouble":
        from proxy.pytest_plugin.double import LlmDouble

        return LlmDouble
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("llm_double", "test double of LLM providers (litellm-local)")
    group.addoption("--llm-double-url", metavar="URL", help=_HELP["url"])
    group.addoption("--llm-double-start", action=argparse.BooleanOptionalAction, default=None, help=_HELP["start"])
    group.addoption("--llm-double-strict", action="store_true", default=None, help=_HELP["strict"])
    parser.addini("llm_double_url", _HELP["url"])
    parser.addini("llm_double_start", _HELP["start"], type="bool", default=True)
    parser.addini("llm_double_strict", _HELP["strict"], type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "llm_double(strict=False, script=None): the test uses the fixture llm_double, strictly; "
        "with the rules of a script file.",
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """A marked test has the fixture, be it among its arguments or not; first, as others make clients of it."""
    names = getattr(item, "fixturenames", None)
    if names is not None and MARKER not in names and item.get_closest_marker(MARKER):
        names.insert(0, MARKER)


@pytest.fixture
def llm_double(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LlmDouble]:
    """The test double of the LLM providers: a virtual key and a scope of the double for this test alone.

    The SDKs of OpenAI, Anthropic and Google find it by the environment. Say what is answered with `reply`, `fail`,
    `outage`, `rules`, `load`; see what was asked in `calls`.
    """
    session = _session(request.config)
    marked = _marked(request)
    strict = marked.get("strict", _setting(request.config, "strict"))
    folders = [request.path.parent, request.config.rootpath]
    with session.double(folders) as double:
        for name, value in double.environment(os.environ).items():
            monkeypatch.setenv(name, value)
        if script := marked.get("script"):
            double.load(script)
        if strict or "strict" in marked:
            double.strict(bool(strict))
        request.node.stash[_DOUBLE] = double
        yield double


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fails a strict test here rather than in the fixture's end, which would be an error beside a pass."""
    result = yield
    double = item.stash.get(_DOUBLE, None)
    if double is not None and (complaint := double.complaint()):
        pytest.fail(complaint, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test shows the script and the journal; a passing one, rules that were never used."""
    report = yield
    double = item.stash.get(_DOUBLE, None)
    if double is None:
        return report
    if report.failed:
        is_told = call.excinfo is not None and getattr(call.excinfo.value, "lists_calls", False)
        report.sections.append((f"llm_double, scope {double.scope}", double.story(calls=not is_told)))
        del item.stash[_DOUBLE]  # said once
    elif call.when == "call" and report.passed and (unused := double.unused()):
        report.sections.append(("llm_double", "\n".join(f"never used: {line}" for line in unused)))
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """One of xdist's workers has ended: did it use the double? Of one that crashed it is not known."""
    if error or _USED in getattr(node, "workeroutput", {}):
        node.config.stash[_BY_WORKERS] = True


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """After xdist's own, so that the workers are gone when the main process looks whether to stop the stack."""
    config = session.config
    if _SESSION in config.stash:
        config.stash[_SESSION].end()
        if hasattr(config, "workeroutput"):
            config.workeroutput[_USED] = True
    elif _BY_WORKERS in config.stash:
        _session(config).end()


def _session(config: pytest.Config) -> Session:
    if _SESSION not in config.stash:
        from proxy.pytest_plugin.session import Session

        config.stash[_SESSION] = Session(
            _setting(config, "url"),
            start=bool(_setting(config, "start")),
            is_worker=hasattr(config, "workerinput"),
            say=lambda text: _say(config, text),
        )
    return config.stash[_SESSION]


def _say(config: pytest.Config, text: str) -> None:
    """A line on the terminal while a test's output is captured; xdist's workers have no terminal."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")
    if reporter is not None and not hasattr(config, "workerinput"):
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            reporter.ensure_newline()
            reporter.write_line(text)


def _setting(config: pytest.Config, name: str) -> Any:
    given = config.getoption(f"llm_double_{name}")
    return config.getini(f"llm_double_{name}") if given is None else given


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The arguments of the markers, the closest one's before those of its class and module."""
    found: dict[str, Any] = {}
    for marker in request.node.iter_markers(MARKER):
        unknown = set(marker.kwargs) - {"strict", "script"}
        if marker.args or unknown:
            given = ", ".join([*map(repr, marker.args), *sorted(unknown)])
            raise pytest.UsageError(f"@pytest.mark.llm_double takes strict=… and script=…, not {given}")
        found = {**marker.kwargs, **found}
    return found

"""Which gateway is tested against: configured, running or started; what is said where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from importlib import import_module

import pytest
from packaging.requirements import Requirement

from proxy.catalog import project_root
from proxy.stack.state import StateDir
from tests.checks.broken import Broken, Got, Sent, serving
from tests.conftest import Stack, free_port
from tests.pytest_plugin.conftest import APP, Run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEST = """
    import pathlib
    from app import ask

    def test_it(llm_double):
        llm_double.reply("Hello.")
        assert ask("?") == "Hello."
        pathlib.Path("url").write_text(llm_double.url)
"""


def test_the_entry_point_names_the_plugin() -> None:
    project = tomllib.loads((project_root() / "pyproject.toml").read_text())["project"]
    plugin = import_module(project["entry-points"]["pytest11"]["llm_double"])
    assert plugin.llm_double
    assert plugin.LlmDouble.reply
    assert "pytest-xdist" in {Requirement(one).name for one in project["optional-dependencies"]["test"]}


def test_a_project_that_does_not_use_it_pays_nothing() -> None:
    """pytest imports the plugin in every project of the environment."""
    code = "import json, sys, pytest; before = set(sys.modules); import proxy.pytest_plugin; " + (
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project_root())
    assert json.loads(done.stdout) == ["proxy", "proxy.pytest_plugin"]


# -- configured ------------------------------------------------------------------------------------------------


def test_by_option_and_by_ini_file(
    run: Run, project: pytest.Pytester, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_PROXY_URL", "http://127.0.0.1:9")
    run(TEST, f"--llm-double-url={stack.url}/").assert_outcomes(passed=1)
    project.makeini(f"[pytest]\nllm_double_url = {stack.url}")
    run(TEST).assert_outcomes(passed=1)
    assert (project.path / "url").read_text() == stack.url


def test_the_key_of_a_stack_on_this_machine_is_known(run: Run, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LITELLM_MASTER_KEY")
    monkeypatch.setenv("LITELLM_LOCAL_STATE", str(stack.state.root))
    run(TEST, f"--llm-double-url={stack.url}").assert_outcomes(passed=1)


def _refused(run: Run, message: str, *options: str) -> None:
    """Both tests say it, at once and without a traceback."""
    result = run(TEST + TEST.replace("test_it", "test_another"), *options)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines([f"llm_double: {message}"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert "proxy/pytest_plugin" not in result.stdout.str().replace("proxy/pytest_plugin.", "")


def test_nothing_answers_there(run: Run) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    _refused(run, f"nothing answers at {url} (--llm-double-url): *litellm-local up*", f"--llm-double-url={url}")


def test_no_url(run: Run) -> None:
    _refused(run, "nothing answers at localhost:4000 (--llm-double-url): *", "--llm-double-url=localhost:4000")


def test_a_wrong_key(run: Run, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-wrong-0000")
    _refused(run, f"{stack.url} (LITELLM_PROXY_URL) does not take the key in LITELLM_MASTER_KEY.")


def test_a_virtual_key_makes_no_keys(run: Run, gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    key = gateway.post("/key/generate", json={}).json()["key"]
    monkeypatch.setenv("LITELLM_MASTER_KEY", key)
    _refused(run, "the gateway made no virtual key with LITELLM_MASTER_KEY: 401 *")
    gateway.post("/key/delete", json={"keys": [key]}).raise_for_status()


def test_no_key(run: Run, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LITELLM_MASTER_KEY")
    _refused(run, f"LITELLM_PROXY_URL names {stack.url}, but its master key is not known. Set LITELLM_MASTER_KEY*")


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("live", "* is a live deployment: real providers, real money. llm_double works on a double only*"),
        (None, "what answers at * is no litellm-local: no x-litellm-local-mode header."),
    ],
)
def test_what_is_no_double_is_refused(run: Run, stack: Stack, mode: str | None, message: str) -> None:
    def pass_for(_sent: Sent, got: Got) -> None:
        del got.headers["x-litellm-local-mode"]
        if mode:
            got.headers["x-litellm-local-mode"] = mode

    proxy = Broken(stack.url)
    proxy.after = pass_for
    with serving(proxy) as url:
        _refused(run, message, f"--llm-double-url={url}")
    assert [sent.method for sent in proxy.seen] == ["GET"]  # nothing is made, nothing is spent


# -- running, started ------------------------------------------------------------------------------------------


def test_the_stack_that_runs_here_is_used_and_left_running(
    elsewhere: pytest.Pytester, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_STATE", str(stack.state.root))
    elsewhere.makepyfile(test_it=TEST)
    for options in ((), ("-n", "2"), ("--no-llm-double-start",)):
        elsewhere.runpytest_subprocess(*options).assert_outcomes(passed=1)
        assert (elsewhere.path / "url").read_text() == stack.url
        assert stack.state.is_held()


def test_none_is_started_where_none_is_to_be(elsewhere: pytest.Pytester) -> None:
    elsewhere.makepyfile(test_it=TEST)
    result = elsewhere.runpytest_subprocess("--no-llm-double-start")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "llm_double: no litellm-local runs on *state, and it is not to be started. Two ways out:",
            "  litellm-local up --detach *",
            "  --llm-double-url URL *",
        ]
    )
    assert not (elsewhere.path / "state").exists()


def test_one_is_started_for_all_workers_and_stopped_by_the_last_run_that_uses_it(
    elsewhere: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two test runs side by side on a state folder where nothing runs; the one with workers ends last. A provider's
    key in the environment does not make what is started a live one."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-developer-0000")
    for name, last in (
        ("workers", "while not pathlib.Path('../other-is-over').exists(): time.sleep(0.1)"),
        ("other", "pass"),
    ):
        folder = elsewhere.mkdir(name)
        (folder / "app.py").write_text(APP)
        (folder / "test_it.py").write_text(textwrap.dedent(SIDE_BY_SIDE).format(last=last))
    state = StateDir(elsewhere.path / "state")
    workers, other = (
        subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", *options],
            cwd=elsewhere.path / name,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, options in (("workers", ["-n", "4"]), ("other", []))
    )
    try:
        printed = other.communicate(timeout=120)[0]
        assert other.returncode == 0, printed
        (elsewhere.path / "other-is-over").touch()
        printed = workers.communicate(timeout=120)[0]
        assert workers.returncode == 0, printed
    finally:
        for run in (workers, other):
            run.kill()
            run.wait()
    urls = [(elsewhere.path / name / "urls").read_text().split() for name in ("workers", "other")]
    assert [len(seen) for seen in urls] == [8, 8]
    assert len({url for seen in urls for url in seen}) == 1
    assert not state.is_held()
    assert state.leftovers() == []
    assert not (state.root / "pytest.started").exists()


SIDE_BY_SIDE = """
    import pathlib, pytest, time
    from app import ask

    @pytest.mark.parametrize("number", range(8))
    def test_it(llm_double, number):
        if number == 7:
            {last}
        llm_double.reply(f"Hello {{number}}.")
        assert ask("?") == f"Hello {{number}}."
        with open("urls", "a") as urls:
            urls.write(llm_double.url + "\\n")
"""

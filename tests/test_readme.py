"""The README is true: its commands run, its tables say what the catalogue and the commands say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.catalog import load_catalog, project_root
from proxy.cli import COMMANDS
from proxy.database.engine import node_binary
from tests.conftest import Stack, bare_environment

TEXT = (project_root() / "README.md").read_text(encoding="utf-8")
RUN = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)  # run here, against the shared stack
PYTHON, TYPESCRIPT = (
    re.findall(rf"```{language}\n(?:#|//) (\S+)\n(.*?)```", TEXT, re.DOTALL) for language in ("python", "ts")
)  # test files, by their names in the first line
SET_UP = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)  # what .ci/run does on a bare machine
CONSOLE = re.findall(r"^\$ (.*)$", TEXT, re.MULTILINE)  # on a machine with Docker: see tests/containers


@pytest.mark.parametrize("block", RUN)
def test_each_command_runs(stack: Stack, block: str) -> None:
    environment = {
        **bare_environment(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LITELLM_LOCAL_STATE": str(stack.state.root),
    }
    script = "set -euo pipefail\n" + block.replace("curl -sS", "curl -sS --fail-with-body")
    done = subprocess.run(
        ["bash", "-c", script],  # noqa: S607 - the reader's own bash
        capture_output=True,
        text=True,
        env=environment,
        cwd=project_root(),
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def run_example(command: list[str], folder: Path, stack: Stack) -> str:
    environment = {
        **bare_environment(),
        "PYTHONPATH": str(project_root()),
        "LITELLM_PROXY_URL": stack.url,
        "LITELLM_MASTER_KEY": stack.master_key,
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("name", "code"), PYTHON, ids=[name for name, _ in PYTHON])
def test_each_pytest_example_passes(stack: Stack, tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / name).write_text(code, encoding="utf-8")
    printed = run_example([sys.executable, "-m", "pytest", "-v", name], tmp_path, stack)
    assert f" {code.count('def test_')} passed" in printed


@pytest.mark.parametrize(("name", "code"), TYPESCRIPT, ids=[name for name, _ in TYPESCRIPT])
def test_each_typescript_example_passes(stack: Stack, node_examples: Path, name: str, code: str) -> None:
    (node_examples / name).write_text(code, encoding="utf-8")
    printed = run_example([str(node_binary()), "--test", "--test-reporter=tap", name], node_examples, stack)
    assert f"# pass {code.count('test(')}\n" in printed


def test_there_are_examples() -> None:
    assert PYTHON
    assert TYPESCRIPT
    assert TEXT.count("```python") + TEXT.count("```ts") == len(PYTHON) + len(TYPESCRIPT)


def test_set_up_commands_are_the_scripts_with_options_they_know() -> None:
    for line in "".join(SET_UP).splitlines():
        command = line.split("#")[0].split()
        if command[0] == "export":
            continue
        script = project_root() / command[0]
        assert os.access(script, os.X_OK), line
        if command[0] == "./scripts/up":
            checked = subprocess.run(
                [sys.executable, "-m", "proxy.cli", "up", *command[1:], "--help"], capture_output=True, check=False
            )
            assert checked.returncode == 0, line


def test_console_commands_have_options_that_are_known() -> None:
    known = [shlex.split(line) for line in CONSOLE if line.startswith(("./scripts/up ", "litellm-local "))]
    assert len(known) >= 2
    for program, *words in known:
        arguments = ["up", *words] if program == "./scripts/up" else words
        checked = subprocess.run(
            [sys.executable, "-m", "proxy.cli", *arguments, "--help"], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, (words, checked.stderr)


def test_the_table_of_models_is_the_catalogue() -> None:
    catalog = load_catalog()
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) (\S+) \| (.*?) ?\|$", TEXT, re.MULTILINE)
    served = [row for row in rows if row[0] in catalog.models]
    assert [row[0] for row in served] == list(catalog.models)
    for alias, provider, upstream, chain in served:
        model = catalog.models[alias]
        assert (provider, upstream) == (model.provider, model.upstream)
        assert [target.strip() for target in chain.split("→") if target.strip()] == list(
            catalog.fallbacks.get(alias, [])
        )


def test_every_command_is_in_the_table() -> None:
    assert set(re.findall(r"^\| `litellm-local (\w+)` \|", TEXT, re.MULTILINE)) == set(COMMANDS)

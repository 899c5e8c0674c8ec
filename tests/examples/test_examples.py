"""The clients of scripts/examples, run as a user runs them, against the shared stack."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from proxy.catalog import project_root
from proxy.database.engine import node_binary
from tests.conftest import Stack, bare_environment

EXAMPLES = project_root() / "scripts" / "examples"
NAMES = ["chat.sh", "chat_requests.py", "chat_openai.py", "chat_axios.ts", "chat_openai.ts"]


@pytest.fixture(scope="module")
def node_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples with their locked packages, installed by the npm that the Node wheel brings."""
    folder = tmp_path_factory.mktemp("examples") / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("node_modules"))
    node = node_binary()
    npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(node), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    environment = {**bare_environment(), "npm_config_cache": str(folder.parent / "cache")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(stack: Stack, node_examples: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(name: str, *arguments: str, key: str | None = None) -> subprocess.CompletedProcess[str]:
        interpreter = {".sh": "bash", ".py": sys.executable, ".ts": str(node_binary())}[Path(name).suffix]
        environment = {
            **bare_environment(),
            "LITELLM_PROXY_URL": stack.url,
            "LITELLM_MASTER_KEY": key or stack.master_key,
            "NO_PROXY": "127.0.0.1",
            "PATH": os.environ["PATH"],
        }
        return subprocess.run(
            [interpreter, str(node_examples / name), *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=90,
            check=False,
        )

    return run


@pytest.mark.parametrize("name", NAMES)
def test_it_prints_the_models_answer(run: Callable, gateway: httpx.Client, name: str) -> None:
    body = {"model": "claude-sonnet-4", "messages": [{"role": "user", "content": "What is a proxy?"}]}
    expected = gateway.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    done = run(name, "claude-sonnet-4", "What is a proxy?")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)["choices"][0]["message"]["content"] if name == "chat.sh" else done.stdout
    assert printed.strip() == expected.strip()


@pytest.mark.parametrize("name", NAMES)
def test_it_tries_again_after_429(run: Callable, gateway: httpx.Client, name: str) -> None:
    """A virtual key with one request a minute, used up before."""
    answer = gateway.post("/key/generate", json={"rpm_limit": 1, "duration": "10m"})
    key = answer.json()["key"]
    try:
        run(name, "claude-sonnet-4", key=key)
        done = run(name, "claude-sonnet-4", key=key)
        said = done.stderr.count("trying again")
        if name == "chat.sh":
            assert "429" in done.stderr or done.returncode == 0
        else:
            # It waits 1 + 2 + 4 s: a fresh minute may come within that, then it succeeds.
            assert said >= 1, done.stderr
            assert done.returncode == 0 or (said == 3 and "429" in done.stderr)
    finally:
        gateway.post("/key/delete", json={"keys": [key]}).raise_for_status()


def test_no_example_prints_its_key(run: Callable) -> None:
    wrong = "sk-wrong-key-" + "of-an-example"
    for name in NAMES:
        done = run(name, key=wrong)
        assert done.returncode != 0
        assert "401" in done.stdout + done.stderr
        assert wrong not in done.stdout + done.stderr

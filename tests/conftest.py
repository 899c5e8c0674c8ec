"""One whole stack for the whole run: `litellm-local up`, as a user starts it, in double mode on ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy import secrets
from proxy.catalog import load_catalog, project_root
from proxy.database.engine import node_binary
from proxy.render.litellm import litellm_environment
from proxy.stack.state import StateDir

# For tests that import LiteLLM themselves: its bundled copies, nothing from the internet, and by its mode nothing from
# the .env that lies beside. Not for what tests start.
BUNDLED = {
    name: value
    for name, value in litellm_environment(load_catalog()).items()
    if name.startswith("LITELLM_LOCAL") or name == "LITELLM_MODE"
}
os.environ.update(BUNDLED)

# A shell's job in the background ignores Ctrl-C, and so would all that is started here, unless pytest minds it.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]
collect_ignore = ["example_app"]  # a project of its own: test_example_app.py runs it

COMMAND = [sys.executable, "-m", "proxy.cli"]
START_SECONDS = 240
CONFIGURED = (
    "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "DATABASE_URL", "LITELLM_MASTER_KEY",
    "LITELLM_PROXY_URL", "LITELLM_SALT_KEY", "POSTGRES_PASSWORD", "LITELLM_LOCAL_CONTROL_KEY",
)  # fmt: skip
FROM_OUTSIDE = {name for name in CONFIGURED if name in os.environ}


def bare_environment() -> dict[str, str]:
    """This process's environment less whatever would configure a stack."""
    return {name: value for name, value in os.environ.items() if name not in CONFIGURED and name not in BUNDLED}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, condition: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true value of the condition; fails the test where none comes in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)
    return value


@dataclass
class Stack:
    """A stack started by the `litellm-local` command, and how tests reach it."""

    folder: Path
    port: int

    @property
    def options(self) -> list[str]:
        return ["--state", str(self.folder / "state")]

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"

    @property
    def state(self) -> StateDir:
        return StateDir(self.folder / "state")

    def command(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs `litellm-local` with this stack's state folder."""
        done = subprocess.run(
            [*COMMAND, *arguments, *self.options],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            env=bare_environment(),
            cwd=project_root(),
            check=False,
            **options,
        )
        if check:
            assert done.returncode == 0, f"{arguments} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def up(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        where = ["--port", str(self.port), "--env-file", str(self.env_file)]
        return self.command("up", "--detach", "--no-smoke", *where, *arguments, check=check)

    def down(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.command("down", *arguments)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _secret(self, name: str) -> str:
        return secrets.read_env_file(self.env_file)[name]

    @property
    def master_key(self) -> str:
        return self._secret(secrets.MASTER_KEY)

    @property
    def control_key(self) -> str:
        return self._secret(secrets.CONTROL_KEY)

    @property
    def simulator_url(self) -> str:
        return f"http://127.0.0.1:{self.state.remembered_ports()['simulator']}"

    @property
    def database_url(self) -> str:
        port = self.state.remembered_ports()["postgres"]
        return f"postgresql://litellm:{self._secret(secrets.POSTGRES_PASSWORD)}@127.0.0.1:{port}/litellm"

    def status(self) -> dict[str, Any]:
        return json.loads(self.command("status", "--json").stdout)

    def pid(self, service: str) -> int:
        return int(self.status()["services"][service]["pid"])


@pytest.fixture(scope="module", autouse=True)
def unconfigured() -> Iterator[None]:
    """Libraries that are imported here (LiteLLM, prisma-client-py) would load the checkout's .env: not in the tests."""
    yield
    left = {name for name in CONFIGURED if name in os.environ} - FROM_OUTSIDE
    assert not left, f"a test of this module left {', '.join(sorted(left))} in the environment"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack"), free_port())
    stack.up()
    yield stack
    stack.down()


def failing(fault: dict[str, Any]) -> dict[str, Any]:
    """`{"provider": .., "model": .., "kind": .., "times": ..}` -> the rule that it is."""
    given = {name: value for name, value in fault.items() if value is not None}
    when = {name: given.pop(name) for name in ("provider", "model") if name in given}
    times = {"times": given.pop("times")} if "times" in given else {}
    return {"when": when, "fault": given, **times}


class Double:
    """The providers' double of the shared stack, seen through the requests of one test only.

    `marker` goes into a message's text and tells the test's own upstream calls from all others.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.marker = f"marker-{uuid.uuid4().hex}"

    def fail(self, *faults: dict[str, Any]) -> None:
        """Sets rules of the scope `default`: faults, each with its `provider`, `model` and `times` in one."""
        answer = self.client.put("/_double/script", json={"rules": [failing(fault) for fault in faults]})
        assert answer.status_code == 200, answer.text

    def calls(self, text: str | None = None) -> list[dict[str, Any]]:
        """Journal entries of this test (or those with `text`), in the order of their start."""
        answer = self.client.get("/_double/journal", params={"text": text or self.marker})
        assert answer.status_code == 200, answer.text
        return sorted(answer.json()["entries"], key=lambda entry: entry["started_at"])


@pytest.fixture
def double(stack: Stack) -> Iterator[Double]:
    headers = {"Authorization": f"Bearer {stack.control_key}"}
    with httpx.Client(base_url=stack.simulator_url, headers=headers, timeout=30, trust_env=False) as client:
        yield Double(client)
    # Through the gateway, whose breakers of the scope begin anew with its script.
    master = {"Authorization": f"Bearer {stack.master_key}"}
    httpx.delete(f"{stack.url}/_double/script", headers=master, timeout=30, trust_env=False).raise_for_status()


@pytest.fixture
def gateway(stack: Stack) -> Iterator[httpx.Client]:
    """A client of the gateway with the master key."""
    headers = {"Authorization": f"Bearer {stack.master_key}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def node_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scripts/examples with its locked packages, installed by the npm that the Node wheel brings."""
    folder = tmp_path_factory.mktemp("examples") / "examples"
    shutil.copytree(project_root() / "scripts" / "examples", folder, ignore=shutil.ignore_patterns("node_modules"))
    node = node_binary()
    npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(node), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    environment = {**bare_environment(), "npm_config_cache": str(folder.parent / "cache")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder

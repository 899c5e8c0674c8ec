"""Set-up from nothing, in copies of the packages it writes to: this checkout's own stay as they are."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import prisma
import pytest

from proxy.database.engine import BRIDGE, STAMP, engine_environment

PROGRAM = """
import sys
from pathlib import Path
from proxy.database.engine import EngineSetupError, prepare_engine
try:
    prepare_engine(Path(sys.argv[1]), lambda step: print(step, flush=True))
except EngineSetupError as error:
    sys.exit(str(error))
"""
STEPS = [
    "Installing the query engine",
    "Installing Prisma's client generator",
    "Generating the database client",
]


class Installation:
    """A `site` with copies of the packages, a `home`, and an environment without any tools."""

    def __init__(self, folder: Path) -> None:
        self.site, self.home, self.user = folder / "site", folder / "state with space" / "engine", folder / "user"
        self.user.mkdir()
        leave_out = shutil.ignore_patterns("node_modules", "__pycache__", ".install", ".litellm-local-*")
        shutil.copytree(BRIDGE.parent, self.site / "proxy" / "database", ignore=leave_out)
        (self.site / "proxy" / "__init__.py").touch()
        package = Path(prisma.__file__).parent
        shutil.copytree(package, self.site / "prisma", ignore=leave_out)
        for generated in ("client.py", "types.py", "schema.prisma"):
            (self.site / "prisma" / generated).unlink()
        self.bridge = self.site / "proxy" / "database" / "bridge"
        self.environment = {"HOME": str(self.user), "PATH": "/nonexistent", "PYTHONPATH": str(self.site)}
        # What the registries' clients need here to be let out, if anything.
        for name in ("NODE_EXTRA_CA_CERTS", "HTTPS_PROXY", "https_proxy", "npm_config_registry"):
            if name in os.environ:
                self.environment[name] = os.environ[name]

    def start(self, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(self.home)],
            env={**self.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd="/",
        )

    def prepare(self, **more: str) -> list[str]:
        """The steps that were taken."""
        process = self.start(**more)
        output, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        return output.splitlines()

    def is_complete(self) -> bool:
        """Both stamps are there, and what they stand for."""
        client = self.site / "prisma"
        compile((client / "client.py").read_text(), "client.py", "exec")
        version = subprocess.run(
            [self.home / "bin" / "query-engine", "--version"], env=self.environment, capture_output=True, check=False
        )
        stamps = (client / STAMP).exists() and (self.bridge / "node_modules" / STAMP).exists()
        return stamps and version.stdout.startswith(b"query-engine ")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def test_from_nothing_but_python_and_after_an_upgrade(installation: Installation) -> None:
    assert installation.prepare() == STEPS
    assert installation.is_complete()
    installed = installation.bridge / "node_modules"
    assert not (installed / "typescript").exists()
    assert "resolved" not in (installed / ".package-lock.json").read_text()
    assert not (installation.bridge / ".install").exists()
    use = "from prisma import Prisma; Prisma().litellm_usertable"
    subprocess.run([sys.executable, "-c", use], env=installation.environment, cwd="/", check=True)

    # Once it is complete, nothing is done and no registry is needed.
    assert installation.prepare(npm_config_registry="http://127.0.0.1:9") == []

    (installation.site / "prisma" / STAMP).write_text("of another schema")
    assert installation.prepare() == [STEPS[2]]
    (installed / STAMP).write_text("of another lock file")
    (installed / "left-over").mkdir()
    assert installation.prepare() == [STEPS[0]]
    assert not (installed / "left-over").exists()
    assert installation.is_complete()


def test_two_at_once(installation: Installation) -> None:
    processes = [installation.start(), installation.start()]
    steps = []
    for process in processes:
        output, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        steps += output.splitlines()
    assert sorted(steps) == sorted(STEPS)
    assert installation.is_complete()


def is_generating(installation: Installation) -> bool:
    return (installation.site / "prisma" / "types.py").exists()


def is_installing(installation: Installation) -> bool:
    return (installation.bridge / ".install" / "node_modules").exists()


@pytest.mark.parametrize("moment", [is_installing, is_generating])
def test_interrupted(installation: Installation, moment: Callable[[Installation], bool]) -> None:
    process = installation.start()
    end = time.monotonic() + 100
    while not moment(installation):
        assert process.poll() is None
        assert time.monotonic() < end
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (installation.site / "prisma" / STAMP).exists()
    # The worst that can be left: a client that Python cannot even read.
    (installation.site / "prisma" / "client.py").write_text("class Prisma(")
    assert installation.prepare()[-1] == STEPS[-1]
    assert installation.is_complete()
    assert not (installation.bridge / ".install").exists()


def test_offline(installation: Installation) -> None:
    process = installation.start(npm_config_registry="http://127.0.0.1:9", npm_config_fetch_retries="0")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "npm registry cannot be reached" in errors
    assert "npm_config_registry" in errors
    log = installation.home / "npm.log"
    assert str(log) in errors
    assert "ECONNREFUSED" in log.read_text()
    assert "Traceback" not in errors
    assert not (installation.bridge / "node_modules").exists()


def test_a_folder_that_cannot_be_written(installation: Installation) -> None:
    installation.home.parent.mkdir()
    installation.home.write_text("a file where the folder should be")
    process = installation.start()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"Cannot write to {installation.home / 'bin'}" in errors
    assert "Traceback" not in errors


def test_the_launchers_need_no_path(engine_home: Path) -> None:
    for name, version in (("node", "v"), ("npm", "")):
        done = subprocess.run(
            [engine_home / "bin" / name, "--version"], env={"PATH": "/nonexistent"}, capture_output=True, check=False
        )
        assert done.stdout.decode().startswith(version)
        assert done.returncode == 0
    refused = subprocess.run([engine_home / "bin" / "schema-engine"], capture_output=True, check=False)
    assert refused.returncode == 1
    assert b"litellm-local" in refused.stderr


def test_the_environment(engine_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    environment = engine_environment(engine_home, "postgresql://u:p@h/d")
    assert environment["PATH"].split(os.pathsep)[0] == str(engine_home / "bin")
    assert environment["PATH"].split(os.pathsep)[-1] == "/usr/bin"
    assert environment["DATABASE_URL"] == "postgresql://u:p@h/d"
    assert environment["DISABLE_SCHEMA_UPDATE"] == "true"
    for name in ("PRISMA_QUERY_ENGINE_BINARY", "PRISMA_SCHEMA_ENGINE_BINARY"):
        assert os.access(environment[name], os.X_OK)

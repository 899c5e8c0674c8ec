"""The container tests' hold on Docker: whether there is an engine, the images, and one Compose project a run."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy import secrets
from proxy.catalog import project_root
from tests.conftest import COMMAND, bare_environment, free_port

IMAGES = Path(__file__).parent / "images"
STAND_IN = "litellm-local-standin"
# The image of this checkout, not of another one that is being tested on the same engine.
TAG = "test-" + hashlib.sha256(str(project_root()).encode()).hexdigest()[:8]
GATEWAY_IMAGE = f"{STAND_IN}/gateway:{TAG}"
COMPOSE_WANTED = (2, 26)
BUILD_SECONDS, UP_SECONDS = 900, 300

STAND_INS = {
    "LITELLM_LOCAL_GATEWAY_IMAGE": GATEWAY_IMAGE,
    **{
        f"LITELLM_LOCAL_{name.upper()}_IMAGE": f"{STAND_IN}/{name}:test"
        for name in ("python", "postgres", "nginx", "certbot", "valkey", "prometheus")
    },
}


def run_docker(*arguments: str, timeout: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs `docker ...` to its end, whatever that is."""
    program = shutil.which("docker") or "docker"
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=timeout, check=False, **options
    )


def docker(*arguments: str, **options: Any) -> str:
    """What `docker ...` prints; it must succeed."""
    done = run_docker(*arguments, **options)
    assert done.returncode == 0, f"docker {' '.join(arguments[:4])}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def docker_output(*arguments: str, **options: Any) -> str:
    """What `docker ...` prints, on both outputs, whether it succeeds or not."""
    done = run_docker(*arguments, **options)
    return done.stdout + done.stderr


@functools.cache
def why_not() -> str | None:
    """Why no container can be had here; None where all is well."""
    if shutil.which("docker") is None:
        return "no docker command on the PATH (.ci/engine installs it on Debian 12)"
    if run_docker("version").returncode:
        return "no Docker engine answers (.ci/engine starts one on Debian 12)"
    version = run_docker("compose", "version", "--short").stdout.strip()
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers < COMPOSE_WANTED:
        return (
            f"Docker Compose {version or 'is missing'}; 2.26 or newer is needed (.ci/engine installs it on Debian 12)"
        )
    if shutil.which("mmdebstrap") is None:
        return "no mmdebstrap to make the stand-in images with (.ci/engine installs it on Debian 12)"
    return None


@functools.cache
def build_stand_ins(*names: str) -> None:
    """The stand-in images, made where their recipe has changed."""
    done = subprocess.run(
        [str(IMAGES / "build"), *names], capture_output=True, text=True, check=False, timeout=BUILD_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass
class Project:
    """One Compose project with a state folder of its own, on ports of its own; `down` in the end."""

    folder: Path
    name: str = field(default_factory=lambda: f"litellm-test-{uuid.uuid4().hex[:8]}")
    port: int = field(default_factory=free_port)
    files: tuple[str, ...] = ("docker-compose.yml", "docker-compose.override.yml")
    variables: Mapping[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.time)
    past: list[tuple[str, str]] = field(default_factory=list)  # secrets that are no longer in use

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def secrets(self) -> dict[str, str]:
        return secrets.read_env_file(self.env_file)

    def change_secret(self, name: str, value: str) -> None:
        """Sets it in `.env`; `render` gives it to the containers."""
        self.past.append((name, self.secrets[name]))
        text = self.env_file.read_text(encoding="utf-8")
        self.env_file.write_text(text.replace(self.secrets[name], value), encoding="utf-8")

    def render(self, *arguments: str) -> None:
        """`litellm-local config render compose`."""
        where = ["--state", str(self.state), "--env-file", str(self.env_file), "--port", str(self.port)]
        done = subprocess.run(
            [*COMMAND, "config", "render", "compose", *where, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=bare_environment(),
            cwd=project_root(),
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def compose(self, *arguments: str, check: bool = True, timeout: float = UP_SECONDS) -> str:
        """`docker compose ...` of this project; its standard output."""
        files = [part for file in self.files for part in ("--file", str(project_root() / file))]
        env_file = ["--env-file", str(self.state / "compose.env")] if self.state.exists() else []
        environment = {
            **{name: value for name, value in bare_environment().items() if not name.startswith("COMPOSE_")},
            **STAND_INS,
            **self.variables,
            "LITELLM_LOCAL_PROJECT": self.name,
        }
        command = ("compose", *files, *env_file, *arguments)
        run = docker if check else docker_output
        return run(*command, timeout=timeout, env=environment, cwd=project_root())

    def up(self, *arguments: str) -> None:
        done = self.compose("up", "--detach", "--no-build", "--pull", "never", "--wait", *arguments, check=False)
        states = {service: one["State"].get("Health", one["State"]) for service, one in self.inspect().items()}
        wrong = {
            service: state
            for service, state in states.items()
            if state["Status"] not in ("healthy", "running") and state.get("ExitCode") != 0
        }
        assert states, done
        assert not wrong, f"{json.dumps(wrong)[:3000]}\n{self.logs()[-6000:]}"

    def down(self, *arguments: str) -> None:
        self.compose("down", "--timeout", "30", *arguments)

    def inspect(self) -> dict[str, Any]:
        """Service -> `docker inspect` of its (first) container, stopped ones included."""
        label = "com.docker.compose.project"
        ids = docker("ps", "--all", "--quiet", "--filter", f"label={label}={self.name}").split()
        found = json.loads(docker("inspect", *ids)) if ids else []
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def exec(self, service: str, *command: str, check: bool = True) -> str:
        run = docker if check else docker_output
        return run("exec", self.inspect()[service]["Id"], *command)

    def logs(self) -> str:
        return self.compose("logs", "--no-color", "--no-log-prefix", check=False)

    def shown(self) -> dict[str, Callable[[], str]]:
        """Everything that Docker shows of the project to whoever may ask it, and the files that are no secrets."""
        found = self.inspect()
        ids = [one["Id"] for one in found.values()]
        running = [one["Id"] for one in found.values() if one["State"]["Running"]]
        images = sorted({one["Image"] for one in found.values()})
        label = f"label=com.docker.compose.project={self.name}"
        since = ["--since", f"{self.began:.0f}", "--until", f"{time.time():.0f}"]
        secret = self.state / "secrets"
        files = [file for file in self.state.rglob("*") if file.is_file() and secret not in file.parents]
        return {
            "inspect": lambda: docker("inspect", *ids),
            "logs": self.logs,
            "process list": lambda: "".join(docker("top", one, "-eo", "pid,args") for one in running),
            "image": lambda: docker("image", "inspect", *images),
            "history": lambda: "".join(docker("history", "--no-trunc", one) for one in images),
            "compose": lambda: self.compose("--profile", "*", "config"),
            "volumes": lambda: docker("volume", "ls", "--format", "{{json .}}"),
            "networks": lambda: docker("network", "ls", "--format", "{{json .}}", "--filter", label),
            "events": lambda: docker("events", *since, "--filter", label, "--format", "{{json .}}"),
            "environment of a command": lambda: "".join(docker("exec", one, "env") for one in running),
            "files": lambda: "".join(file.read_text(encoding="utf-8", errors="replace") for file in files),
        }

    def assert_hidden(self, values: Mapping[str, str]) -> None:
        """None of these, name -> secret, is shown anywhere."""
        assert (self.state / "secrets").stat().st_mode & 0o777 == 0o700
        for where, read in self.shown().items():
            text = read()
            assert text, where
            found = [name for name, value in values.items() if value in text or json.dumps(value)[1:-1] in text]
            assert not found, f"{where} shows {found}"

    def kill_main_process(self, service: str) -> None:
        """kill -9 of the program that the container is for: the child of its init."""
        script = 'for s in /proc/[0-9]*/status; do grep -q "^PPid:.1$" $s && basename ${s%/status} && break; done'
        pid = self.exec(service, "sh", "-c", script).strip()
        assert pid.isdigit(), f"{service}: no main process found"
        self.exec(service, "sh", "-c", f"kill -9 {pid}", check=False)

    def build(self) -> None:
        """The project's image from this checkout."""
        self.compose("build", "gateway", timeout=BUILD_SECONDS)

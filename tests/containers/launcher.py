"""`litellm-local` as a user runs it on a machine with Docker, on a state folder and ports of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.catalog import project_root
from proxy.stack.compose_plan import project_of
from tests.conftest import COMMAND, bare_environment, free_port, until
from tests.containers.engine import BUILD_SECONDS, STAND_IN, STAND_INS, TAG, Project, docker

IMAGE = f"{STAND_IN}/launched:{TAG}"


@dataclass
class Launcher:
    """Runs the command, with the stand-in images in its environment."""

    folder: Path
    port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    https_port: int = field(default_factory=free_port)
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Project:
        """Its Compose project, to look at with docker."""
        return Project(self.folder, name=project_of((self.folder / "state").absolute(), {}))

    @property
    def secrets(self) -> dict[str, str]:
        return self.project.secrets

    @property
    def edge(self) -> list[str]:
        return ["--edge", "--http-port", str(self.http_port), "--https-port", str(self.https_port)]

    def environment(self) -> dict[str, str]:
        own = {"LITELLM_LOCAL_GATEWAY_IMAGE": IMAGE, "LITELLM_LOCAL_EDGE_HOST": "127.0.0.1"}
        return {**bare_environment(), **STAND_INS, **own, **self.variables}

    def words(self, command: str, *arguments: str) -> list[str]:
        where = ["--state", str(self.folder / "state")]
        if command == "up":
            where += ["--env-file", str(self.folder / ".env")]
        return [*COMMAND, command, *arguments, *where]

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`litellm-local COMMAND ...` to its end, whatever that is; it never ends with a traceback."""
        done = subprocess.run(
            self.words(command, *arguments),
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            env=self.environment(),
            cwd=project_root(),
            check=False,
        )
        if command != "logs":  # LiteLLM's own are full of them
            assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        assert "unexpected error" not in done.stderr, done.stderr
        return done

    def succeed(self, command: str, *arguments: str) -> str:
        done = self.run(command, *arguments)
        assert done.returncode == 0, f"{command} {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def fail(self, command: str, *arguments: str, code: int = 1) -> str:
        """All that it says, having ended with that exit code."""
        done = self.run(command, *arguments)
        assert done.returncode == code, f"{command} {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def up(self, *arguments: str) -> str:
        return self.succeed("up", "--stack", "compose", "--detach", *arguments)

    def json(self, command: str) -> Any:
        return json.loads(self.succeed(command, "--json"))

    def volumes(self) -> set[str]:
        label = f"label=com.docker.compose.project={self.project.name}"
        names = docker("volume", "ls", "--filter", label, "--format", "{{.Name}}").split()
        return {name.removeprefix(f"{self.project.name}_") for name in names}

    def clean(self) -> None:
        """Leaves nothing behind on the engine."""
        self.run("down", "--wipe", "--yes")
        assert self.project.inspect() == {}
        assert self.volumes() == set()


class Foreground:
    """`litellm-local up ...`, or another command, under way, as in a terminal of its own."""

    def __init__(self, launcher: Launcher, *arguments: str, command: str = "up") -> None:
        self._log = launcher.folder / "foreground.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                launcher.words(command, *arguments),
                stdout=log,
                stderr=log,
                env=launcher.environment(),
                cwd=project_root(),
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def until(self, text: str, seconds: float = 400) -> None:
        until(text, lambda: text in self.text or self.process.poll() is not None, seconds)
        assert text in self.text, self.text

    def end(self, number: int) -> int:
        """Sends the signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(120)

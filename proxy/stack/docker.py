"""Docker as the launcher needs it: is there an engine, `docker compose` run, containers looked at.

`Engine.connect` says what is missing; `Compose` drives a project by `docker compose`, which the SDK cannot;
`Engine.containers` observes it by the SDK. Nothing here knows our services. Called by the stacks and the CLI.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound

COMPOSE_WANTED = (2, 26)
ENGINE_WANTED = (20, 10)
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
NUMBER_LABEL = "com.docker.compose.container-number"
INSTALL = "https://docs.docker.com/engine/install/"
ENV_FILE_LABEL = "com.docker.compose.project.environment_file"
KEPT_LINES = 25


class DockerError(Exception):
    """Docker cannot be used, or not for this. The message says what is missing and what to do next."""


class ComposeError(DockerError):
    """`docker compose` failed. `log` has the last lines that it wrote."""

    def __init__(self, message: str, log: list[str]) -> None:
        super().__init__(message)
        self.log = log


# -- engine ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Container:
    """One container of a project, as the engine sees it now."""

    id: str
    name: str
    service: str
    number: int
    image: str
    state: str  # created, running, restarting, exited, paused, dead
    health: str | None  # starting, healthy, unhealthy; None: it has no health check
    probe: str  # what the last health check printed
    restarts: int
    exit_code: int | None  # of its last end; None while it has not ended
    out_of_memory: bool
    error: str  # why it could not be started
    pid: int
    published: frozenset[int]  # ports of this machine
    env_file: str  # that its project was started with

    @property
    def label(self) -> str:
        """`gateway`, `gateway-2`: the service, with the number from the second on."""
        return self.service if self.number == 1 else f"{self.service}-{self.number}"

    @property
    def is_up(self) -> bool:
        """Whether it runs, and is healthy where it has a check."""
        return self.state == "running" and self.health in (None, "healthy")


class Engine:
    """A Docker engine that answers."""

    def __init__(self, client: Any, version: str) -> None:
        self.client = client
        self.version = version

    @classmethod
    def connect(cls, timeout: float = 60) -> Engine:
        """The engine that `docker` talks to, with a Compose that will do. Raises DockerError for what is missing."""
        _check_compose(_program())
        host = engine_host()
        try:
            client = docker.from_env(timeout=timeout) if "DOCKER_HOST" in os.environ else _client(host, timeout)
            version = str(client.version()["Version"])
        except DockerException as error:
            raise DockerError(why_unreachable(host, error)) from None
        if _numbers(version) < ENGINE_WANTED:
            raise DockerError(f"Docker engine {version} is too old: 20.10 or newer is needed. See {INSTALL}")
        return cls(client, version)

    def containers(self, project: str) -> list[Container]:
        """All containers of a Compose project, stopped ones too, by service and number."""
        with _answers():
            found = self.client.containers.list(
                all=True, filters={"label": f"{PROJECT_LABEL}={project}"}, ignore_removed=True
            )
        return sorted((_container(one.attrs) for one in found), key=lambda one: (one.service, one.number))

    def last_lines(self, container: Container, count: int = 15) -> list[str]:
        """The last lines that a container wrote; none where it is gone."""
        try:
            text = self.client.containers.get(container.id).logs(tail=count)
        except (NotFound, APIError):
            return []
        return str(text.decode("utf-8", "replace")).splitlines()

    def memory(self, container: Container) -> int | None:
        """Bytes in use, the page cache left out; None where it does not run."""
        try:
            stats = self.client.api.stats(container.id, stream=False, one_shot=True)["memory_stats"]
        except (NotFound, APIError):
            return None
        cache = stats.get("stats", {}).get("inactive_file", stats.get("stats", {}).get("total_inactive_file", 0))
        return stats["usage"] - cache if "usage" in stats else None

    def image_exists(self, name: str) -> bool:
        """Whether the engine has it, with no registry asked."""
        with _answers():
            return bool(self.client.images.list(name=name))

    def image_label(self, name: str, label: str) -> str | None:
        """A label of an image that the engine has; None where it has neither."""
        with _answers():
            found = self.client.images.list(name=name)
        return found[0].labels.get(label) if found else None

    def volumes(self, project: str) -> list[str]:
        """Names of a project's volumes."""
        with _answers():
            found = self.client.volumes.list(filters={"label": f"{PROJECT_LABEL}={project}"})
        return sorted(str(one.name) for one in found)

    def require_room(self, *, disk: int, memory: int) -> None:
        """Raises DockerError where the engine has less than that many bytes of either, as far as it can be known."""
        with _answers():
            info = self.client.info()
        total = int(info.get("MemTotal") or 0)
        if total and total < memory:
            raise DockerError(
                f"the Docker engine has {total / 1e9:.1f} GB of memory; at least {memory / 1e9:.1f} GB are needed. "
                "Give the machine more."
            )
        folder = Path(str(info.get("DockerRootDir") or ""))
        try:
            free = shutil.disk_usage(folder).free
        except OSError:  # on another machine, or in one of its own, as Docker Desktop's
            return
        if free < disk:
            raise DockerError(
                f"only {free / 1e9:.1f} GB are free at {folder}, where Docker keeps its images and volumes; "
                f"{disk / 1e9:.1f} GB are needed. Free some: docker image prune"
            )


def engine_host() -> str:
    """Address of the engine that `docker` itself would talk to: by DOCKER_HOST, or else by its context."""
    if host := os.environ.get("DOCKER_HOST"):
        return host
    done = subprocess.run(
        [_program(), "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unix:///var/run/docker.sock"


def why_unreachable(host: str, error: Exception) -> str:
    """What keeps us from the engine at `host`, in words, and what to do about it."""
    text = str(error)
    where = f"DOCKER_HOST={host}" if os.environ.get("DOCKER_HOST") else host
    start = (
        "Is DOCKER_HOST right? Unset it for the engine of this machine."
        if os.environ.get("DOCKER_HOST")
        else "Start it: sudo systemctl start docker (or Docker Desktop)."
    )
    if "PermissionError" in text or "Permission denied" in text:
        return (
            f"this user may not use the Docker engine ({where}: permission denied). "
            "Run: sudo usermod -aG docker $USER, then log in again; or use sudo."
        )
    if "FileNotFoundError" in text or "Connection refused" in text or "ConnectionRefusedError" in text:
        return f"no Docker engine answers at {where}. {start}"
    first = text.splitlines()[0][:300] if text else type(error).__name__
    return f"the Docker engine at {where} cannot be reached: {first}. {start}"


def _client(host: str, timeout: float) -> Any:
    return docker.DockerClient(base_url=host, timeout=timeout)


@contextmanager
def _answers() -> Iterator[None]:
    """The SDK's errors as ours: the engine was there when we began."""
    try:
        yield
    except (DockerException, OSError) as error:
        raise DockerError(f"the Docker engine does not answer any more: {str(error)[:300]}") from None


def _container(attributes: Mapping[str, Any]) -> Container:
    state, labels = attributes["State"], attributes["Config"]["Labels"]
    health = state.get("Health") or {}
    log = health.get("Log") or []
    ended = state["Status"] in ("exited", "dead", "restarting")
    number = labels.get(NUMBER_LABEL, "1")
    bound = [one for some in (attributes["NetworkSettings"].get("Ports") or {}).values() for one in some or ()]
    return Container(
        id=attributes["Id"],
        name=attributes["Name"].lstrip("/"),
        service=labels.get(SERVICE_LABEL, "?"),
        number=int(number) if number.isdigit() else 1,
        image=attributes["Config"]["Image"],
        state=state["Status"],
        # Docker leaves a check's last word on one that has ended.
        health=health.get("Status") if state["Status"] == "running" and health.get("Status") != "none" else None,
        probe=str(log[-1].get("Output", "")).strip() if log else "",
        restarts=int(attributes.get("RestartCount", 0)),
        exit_code=int(state["ExitCode"]) if ended else None,
        out_of_memory=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
        pid=int(state.get("Pid") or 0),
        published=frozenset(int(one["HostPort"]) for one in bound if one.get("HostPort")),
        env_file=str(labels.get(ENV_FILE_LABEL, "")),
    )


# -- compose -----------------------------------------------------------------------------------------------


def _program() -> str:
    if found := shutil.which("docker"):
        return found
    raise DockerError(f"there is no `docker` command on the PATH. Install Docker: {INSTALL}")


def _check_compose(program: str) -> None:
    done = subprocess.run([program, "compose", "version", "--short"], capture_output=True, text=True, check=False)
    version = done.stdout.strip().lstrip("v")
    if done.returncode or not version:
        raise DockerError(
            "`docker compose` does not work: its plugin is not installed. On Debian and Ubuntu with Docker's own "
            f"packages: sudo apt-get install docker-compose-plugin. See {INSTALL}"
        )
    if _numbers(version) < COMPOSE_WANTED:
        raise DockerError(
            f"docker compose {version} is too old: 2.26 or newer is needed. On Debian and Ubuntu with Docker's own "
            f"packages: sudo apt-get install docker-compose-plugin. See {INSTALL}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


@dataclass(frozen=True)
class Compose:
    """One Compose project. Every run has the same name, files and variables, whatever COMPOSE_* is set outside."""

    project: str
    folder: Path  # that paths in the files are relative to
    files: tuple[Path, ...]
    env_file: Path | None = None
    profiles: tuple[str, ...] = ()  # besides those of the env file
    variables: Mapping[str, str] = field(default_factory=dict)  # win over the environment and the env file

    def command(self, *arguments: str) -> list[str]:
        return [
            _program(),
            "compose",
            "--ansi=never",
            "--progress=plain",
            f"--project-name={self.project}",
            f"--project-directory={self.folder}",
            *(f"--file={file}" for file in self.files),
            *([f"--env-file={self.env_file}"] if self.env_file else []),
            *(f"--profile={name}" for name in self.profiles),
            *arguments,
        ]

    def environment(self) -> dict[str, str]:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
        return {**outside, **self.variables}

    def run(
        self,
        *arguments: str,
        on_line: Callable[[str], None] = lambda _: None,
        watch: Callable[[], None] = lambda: None,
        every: float = 0.5,
    ) -> None:
        """Runs `docker compose ...` to its end; each line of either output goes to `on_line` as it comes.

        `watch` is called every so many seconds meanwhile. Whatever it or a signal raises ends the run. Raises
        ComposeError where the command fails.
        """
        lines: queue.Queue[str | None] = queue.Queue()
        kept: deque[str] = deque(maxlen=KEPT_LINES)
        process = subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self.environment(),
            cwd=self.folder,
            start_new_session=True,  # a Ctrl-C reaches us alone, and we end it in order
        )
        reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
        reader.start()
        watched = time.monotonic()
        try:
            while (line := _next(lines, every)) is not None:
                if line:
                    kept.append(line)
                    on_line(line)
                if time.monotonic() - watched >= every:
                    watch()
                    watched = time.monotonic()
            process.wait()
        except BaseException:
            _end(process)
            raise
        if process.returncode:
            raise ComposeError(explain(arguments, process.returncode, list(kept)), list(kept))

    def output(self, *arguments: str) -> str:
        """What `docker compose ...` prints on its standard output. Raises ComposeError where it fails."""
        done = subprocess.run(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=self.environment(),
            cwd=self.folder,
            check=False,
        )
        if done.returncode:
            kept = done.stderr.splitlines()[-KEPT_LINES:]
            raise ComposeError(explain(arguments, done.returncode, kept), kept)
        return done.stdout


HINTS = (
    (
        r"port is already allocated|address already in use",
        "Another program has the port. Stop it, or use another one (--port, --http-port, --https-port).",
    ),
    (r"no space left on device", "The disk is full. Free some: docker system df, docker image prune."),
    (
        r"pull access denied|manifest unknown|failed to resolve source metadata|failed to do request: Head|"
        r"error pulling image|no such image|"
        r"Error response from daemon: Get \"https?://|repository .* not found|not found: manifest",
        "An image cannot be had. Is its registry reachable? Other images can be named by the variables "
        "LITELLM_LOCAL_*_IMAGE of docker-compose.yml (LITELLM_LOCAL_POSTGRES_IMAGE, LITELLM_LOCAL_PYTHON_IMAGE, …).",
    ),
)


def explain(arguments: tuple[str, ...], code: int, lines: list[str]) -> str:
    """An error in one message: what Compose said last that reads like a reason, and what to do where we know it."""
    text = "\n".join(lines)
    reasons = [line for line in lines if re.search(r"error|failed|denied|cannot|unable|no such", line, re.I)]
    reason = (reasons or lines or [f"exit code {code}"])[-1].strip()
    hint = next((hint for pattern, hint in HINTS if re.search(pattern, text, re.I)), "")
    return f"docker compose {arguments[0]} failed: {reason}" + (f"\n{hint}" if hint else "")


def _read_lines(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    for line in process.stdout:
        if line.strip():
            lines.put(line.rstrip())
    lines.put(None)


def _next(lines: queue.Queue[str | None], seconds: float) -> str | None:
    """The next line; "" where none came in time, None at the end."""
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        return ""


def _end(process: subprocess.Popen[str], patience: float = 20.0) -> None:
    """Ends a `docker compose` as Ctrl-C would, and what it started; kills it where it takes too long."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return

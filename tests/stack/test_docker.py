"""The engine checked, `docker compose` run and ended: with a `docker` command that is made up, lines and all."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.stack.docker import Compose, ComposeError, DockerError, Engine, explain, why_unreachable

Fake = Callable[[str], Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a `docker` alone on the PATH: a shell script."""

    def make(script: str) -> Path:
        program = tmp_path / "bin" / "docker"
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\n" + textwrap.dedent(script), encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return program

    return make


def project(folder: Path) -> Compose:
    return Compose("some", folder, (folder / "docker-compose.yml",))


# -- what is missing ---------------------------------------------------------------------------------------


def test_no_docker_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DockerError, match=r"no `docker` command on the PATH. Install Docker: https://"):
        Engine.connect()


def test_no_compose_plugin(fake: Fake) -> None:
    fake("echo \"docker: 'compose' is not a docker command.\" >&2; exit 1")
    with pytest.raises(DockerError, match=r"its plugin is not installed.*apt-get install docker-compose-plugin"):
        Engine.connect()


def test_compose_too_old(fake: Fake) -> None:
    fake("echo v2.25.0")
    with pytest.raises(DockerError, match=r"docker compose 2.25.0 is too old: 2.26 or newer is needed"):
        Engine.connect()


def test_the_engine_of_dockers_context_is_asked(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    fake('[ "$1" = compose ] && echo 2.40.3 || echo unix:///nowhere/of-a-context.sock')
    with pytest.raises(DockerError, match=r"answers at unix:///nowhere/of-a-context.sock. Start it"):
        Engine.connect()


def test_a_wrong_docker_host(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake("echo 2.26.1-4")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(DockerError, match=r"answers at DOCKER_HOST=tcp://127.0.0.1:1. Is DOCKER_HOST right\?"):
        Engine.connect()


def test_a_socket_of_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    error = Exception("Error while fetching server API version: ('Connection aborted.', PermissionError(13, '…'))")
    said = why_unreachable("unix:///var/run/docker.sock", error)
    assert said.startswith("this user may not use the Docker engine (unix:///var/run/docker.sock: permission denied)")
    assert "usermod -aG docker" in said


# -- compose -----------------------------------------------------------------------------------------------


def test_it_is_run_with_the_project_alone_and_nothing_of_outside(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "another")
    fake('echo "$@"; env | grep -c ^COMPOSE_; echo "$KIND"; exit 0')
    compose = Compose(
        "some", tmp_path, (tmp_path / "a.yml", tmp_path / "b.yml"), tmp_path / "c.env", ("x",), {"KIND": "own"}
    )
    lines: list[str] = []
    compose.run("up", "-d", on_line=lines.append)
    assert lines[0].split()[-8:] == [
        "--project-name=some",
        f"--project-directory={tmp_path}",
        f"--file={tmp_path}/a.yml",
        f"--file={tmp_path}/b.yml",
        f"--env-file={tmp_path}/c.env",
        "--profile=x",
        "up",
        "-d",
    ]
    assert lines[1:] == ["0", "own"]


def test_a_failure_has_the_reason_and_the_last_lines(fake: Fake, tmp_path: Path) -> None:
    fake("for i in $(seq 100); do echo line $i; done; echo 'Error: it broke' >&2; echo bye; exit 4")
    with pytest.raises(ComposeError, match="docker compose up failed: Error: it broke") as caught:
        project(tmp_path).run("up")
    assert caught.value.log[-2:] == ["Error: it broke", "bye"]
    assert len(caught.value.log) == 25
    with pytest.raises(ComposeError, match="Error: it broke"):
        project(tmp_path).output("config")


def test_what_the_watcher_raises_ends_it(fake: Fake, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    fake(f"trap 'echo yes > {ended}; exit 0' INT\necho begun\nwhile :; do sleep 0.05; done")
    begun: list[str] = []

    def watch() -> None:
        if begun:
            raise ValueError("seen enough")

    with pytest.raises(ValueError, match="seen enough"):
        project(tmp_path).run("up", on_line=begun.append, watch=watch, every=0.05)
    assert ended.read_text().strip() == "yes"


def test_ctrl_c_ends_it_in_order(fake: Fake, tmp_path: Path) -> None:
    """In a process of its own, which the signal reaches as a terminal's would: compose itself does not see it."""
    ended = tmp_path / "ended"
    program = fake(f"trap 'echo yes > {ended}; exit 0' INT\necho begun\nwhile :; do sleep 0.05; done")
    script = (
        "from pathlib import Path\nfrom proxy.stack.docker import Compose\n"
        f"Compose('some', Path({str(tmp_path)!r}), ()).run('up', on_line=lambda line: print(line, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": f"{program.parent}:/usr/bin:/bin"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    assert ended.read_text().strip() == "yes"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("Bind for 127.0.0.1:4000 failed: port is already allocated", "--port, --http-port, --https-port"),
        ("write /var/lib/docker/tmp: no space left on device", "docker image prune"),
        ('Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: …', "LITELLM_LOCAL_*_IMAGE"),
        ("pull access denied for litellm-local, repository does not exist", "LITELLM_LOCAL_*_IMAGE"),
        ("failed to do request: Head https://registry-1.docker.io/v2/library/python", "LITELLM_LOCAL_*_IMAGE"),
        ("Error response from daemon: No such image: postgres:16", "LITELLM_LOCAL_*_IMAGE"),
    ],
)
def test_what_to_do_is_said_where_it_is_known(line: str, hint: str) -> None:
    first, _, second = explain(("up",), 1, ["before", line]).partition("\n")
    assert first == f"docker compose up failed: {line}"
    assert hint in second
    assert "\n" not in explain(("up",), 1, ["something else failed"])

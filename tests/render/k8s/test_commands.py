"""`config render k8s` and `config check --k8s`, as they are typed, and the guides of config/k8s line by line."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from proxy.catalog import project_root
from tests.conftest import bare_environment
from tests.render.k8s.rendered import set_up, shipped_files

FOLDER = project_root() / "config" / "k8s"
KEYS = {"OPENAI_API_KEY": "sk-o", "ANTHROPIC_API_KEY": "sk-a", "GEMINI_API_KEY": "g"}


def run(*arguments: str, given: str | None = None, cwd: Path | None = None, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "proxy.cli", "config", *arguments],
        cwd=cwd or project_root(),
        env={**bare_environment(), **environment},
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_folder_is_written_and_what_is_stale_in_it_goes(tmp_path: Path) -> None:
    out = tmp_path / "k8s"
    code, _, said = run("render", "k8s", "--out", str(out))
    assert code == 0, said
    (out / "base" / "old.yaml").write_text((out / "base" / "hpa.yaml").read_text())
    (out / "base" / "mine.yaml").write_text("kind: Mine\n")
    code, printed, said = run("render", "k8s", "--out", str(out), "--image", "registry.example.com/other:1")
    assert (code, printed) == (0, ""), said
    written = {file.relative_to(out).as_posix() for file in out.rglob("*.yaml")}
    assert written == {*shipped_files(), "base/mine.yaml"}
    assert "image: registry.example.com/other:1" in (out / "base" / "deployment.yaml").read_text()


def test_standard_output_is_what_apply_takes() -> None:
    code, printed, said = run(
        "render", "k8s", "--with", "monitoring", "--image", "registry.example.com/litellm-local:7"
    )
    assert code == 0, said
    assert list(yaml.safe_load_all(printed)) == set_up("monitoring")


def test_images_are_variables_as_for_compose() -> None:
    names = {
        "LITELLM_LOCAL_GATEWAY_IMAGE": "mirror/g",
        "LITELLM_LOCAL_POSTGRES_IMAGE": "mirror/p",
        "LITELLM_LOCAL_VALKEY_IMAGE": "mirror/v",
    }
    _, printed, _ = run("render", "k8s", **names)
    pods = [one["spec"]["template"]["spec"] for one in yaml.safe_load_all(printed) if "template" in one.get("spec", {})]
    assert {container["image"] for pod in pods for container in pod["containers"]} == set(names.values())


def test_the_secret_is_filled_from_the_env_file_and_goes_nowhere_else(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    options = ("render", "k8s", "--secrets", "--env-file", str(env_file))
    code, printed, said = run(*options, **KEYS)
    assert code == 0, said
    [secret] = yaml.safe_load_all(printed)
    values = secret["stringData"]
    kept = dict(line.split("=", 1) for line in env_file.read_text().splitlines() if not line.startswith("#"))
    assert {name: values[name] for name in kept} == kept
    assert {name: values[name] for name in KEYS} == KEYS
    password = kept["POSTGRES_PASSWORD"]
    assert values["DATABASE_URL"] == f"postgresql://litellm:{password}@postgres-service:5432/litellm"
    assert not any(value in said for value in values.values())
    assert [file.name for file in tmp_path.iterdir()] == [".env"]
    # And it has all that any pod asks of it.
    code, checked, _ = run("check", "--k8s", "-", given=printed + "---\n" + run("render", "k8s")[1])
    assert code == 0, checked
    assert run(*options, "--out", str(tmp_path / "k8s"), **KEYS)[0] == 2
    assert not (tmp_path / "k8s").exists()


def test_a_live_secret_wants_every_providers_key(tmp_path: Path) -> None:
    options = ("render", "k8s", "--secrets", "--env-file", str(tmp_path / ".env"))
    code, printed, said = run(*options, OPENAI_API_KEY="sk-o", ANTHROPIC_API_KEY="sk-a")
    assert (code, printed) == (1, "")
    assert "google: GEMINI_API_KEY is not set" in said
    assert "--with double" in said
    code, printed, said = run(*options, "--with", "double")
    assert code == 0, said
    assert yaml.safe_load(printed)["stringData"]["OPENAI_API_KEY"] == "double-openai"
    code, _, said = run(*options, LITELLM_MASTER_KEY="sk-" + "1234", **KEYS)
    assert code == 1
    assert "is refused" in said


def test_check_says_what_where_and_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "k8s")
    hpa = tmp_path / "k8s" / "base" / "hpa.yaml"
    hpa.write_text(hpa.read_text().replace("maxReplicas: 10", "maxReplicas: 30"))
    overlay = tmp_path / "k8s" / "overlays" / "double"
    code, printed, _ = run("check", "--k8s", str(overlay))
    assert code == 1
    assert "base/postgres.yaml: StatefulSet postgres: max_connections is 200" in printed
    assert "1 problem, 3 warnings." in printed
    code, printed, _ = run("check", "--k8s", "--json", str(overlay))
    told = json.loads(printed)
    assert (code, told["ok"], len(told["problems"]), len(told["warnings"])) == (1, False, 1, 3)


def test_check_of_the_shipped_files_warns_of_what_is_to_be_filled_in() -> None:
    for paths in ((), (str(FOLDER),), (str(FOLDER / "overlays" / "double"),)):
        code, printed, said = run("check", "--k8s", *paths)
        assert code == 0, printed + said
        assert " 0 problems" in f" {printed.splitlines()[-1]}"
        assert "set edge.domain" in printed
    assert run("check", "--k8s", "--strict")[0] == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"kustomization.yaml": "resources: [a.yaml]\nnamePrefix: x-\n"}, "namePrefix is not understood here"),
        ({"kustomization.yaml": "resources: [a.yaml]\n"}, "a.yaml: cannot be read"),
        ({"a.yaml": "{"}, "is not YAML"),
        ({"a.yaml": "- 1\n"}, "holds something that is no manifest"),
        ({"a.txt": ""}, "there are no manifests"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: dict[str, str], says: str) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    code, _, said = run("check", "--k8s", str(tmp_path))
    assert code == 1
    assert says in said
    assert "Traceback" not in said


def test_paths_go_with_k8s_only() -> None:
    code, _, said = run("check", "somewhere")
    assert code == 2
    assert "add --k8s" in said


# -- the guides --------------------------------------------------------------------------------------------

# kubectl and docker, which need a cluster and a registry: they keep what they are asked, and what is applied.
RECORDER = """#!/bin/sh
echo "$(basename "$0") $*" >> "$RECORD/asked"
case "$*" in
"apply --server-side -f -") cat > "$RECORD/piped.yaml" ;;
"apply -f "*) test -f "$3" && cp "$3" "$RECORD/$(basename "$3")" ;;
"apply -k "*) test -f "$3/kustomization.yaml" ;;
esac
"""


def guide(name: str) -> list[str]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    return re.findall(r"```sh\n(.*?)```", text, re.S)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project that a guide may change, and programs that record in place of those of a cluster's."""
    folder = tmp_path / "project"
    skip = shutil.ignore_patterns("__pycache__", "node_modules", ".install")
    for name in ("proxy", "config"):
        shutil.copytree(project_root() / name, folder / name, ignore=skip)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("kubectl", "docker", "curl"):
        (programs / name).write_text(RECORDER)
    # All of the command but smoke, which would ask the cluster.
    (programs / "litellm-local").write_text(
        f'#!/bin/sh\n[ "$1" = smoke ] && set -- "$@" --help\nexec {sys.executable} -m proxy.cli "$@"\n'
    )
    for file in programs.iterdir():
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "record").mkdir()
    return folder


def follow(project: Path, name: str) -> list[str]:
    """Runs every line of the guide; returns what kubectl and docker were asked."""
    record = project.parent / "record"
    environment = {
        **bare_environment(),
        **KEYS,
        "PATH": f"{project.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "RECORD": str(record),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(guide(name))],  # noqa: S607
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 problems, 0 warnings" not in done.stdout
    return (record / "asked").read_text().splitlines()


def test_quick_deploy_line_by_line(project: Path) -> None:
    asked = follow(project, "QUICK_DEPLOY.md")
    image = "registry.your-company.com/litellm-local:1"
    assert asked[:2] == [f"docker build --target official -t {image} .", f"docker push {image}"]
    assert "kubectl apply -k config/k8s" in asked
    secret = yaml.safe_load((project.parent / "record" / "piped.yaml").read_text())
    assert (secret["kind"], secret["stringData"]["OPENAI_API_KEY"]) == ("Secret", KEYS["OPENAI_API_KEY"])
    deployment = (project / "config" / "k8s" / "base" / "deployment.yaml").read_text()
    assert f"image: {image}\n" in deployment
    code, printed, _ = run("check", "--k8s", "config/k8s", cwd=project)
    assert (code, printed) == (0, "The manifests are right.\n")
    rendered = "".join(file.read_text() for file in (project / "config" / "k8s" / "base").glob("*.yaml"))
    assert "llm.your-company.com" in rendered
    # What it waits for and rolls out is there by that name.
    for name in ("app.kubernetes.io/component: migrate", "secretName: litellm-tls"):
        assert name in rendered


def test_open_access_guide_line_by_line(project: Path) -> None:
    asked = follow(project, "OPEN_ACCESS_GUIDE.md")
    assert asked.count("kubectl apply -k config/k8s") == 2
    ingress = (project / "config" / "k8s" / "base" / "ingress.yaml").read_text()
    assert "whitelist-source-range: 203.0.113.0/24,198.51.100.7\n" in ingress
    assert re.findall(r"path: (/\S*)", ingress) == [
        "/", "/metrics", "/_double", "/ui", "/docs", "/redoc", "/openapi.json",
    ]  # fmt: skip
    names = [manifest["metadata"]["name"] for manifest in yaml.safe_load_all(ingress)]
    assert f"kubectl -n litellm delete ingress {' '.join(names)}" in asked


@pytest.mark.parametrize("name", ["QUICK_DEPLOY.md", "OPEN_ACCESS_GUIDE.md"])
def test_files_that_a_guide_names_are_there(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    for path in re.findall(r"`((?:base|by-hand|components|overlays)/[\w./-]+)`", text):
        assert (FOLDER / path).exists(), path
    counterparts = ("proxy_config", "secrets", "deployment-simple", "service", "ingress", "hpa")
    if name == "QUICK_DEPLOY.md":
        assert all(f"| `{former}.yaml` |" in text for former in counterparts)

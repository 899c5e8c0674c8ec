"""config/k8s: in step with config/proxy.yaml, and what kustomize makes of it is what is checked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from proxy.catalog import load_catalog, project_root
from proxy.render.k8s import COMPONENTS
from proxy.render.k8s.patch import identity
from tests.render.k8s.rendered import SET_UPS, named_like, one, set_up, shipped_files

FOLDER = project_root() / "config" / "k8s"


def test_files_are_in_step_with_the_catalogue() -> None:
    kept = {file.relative_to(FOLDER).as_posix(): file.read_text("utf-8") for file in sorted(FOLDER.rglob("*.yaml"))}
    rendered = shipped_files()
    stale = [path for path in {*kept, *rendered} if kept.get(path) != rendered.get(path)]
    assert not stale, "run: litellm-local config render k8s --out config/k8s"


def test_no_file_holds_a_secret() -> None:
    [secret] = yaml.safe_load_all((FOLDER / "by-hand" / "secrets.yaml").read_text("utf-8"))
    assert set(secret["stringData"].values()) == {""}
    for kustomization in FOLDER.rglob("kustomization.yaml"):
        assert "secret" not in kustomization.read_text("utf-8")
        assert "by-hand" not in kustomization.read_text("utf-8")


@pytest.mark.parametrize("name", SET_UPS)
def test_kustomize_builds_what_is_checked(tmp_path: Path, name: str) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl, which brings kustomize, is not installed")
    shutil.copytree(FOLDER, tmp_path / "k8s")
    mine = tmp_path / "mine"
    mine.mkdir()
    components = [f"../k8s/components/{component}" for component in SET_UPS[name]]
    content = {"resources": ["../k8s/base"], "components": components}
    (mine / "kustomization.yaml").write_text(yaml.safe_dump(content))
    built = subprocess.run(
        ["kubectl", "kustomize", str(mine)],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    image = load_catalog().kubernetes.image
    expected = {identity(manifest): manifest for manifest in set_up(*SET_UPS[name], image=image)}
    assert {identity(manifest): manifest for manifest in yaml.safe_load_all(built.stdout)} == expected


def test_a_changed_configuration_is_another_config_map_and_rolls_out() -> None:
    from tests.render.k8s.rendered import catalog_with

    names = set()
    for catalog in (catalog_with(), catalog_with(limits={"retries": 2})):
        documents = set_up(catalog=catalog)
        config = named_like(documents, "ConfigMap", "litellm-config-")["metadata"]["name"]
        volumes = one(documents, "Deployment")["spec"]["template"]["spec"]["volumes"]
        assert {"name": "config", "configMap": {"name": config}} in volumes
        names.add(config)
    assert len(names) == 2


def test_another_image_is_another_migration_and_is_named_once() -> None:
    jobs = set()
    for image in ("registry.example.com/a:1", "registry.example.com/a:2"):
        documents = set_up("double", image=image)
        jobs.add(named_like(documents, "Job", "litellm-migrate-")["metadata"]["name"])
        used = [
            container["image"]
            for manifest in documents
            for container in manifest.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
        ]
        assert sorted(used) == sorted([image] * 3 + ["postgres:16", "valkey/valkey:8"])
    assert len(jobs) == 2


def test_the_overlay_and_every_component_are_there() -> None:
    paths = set(shipped_files())
    assert "overlays/double/kustomization.yaml" in paths
    assert {f"components/{name}/kustomization.yaml" for name in COMPONENTS} <= paths

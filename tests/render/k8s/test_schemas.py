"""Every manifest, as written and as put together, against the schemas of Kubernetes itself, strictly."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import SchemaNotFoundError, ValidationError

from proxy.render.k8s.checks import Given, check
from proxy.render.k8s.checks.shapes import CUSTOM, shapes
from proxy.render.k8s.checks.view import View
from tests.render.k8s.rendered import SET_UPS, one, set_up, shipped_files

# It reads all of a version's schemas anew for each manifest.
kubernetes_validate.utils.schema_contents = lru_cache(kubernetes_validate.utils.schema_contents)

VERSIONS = ("1.30", "1.36", "1.37")  # the oldest that QUICK_DEPLOY.md names, and two recent ones


def validate(manifest: dict[str, Any], version: str) -> None:
    """Raises for what does not fit, and for an apiVersion that neither Kubernetes nor we have a shape for."""
    if (manifest["apiVersion"], manifest["kind"]) in CUSTOM:
        assert list(shapes(View([Given(manifest)]))) == []
        return
    assert kubernetes_validate.validate(manifest, version, strict=True) == version


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SET_UPS)
def test_each_set_up(name: str, version: str) -> None:
    for manifest in set_up(*SET_UPS[name]):
        validate(manifest, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_file(version: str) -> None:
    """Those among them that no kustomization names."""
    count = 0
    for path, content in shipped_files().items():
        for manifest in yaml.safe_load_all(content):
            if manifest["apiVersion"].startswith("kustomize.") or path.endswith(".patch.yaml"):
                continue
            validate(manifest, version)
            count += 1
    assert count > 40


@pytest.mark.parametrize("version", VERSIONS)
def test_a_schema_is_strict(version: str) -> None:
    documents = set_up()
    deployment = one(documents, "Deployment")
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(ValidationError, match="terminationGracePeriod"):
        validate(deployment, version)
    ingress = one(documents, "Ingress")
    del ingress["spec"]["rules"][0]["http"]["paths"][0]["pathType"]
    with pytest.raises(ValidationError, match="pathType"):
        validate(ingress, version)


@pytest.mark.parametrize(
    ("kind", "version"), [("HorizontalPodAutoscaler", "autoscaling/v2beta2"), ("Deployment", "apps/v9")]
)
def test_an_unknown_version_fails(kind: str, version: str) -> None:
    manifest = {**one(set_up(), kind), "apiVersion": version}
    with pytest.raises(SchemaNotFoundError):
        validate(manifest, VERSIONS[0])
    assert f"apiVersion {version} has no {kind}" in [
        found.message.partition(";")[0] for found in check([Given(manifest)])
    ]


def test_kinds_of_others_are_all_rendered_somewhere() -> None:
    """A shape that nothing is held against is no check."""
    rendered = {
        (manifest["apiVersion"], manifest["kind"])
        for content in shipped_files().values()
        for manifest in yaml.safe_load_all(content)
    }
    assert set(CUSTOM) <= rendered

"""Manifests of the shipped configuration, as the tests of this folder want them."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

from proxy.catalog import Catalog, load_catalog
from proxy.cli.k8s import postgres_files
from proxy.render.k8s import COMPONENTS, Images, Manifest, files, manifests

SET_UPS: dict[str, tuple[str, ...]] = {
    "base": (),
    **{name: (name,) for name in COMPONENTS},
    "everything": COMPONENTS,
}
IMAGE = "registry.example.com/litellm-local:7"


def catalog_with(**sections: dict[str, Any]) -> Catalog:
    """The shipped catalogue with some values changed: `kubernetes={"image": ...}`."""
    catalog = load_catalog()
    changed = {name: getattr(catalog, name).model_copy(update=values) for name, values in sections.items()}
    return Catalog.model_validate(catalog.model_copy(update=changed))


@lru_cache
def shipped_files() -> dict[str, str]:
    catalog = load_catalog()
    return files(catalog, Images(catalog.kubernetes.image), postgres_files())


def set_up(*components: str, image: str = IMAGE, catalog: Catalog | None = None) -> list[Manifest]:
    """A copy to break."""
    if catalog is not None:
        return copy.deepcopy(manifests(catalog, Images(image), postgres_files(), components))
    return copy.deepcopy(_shipped(components, image))


@lru_cache
def _shipped(components: tuple[str, ...], image: str) -> list[Manifest]:
    return manifests(load_catalog(), Images(image), postgres_files(), components)


def one(documents: list[Manifest], kind: str, name: str = "litellm") -> Manifest:
    [found] = [each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def named_like(documents: list[Manifest], kind: str, beginning: str) -> Manifest:
    [found] = [each for each in documents if each["kind"] == kind and each["metadata"]["name"].startswith(beginning)]
    return found


def gateway(documents: list[Manifest]) -> dict[str, Any]:
    [container] = one(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    return container

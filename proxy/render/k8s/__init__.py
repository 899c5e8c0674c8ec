"""Kubernetes manifests from the catalogue. Pure; called by `config render k8s` and `config check --k8s`.

A module for each group of manifests; `layout` says which file they are in, `check` what a schema cannot see.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.catalog import Catalog
from proxy.render.k8s.layout import COMPONENTS, Images, base, chosen, component, files, text
from proxy.render.k8s.names import Manifest
from proxy.render.k8s.patch import deletion, patched
from proxy.render.k8s.secret import filled_secret

__all__ = ["COMPONENTS", "Images", "Manifest", "chosen", "files", "filled_secret", "manifests", "text"]


def manifests(
    catalog: Catalog, images: Images, postgres_files: dict[str, str], components: Sequence[str] = ()
) -> list[Manifest]:
    """What `kubectl apply -k` would send, with these components. Raises ValueError for one that does not exist."""
    on = base(catalog, images, postgres_files)
    result = [one for group in on.files.values() for one in group]
    for name in chosen(catalog, components):
        group = component(name, catalog, images, on)
        result += [one for some in group.files.values() for one in some]
        result = patched(result, [*group.patches.values(), *map(deletion, group.without)])
    return result

"""A component's patches laid over the base, as kustomize does it: enough of it for what is rendered here.

So that the checks and `config render k8s` see what a cluster would get; tests hold it against kustomize itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxy.render.k8s.names import Manifest

# What a list's entries are told apart by, for the lists that are patched here.
_KEYS = {"containers": "name", "env": "name", "volumes": "name"}


def deletion(manifest: Manifest) -> Manifest:
    """The patch that takes an object away."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key in ("name", "namespace")}
    return {"$patch": "delete", **{key: manifest[key] for key in ("apiVersion", "kind")}, "metadata": metadata}


def identity(manifest: Manifest) -> tuple[str, str, str, str]:
    metadata = manifest.get("metadata") or {}
    return (
        str(manifest.get("apiVersion")),
        str(manifest.get("kind")),
        str(metadata.get("namespace") or ""),
        str(metadata.get("name")),
    )


def patched(manifests: Sequence[Manifest], patches: Sequence[Manifest]) -> list[Manifest]:
    """Raises KeyError where a patch is for an object that is not there."""
    found = {identity(one): one for one in manifests}
    for patch in patches:
        key = identity(patch)
        if patch.get("$patch") == "delete":
            del found[key]
        else:
            found[key] = _merged(found[key], patch)
    return list(found.values())


def _merged(old: Manifest, new: Manifest) -> Manifest:
    if new.get("$patch") == "replace":
        return {key: value for key, value in new.items() if key != "$patch"}
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            result[key] = _merged(before, value)
        elif isinstance(value, list) and isinstance(before, list) and key in _KEYS:
            result[key] = _merged_list(before, value, _KEYS[key])
        else:
            result[key] = value
    return result


def _merged_list(old: list[Any], new: list[Any], key: str) -> list[Any]:
    """In kustomize's order: what the patch names, then the rest."""
    before = {entry[key]: entry for entry in old}
    named = [_merged(before[entry[key]], entry) if entry[key] in before else entry for entry in new]
    return named + [entry for entry in old if entry[key] not in {entry[key] for entry in new}]

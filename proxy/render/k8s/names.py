"""What the manifests call things, and what all of them have in common."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from proxy.catalog import Catalog

Manifest = dict[str, Any]

NAMESPACE = "litellm"
GATEWAY = "litellm"
SECRET = "litellm-secrets"  # noqa: S105 - the name of an object
SIMULATOR, SIMULATOR_PORT = "simulator", 8090
VALKEY, VALKEY_PORT = "valkey", 6379
POSTGRES = "postgres"
PLACEHOLDER_DOMAIN = "llm.example.com"  # where edge.domain says none; `config check --k8s` warns of it

USER = 10001  # of the image, see Dockerfile
SECRETS_FOLDER = "/run/secrets"
CONFIG_FOLDER = "/etc/litellm-local"


def labels(component: str) -> dict[str, str]:
    """What selectors go by: never to be changed, as those of a Deployment cannot be."""
    return {"app.kubernetes.io/name": "litellm-local", "app.kubernetes.io/component": component}


def metadata(name: str, component: str, **more: Any) -> Manifest:
    return {"name": name, "namespace": NAMESPACE, "labels": labels(component), **more}


def digest(value: object) -> str:
    """Short, and another one for whatever differs: a name that ends in it rolls a change out."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


def pod_security(user: int = USER) -> Manifest:
    """What the Pod Security Standard `restricted` asks of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Manifest:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def pod(containers: list[Manifest], volumes: list[Manifest], *, user: int = USER, **more: Any) -> Manifest:
    """A pod's spec. No token of the API server, and no variables that Kubernetes makes of services' names: LITELLM_PORT
    and the like would be taken for settings."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(user),
        **more,
        "containers": containers,
        "volumes": volumes,
    }


def resources(cpu: tuple[str, str | None], memory: tuple[str, str]) -> Manifest:
    """(request, limit) of each; no limit of CPU where None."""
    limits = {"memory": memory[1]} if cpu[1] is None else {"cpu": cpu[1], "memory": memory[1]}
    return {"requests": {"cpu": cpu[0], "memory": memory[0]}, "limits": limits}


def scratch(name: str, size: str) -> Manifest:
    return {"name": name, "emptyDir": {"sizeLimit": size}}


def environment(values: dict[str, str]) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in values.items()]


def secret_files(*keys: str) -> Manifest:
    """These keys of the secret as files, one each: what is in a container's environment is too easily shown."""
    items = [{"key": key, "path": key} for key in keys]
    return {"name": "secrets", "secret": {"secretName": SECRET, "defaultMode": 0o440, "items": items}}


def service(name: str, component: str, port: int, target: str, *, of: str = "http") -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name, component),
        "spec": {
            "type": "ClusterIP",
            "selector": labels(component),
            "ports": [{"name": of, "port": port, "targetPort": target, "protocol": "TCP"}],
        },
    }


def domain(catalog: Catalog) -> str:
    return catalog.edge.domain or PLACEHOLDER_DOMAIN

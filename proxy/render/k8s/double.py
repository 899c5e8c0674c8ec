"""The staging double: the simulator, and the gateway pointed at it with no way to a real provider."""

from __future__ import annotations

import json

from proxy import secrets
from proxy.catalog import Catalog
from proxy.render.k8s.config_map import SIMULATOR_URL
from proxy.render.k8s.gateway import COMPONENT, PROGRAM
from proxy.render.k8s.names import (
    GATEWAY,
    NAMESPACE,
    SECRETS_FOLDER,
    SIMULATOR,
    SIMULATOR_PORT,
    Manifest,
    container_security,
    environment,
    labels,
    metadata,
    pod,
    resources,
    scratch,
    secret_files,
    service,
)
from proxy.simulator import aliases


def simulator_service() -> Manifest:
    return service(SIMULATOR, SIMULATOR, SIMULATOR_PORT, "http")


def simulator(catalog: Catalog, image: str) -> Manifest:
    """One pod: its scripts and journal are in its memory."""
    names = {alias: (model.provider, model.upstream) for alias, model in catalog.models.items()}
    alive = {"httpGet": {"path": "/healthz", "port": "http"}, "timeoutSeconds": 5}
    container = {
        "name": SIMULATOR,
        "image": image,
        "command": PROGRAM,
        "args": ["simulator", "--host", "0.0.0.0", "--port", str(SIMULATOR_PORT)],  # noqa: S104
        "env": environment({"LITELLM_LOCAL_SECRETS": SECRETS_FOLDER, aliases.VARIABLE: json.dumps(names)}),
        "ports": [{"name": "http", "containerPort": SIMULATOR_PORT, "protocol": "TCP"}],
        "resources": resources(("100m", None), ("192Mi", "512Mi")),
        "livenessProbe": {**alive, "initialDelaySeconds": 10, "periodSeconds": 10},
        "readinessProbe": {**alive, "periodSeconds": 3},
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "secrets", "mountPath": SECRETS_FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(SIMULATOR, SIMULATOR),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels(SIMULATOR)},
            "template": {
                "metadata": {"labels": labels(SIMULATOR)},
                "spec": pod(
                    [container],
                    [secret_files(secrets.CONTROL_KEY), scratch("tmp", "64Mi")],
                    serviceAccountName=GATEWAY,
                ),
            },
        },
    }


def gateway_patch(catalog: Catalog, config_map: str) -> Manifest:
    """The gateway's Deployment in double mode. The simulator takes any key; a real one is never handed to it."""
    keys = {provider.key_env: f"double-{name}" for name, provider in catalog.providers.items()}
    variables = {"LITELLM_LOCAL_MODE": "double", "LITELLM_LOCAL_SIMULATOR": SIMULATOR_URL, **keys}
    own = secret_files(
        "DATABASE_URL", secrets.MASTER_KEY, secrets.SALT_KEY, secrets.VALKEY_PASSWORD, secrets.CONTROL_KEY
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": GATEWAY, "namespace": NAMESPACE},
        "spec": {
            "template": {
                "spec": {
                    "containers": [{"name": COMPONENT, "env": environment(variables)}],
                    "volumes": [{"name": "config", "configMap": {"name": config_map}}, _replacing(own)],
                }
            }
        },
    }


def _replacing(volume: Manifest) -> Manifest:
    """`items` of a volume are merged by their key where a patch does not say so."""
    return {**volume, "secret": {"$patch": "replace", **volume["secret"]}}

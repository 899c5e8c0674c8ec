"""What keeps data in the cluster: Postgres, for set-ups that have no server of their own, and Valkey."""

from __future__ import annotations

from proxy import secrets
from proxy.catalog import Catalog
from proxy.render.k8s.names import (
    POSTGRES,
    SECRETS_FOLDER,
    VALKEY,
    VALKEY_PORT,
    Manifest,
    container_security,
    labels,
    metadata,
    pod,
    resources,
    scratch,
    secret_files,
    service,
)

# The user `postgres`, and `valkey`, of the official images.
POSTGRES_USER = 999
VALKEY_USER = 999
DATA = "/var/lib/postgresql/data"
# The password is for no command line, so that it comes as configuration, on standard input.
VALKEY_START = f"""\
exec valkey-server - --save "" --appendonly no --maxmemory 200mb --maxmemory-policy volatile-lru \\
  --protected-mode no <<END
requirepass "$(cat {SECRETS_FOLDER}/{secrets.VALKEY_PASSWORD})"
END
"""


def postgres_service(catalog: Catalog) -> Manifest:
    database = catalog.kubernetes.database
    return service(database.service, POSTGRES, database.port, POSTGRES, of=POSTGRES)


def postgres(catalog: Catalog, image: str, config_map: str) -> Manifest:
    """One server on one volume, started as docker-compose.yml starts it (config/postgres/start.sh)."""
    answering = {
        "exec": {"command": ["pg_isready", "--quiet", "--host", "127.0.0.1", "--username", "litellm"]},
        "timeoutSeconds": 5,
    }
    container = {
        "name": POSTGRES,
        "image": image,
        "command": ["sh", "/etc/postgres/start.sh"],
        "ports": [{"name": POSTGRES, "containerPort": 5432, "protocol": "TCP"}],
        "resources": resources(("250m", None), ("512Mi", "1Gi")),
        "startupProbe": {**answering, "periodSeconds": 3, "failureThreshold": 100},
        "livenessProbe": {**answering, "periodSeconds": 30, "failureThreshold": 5},
        "readinessProbe": {**answering, "periodSeconds": 5, "failureThreshold": 2},
        # A fast shutdown; SIGTERM would wait for its clients.
        "lifecycle": {
            "preStop": {"exec": {"command": ["pg_ctl", "stop", "--pgdata", f"{DATA}/16", "--mode", "fast", "--wait"]}}
        },
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "data", "mountPath": DATA},
            {"name": "config", "mountPath": "/etc/postgres", "readOnly": True},
            {"name": "secrets", "mountPath": SECRETS_FOLDER, "readOnly": True},
            {"name": "run", "mountPath": "/var/run/postgresql"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
    volumes = [
        {"name": "config", "configMap": {"name": config_map}},
        secret_files(secrets.POSTGRES_PASSWORD),
        scratch("run", "16Mi"),
        scratch("tmp", "256Mi"),
    ]
    spec = pod([container], volumes, user=POSTGRES_USER, terminationGracePeriodSeconds=120)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(POSTGRES, POSTGRES),
        "spec": {
            "replicas": 1,
            "serviceName": catalog.kubernetes.database.service,
            "selector": {"matchLabels": labels(POSTGRES)},
            "template": {"metadata": {"labels": labels(POSTGRES)}, "spec": spec},
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
                }
            ],
        },
    }


def valkey_service() -> Manifest:
    return service(VALKEY, VALKEY, VALKEY_PORT, VALKEY, of=VALKEY)


def valkey(image: str) -> Manifest:
    """Counters of the limits, shared by all replicas. Nothing in it is worth keeping."""
    answering = {"exec": {"command": ["sh", "-c", "valkey-cli ping | grep -qE 'PONG|NOAUTH'"]}, "timeoutSeconds": 3}
    container = {
        "name": VALKEY,
        "image": image,
        "command": ["sh", "-c", VALKEY_START],
        "ports": [{"name": VALKEY, "containerPort": VALKEY_PORT, "protocol": "TCP"}],
        "resources": resources(("100m", None), ("64Mi", "256Mi")),
        "livenessProbe": {**answering, "periodSeconds": 10, "failureThreshold": 3},
        "readinessProbe": {**answering, "periodSeconds": 5, "failureThreshold": 2},
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "secrets", "mountPath": SECRETS_FOLDER, "readOnly": True},
        ],
    }
    volumes = [secret_files(secrets.VALKEY_PASSWORD), scratch("data", "16Mi")]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(VALKEY, VALKEY),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},  # two would count apart
            "selector": {"matchLabels": labels(VALKEY)},
            "template": {
                "metadata": {"labels": labels(VALKEY)},
                "spec": pod([container], volumes, user=VALKEY_USER),
            },
        },
    }

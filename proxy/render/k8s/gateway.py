"""The gateway's replicas: Deployment, Service, autoscaler, disruption budget, and the Job that migrates."""

from __future__ import annotations

import math

from proxy import secrets
from proxy.catalog import Catalog
from proxy.catalog.models import Probe
from proxy.render.k8s.names import (
    CONFIG_FOLDER,
    GATEWAY,
    NAMESPACE,
    SECRETS_FOLDER,
    Manifest,
    container_security,
    digest,
    environment,
    labels,
    metadata,
    pod,
    resources,
    scratch,
    secret_files,
    service,
)

COMPONENT = "gateway"
PROGRAM = ["python", "-m", "proxy.container"]

# Connections of one replica. Those of the most replicas there may be, twice over while a rollout waits for the old ones
# to end their requests, must fit into the server's max_connections: `config check --k8s` counts.
POOL_SIZE = 8
# A new replica waits for the migration Job; the startup probe waits for longer, so that the replica can say why.
DATABASE_WAIT_SECONDS = 300
STARTUP_SECONDS = 420
STARTUP_PERIOD_SECONDS = 5
PROBE_TIMEOUT_SECONDS = 5
# Between leaving the Service and being told to stop: until every proxy has heard that this replica is gone.
LEAVE_SECONDS = 15
MARGIN_SECONDS = 15
TARGET_CPU_PERCENT = 70


def drain_seconds(catalog: Catalog) -> int:
    """How long a replica that is told to stop waits for requests under way: as long as one may take."""
    return math.ceil(catalog.limits.request_timeout_seconds)


def service_account() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(GATEWAY, COMPONENT),
        "automountServiceAccountToken": False,
    }


def deployment(catalog: Catalog, image: str, config_map: str) -> Manifest:
    cluster = catalog.kubernetes
    drain = drain_seconds(catalog)
    variables = {
        "LITELLM_LOCAL_MODE": "live",
        "LITELLM_LOCAL_SECRETS": SECRETS_FOLDER,
        "LITELLM_LOCAL_CONFIG": f"{CONFIG_FOLDER}/proxy.yaml",
        "CONFIG_FILE_PATH": f"{CONFIG_FOLDER}/litellm.yaml",
        "LITELLM_LOCAL_HOST": "0.0.0.0",  # noqa: S104 - of a pod, guarded by a NetworkPolicy
        "LITELLM_LOCAL_PORT": str(cluster.port),
        "LITELLM_LOCAL_DATABASE_WAIT": str(DATABASE_WAIT_SECONDS),
        "LITELLM_LOCAL_DATABASE_POOL": str(POOL_SIZE),
        "LITELLM_LOCAL_DRAIN": str(drain),
        # Whose word counts for a client's address: nobody but the ingress reaches a replica.
        "FORWARDED_ALLOW_IPS": "*",
    }
    container = {
        "name": COMPONENT,
        "image": image,
        "command": PROGRAM,
        "args": ["gateway"],
        "env": environment(variables),
        "ports": [{"name": "http", "containerPort": cluster.port, "protocol": "TCP"}],
        "resources": resources(
            (cluster.cpu.request, cluster.cpu.limit), (cluster.memory.request, cluster.memory.limit)
        ),
        "startupProbe": {
            **_asked(cluster.liveness),
            "periodSeconds": STARTUP_PERIOD_SECONDS,
            "failureThreshold": STARTUP_SECONDS // STARTUP_PERIOD_SECONDS,
        },
        # A restart mends a hung process and no database: patient enough for one that is away for two minutes.
        "livenessProbe": {**_probe(cluster.liveness), "failureThreshold": 5},
        # Out of the Service within one period.
        "readinessProbe": {**_probe(cluster.readiness), "failureThreshold": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_SECONDS}}},
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
            {"name": "secrets", "mountPath": SECRETS_FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of a container of its own
        ],
    }
    keys = [provider.key_env for provider in catalog.providers.values()]
    volumes = [
        {"name": "config", "configMap": {"name": config_map}},
        secret_files("DATABASE_URL", secrets.MASTER_KEY, secrets.SALT_KEY, secrets.VALKEY_PASSWORD, *keys),
        scratch("tmp", "256Mi"),
    ]
    spec = pod(
        [container],
        volumes,
        serviceAccountName=GATEWAY,
        terminationGracePeriodSeconds=LEAVE_SECONDS + drain + MARGIN_SECONDS,
        topologySpreadConstraints=[_spread("kubernetes.io/hostname"), _spread("topology.kubernetes.io/zone")],
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(GATEWAY, COMPONENT),
        "spec": {
            "replicas": cluster.replicas.min,
            "revisionHistoryLimit": 5,
            "progressDeadlineSeconds": STARTUP_SECONDS + 180,
            "selector": {"matchLabels": labels(COMPONENT)},
            # A new one is ready before an old one goes.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels(COMPONENT)}, "spec": spec},
        },
    }


def _asked(probe: Probe) -> Manifest:
    return {"httpGet": {"path": probe.path, "port": "http"}, "timeoutSeconds": PROBE_TIMEOUT_SECONDS}


def _probe(probe: Probe) -> Manifest:
    return {
        **_asked(probe),
        "initialDelaySeconds": probe.initial_delay_seconds,
        "periodSeconds": probe.period_seconds,
    }


def _spread(topology: str) -> Manifest:
    return {
        "maxSkew": 1,
        "topologyKey": topology,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels(COMPONENT)},
        "matchLabelKeys": ["pod-template-hash"],
    }


def gateway_service(catalog: Catalog) -> Manifest:
    return service(GATEWAY, COMPONENT, catalog.kubernetes.port, "http")


def autoscaler(catalog: Catalog) -> Manifest:
    replicas = catalog.kubernetes.replicas
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(GATEWAY, COMPONENT),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": GATEWAY},
            "minReplicas": replicas.min,
            "maxReplicas": replicas.max,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": TARGET_CPU_PERCENT},
                    },
                }
            ],
            # Up within a minute, by at most two at a time, as a start takes CPU itself; down one by one, after ten
            # quiet minutes: as long as a request may take, so that a pause between two waves is none.
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 60,
                    "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": 600,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
                },
            },
        },
    }


def disruption_budget() -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(GATEWAY, COMPONENT),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": labels(COMPONENT)},
        },
    }


def migration(image: str) -> Manifest:
    """One Job, one pod. Its name tells its image: a Job cannot be changed, so another image makes another Job."""
    container = {
        "name": "migrate",
        "image": image,
        "command": PROGRAM,
        "args": ["migrate"],
        "env": environment({"LITELLM_LOCAL_SECRETS": SECRETS_FOLDER}),
        "resources": resources(("100m", None), ("256Mi", "512Mi")),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "secrets", "mountPath": SECRETS_FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
    spec = pod(
        [container],
        [secret_files("DATABASE_URL"), scratch("tmp", "64Mi")],
        serviceAccountName=GATEWAY,
        restartPolicy="OnFailure",
    )
    job = {
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": 8,  # a database that starts takes some minutes of these
        "activeDeadlineSeconds": 3600,
        "ttlSecondsAfterFinished": 86400,
        "template": {"metadata": {"labels": labels("migrate")}, "spec": spec},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(f"litellm-migrate-{digest(job)}", "migrate"),
        "spec": job,
    }


def namespace() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }

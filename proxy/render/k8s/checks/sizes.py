"""Whether the numbers go together: quantities, memory, the autoscaler, the end of a pod, connections to Postgres."""

from __future__ import annotations

import re

import yaml

from proxy.gateway.settings import DEFAULT_DATABASE_WAIT, DEFAULT_DRAIN
from proxy.render.k8s.checks.view import (
    Found,
    Given,
    View,
    amount,
    containers,
    get,
    items,
    mapping,
    pod_spec,
    variable,
    whole,
)
from proxy.render.k8s.names import Manifest

# One worker with its query engine, in MiB, measured: at rest 555, with 32 requests at once 670, with 8 bodies of 8 MB
# at once 970.
AT_REST_MIB = 670
AT_MOST_MIB = 970
# Beside the gateways: the migration, a backup, and those that Postgres keeps for its superuser.
OTHER_CONNECTIONS = 8
POSTGRES_DEFAULT = 100
# From the start of the process to the first answer, on half a processor, less the wait for the database.
START_SECONDS = 60


def quantities(view: View) -> Found:
    """The API server refuses what is no quantity, and a limit below its request; a schema takes any text."""
    for workload in view.workloads:
        for container in containers(workload):
            asked, limits = (mapping(get(container, "resources", key)) for key in ("requests", "limits"))
            for values in (asked, limits):
                for what, value in values.items():
                    if amount(value) is None:
                        yield workload.wrong(
                            f"container {container.get('name')}: {value!r} is no quantity of {what}; write 500m or 1Gi"
                        )
            for what in asked.keys() & limits.keys():
                low, high = amount(asked[what]), amount(limits[what])
                if low is not None and high is not None and high < low:
                    yield workload.wrong(
                        f"container {container.get('name')}: the limit of {what} ({limits[what]}) is below the request "
                        f"({asked[what]})"
                    )
        for claim in items(workload.spec.get("volumeClaimTemplates")):
            size = get(claim, "spec", "resources", "requests", "storage")
            if amount(size) is None:
                yield workload.wrong(f"volume {get(claim, 'metadata', 'name')}: {size!r} is no size; write 10Gi")


def memory(view: View) -> Found:
    for workload, container in view.gateways:
        asked, limit = (get(container, "resources", key, "memory") for key in ("requests", "limits"))
        for what, value, floor, when in (
            ("request", asked, AT_REST_MIB, "with some requests under way"),
            ("limit", limit, AT_MOST_MIB, "with several large bodies at once"),
        ):
            size = amount(value)
            if value is None:
                yield workload.wrong(
                    f"container {container.get('name')} has no memory {what}; a worker was measured to use {floor} MiB "
                    f"{when}: set kubernetes.memory.{what}"
                )
            elif size is not None and size < floor * 2**20:
                yield workload.wrong(
                    f"container {container.get('name')} has a memory {what} of {value}, but a worker was measured to "
                    f"use {floor} MiB {when}: raise kubernetes.memory.{what}"
                )


def autoscaling(view: View) -> Found:
    for one in view.of("HorizontalPodAutoscaler"):
        low, high = whole(one.spec.get("minReplicas"), 1), whole(one.spec.get("maxReplicas"), 1)
        if high < low:
            yield one.wrong(f"maxReplicas ({high}) is below minReplicas ({low})")
        target = mapping(one.spec.get("scaleTargetRef"))
        workload = view.named(str(target.get("kind")), target.get("name"), one.namespace)
        if workload is None:
            continue
        replicas = workload.spec.get("replicas")
        if isinstance(replicas, int) and not low <= replicas <= high:
            yield one.wrong(f"keeps {low} to {high} replicas, but {workload.kind} {workload.name} asks for {replicas}")
        for metric in items(one.spec.get("metrics")):
            what = get(metric, "resource", "name")
            if get(metric, "resource", "target", "type") != "Utilization":
                continue
            for container in containers(workload):
                if get(container, "resources", "requests", what) is None:
                    yield one.wrong(
                        f"scales by {what} utilization, which is a share of the request, but container "
                        f"{container.get('name')} of {workload.kind} {workload.name} requests no {what}: it would "
                        f"never scale. Set resources.requests.{what}"
                    )


def termination(view: View) -> Found:
    """The end of a pod: preStop and the drain together must fit into the grace period, or requests are cut off."""
    for workload, container in view.gateways:
        drain = _number(variable(container, "LITELLM_LOCAL_DRAIN"), DEFAULT_DRAIN)
        hook = mapping(get(container, "lifecycle", "preStop"))
        leave = _number(get(hook, "sleep", "seconds"), 0) or _slept(hook)
        grace = whole(pod_spec(workload).get("terminationGracePeriodSeconds"), 30)
        if grace <= leave + drain:
            yield workload.wrong(
                f"terminationGracePeriodSeconds is {grace}, but preStop takes {leave:g} s and requests under way are "
                f"given {drain:g} s (LITELLM_LOCAL_DRAIN): they would be killed. Set it above {leave + drain:g}"
            )
        if not hook:
            yield workload.wrong(
                f"container {container.get('name')} has no preStop: it would stop while proxies still send it "
                "requests: add lifecycle.preStop.sleep"
            )
        timeout = _request_timeout(view, workload)
        if timeout is not None and drain < timeout:
            yield workload.wrong(
                f"requests under way are given {drain:g} s to end (LITELLM_LOCAL_DRAIN), but one may take {timeout:g} "
                "s (limits.request_timeout_seconds): a rollout would cut it off"
            )


def startup(view: View) -> Found:
    """A replica that waits for the migration must not be killed for it."""
    for workload, container in view.gateways:
        wait = _number(variable(container, "LITELLM_LOCAL_DATABASE_WAIT"), DEFAULT_DATABASE_WAIT)
        probe = mapping(container.get("startupProbe"))
        patience = whole(probe.get("periodSeconds"), 10) * whole(probe.get("failureThreshold"), 3)
        if not probe:
            yield workload.wrong(
                f"container {container.get('name')} has no startupProbe: the liveness probe would kill a slow start"
            )
        elif patience < wait + START_SECONDS:
            yield workload.wrong(
                f"startupProbe gives up after {patience} s, but a start may take {wait + START_SECONDS:g} s, the "
                "wait for the database among it (LITELLM_LOCAL_DATABASE_WAIT): raise failureThreshold"
            )


def connections(view: View) -> Found:
    """All replicas' pools, while one more is rolled in, against what Postgres allows."""
    for workload, container in view.gateways:
        size = _number(variable(container, "LITELLM_LOCAL_DATABASE_POOL"), 0)
        if not size:
            yield workload.wrong(
                f"container {container.get('name')} does not bound its connections (LITELLM_LOCAL_DATABASE_POOL): the "
                "query engine would go by the processors of the node, two for each"
            )
            continue
        scalers = [
            one
            for one in view.of("HorizontalPodAutoscaler")
            if (get(one.spec, "scaleTargetRef", "name"), one.namespace) == (workload.name, workload.namespace)
        ]
        most = max(
            [whole(one.spec.get("maxReplicas"), 1) for one in scalers] or [whole(workload.spec.get("replicas"), 1)]
        )
        surge = whole(get(workload.spec, "strategy", "rollingUpdate", "maxSurge"), 1)
        # While a rollout goes on, each replica that ends its requests keeps its pool beside the one in its place.
        needed = int(size) * (2 * most + surge) + OTHER_CONNECTIONS
        why = f"{size:g} for each of {most} replicas, as many that a rollout ends, {surge} more, and a few"
        servers = [one for one in view.of("StatefulSet") if one.namespace == workload.namespace and _is_postgres(one)]
        if not servers:
            yield workload.doubtful(
                f"your Postgres must allow {needed} connections ({why}); by default it allows {POSTGRES_DEFAULT}: see "
                "SHOW max_connections"
            )
        for server in servers:
            allowed = _max_connections(view, server)
            if allowed < needed:
                yield server.wrong(
                    f"max_connections is {allowed}, but {workload.kind} {workload.name} may need {needed} ({why}): "
                    "raise it, or lower LITELLM_LOCAL_DATABASE_POOL or kubernetes.replicas.max"
                )


def _request_timeout(view: View, workload: Given) -> float | None:
    for volume in items(pod_spec(workload).get("volumes")):
        config = view.named("ConfigMap", get(volume, "configMap", "name"), workload.namespace)
        text = get(config.manifest, "data", "proxy.yaml") if config else None
        if isinstance(text, str):
            try:
                value = get(yaml.safe_load(text), "limits", "request_timeout_seconds")
            except yaml.YAMLError:
                return None
            return float(value) if isinstance(value, (int, float)) else None
    return None


def _is_postgres(workload: Given) -> bool:
    return any("postgres" in str(container.get("image")) for container in containers(workload))


def _max_connections(view: View, server: Given) -> int:
    for volume in items(pod_spec(server).get("volumes")):
        config = view.named("ConfigMap", get(volume, "configMap", "name"), server.namespace)
        for text in mapping(get(config.manifest, "data") if config else None).values():
            if found := re.search(r"^\s*max_connections\s*=?\s*'?(\d+)", str(text), re.M):
                return int(found[1])
    return POSTGRES_DEFAULT


def _slept(hook: Manifest) -> float:
    """Of a preStop that runs `sleep N`."""
    command = " ".join(str(part) for part in items(get(hook, "exec", "command")))
    found = re.search(r"\bsleep (\d+)", command)
    return float(found[1]) if found else 0


def _number(value: object, default: float) -> float:
    try:
        return float(str(value))
    except ValueError:
        return default

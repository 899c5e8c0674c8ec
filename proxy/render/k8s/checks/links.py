"""Whether what names something else names something that is there: selectors, ports, services, ConfigMaps."""

from __future__ import annotations

from proxy.render.k8s.checks.view import (
    Found,
    Given,
    View,
    containers,
    get,
    items,
    mapping,
    pod_labels,
    pod_spec,
    port_names,
    takes,
)

# Pods that are not ours: cert-manager makes them.
_ELSEWHERE = "acme.cert-manager.io/http01-solver"


def own_selectors(view: View) -> Found:
    """A workload's selector must take its own pods, or the API server refuses it."""
    for workload in view.of("Deployment", "StatefulSet", "DaemonSet"):
        if not takes(workload.spec.get("selector"), pod_labels(workload)):
            yield workload.wrong(
                f"spec.selector {_shown(workload.spec.get('selector'))} does not match the labels of its own pods "
                f"{_shown(pod_labels(workload))}; make them the same"
            )


def selectors(view: View) -> Found:
    """What selects pods must find some."""
    wanted: list[tuple[Given, str, object]] = []
    for one in view.of("Service"):
        if one.spec.get("selector"):
            wanted.append((one, "spec.selector", one.spec["selector"]))
    for one in view.of("PodDisruptionBudget"):
        wanted.append((one, "spec.selector", one.spec.get("selector")))
    for one in view.of("NetworkPolicy"):
        wanted.append((one, "spec.podSelector", one.spec.get("podSelector")))
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for rule in items(one.spec.get(direction)):
                for peer in items(get(rule, side)):
                    if get(peer, "podSelector") is not None and get(peer, "namespaceSelector") is None:
                        wanted.append((one, f"spec.{direction}.{side}.podSelector", get(peer, "podSelector")))
    for one, path, selector in wanted:
        if _ELSEWHERE not in mapping(get(selector, "matchLabels")) and not view.selected(selector, one.namespace):
            known = sorted({_shown(pod_labels(workload)) for workload in view.workloads})
            yield one.wrong(
                f"{path} {_shown(selector)} matches no pod; the pods here have the labels {' or '.join(known)}"
            )
    for one in view.of("ServiceMonitor"):
        services = [other for other in view.of("Service") if other.namespace == one.namespace]
        labelled = [
            other
            for other in services
            if takes(one.spec.get("selector"), mapping(get(other.manifest, "metadata", "labels")))
        ]
        if not labelled:
            yield one.wrong("spec.selector matches the labels of no Service, so nothing would be scraped")
        for endpoint in items(one.spec.get("endpoints")):
            for other in labelled:
                names = [get(port, "name") for port in items(other.spec.get("ports"))]
                if get(endpoint, "port") not in names:
                    yield one.wrong(f"endpoint port {get(endpoint, 'port')!r} is no named port of Service {other.name}")


def service_ports(view: View) -> Found:
    for one in view.of("Service"):
        pods = view.selected(one.spec.get("selector"), one.namespace) if one.spec.get("selector") else []
        for port in items(one.spec.get("ports")):
            target = get(port, "targetPort") if get(port, "targetPort") is not None else get(port, "port")
            for workload in pods:
                if target not in port_names(workload):
                    yield one.wrong(
                        f"targetPort {target!r} is no port of the pods of {workload.kind} {workload.name}, "
                        f"which have {_ports(workload)}"
                    )


def probe_ports(view: View) -> Found:
    for workload in view.workloads:
        for container in containers(workload):
            known = {
                key
                for port in items(container.get("ports"))
                for key in (get(port, "containerPort"), get(port, "name"))
                if key is not None
            }
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                for way in ("httpGet", "tcpSocket", "grpc"):
                    port = get(container, probe, way, "port")
                    if port is not None and port not in known:
                        yield workload.wrong(
                            f"{probe} of container {container.get('name')} asks port {port!r}, but the container has "
                            f"{_ports(workload)}: it would never pass"
                        )


def policy_ports(view: View) -> Found:
    """A port that a policy opens must be the pods' own, not that of the Service in front of them."""
    for one in view.of("NetworkPolicy"):
        sides = [
            (rule, view.selected(one.spec.get("podSelector"), one.namespace)) for rule in items(one.spec.get("ingress"))
        ]
        for rule in items(one.spec.get("egress")):
            peers = [
                get(peer, "podSelector") for peer in items(get(rule, "to")) if get(peer, "namespaceSelector") is None
            ]
            sides.append((rule, [pod for peer in peers if peer for pod in view.selected(peer, one.namespace)]))
        for rule, pods in sides:
            for port in items(get(rule, "ports")):
                for workload in pods:
                    if port_names(workload) and get(port, "port") not in port_names(workload):
                        yield one.wrong(
                            f"opens port {get(port, 'port')!r} of {workload.kind} {workload.name}, "
                            f"whose pods have {_ports(workload)}"
                        )


def backends(view: View) -> Found:
    """What an Ingress or a route sends requests to."""
    for one in view.of("Ingress"):
        found = [
            (get(path, "backend", "service", "name"), get(path, "backend", "service", "port"))
            for rule in items(one.spec.get("rules"))
            for path in items(get(rule, "http", "paths"))
        ]
        for name, port in found:
            yield from _backend(view, one, name, get(port, "name") if get(port, "name") else get(port, "number"))
    for one in view.of("HTTPRoute"):
        for rule in items(one.spec.get("rules")):
            for backend in items(get(rule, "backendRefs")):
                yield from _backend(view, one, get(backend, "name"), get(backend, "port"))
        for parent in items(one.spec.get("parentRefs")):
            gateway = view.named("Gateway", get(parent, "name"), get(parent, "namespace") or one.namespace)
            listeners = [get(each, "name") for each in items(gateway.spec.get("listeners"))] if gateway else []
            if gateway and get(parent, "sectionName") and get(parent, "sectionName") not in listeners:
                yield one.wrong(f"sectionName {get(parent, 'sectionName')!r} is no listener of Gateway {gateway.name}")


def _backend(view: View, one: Given, name: object, port: object) -> Found:
    service = view.named("Service", name, one.namespace)
    if service is None:
        yield one.wrong(f"sends requests to Service {name}, which is not here")
        return
    known = [key for entry in items(service.spec.get("ports")) for key in (get(entry, "port"), get(entry, "name"))]
    if port not in known:
        yield one.wrong(f"sends requests to port {port!r} of Service {name}, which has {_list(known)}")


def references(view: View) -> Found:
    """A ConfigMap or a service account that is named and not there keeps pods from starting."""
    for workload in view.workloads:
        account = pod_spec(workload).get("serviceAccountName")
        if account and account != "default" and not view.named("ServiceAccount", account, workload.namespace):
            yield workload.wrong(f"runs as ServiceAccount {account}, which is not here")
        for volume in items(pod_spec(workload).get("volumes")):
            name = get(volume, "configMap", "name")
            if (
                name
                and not get(volume, "configMap", "optional")
                and not view.named("ConfigMap", name, workload.namespace)
            ):
                yield workload.wrong(
                    f"mounts ConfigMap {name}, which is not here; its name ends in a digest of its content, "
                    "so render all files together"
                )
            yield from _secret_keys(view, workload, volume)
        mounted = {get(volume, "name") for volume in items(pod_spec(workload).get("volumes"))}
        mounted |= {get(claim, "metadata", "name") for claim in items(workload.spec.get("volumeClaimTemplates"))}
        for container in containers(workload):
            for mount in items(container.get("volumeMounts")):
                if get(mount, "name") not in mounted:
                    yield workload.wrong(
                        f"container {container.get('name')} mounts volume {get(mount, 'name')!r}, which the pod has not"
                    )
    for one in view.of("HorizontalPodAutoscaler"):
        target = mapping(one.spec.get("scaleTargetRef"))
        if not view.named(str(target.get("kind")), target.get("name"), one.namespace):
            yield one.wrong(f"scales {target.get('kind')} {target.get('name')}, which is not here")


def _secret_keys(view: View, workload: Given, volume: object) -> Found:
    """The Secret itself is often elsewhere; where it is here, it must have what is asked of it."""
    name = get(volume, "secret", "secretName")
    secret = view.named("Secret", name, workload.namespace) if name else None
    if secret is None:
        return
    has = {**mapping(secret.manifest.get("data")), **mapping(secret.manifest.get("stringData"))}
    lacking = [str(get(item, "key")) for item in items(get(volume, "secret", "items")) if get(item, "key") not in has]
    if lacking:
        yield workload.wrong(f"wants {', '.join(lacking)} of Secret {name}, which has not: its pods would not start")


def _shown(selector: object) -> str:
    plain = mapping(get(selector, "matchLabels")) or {
        key: value for key, value in mapping(selector).items() if key not in ("matchLabels", "matchExpressions")
    }
    parts = [f"{key}={value}" for key, value in plain.items()]
    for rule in items(get(selector, "matchExpressions")):
        parts.append(f"{get(rule, 'key')} {get(rule, 'operator')} {get(rule, 'values') or ''}".strip())
    return ",".join(parts) or "(empty)"


def _ports(workload: Given) -> str:
    return _list(list(port_names(workload))) if port_names(workload) else "no ports"


def _list(values: list[object] | list[str | int]) -> str:
    return ", ".join(repr(value) for value in values if value is not None)

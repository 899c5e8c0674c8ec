"""Manifests as the checks look at them: pods with their labels, services, who selects whom."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.render.k8s.names import Manifest

_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
_UNITS["Ti"] = 2.0**40
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "Job"}


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong, where (`base/hpa.yaml: HorizontalPodAutoscaler litellm`), and in the message what to do about it.
    A warning stops nothing."""

    where: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Given:
    """A manifest and the file it is from, if any."""

    manifest: Manifest
    file: str = ""

    @property
    def kind(self) -> str:
        return str(self.manifest.get("kind"))

    @property
    def name(self) -> str:
        return str(get(self.manifest, "metadata", "name"))

    @property
    def namespace(self) -> str:
        return str(get(self.manifest, "metadata", "namespace") or "default")

    @property
    def where(self) -> str:
        return f"{self.file}: {self.kind} {self.name}" if self.file else f"{self.kind} {self.name}"

    @property
    def spec(self) -> Manifest:
        return mapping(self.manifest.get("spec"))

    def wrong(self, message: str) -> Finding:
        return Finding(self.where, message)

    def doubtful(self, message: str) -> Finding:
        return Finding(self.where, message, warning=True)


class View:
    """All the manifests that go to one cluster together."""

    def __init__(self, given: Sequence[Given]) -> None:
        self.all = list(given)

    def of(self, *kinds: str) -> list[Given]:
        return [one for one in self.all if one.kind in kinds]

    def named(self, kind: str, name: object, namespace: str) -> Given | None:
        found = [one for one in self.of(kind) if (one.name, one.namespace) == (name, namespace)]
        return found[0] if found else None

    @property
    def workloads(self) -> list[Given]:
        return self.of(*_WORKLOADS)

    def selected(self, selector: object, namespace: str) -> list[Given]:
        """The workloads of this namespace whose pods a label selector takes."""
        return [one for one in self.workloads if one.namespace == namespace and takes(selector, pod_labels(one))]

    @property
    def gateways(self) -> list[tuple[Given, Manifest]]:
        """(workload, container) of each that runs the gateway."""
        return [
            (workload, container)
            for workload in self.of("Deployment", "StatefulSet")
            for container in containers(workload)
            if "gateway" in [*items(container.get("command")), *items(container.get("args"))][-1:]
        ]


def pod_labels(workload: Given) -> dict[str, str]:
    return mapping(get(workload.spec, "template", "metadata", "labels"))


def pod_spec(workload: Given) -> Manifest:
    return mapping(get(workload.spec, "template", "spec"))


def containers(workload: Given) -> list[Manifest]:
    return [one for one in items(pod_spec(workload).get("containers")) if isinstance(one, dict)]


def port_names(workload: Given) -> dict[str | int, int]:
    """Every way in which a port of the pods can be named -> its number."""
    found: dict[str | int, int] = {}
    for container in containers(workload):
        for port in items(container.get("ports")):
            number = get(port, "containerPort")
            if isinstance(number, int):
                found[number] = number
                if get(port, "name"):
                    found[str(get(port, "name"))] = number
    return found


def variable(container: Manifest, name: str) -> str | None:
    for entry in items(container.get("env")):
        if get(entry, "name") == name:
            return str(get(entry, "value") or "")
    return None


def takes(selector: object, labels: Mapping[str, str]) -> bool:
    """A label selector, or the plain labels of a Service's. An empty selector takes all."""
    given = mapping(selector)
    if not given.keys() & {"matchLabels", "matchExpressions"}:
        return all(labels.get(key) == value for key, value in given.items())
    plain = mapping(given.get("matchLabels"))
    if any(labels.get(key) != value for key, value in plain.items()):
        return False
    return all(_fits(mapping(rule), labels) for rule in items(given.get("matchExpressions")))


def _fits(rule: Manifest, labels: Mapping[str, str]) -> bool:
    value, among = labels.get(str(rule.get("key"))), items(rule.get("values"))
    return {
        "In": value in among,
        "NotIn": value not in among,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }.get(str(rule.get("operator")), False)


def amount(quantity: object) -> float | None:
    """A quantity such as 500m or 1Gi as a number; None where it is none."""
    match = _QUANTITY.fullmatch(str(quantity))
    return float(match[1]) * _UNITS[match[2] or ""] if match else None


def get(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def whole(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


Found = Iterator[Finding]

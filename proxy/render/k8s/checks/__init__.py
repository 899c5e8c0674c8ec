"""What a schema cannot see in manifests, ours or anyone's. Pure; called by `config check --k8s`.

Each check is a function on a `View`; it is to be seen failing in tests/render/k8s on a broken copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy.render.k8s.checks import links, shapes, sizes
from proxy.render.k8s.checks.view import Finding, Found, Given, View, containers, items
from proxy.render.k8s.names import PLACEHOLDER_DOMAIN

__all__ = ["CHECKS", "Finding", "Given", "check"]

LITELLM_IMAGE = "berriai/litellm"


def placeholders(view: View) -> Found:
    """What must be said before this can be of use to anybody."""
    for workload, container in view.gateways:
        if LITELLM_IMAGE in str(container.get("image")):
            yield workload.doubtful(
                f"image {container['image']} is LiteLLM's own, without this package, and would not start. Build one on "
                "it (docker build --target official), push it, and name it under kubernetes.image or with --image"
            )
    for one in view.of("Ingress"):
        if any(rule.get("host") == PLACEHOLDER_DOMAIN for rule in items(one.spec.get("rules"))):
            yield one.doubtful(f"host {PLACEHOLDER_DOMAIN} stands for the name of yours: set edge.domain")
    for one in view.of("HTTPRoute"):
        if PLACEHOLDER_DOMAIN in items(one.spec.get("hostnames")):
            yield one.doubtful(f"host {PLACEHOLDER_DOMAIN} stands for the name of yours: set edge.domain")


def probes(view: View) -> Found:
    """Every container that serves something must be asked whether it does."""
    for workload in view.of("Deployment", "StatefulSet"):
        for container in containers(workload):
            for probe in ("livenessProbe", "readinessProbe"):
                if container.get("ports") and not container.get(probe):
                    yield workload.wrong(f"container {container.get('name')} has no {probe}")


CHECKS: tuple[Callable[[View], Found], ...] = (
    shapes.shapes,
    shapes.duplicates,
    links.own_selectors,
    links.selectors,
    links.service_ports,
    links.probe_ports,
    links.policy_ports,
    links.backends,
    links.references,
    probes,
    sizes.quantities,
    sizes.memory,
    sizes.autoscaling,
    sizes.termination,
    sizes.startup,
    sizes.connections,
    placeholders,
)


def check(given: Sequence[Given]) -> list[Finding]:
    """All that is wrong with manifests that go to one cluster together, problems before warnings."""
    view = View(given)
    found = {finding for one in CHECKS for finding in one(view)}
    return sorted(found, key=lambda finding: (finding.warning, finding))

"""Each check of `config check --k8s`, seen failing on a copy of the manifests with one thing broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy.render.k8s import Manifest
from proxy.render.k8s.checks import CHECKS, Finding, Given, check
from proxy.render.k8s.checks.view import View
from tests.render.k8s.rendered import SET_UPS, catalog_with, gateway, named_like, one, set_up

DOMAIN = catalog_with(edge={"domain": "llm.example.org"})


def problems(documents: list[Manifest]) -> list[Finding]:
    return [found for found in check([Given(document) for document in documents]) if not found.warning]


@pytest.mark.parametrize("name", SET_UPS)
def test_what_is_rendered_is_right(name: str) -> None:
    found = check([Given(document) for document in set_up(*SET_UPS[name], catalog=DOMAIN)])
    # Nothing here knows what a server outside allows.
    assert [one.message.partition(" connections")[0] for one in found] == (
        ["your Postgres must allow 176"] if "external-database" in SET_UPS[name] else []
    )


def pod(documents: list[Manifest], kind: str = "Deployment", name: str = "litellm") -> Manifest:
    spec: Manifest = one(documents, kind, name)["spec"]["template"]["spec"]
    return spec


def variable(documents: list[Manifest], name: str, value: str | None) -> None:
    container = gateway(documents)
    container["env"] = [entry for entry in container["env"] if entry["name"] != name]
    if value is not None:
        container["env"].append({"name": name, "value": value})


def drop_resources(documents: list[Manifest]) -> None:
    del gateway(documents)["resources"]["requests"]["cpu"]


def max_connections(documents: list[Manifest]) -> None:
    config = named_like(documents, "ConfigMap", "postgres-config-")["data"]
    config["postgresql.conf"] = config["postgresql.conf"].replace("max_connections = 200", "max_connections = 100")


def remove(documents: list[Manifest], kind: str, name: str) -> None:
    documents.remove(named_like(documents, kind, name))


Break = Callable[[list[Manifest]], object]

# what is broken -> (how, where it is found, what is said)
BROKEN: dict[str, tuple[Break, str, str]] = {
    "selector of a Service": (
        lambda all_: one(all_, "Service")["spec"]["selector"].update({"app.kubernetes.io/component": "gatway"}),
        "Service litellm",
        "component=gatway matches no pod",
    ),
    "selector of a Deployment": (
        lambda all_: one(all_, "Deployment")["spec"]["selector"]["matchLabels"].update(tier="web"),
        "Deployment litellm",
        "tier=web does not match the labels of its own pods",
    ),
    "selector of a disruption budget": (
        lambda all_: one(all_, "PodDisruptionBudget")["spec"]["selector"].update(matchLabels={"app": "litellm"}),
        "PodDisruptionBudget litellm",
        "spec.selector app=litellm matches no pod",
    ),
    "pods of a policy": (
        lambda all_: one(all_, "NetworkPolicy", "valkey")["spec"]["podSelector"].update(matchLabels={"app": "redis"}),
        "NetworkPolicy valkey",
        "spec.podSelector app=redis matches no pod",
    ),
    "peer of a policy": (
        lambda all_: one(all_, "NetworkPolicy", "valkey")["spec"]["ingress"][0]["from"][0].update(
            podSelector={"matchLabels": {"app": "litellm"}}
        ),
        "NetworkPolicy valkey",
        "spec.ingress.from.podSelector app=litellm matches no pod",
    ),
    "selector of a ServiceMonitor": (
        lambda all_: one(all_, "ServiceMonitor")["spec"]["selector"].update(matchLabels={"app": "litellm"}),
        "ServiceMonitor litellm",
        "matches the labels of no Service",
    ),
    "port of a ServiceMonitor": (
        lambda all_: one(all_, "ServiceMonitor")["spec"]["endpoints"][0].update(port="web"),
        "ServiceMonitor litellm",
        "endpoint port 'web' is no named port of Service litellm",
    ),
    "targetPort": (
        lambda all_: one(all_, "Service")["spec"]["ports"][0].update(targetPort=8000),
        "Service litellm",
        "targetPort 8000 is no port of the pods of Deployment litellm, which have 4000, 'http'",
    ),
    "port of a probe": (
        lambda all_: gateway(all_)["readinessProbe"]["httpGet"].update(port=8000),
        "Deployment litellm",
        "readinessProbe of container gateway asks port 8000",
    ),
    "container's port, which the probes do not follow": (
        lambda all_: gateway(all_)["ports"][0].update(name="web"),
        "Deployment litellm",
        "livenessProbe of container gateway asks port 'http'",
    ),
    "no probe": (lambda all_: gateway(all_).pop("livenessProbe"), "Deployment litellm", "has no livenessProbe"),
    "port of a policy": (
        lambda all_: one(all_, "NetworkPolicy", "gateway")["spec"]["ingress"][0]["ports"][0].update(port=8000),
        "NetworkPolicy gateway",
        "opens port 8000 of Deployment litellm, whose pods have 4000, 'http'",
    ),
    "port that a policy lets out to": (
        lambda all_: one(all_, "NetworkPolicy", "to-postgres")["spec"]["egress"][0]["ports"][0].update(port=5433),
        "NetworkPolicy to-postgres",
        "opens port 5433 of StatefulSet postgres",
    ),
    "backend of an Ingress": (
        lambda all_: one(all_, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(
            name="litellm-proxy"
        ),
        "Ingress litellm",
        "sends requests to Service litellm-proxy, which is not here",
    ),
    "port of an Ingress": (
        lambda all_: one(all_, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(
            port={"number": 80}
        ),
        "Ingress litellm",
        "sends requests to port 80 of Service litellm, which has 4000, 'http'",
    ),
    "stale ConfigMap": (
        lambda all_: remove(all_, "ConfigMap", "litellm-config-"),
        "Deployment litellm",
        "mounts ConfigMap litellm-config-",
    ),
    "no service account": (
        lambda all_: remove(all_, "ServiceAccount", "litellm"),
        "Deployment litellm",
        "runs as ServiceAccount litellm, which is not here",
    ),
    "mount without a volume": (
        lambda all_: gateway(all_)["volumeMounts"].append({"name": "cache", "mountPath": "/cache"}),
        "Deployment litellm",
        "container gateway mounts volume 'cache', which the pod has not",
    ),
    "key that the Secret lacks": (
        lambda all_: all_.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "litellm-secrets", "namespace": "litellm"},
                "stringData": {
                    "DATABASE_URL": "",
                    "LITELLM_MASTER_KEY": "",
                    "LITELLM_SALT_KEY": "",
                    "POSTGRES_PASSWORD": "",
                    "VALKEY_PASSWORD": "",
                },
            }
        ),
        "Deployment litellm",
        "wants OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY of Secret litellm-secrets",
    ),
    "target of the autoscaler": (
        lambda all_: one(all_, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="litellm-proxy"),
        "HorizontalPodAutoscaler litellm",
        "scales Deployment litellm-proxy, which is not here",
    ),
    "autoscaler without requests": (
        drop_resources,
        "HorizontalPodAutoscaler litellm",
        "requests no cpu: it would never scale. Set resources.requests.cpu",
    ),
    "autoscaler upside down": (
        lambda all_: one(all_, "HorizontalPodAutoscaler")["spec"].update(maxReplicas=2),
        "HorizontalPodAutoscaler litellm",
        "maxReplicas (2) is below minReplicas (3)",
    ),
    "replicas beyond the autoscaler": (
        lambda all_: one(all_, "Deployment")["spec"].update(replicas=1),
        "HorizontalPodAutoscaler litellm",
        "keeps 3 to 10 replicas, but Deployment litellm asks for 1",
    ),
    "memory limit": (
        lambda all_: gateway(all_)["resources"]["limits"].update(memory="768Mi"),
        "Deployment litellm",
        "has a memory limit of 768Mi, but a worker was measured to use 970 MiB",
    ),
    "memory request": (
        lambda all_: gateway(all_)["resources"]["requests"].update(memory="512Mi"),
        "Deployment litellm",
        "has a memory request of 512Mi, but a worker was measured to use 670 MiB",
    ),
    "no memory limit": (
        lambda all_: gateway(all_)["resources"]["limits"].pop("memory"),
        "Deployment litellm",
        "has no memory limit",
    ),
    "quantity": (
        lambda all_: gateway(all_)["resources"]["limits"].update(memory="2GB"),
        "Deployment litellm",
        "'2GB' is no quantity of memory",
    ),
    "limit below the request": (
        lambda all_: gateway(all_)["resources"]["limits"].update(cpu="250m"),
        "Deployment litellm",
        "the limit of cpu (250m) is below the request (500m)",
    ),
    "size of a volume": (
        lambda all_: one(all_, "StatefulSet", "postgres")["spec"]["volumeClaimTemplates"][0]["spec"]["resources"][
            "requests"
        ].update(storage="10 GB"),
        "StatefulSet postgres",
        "volume data: '10 GB' is no size",
    ),
    "grace period": (
        lambda all_: pod(all_).update(terminationGracePeriodSeconds=60),
        "Deployment litellm",
        "terminationGracePeriodSeconds is 60, but preStop takes 15 s and requests under way are given 600 s",
    ),
    "drain shorter than a request": (
        lambda all_: variable(all_, "LITELLM_LOCAL_DRAIN", None),
        "Deployment litellm",
        "requests under way are given 15 s to end (LITELLM_LOCAL_DRAIN), but one may take 600 s",
    ),
    "no preStop": (lambda all_: gateway(all_).pop("lifecycle"), "Deployment litellm", "has no preStop"),
    "no startup probe": (
        lambda all_: gateway(all_).pop("startupProbe"),
        "Deployment litellm",
        "has no startupProbe: the liveness probe would kill a slow start",
    ),
    "impatient startup probe": (
        lambda all_: gateway(all_)["startupProbe"].update(failureThreshold=30),
        "Deployment litellm",
        "startupProbe gives up after 150 s, but a start may take 360 s",
    ),
    "pool": (
        lambda all_: variable(all_, "LITELLM_LOCAL_DATABASE_POOL", "20"),
        "StatefulSet postgres",
        "max_connections is 200, but Deployment litellm may need 428",
    ),
    "replicas": (
        lambda all_: one(all_, "HorizontalPodAutoscaler")["spec"].update(maxReplicas=20),
        "StatefulSet postgres",
        "max_connections is 200, but Deployment litellm may need 336",
    ),
    "server": (max_connections, "StatefulSet postgres", "max_connections is 100, but Deployment litellm may need 176"),
    "no pool": (
        lambda all_: variable(all_, "LITELLM_LOCAL_DATABASE_POOL", None),
        "Deployment litellm",
        "does not bound its connections",
    ),
    "twice": (lambda all_: all_.append(one(all_, "Service")), "Service litellm", "is here twice"),
    "apiVersion": (
        lambda all_: one(all_, "HorizontalPodAutoscaler").update(apiVersion="autoscaling/v2beta2"),
        "HorizontalPodAutoscaler litellm",
        "apiVersion autoscaling/v2beta2 has no HorizontalPodAutoscaler; write autoscaling/v2",
    ),
    "no kind": (lambda all_: one(all_, "Service").pop("kind"), "None litellm", "apiVersion, kind and metadata.name"),
    "field of a ServiceMonitor": (
        lambda all_: one(all_, "ServiceMonitor")["spec"]["endpoints"][0].update(intervall="30s"),
        "ServiceMonitor litellm",
        "'intervall' was unexpected",
    ),
}
# The same for the components that take the Ingress away.
BROKEN_GATEWAY_API: dict[str, tuple[Break, str, str]] = {
    "backend of a route": (
        lambda all_: one(all_, "HTTPRoute")["spec"]["rules"][-1]["backendRefs"][0].update(port=80),
        "HTTPRoute litellm",
        "sends requests to port 80 of Service litellm",
    ),
    "listener of a route": (
        lambda all_: one(all_, "HTTPRoute")["spec"]["parentRefs"][0].update(sectionName="tls"),
        "HTTPRoute litellm",
        "sectionName 'tls' is no listener of Gateway litellm",
    ),
    "rate limit": (
        lambda all_: one(all_, "RateLimitPolicy")["spec"]["rateLimit"]["local"]["rules"][0].update(rate="100/s"),
        "RateLimitPolicy litellm",
        "'100/s' does not match",
    ),
    "certificate": (
        lambda all_: one(all_, "Certificate", "litellm-tls")["spec"].pop("secretName"),
        "Certificate litellm-tls",
        "'secretName' is a required property",
    ),
    "listener": (
        lambda all_: one(all_, "Gateway")["spec"]["listeners"][0].update(protocol="http"),
        "Gateway litellm",
        "spec.listeners.0.protocol",
    ),
}


@pytest.mark.parametrize("what", [*BROKEN, *BROKEN_GATEWAY_API])
def test_what_is_broken_is_found_and_nothing_else(what: str) -> None:
    component = "gateway-api" if what in BROKEN_GATEWAY_API else "monitoring"
    breaks, where, says = {**BROKEN, **BROKEN_GATEWAY_API}[what]
    documents = set_up(component)
    breaks(documents)
    found = problems(documents)
    assert any(one.where == where and says in one.message for one in found), found
    # A wrong selector or kind is seen from several sides; all else is one finding.
    assert len(found) == 1 or what in SEVERAL, found


SEVERAL = {
    "selector of a Service",
    "container's port, which the probes do not follow",
    "stale ConfigMap",
    "no service account",
    "no kind",
    "target of the autoscaler",
    "autoscaler upside down",
    "grace period",
    "memory limit",
}


def test_every_check_has_been_seen_failing() -> None:
    seen = set()
    for what, (breaks, _, _) in {**BROKEN, **BROKEN_GATEWAY_API}.items():
        documents = set_up("gateway-api" if what in BROKEN_GATEWAY_API else "monitoring")
        breaks(documents)
        view = View([Given(document) for document in documents])
        seen |= {each.__name__ for each in CHECKS if any(not one.warning for one in each(view))}
    assert seen == {each.__name__ for each in CHECKS} - {"placeholders"}


def test_placeholders_are_warned_of() -> None:
    found = check([Given(document) for document in set_up(image="ghcr.io/berriai/litellm:main-stable")])
    assert {one.warning for one in found} == {True}
    assert [one.where for one in found] == ["Deployment litellm", "Ingress litellm", "Ingress litellm-closed"]
    by_gateway = check([Given(document) for document in set_up("gateway-api")])
    assert [one.where for one in by_gateway] == ["HTTPRoute litellm", "HTTPRoute litellm-redirect"]


def test_a_kind_of_others_is_passed_over_with_a_word() -> None:
    vault = {"apiVersion": "example.com/v1", "kind": "Vault", "metadata": {"name": "mine"}}
    [found] = check([Given(vault, "vault.yaml")])
    assert (found.where, found.warning) == ("vault.yaml: Vault mine", True)
    assert "not known here" in found.message


def test_without_an_autoscaler_the_replicas_count() -> None:
    documents = set_up(catalog=DOMAIN)
    remove(documents, "HorizontalPodAutoscaler", "litellm")
    one(documents, "Deployment")["spec"]["replicas"] = 12
    [found] = problems(documents)
    assert "may need 208" in found.message

"""NetworkPolicies: nothing is allowed but what is said here, in clusters whose network enforces them."""

from __future__ import annotations

from urllib.parse import urlsplit

from proxy.catalog import Catalog
from proxy.render.k8s.names import (
    POSTGRES,
    SIMULATOR,
    SIMULATOR_PORT,
    VALKEY,
    VALKEY_PORT,
    Manifest,
    labels,
    metadata,
)
from proxy.render.litellm import live_base

INGRESS_NAMESPACE = "ingress-nginx"
MONITORING_NAMESPACE = "monitoring"
TO_PROVIDERS = "gateway-to-providers"
TO_POSTGRES = "to-postgres"
TO_EXTERNAL_DATABASE = "to-external-database"

# The outside: neither the cluster's own network nor the cloud's metadata service.
_PRIVATE_4 = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
_PRIVATE_6 = ["fc00::/7", "fe80::/10"]
OUTSIDE = [
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": _PRIVATE_4}},
    {"ipBlock": {"cidr": "::/0", "except": _PRIVATE_6}},
]
# The address of NodeLocal DNSCache, where a cluster has one.
NODE_DNS = {"ipBlock": {"cidr": "169.254.20.10/32"}}
ANYWHERE = [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]


def policies(catalog: Catalog) -> list[Manifest]:
    """All that the gateway, its database and Valkey need to be reached by and to reach."""
    gateway, migrate = labels("gateway"), labels("migrate")
    return [
        _policy("default-deny", {}, ingress=[], egress=[]),
        _policy(
            "dns",
            {},
            egress=[{"to": [_namespace("kube-system"), NODE_DNS], "ports": [*_ports(53), *_ports(53, protocol="UDP")]}],
        ),
        _policy(
            "gateway",
            gateway,
            ingress=[{"from": [_namespace(INGRESS_NAMESPACE)], "ports": _ports(catalog.kubernetes.port)}],
            egress=[{"to": [_pods(labels(VALKEY))], "ports": _ports(VALKEY_PORT)}],
        ),
        _policy(TO_PROVIDERS, gateway, egress=[{"to": OUTSIDE, "ports": _ports(*_provider_ports(catalog))}]),
        _for_both(_policy(TO_POSTGRES, {}, egress=[{"to": [_pods(labels(POSTGRES))], "ports": _ports(5432)}])),
        _policy(
            POSTGRES,
            labels(POSTGRES),
            ingress=[{"from": [_pods(gateway), _pods(migrate)], "ports": _ports(5432)}],
        ),
        _policy(VALKEY, labels(VALKEY), ingress=[{"from": [_pods(gateway)], "ports": _ports(VALKEY_PORT)}]),
        # cert-manager answers Let's Encrypt from a pod of its own in this namespace.
        _policy(
            "certificates",
            {"acme.cert-manager.io/http01-solver": "true"},
            ingress=[{"from": [_namespace(INGRESS_NAMESPACE)], "ports": _ports(8089)}],
        ),
    ]


def external_database_policy(catalog: Catalog) -> Manifest:
    """The way to a database outside, wherever it is: its address is in the Secret."""
    url = catalog.database.url
    port = (urlsplit(url).port if url else None) or catalog.kubernetes.database.port
    return _for_both(_policy(TO_EXTERNAL_DATABASE, {}, egress=[{"to": ANYWHERE, "ports": _ports(port)}]))


def _for_both(policy: Manifest) -> Manifest:
    """For the gateway and the migration alike."""
    both = {"key": "app.kubernetes.io/component", "operator": "In", "values": ["gateway", "migrate"]}
    policy["spec"]["podSelector"] = {"matchExpressions": [both]}
    return policy


def simulator_policies() -> list[Manifest]:
    """The double, and no way out of it."""
    gateway, simulator = labels("gateway"), labels(SIMULATOR)
    ports = _ports(SIMULATOR_PORT)
    return [
        _policy(SIMULATOR, simulator, ingress=[{"from": [_pods(gateway)], "ports": ports}]),
        _policy("gateway-to-simulator", gateway, egress=[{"to": [_pods(simulator)], "ports": ports}]),
    ]


def monitoring_policy(catalog: Catalog) -> Manifest:
    return _policy(
        "monitoring",
        labels("gateway"),
        ingress=[{"from": [_namespace(MONITORING_NAMESPACE)], "ports": _ports(catalog.kubernetes.port)}],
    )


def gateway_api_policy(catalog: Catalog, namespace: str) -> Manifest:
    return _policy(
        "gateway-api",
        labels("gateway"),
        ingress=[{"from": [_namespace(namespace)], "ports": _ports(catalog.kubernetes.port)}],
    )


def _provider_ports(catalog: Catalog) -> list[int]:
    found = set()
    for provider in catalog.providers.values():
        parts = urlsplit(live_base(provider))
        found.add(parts.port or (443 if parts.scheme.lower() == "https" else 80))
    return sorted(found)


def _policy(
    name: str,
    selector: dict[str, str],
    *,
    ingress: list[Manifest] | None = None,
    egress: list[Manifest] | None = None,
) -> Manifest:
    spec: Manifest = {"podSelector": {"matchLabels": selector} if selector else {}}
    spec["policyTypes"] = [kind for kind, rules in (("Ingress", ingress), ("Egress", egress)) if rules is not None]
    if ingress:
        spec["ingress"] = ingress
    if egress:
        spec["egress"] = egress
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(name, "network"),
        "spec": spec,
    }


def _pods(selector: dict[str, str]) -> Manifest:
    return {"podSelector": {"matchLabels": selector}}


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _ports(*ports: int, protocol: str = "TCP") -> list[Manifest]:
    return [{"port": port, "protocol": protocol} for port in ports]

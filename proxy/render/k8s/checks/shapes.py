"""The kinds that are rendered, by their apiVersion; of those that Kubernetes itself has no schema for, the shape.

Taken from the projects' own definitions: cert-manager 1.x, External Secrets 1.x, the Prometheus Operator, Gateway API
1.x, NGINX Gateway Fabric 2.x. Fields that are not used here are left out, so that a misspelt one is found.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from proxy.catalog.problems import did_you_mean
from proxy.render.k8s.checks.view import Found, View

Schema = dict[str, Any]

BUILT_IN = {
    "Namespace": "v1",
    "ServiceAccount": "v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "Service": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
    "Ingress": "networking.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
}

TEXT: Schema = {"type": "string", "minLength": 1}
NUMBER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(h|m|s|ms))+$"}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
SIZE: Schema = {"type": "string", "pattern": r"^\d{1,4}(k|m|g)?$"}


def a(*required: str, **fields: Schema) -> Schema:
    """An object with these fields and no others."""
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


def some(entry: Schema, at_most: int = 64) -> Schema:
    return {"type": "array", "items": entry, "minItems": 1, "maxItems": at_most}


def one_of(*values: object) -> Schema:
    return {"enum": list(values)}


_SELECTOR = a("matchLabels", matchLabels=LABELS)
_PARENT = a("name", name=TEXT, namespace=TEXT, kind=TEXT, group=TEXT, sectionName=TEXT, port=PORT)
_SOLVER = a(
    "http01",
    http01={
        **a(
            ingress=a("ingressClassName", ingressClassName=TEXT),
            gatewayHTTPRoute=a("parentRefs", parentRefs=some(_PARENT)),
        ),
        "minProperties": 1,
        "maxProperties": 1,
    },
)
_TARGET = a(
    "group",
    "kind",
    "name",
    group=one_of("gateway.networking.k8s.io"),
    kind=one_of("Gateway", "HTTPRoute", "GRPCRoute"),
    name=TEXT,
)
_PATH_CHANGE = a("type", "replaceFullPath", type=one_of("ReplaceFullPath"), replaceFullPath=TEXT)
_FILTER: Schema = {
    "oneOf": [
        a("type", "urlRewrite", type=one_of("URLRewrite"), urlRewrite=a("path", path=_PATH_CHANGE)),
        a(
            "type",
            "requestRedirect",
            type=one_of("RequestRedirect"),
            requestRedirect=a(scheme=one_of("http", "https"), statusCode=one_of(301, 302)),
        ),
        a(
            "type",
            "extensionRef",
            type=one_of("ExtensionRef"),
            extensionRef=a("group", "kind", "name", group=TEXT, kind=TEXT, name=TEXT),
        ),
    ]
}
_MATCH = a("path", path=a("type", "value", type=one_of("Exact", "PathPrefix"), value=TEXT))
_ROUTE_RULE = a(
    matches=some(_MATCH),
    filters=some(_FILTER, 16),
    backendRefs=some(a("name", "port", name=TEXT, namespace=TEXT, port=PORT, weight=NUMBER), 16),
    timeouts=a(request=DURATION, backendRequest=DURATION),
)
_LISTENER = a(
    "name",
    "port",
    "protocol",
    name=TEXT,
    port=PORT,
    protocol=one_of("HTTP", "HTTPS", "TLS", "TCP", "UDP"),
    hostname=TEXT,
    tls=a(
        "certificateRefs",
        mode=one_of("Terminate", "Passthrough"),
        certificateRefs=some(a("name", kind=TEXT, group=TEXT, name=TEXT, namespace=TEXT)),
    ),
    allowedRoutes=a(
        "namespaces", namespaces=a("from", selector=_SELECTOR, **{"from": one_of("All", "Selector", "Same")})
    ),
)
_RATE_RULE = a(
    "key",
    "rate",
    key=TEXT,
    rate={"type": "string", "pattern": r"^\d+r/[sm]$"},
    zoneSize=SIZE,
    burst=NUMBER,
    delay=NUMBER,
    noDelay=FLAG,
    dryRun=FLAG,
    logLevel=one_of("info", "notice", "warn", "error"),
    rejectCode={"type": "integer", "minimum": 400, "maximum": 599},
)

CUSTOM: dict[tuple[str, str], Schema] = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): a(
        "selector",
        "endpoints",
        selector=_SELECTOR,
        endpoints=some(
            a(
                "port",
                port=TEXT,
                path=TEXT,
                scheme=one_of("http", "https"),
                interval=DURATION,
                scrapeTimeout=DURATION,
                authorization=a("credentials", type=TEXT, credentials=a("key", name=TEXT, key=TEXT, optional=FLAG)),
            )
        ),
    ),
    ("external-secrets.io/v1", "ExternalSecret"): a(
        "secretStoreRef",
        "data",
        refreshInterval=DURATION,
        secretStoreRef=a("name", kind=one_of("SecretStore", "ClusterSecretStore"), name=TEXT),
        target=a(
            name=TEXT,
            creationPolicy=one_of("Owner", "Orphan", "Merge", "None"),
            deletionPolicy=one_of("Delete", "Merge", "Retain"),
        ),
        data=some(
            a("secretKey", "remoteRef", secretKey=TEXT, remoteRef=a("key", key=TEXT, property=TEXT, version=TEXT))
        ),
    ),
    ("cert-manager.io/v1", "ClusterIssuer"): a(
        "acme",
        acme=a(
            "server",
            "privateKeySecretRef",
            "solvers",
            server={"type": "string", "pattern": "^https://"},
            email=TEXT,
            privateKeySecretRef=a("name", name=TEXT),
            solvers=some(_SOLVER),
        ),
    ),
    ("cert-manager.io/v1", "Certificate"): a(
        "secretName",
        "dnsNames",
        "issuerRef",
        secretName=TEXT,
        dnsNames=some(TEXT),
        issuerRef=a("name", group=TEXT, kind=one_of("Issuer", "ClusterIssuer"), name=TEXT),
    ),
    ("gateway.networking.k8s.io/v1", "Gateway"): a(
        "gatewayClassName", "listeners", gatewayClassName=TEXT, listeners=some(_LISTENER)
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): a(
        "parentRefs", "rules", parentRefs=some(_PARENT), hostnames=some(TEXT, 16), rules=some(_ROUTE_RULE, 16)
    ),
    ("gateway.nginx.org/v1alpha1", "RateLimitPolicy"): a(
        "targetRefs", targetRefs=some(_TARGET, 16), rateLimit=a(local=a(rules=some(_RATE_RULE)))
    ),
    ("gateway.nginx.org/v1alpha1", "ProxySettingsPolicy"): a(
        "targetRefs", targetRefs=some(_TARGET, 16), buffering=a(disable=FLAG, bufferSize=SIZE)
    ),
    ("gateway.nginx.org/v1alpha1", "ClientSettingsPolicy"): a(
        "targetRef", targetRef=_TARGET, body=a(maxSize=SIZE, timeout=DURATION)
    ),
    ("gateway.nginx.org/v1alpha1", "SnippetsFilter"): a(
        "snippets",
        snippets=some(
            a("context", "value", context=one_of("main", "http", "http.server", "http.server.location"), value=TEXT)
        ),
    ),
}

_VERSIONS = {**BUILT_IN, **{kind: version for version, kind in CUSTOM}}


def shapes(view: View) -> Found:
    """An apiVersion that is not the kind's, and, of kinds that Kubernetes does not bring, a field that is not right."""
    for one in view.all:
        version = one.manifest.get("apiVersion")
        if not one.manifest.get("kind") or not version or not one.name:
            yield one.wrong("apiVersion, kind and metadata.name are needed of every manifest")
        elif one.kind not in _VERSIONS:
            yield one.doubtful(
                f"is of a kind that is not known here{did_you_mean(one.kind, _VERSIONS)}; it is not checked"
            )
        elif version != _VERSIONS[one.kind]:
            yield one.wrong(f"apiVersion {version} has no {one.kind}; write {_VERSIONS[one.kind]}")
        elif schema := CUSTOM.get((str(version), one.kind)):
            for error in Draft202012Validator(schema).iter_errors(one.spec):
                path = ".".join(map(str, ("spec", *error.absolute_path)))
                yield one.wrong(f"{path}: {error.message}")


def duplicates(view: View) -> Found:
    seen = set()
    for one in view.all:
        key = (one.manifest.get("apiVersion"), one.kind, one.namespace, one.name)
        if key in seen:
            yield one.wrong("is here twice; one would overwrite the other")
        seen.add(key)

"""The edge by the Gateway API, on NGINX Gateway Fabric, for clusters that have no Ingress controller any more.

What the Gateway API has no word for (the rate limit, the size of a body, buffering, an allow-list) are policies of that
controller; its `timeouts` it does not know, so nginx is told them in a snippet.
"""

from __future__ import annotations

from proxy.catalog import Catalog
from proxy.gateway.routes import CLOSED_PATH
from proxy.render.k8s.edge import CERTIFICATE, body_bytes, cluster_issuer, edge_seconds, has_tls
from proxy.render.k8s.names import GATEWAY, NAMESPACE, Manifest, domain, metadata
from proxy.render.k8s.network import gateway_api_policy

# Of its own: the controller runs nginx in the Gateway's namespace, where none of ours should be reachable from.
EDGE_NAMESPACE = "litellm-edge"
GATEWAY_CLASS = "nginx"
_API, _NGINX = "gateway.networking.k8s.io/v1", "gateway.nginx.org/v1alpha1"
_TARGET = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": GATEWAY}


def portable(catalog: Catalog) -> list[Manifest]:
    """What any controller of the Gateway API reads."""
    found = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": EDGE_NAMESPACE}},
        _gateway(catalog),
        _route(catalog),
        gateway_api_policy(catalog, EDGE_NAMESPACE),
    ]
    if has_tls(catalog):
        found += [_redirect(catalog), _certificate(catalog)]
    return found


def nginx_policies(catalog: Catalog) -> list[Manifest]:
    """What NGINX Gateway Fabric alone reads."""
    edge, seconds = catalog.edge, edge_seconds(catalog)
    rule = {
        "zoneSize": "10m",
        "key": "$binary_remote_addr",
        "rate": f"{edge.requests_per_second}r/s",
        "burst": edge.requests_per_second * edge.burst_factor,
        "noDelay": True,
        "rejectCode": 429,
    }
    snippet = [f"proxy_read_timeout {seconds}s;", f"proxy_send_timeout {seconds}s;", "proxy_request_buffering off;"]
    snippet += [f"allow {network};" for network in edge.allow] + (["deny all;"] if edge.allow else [])
    buffering = {"disable": True, "bufferSize": "32k"}
    return [
        _nginx("RateLimitPolicy", {"targetRefs": [_TARGET], "rateLimit": {"local": {"rules": [rule]}}}),
        _nginx("ProxySettingsPolicy", {"targetRefs": [_TARGET], "buffering": buffering}),
        _nginx("ClientSettingsPolicy", {"targetRef": _TARGET, "body": {"maxSize": _size(body_bytes(catalog))}}),
        _nginx("SnippetsFilter", {"snippets": [{"context": "http.server.location", "value": " ".join(snippet)}]}),
    ]


def gateway_issuer(catalog: Catalog) -> Manifest:
    parent = {"name": GATEWAY, "namespace": EDGE_NAMESPACE, "kind": "Gateway"}
    return cluster_issuer(catalog, {"gatewayHTTPRoute": {"parentRefs": [parent]}})


def _gateway(catalog: Catalog) -> Manifest:
    host = domain(catalog)
    ours = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    # cert-manager's own route, which answers Let's Encrypt, is in the certificate's namespace.
    everybody = {"namespaces": {"from": "All"}}
    listeners: list[Manifest] = [
        {"name": "http", "port": 80, "protocol": "HTTP", "hostname": host, "allowedRoutes": everybody}
    ]
    if has_tls(catalog):
        listeners.append(
            {
                "name": "https",
                "port": 443,
                "protocol": "HTTPS",
                "hostname": host,
                "tls": {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": CERTIFICATE}]},
                "allowedRoutes": {"namespaces": {"from": "Selector", "selector": ours}},
            }
        )
    return {
        "apiVersion": _API,
        "kind": "Gateway",
        "metadata": _in_edge(GATEWAY),
        "spec": {"gatewayClassName": GATEWAY_CLASS, "listeners": listeners},
    }


def _route(catalog: Catalog) -> Manifest:
    backend = [{"name": GATEWAY, "port": catalog.kubernetes.port}]
    timeouts = {"request": f"{edge_seconds(catalog)}s"}
    rules: list[Manifest] = []
    if catalog.edge.closed_paths:
        rewrite = {"type": "URLRewrite", "urlRewrite": {"path": _replaced(CLOSED_PATH)}}
        rules.append(
            {
                "matches": [{"path": {"type": "PathPrefix", "value": path}} for path in catalog.edge.closed_paths],
                "filters": [rewrite],
                "backendRefs": backend,
            }
        )
    snippets = {"group": "gateway.nginx.org", "kind": "SnippetsFilter", "name": GATEWAY}
    rules.append(
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "filters": [{"type": "ExtensionRef", "extensionRef": snippets}],
            "backendRefs": backend,
            "timeouts": timeouts,
        }
    )
    return _http_route(catalog, GATEWAY, "https" if has_tls(catalog) else "http", rules)


def _redirect(catalog: Catalog) -> Manifest:
    rule = {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]}
    return _http_route(catalog, f"{GATEWAY}-redirect", "http", [rule])


def _http_route(catalog: Catalog, name: str, listener: str, rules: list[Manifest]) -> Manifest:
    parent = {"name": GATEWAY, "namespace": EDGE_NAMESPACE, "sectionName": listener}
    return {
        "apiVersion": _API,
        "kind": "HTTPRoute",
        "metadata": metadata(name, "edge"),
        "spec": {"parentRefs": [parent], "hostnames": [domain(catalog)], "rules": rules},
    }


def _certificate(catalog: Catalog) -> Manifest:
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": _in_edge(CERTIFICATE),
        "spec": {
            "secretName": CERTIFICATE,
            "dnsNames": [domain(catalog)],
            "issuerRef": {
                "group": "cert-manager.io",
                "kind": "ClusterIssuer",
                "name": catalog.kubernetes.cluster_issuer,
            },
        },
    }


def _replaced(path: str) -> Manifest:
    return {"type": "ReplaceFullPath", "replaceFullPath": path}


def _size(number: int) -> str:
    """In nginx's words, of which the policy takes at most four digits; rounded up, the gateway is exact."""
    return f"{-(-number // 1024**2)}m"


def _nginx(kind: str, spec: Manifest) -> Manifest:
    return {"apiVersion": _NGINX, "kind": kind, "metadata": metadata(GATEWAY, "edge"), "spec": spec}


def _in_edge(name: str) -> Manifest:
    return {**metadata(name, "edge"), "namespace": EDGE_NAMESPACE}

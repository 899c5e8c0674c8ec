"""What the outside reaches: the Ingress of the NGINX controller, and the issuer of its certificate."""

from __future__ import annotations

import math

from proxy.catalog import Catalog
from proxy.gateway.routes import CLOSED_PATH
from proxy.render.k8s.names import GATEWAY, Manifest, domain, metadata
from proxy.render.nginx import MARGIN_SECONDS

CERTIFICATE = "litellm-tls"
ACME = "https://acme-v02.api.letsencrypt.org/directory"
_NGINX = "nginx.ingress.kubernetes.io"


def has_tls(catalog: Catalog) -> bool:
    return catalog.edge.tls.issuer != "none"


def edge_seconds(catalog: Catalog) -> int:
    """A little longer than the gateway's own limit: it knows more of a request that took too long."""
    return math.ceil(catalog.limits.request_timeout_seconds) + MARGIN_SECONDS


def body_bytes(catalog: Catalog) -> int:
    return int(catalog.limits.max_body_mb * 1024 * 1024)


def ingress(catalog: Catalog) -> Manifest:
    edge, seconds = catalog.edge, str(edge_seconds(catalog))
    annotations = {
        f"{_NGINX}/limit-rps": str(edge.requests_per_second),
        f"{_NGINX}/limit-burst-multiplier": str(edge.burst_factor),
        f"{_NGINX}/proxy-connect-timeout": "5",
        f"{_NGINX}/proxy-read-timeout": seconds,
        f"{_NGINX}/proxy-send-timeout": seconds,
        f"{_NGINX}/proxy-body-size": str(body_bytes(catalog)),
        f"{_NGINX}/proxy-buffering": "off",
        f"{_NGINX}/proxy-request-buffering": "off",
        f"{_NGINX}/proxy-buffer-size": "32k",  # LiteLLM's headers
    }
    if edge.allow:
        annotations[f"{_NGINX}/whitelist-source-range"] = ",".join(edge.allow)
    if has_tls(catalog):
        annotations["cert-manager.io/cluster-issuer"] = catalog.kubernetes.cluster_issuer
    return _ingress(catalog, GATEWAY, ["/"], {**annotations, **_redirect(catalog)})


def closed_ingress(catalog: Catalog) -> Manifest | None:
    """The paths that are not for the outside, sent where the gateway answers 404, whatever they ask for."""
    if not catalog.edge.closed_paths:
        return None
    annotations = {f"{_NGINX}/rewrite-target": CLOSED_PATH, **_redirect(catalog)}
    return _ingress(catalog, f"{GATEWAY}-closed", catalog.edge.closed_paths, annotations)


def cluster_issuer(catalog: Catalog, solver: Manifest | None = None) -> Manifest:
    """For all of the cluster, and many clusters have one. `solver` None: through the ingress controller."""
    acme: Manifest = {
        "server": ACME,
        "privateKeySecretRef": {"name": f"{catalog.kubernetes.cluster_issuer}-account"},
        "solvers": [{"http01": solver or {"ingress": {"ingressClassName": catalog.kubernetes.ingress_class}}}],
    }
    if catalog.edge.tls.email:
        acme["email"] = catalog.edge.tls.email
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": catalog.kubernetes.cluster_issuer},
        "spec": {"acme": acme},
    }


def _redirect(catalog: Catalog) -> dict[str, str]:
    return {
        f"{_NGINX}/force-ssl-redirect" if has_tls(catalog) else f"{_NGINX}/ssl-redirect": str(has_tls(catalog)).lower()
    }


def _ingress(catalog: Catalog, name: str, paths: list[str], annotations: dict[str, str]) -> Manifest:
    backend = {"service": {"name": GATEWAY, "port": {"name": "http"}}}
    rules = [{"path": path, "pathType": "Prefix", "backend": backend} for path in paths]
    spec: Manifest = {"ingressClassName": catalog.kubernetes.ingress_class}
    if has_tls(catalog):
        spec["tls"] = [{"hosts": [domain(catalog)], "secretName": CERTIFICATE}]
    spec["rules"] = [{"host": domain(catalog), "http": {"paths": rules}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata(name, "edge", annotations=annotations),
        "spec": spec,
    }

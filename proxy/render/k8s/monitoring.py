"""For the Prometheus Operator: every replica's /metrics, which asks for the master key."""

from __future__ import annotations

from proxy import secrets
from proxy.render.k8s.names import GATEWAY, SECRET, Manifest, labels, metadata


def service_monitor() -> Manifest:
    key = {"name": SECRET, "key": secrets.MASTER_KEY}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata(GATEWAY, "monitoring"),
        "spec": {
            "selector": {"matchLabels": labels("gateway")},
            "endpoints": [
                {
                    "port": "http",
                    "path": "/metrics",
                    "interval": "30s",
                    "scrapeTimeout": "10s",
                    "authorization": {"type": "Bearer", "credentials": key},
                }
            ],
        },
    }

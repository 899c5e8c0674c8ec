"""What the gateway reads, as ConfigMaps whose names end in a digest of what they hold.

A changed configuration is a ConfigMap of another name, so the Deployment that names it is rolled out; replicas that
still run keep the one they were started with, and `kubectl rollout undo` goes back to it.
"""

from __future__ import annotations

from proxy.catalog import Catalog
from proxy.render.compose import proxy_yaml
from proxy.render.k8s.names import (
    GATEWAY,
    POSTGRES,
    SIMULATOR,
    SIMULATOR_PORT,
    VALKEY,
    Manifest,
    digest,
    metadata,
)
from proxy.render.litellm import litellm_config, litellm_yaml
from proxy.simulator import api_bases

SIMULATOR_URL = f"http://{SIMULATOR}:{SIMULATOR_PORT}"


def gateway_config(catalog: Catalog, *, double: bool = False) -> Manifest:
    """proxy.yaml and LiteLLM's own, which names keys and holds none."""
    rendered = litellm_config(catalog, api_bases=api_bases(SIMULATOR_URL) if double else None, valkey=VALKEY)
    return _config_map(
        f"{GATEWAY}-config", "gateway", {"proxy.yaml": proxy_yaml(catalog), "litellm.yaml": litellm_yaml(rendered)}
    )


def postgres_config(files: dict[str, str]) -> Manifest:
    """The database's start script and settings, as docker-compose.yml has them (config/postgres)."""
    return _config_map(f"{POSTGRES}-config", POSTGRES, files)


def _config_map(name: str, component: str, data: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(f"{name}-{digest(data)}", component),
        "immutable": True,
        "data": data,
    }

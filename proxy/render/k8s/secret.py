"""The Secret: its shape with nothing in it, filled from `.env`, and an example of one that an operator fills."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from proxy import secrets
from proxy.catalog import Catalog
from proxy.render.k8s.names import SECRET, Manifest, metadata

OURS = (
    secrets.MASTER_KEY,
    secrets.SALT_KEY,
    secrets.POSTGRES_PASSWORD,
    secrets.CONTROL_KEY,
    secrets.VALKEY_PASSWORD,
)


def secret_keys(catalog: Catalog) -> list[str]:
    return ["DATABASE_URL", *OURS, *(provider.key_env for provider in catalog.providers.values())]


def empty_secret(catalog: Catalog) -> Manifest:
    return _secret(dict.fromkeys(secret_keys(catalog), ""))


def filled_secret(catalog: Catalog, values: Mapping[str, str], keys: Mapping[str, str]) -> Manifest:
    """`values` are the secrets of `.env`, `keys` the providers'."""
    url = catalog.database.url or cluster_database_url(catalog, values[secrets.POSTGRES_PASSWORD])
    return _secret({"DATABASE_URL": url, **{name: values[name] for name in OURS}, **keys})


def cluster_database_url(catalog: Catalog, password: str) -> str:
    """The database in the cluster as the pods reach it."""
    database = catalog.kubernetes.database
    return f"postgresql://litellm:{quote(password, safe='')}@{database.service}:{database.port}/{database.name}"


def external_secret(catalog: Catalog) -> Manifest:
    """For the External Secrets Operator: the same Secret out of a store of the operator's."""
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": metadata(SECRET, "secrets"),
        "spec": {
            "refreshInterval": "1h0m0s",
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": "your-store"},
            "target": {"name": SECRET, "creationPolicy": "Owner", "deletionPolicy": "Retain"},
            "data": [
                {"secretKey": key, "remoteRef": {"key": "litellm", "property": key}} for key in secret_keys(catalog)
            ],
        },
    }


def _secret(values: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(SECRET, "secrets"),
        "type": "Opaque",
        "stringData": values,
    }

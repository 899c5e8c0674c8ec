"""What docker-compose.yml reads, from the catalogue and the secrets: files by their path in the state folder. Pure.

`config render compose` and the launcher write them with `proxy.stack.files.write_files`. A folder for each service,
so that none sees another's secrets. `secrets` is the only folder with secrets in it: nobody but its owner may enter
it, and what is in it is readable by everybody who is shown it, whatever user a container runs as.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote

import yaml

from proxy import secrets
from proxy.catalog import Catalog
from proxy.render.litellm import litellm_config, litellm_yaml
from proxy.render.nginx import nginx_conf
from proxy.simulator import aliases, api_bases

SIMULATOR = "http://simulator:8090"
VALKEY = "valkey"
METRICS_KEY = "METRICS_KEY"


def compose_files(
    catalog: Catalog,
    values: Mapping[str, str],
    *,
    mode: str,
    keys: Mapping[str, str],
    certificate: str,
    database_url: str | None = None,
    https_port: int = 443,
    replicas: int = 1,
) -> dict[str, str]:
    """Path in the state folder -> content, but for `compose.env`.

    `values` are the secrets of `.env`, `keys` the providers'. `certificate` is the edge's until an authority has
    issued one, with its key (`proxy.stack.certificates`), `https_port` the one that its clients see. `database_url`
    None: the container `postgres`. `replicas` is how many gateways there are: several share what they count through
    the container `valkey`.
    """
    url = database_url or container_database_url(values[secrets.POSTGRES_PASSWORD])
    double = mode == "double"
    names = {alias: (model.provider, model.upstream) for alias, model in catalog.models.items()}
    rendered = litellm_config(
        catalog, api_bases=api_bases(SIMULATOR) if double else None, valkey=VALKEY if replicas > 1 else None
    )
    gateway = {
        "DATABASE_URL": url,
        secrets.MASTER_KEY: values[secrets.MASTER_KEY],
        secrets.SALT_KEY: values[secrets.SALT_KEY],
        **keys,
    }
    if double:
        gateway[secrets.CONTROL_KEY] = values[secrets.CONTROL_KEY]
    if replicas > 1:
        gateway[secrets.VALKEY_PASSWORD] = values[secrets.VALKEY_PASSWORD]
    by_service = {
        "postgres": {secrets.POSTGRES_PASSWORD: values[secrets.POSTGRES_PASSWORD]},
        "migrate": {"DATABASE_URL": url},
        "gateway": gateway,
        "simulator": {secrets.CONTROL_KEY: values[secrets.CONTROL_KEY], aliases.VARIABLE: json.dumps(names)},
        "edge": {"self-signed.pem": certificate.strip()},
        "valkey": {"valkey.conf": valkey_conf(values[secrets.VALKEY_PASSWORD])},
        "prometheus": {METRICS_KEY: values[secrets.MASTER_KEY]},
    }
    files = {
        f"secrets/{service}/{name}": f"{value}\n" for service, of in by_service.items() for name, value in of.items()
    }
    files["rendered/gateway/proxy.yaml"] = proxy_yaml(catalog)
    files["rendered/gateway/litellm.yaml"] = litellm_yaml(rendered)
    files["rendered/nginx/nginx.conf"] = nginx_conf(catalog, https_port=https_port)
    files["rendered/prometheus/prometheus.yml"] = prometheus_yaml()
    return files


def container_database_url(password: str) -> str:
    """The database as the gateway's container reaches it."""
    return f"postgresql://litellm:{quote(password, safe='')}@postgres:5432/litellm"


def valkey_conf(password: str) -> str:
    """What Valkey's command line must not say. Its escapes are those of C."""
    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    return f'requirepass "{escaped}"'


def proxy_yaml(catalog: Catalog) -> str:
    """The catalogue as a proxy.yaml of its own, as it is after `--without`, less a database's URL: that is secret."""
    data = catalog.model_dump(mode="json")
    data["database"]["url"] = None
    heading = "# Rendered from config/proxy.yaml by litellm-local. Edit that file: this one is overwritten.\n"
    return heading + yaml.safe_dump(data, sort_keys=False, width=120, allow_unicode=True)


def prometheus_yaml() -> str:
    """What Prometheus scrapes: every gateway there is."""
    config = {
        "global": {"scrape_interval": "15s"},
        "scrape_configs": [
            {
                "job_name": "litellm",
                "authorization": {"credentials_file": f"/run/secrets/{METRICS_KEY}"},
                "dns_sd_configs": [{"names": ["gateway"], "type": "A", "port": 4000, "refresh_interval": "10s"}],
            }
        ],
    }
    return "# Rendered by litellm-local: this file is overwritten.\n" + yaml.safe_dump(config, sort_keys=False)


def compose_env(variables: Mapping[str, object]) -> str:
    """`compose.env`: the variables of docker-compose.yml, none of them secret. None leaves one at its default."""
    heading = "# Written by litellm-local for docker-compose.yml, which names the variables. No secret is in here.\n"
    return heading + "".join(f"{name}={value}\n" for name, value in variables.items() if value is not None)


def edge_variables(catalog: Catalog, *, http_port: int = 80, https_port: int = 443) -> dict[str, object]:
    """Variables of `compose.env` for a service behind the edge. The gateway is not published then, so that all who
    reach it have their address from the edge."""
    certified = needs_certbot(catalog)
    return {
        "COMPOSE_FILE": "docker-compose.yml",
        "LITELLM_LOCAL_TRUSTED_PROXIES": "*",
        "LITELLM_LOCAL_HTTP_PORT": http_port,
        "LITELLM_LOCAL_HTTPS_PORT": https_port,
        "LITELLM_LOCAL_DOMAIN": catalog.edge.domain if certified else None,
        "LITELLM_LOCAL_EMAIL": catalog.edge.tls.email if certified else None,
    }


def needs_certbot(catalog: Catalog) -> bool:
    """Whether there is a name to certify, and an authority to do it."""
    return catalog.edge.domain is not None and catalog.edge.tls.issuer == "letsencrypt"

"""The folder of manifests: what is in which file, and what `kubectl apply -k` takes of it.

`base` is the operator's set-up; each component changes it, and they go together. What is in `by-hand` no kustomization
names: the Secret, so that no `apply` ever empties it, and what there is once in a whole cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from proxy.catalog import Catalog
from proxy.render.k8s import double, edge, gateway, gateway_api, monitoring, network, secret, stores
from proxy.render.k8s.config_map import gateway_config, postgres_config
from proxy.render.k8s.names import NAMESPACE, Manifest
from proxy.render.k8s.patch import deletion

COMPONENTS = ("double", "external-database", "gateway-api", "monitoring")

_HEADING = "# Rendered from config/proxy.yaml by `litellm-local config render k8s`: edit that file, not this one.\n"


@dataclass(frozen=True)
class Images:
    """The one place each image is named. `gateway` is what the replicas, the migration and the simulator run."""

    gateway: str
    postgres: str = "postgres:16"
    valkey: str = "valkey/valkey:8"


@dataclass(frozen=True)
class Group:
    """A folder: its manifests and patches by file, and what of the base it takes away."""

    files: dict[str, list[Manifest]]
    patches: dict[str, Manifest] = field(default_factory=dict)
    without: list[Manifest] = field(default_factory=list)


def base(catalog: Catalog, images: Images, postgres_files: dict[str, str]) -> Group:
    config, database = gateway_config(catalog), postgres_config(postgres_files)
    ingresses = [edge.ingress(catalog), edge.closed_ingress(catalog)]
    files = {
        "namespace.yaml": [gateway.namespace()],
        "service-account.yaml": [gateway.service_account()],
        "proxy-config.yaml": [config],
        "migrate.yaml": [gateway.migration(images.gateway)],
        "deployment.yaml": [gateway.deployment(catalog, images.gateway, _name(config))],
        "service.yaml": [gateway.gateway_service(catalog)],
        "hpa.yaml": [gateway.autoscaler(catalog)],
        "disruption-budget.yaml": [gateway.disruption_budget()],
        "ingress.yaml": [one for one in ingresses if one is not None],
        "network-policy.yaml": network.policies(catalog),
        "postgres.yaml": [
            database,
            stores.postgres_service(catalog),
            stores.postgres(catalog, images.postgres, _name(database)),
        ],
        "valkey.yaml": [stores.valkey_service(), stores.valkey(images.valkey)],
    }
    return Group(files)


def by_hand(catalog: Catalog) -> dict[str, Manifest]:
    found = {"secrets.yaml": secret.empty_secret(catalog), "external-secret.yaml": secret.external_secret(catalog)}
    if edge.has_tls(catalog):
        found["cluster-issuer.yaml"] = edge.cluster_issuer(catalog)
        found["cluster-issuer-gateway-api.yaml"] = gateway_api.gateway_issuer(catalog)
    return found


def component(name: str, catalog: Catalog, images: Images, on: Group) -> Group:
    """One of COMPONENTS; `on` is the base, of which some take things away. Raises ValueError for a double of providers
    that the simulator does not stand in for."""
    if name == "double":
        config = gateway_config(catalog, double=True)
        [away] = [one for one in on.files["network-policy.yaml"] if _name(one) == network.TO_PROVIDERS]
        return Group(
            {
                "proxy-config.yaml": [config],
                "simulator.yaml": [double.simulator_service(), double.simulator(catalog, images.gateway)],
                "network-policy.yaml": network.simulator_policies(),
            },
            {"gateway.patch.yaml": double.gateway_patch(catalog, _name(config))},
            [*on.files["proxy-config.yaml"], away],
        )
    if name == "external-database":
        names = (network.TO_POSTGRES, "postgres")
        policy = [one for one in on.files["network-policy.yaml"] if _name(one) in names]
        return Group(
            {"network-policy.yaml": [network.external_database_policy(catalog)]},
            without=[*on.files["postgres.yaml"], *policy],
        )
    if name == "gateway-api":
        return Group(
            {
                "gateway.yaml": gateway_api.portable(catalog),
                "nginx-gateway-fabric.yaml": gateway_api.nginx_policies(catalog),
            },
            without=on.files["ingress.yaml"],
        )
    if name == "monitoring":
        return Group(
            {
                "service-monitor.yaml": [monitoring.service_monitor()],
                "network-policy.yaml": [network.monitoring_policy(catalog)],
            }
        )
    raise ValueError(f"no component '{name}'; there are {', '.join(COMPONENTS)}")


def chosen(catalog: Catalog, asked: Sequence[str] = ()) -> list[str]:
    """The components of a set-up: those asked for, and what the catalogue itself asks for."""
    own = {"external-database"} if catalog.database.url else set()
    return [name for name in COMPONENTS if name in {*asked, *own}]


def files(catalog: Catalog, images: Images, postgres_files: dict[str, str]) -> dict[str, str]:
    """Path -> content of the whole folder."""
    on = base(catalog, images, postgres_files)
    groups = {"base": on}
    for name in COMPONENTS:
        groups[f"components/{name}"] = component(name, catalog, images, on)
    found = {f"by-hand/{name}": text([one], NOTES[f"by-hand/{name}"]) for name, one in by_hand(catalog).items()}
    for folder, group in groups.items():
        patched = {name: [patch] for name, patch in group.patches.items()}
        for name, manifests in {**group.files, **patched}.items():
            found[f"{folder}/{name}"] = text(manifests, NOTES.get(f"{folder}/{name}", ""))
        kind = ("kustomize.config.k8s.io/v1beta1", "Kustomization")
        if folder != "base":
            kind = ("kustomize.config.k8s.io/v1alpha1", "Component")
        patches = [{"path": path} for path in group.patches]
        # One each: kustomize breaks on a file with several deletions.
        patches += [{"patch": yaml.safe_dump(deletion(one), sort_keys=False)} for one in group.without]
        found[f"{folder}/kustomization.yaml"] = _kustomization(kind, group.files, patches=patches)
    kustomize = ("kustomize.config.k8s.io/v1beta1", "Kustomization")
    found["kustomization.yaml"] = _kustomization(
        kustomize, ["base"], components=[f"components/{name}" for name in chosen(catalog)]
    )
    found["overlays/double/kustomization.yaml"] = _kustomization(
        kustomize, ["../../base"], components=[f"../../components/{name}" for name in chosen(catalog, ["double"])]
    )
    return found


def text(manifests: Sequence[Manifest], note: str = "") -> str:
    """As YAML, with the note as a comment at the top."""
    comment = "".join(f"# {line}".rstrip() + "\n" for line in note.splitlines())
    documents = [yaml.dump(one, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True) for one in manifests]
    return _HEADING + comment + "---\n" + "---\n".join(documents)


def _kustomization(kind: tuple[str, str], resources: Sequence[str] | dict[str, Any], **lists: Any) -> str:
    data: Manifest = {"apiVersion": kind[0], "kind": kind[1], "resources": list(resources)}
    data.update({key: value for key, value in lists.items() if value})
    return text([data])


def _name(manifest: Manifest) -> str:
    name: str = manifest["metadata"]["name"]
    return name


class _Dumper(yaml.SafeDumper):
    """Without anchors, which no one expects in a manifest; a text of several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _block(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _block)

NOTES = {
    "by-hand/secrets.yaml": f"""\
In no kustomization: an apply of this file would empty it. Fill it from .env, on standard output only:

  litellm-local config render k8s --secrets | kubectl apply --server-side -f -

Server-side, as kubectl keeps a readable copy in an annotation otherwise. Or by hand, a file for each value in a folder:

  kubectl -n {NAMESPACE} create secret generic litellm-secrets --from-file=FOLDER

DATABASE_URL is postgresql://litellm:PASSWORD@postgres-service:5432/litellm, with POSTGRES_PASSWORD for PASSWORD.
A change of it reaches the replicas with: kubectl -n {NAMESPACE} rollout restart deployment litellm""",
    "by-hand/external-secret.yaml": """\
An example for the External Secrets Operator, in no kustomization: name your store, and have `litellm` in it with these
properties. LITELLM_SALT_KEY must never change: it encrypts what is in the database.""",
    "by-hand/cluster-issuer.yaml": """\
One for the whole cluster, so in no kustomization. Skip it where `kubectl get clusterissuer` shows one of this name.""",
    "by-hand/cluster-issuer-gateway-api.yaml": """\
For the component gateway-api, in place of cluster-issuer.yaml: Let's Encrypt is answered through the Gateway.""",
    "base/deployment.yaml": """\
Nothing here migrates: a replica waits until the Job of migrate.yaml is through. When it is told to stop, it first
leaves the Service, then lets requests under way end: terminationGracePeriodSeconds is above both together.""",
    "base/migrate.yaml": """\
Brings the database up to LiteLLM's schema, alone: one pod, and an advisory lock in Postgres besides. Its name ends in a
digest, as a Job cannot be changed; a finished one is deleted after a day.""",
    "base/ingress.yaml": """\
For ingress-nginx. Two things are the controller's own, for the whole cluster (QUICK_DEPLOY.md sets them): 429 in place
of 503 over the limit, and a Service with externalTrafficPolicy: Local, without which all clients have one address.
Its replicas count apart: with two, a client may send twice as much.""",
    "base/network-policy.yaml": """\
The ingress controller is looked for in the namespace ingress-nginx, the cluster's DNS in kube-system. Providers are
reached by their ports anywhere outside of private networks; a base_url inside of one needs a rule of its own.""",
    "base/postgres.yaml": """\
One server on one volume, for small set-ups: no standby, no backup. `components/external-database` leaves it out.""",
    "base/valkey.yaml": """\
What makes limits hold across replicas. Lost, requests go on and each replica counts for itself until it is back.""",
    "components/external-database/network-policy.yaml": """\
A Postgres of your own: put its URL into DATABASE_URL of the Secret. This lets the replicas reach its port anywhere;
narrow it down to its address.""",
    "components/gateway-api/gateway.yaml": """\
The edge without ingress-nginx, which is no longer maintained. What differs from ingress.yaml:

- The Gateway, its certificate and nginx itself are in a namespace of their own.
- Rate limit, body size and buffering are no words of the Gateway API: they are policies of NGINX Gateway Fabric, in
  nginx-gateway-fabric.yaml. Another controller needs policies of its own for them; without, there is NO rate limit.
- That controller ignores `timeouts`, so a snippet says them, and the allow-list: start it with them allowed
  (Helm: nginxGateway.snippetsFilters.enable=true), or the route answers 500. Another controller: take out the
  ExtensionRef; `timeouts` holds there.
- HTTP is redirected with 301 rather than 308: the Gateway API's standard channel has no 308.
- cert-manager needs --enable-gateway-api, and by-hand/cluster-issuer-gateway-api.yaml.""",
    "components/monitoring/service-monitor.yaml": """\
Needs the Prometheus Operator. It must select this namespace, and its Prometheus run in the namespace `monitoring`.""",
}

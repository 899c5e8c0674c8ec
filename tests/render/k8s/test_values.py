"""The manifests say what config/proxy.yaml says, and what the operator's former ones did."""

from __future__ import annotations

from typing import Any

import yaml

from proxy.render.k8s.names import Manifest
from tests.render.k8s.rendered import IMAGE, catalog_with, gateway, named_like, one, set_up

NGINX = "nginx.ingress.kubernetes.io"


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_the_deployment_is_as_specified() -> None:
    documents = set_up()
    assert one(documents, "Deployment")["spec"]["replicas"] == 3
    container = gateway(documents)
    assert container["image"] == IMAGE
    assert container["ports"] == [{"name": "http", "containerPort": 4000, "protocol": "TCP"}]
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"cpu": "1000m", "memory": "2Gi"},
    }
    for name, delay, period in (("livenessProbe", 60, 30), ("readinessProbe", 30, 10)):
        probe = container[name]
        assert probe["httpGet"] == {"path": "/health/readiness", "port": "http"}
        assert (probe["initialDelaySeconds"], probe["periodSeconds"]) == (delay, period)
    assert container["readinessProbe"]["failureThreshold"] == 1


def test_a_replica_has_the_time_of_its_longest_request_to_end() -> None:
    documents = set_up()
    pod = one(documents, "Deployment")["spec"]["template"]["spec"]
    assert environment(gateway(documents))["LITELLM_LOCAL_DRAIN"] == "600"
    assert pod["terminationGracePeriodSeconds"] == 630
    short = set_up(catalog=catalog_with(limits={"request_timeout_seconds": 29.5}))
    assert environment(gateway(short))["LITELLM_LOCAL_DRAIN"] == "30"
    assert one(short, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 60


def test_it_is_scaled_from_3_to_10_by_cpu_and_served_on_4000() -> None:
    documents = set_up()
    scaler = one(documents, "HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 10)
    assert [metric["resource"]["name"] for metric in scaler["metrics"]] == ["cpu"]
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
    [port] = one(documents, "Service")["spec"]["ports"]
    assert port["port"] == 4000
    [database] = one(documents, "Service", "postgres-service")["spec"]["ports"]
    assert database["port"] == 5432


def test_the_ingress_has_the_edges_limits() -> None:
    ingress = one(set_up(), "Ingress")
    annotations = ingress["metadata"]["annotations"]
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert annotations[f"{NGINX}/limit-rps"] == "100"
    assert annotations[f"{NGINX}/limit-burst-multiplier"] == "5"
    assert annotations[f"{NGINX}/proxy-read-timeout"] == "615"  # the gateway ends it after 600
    assert annotations[f"{NGINX}/proxy-buffering"] == annotations[f"{NGINX}/proxy-request-buffering"] == "off"
    assert annotations[f"{NGINX}/proxy-body-size"] == str(10 * 1024 * 1024)
    assert annotations["cert-manager.io/cluster-issuer"] == "letsencrypt"
    assert f"{NGINX}/whitelist-source-range" not in annotations
    assert ingress["spec"]["tls"] == [{"hosts": ["llm.example.com"], "secretName": "litellm-tls"}]


def test_the_edge_follows_the_catalogue() -> None:
    allow = ["203.0.113.0/24", "2001:db8::/32"]
    tls = catalog_with().edge.tls.model_copy(update={"issuer": "none"})
    catalog = catalog_with(edge={"domain": "llm.example.org", "allow": allow, "tls": tls, "closed_paths": []})
    documents = set_up(catalog=catalog)
    [ingress] = [manifest for manifest in documents if manifest["kind"] == "Ingress"]
    annotations = ingress["metadata"]["annotations"]
    assert annotations[f"{NGINX}/whitelist-source-range"] == ",".join(allow)
    assert annotations[f"{NGINX}/ssl-redirect"] == "false"
    assert not {"cert-manager.io/cluster-issuer", f"{NGINX}/force-ssl-redirect"} & set(annotations)
    assert "tls" not in ingress["spec"]
    assert ingress["spec"]["rules"][0]["host"] == "llm.example.org"
    by_gateway = set_up("gateway-api", catalog=catalog)
    assert [each["name"] for each in one(by_gateway, "Gateway")["spec"]["listeners"]] == ["http"]
    [snippet] = one(by_gateway, "SnippetsFilter")["spec"]["snippets"]
    assert snippet["value"].endswith("allow 203.0.113.0/24; allow 2001:db8::/32; deny all;")
    assert not [manifest for manifest in by_gateway if manifest["kind"] in ("Certificate", "Ingress")]


def test_closed_paths_end_where_the_gateway_says_404() -> None:
    closed = one(set_up(), "Ingress", "litellm-closed")
    assert closed["metadata"]["annotations"][f"{NGINX}/rewrite-target"] == "/_closed"
    assert [path["path"] for path in closed["spec"]["rules"][0]["http"]["paths"]] == ["/metrics", "/_double"]
    rule = one(set_up("gateway-api"), "HTTPRoute")["spec"]["rules"][0]
    assert [match["path"]["value"] for match in rule["matches"]] == ["/metrics", "/_double"]
    assert rule["filters"][0]["urlRewrite"]["path"]["replaceFullPath"] == "/_closed"


def test_the_gateway_api_has_the_same_limits() -> None:
    documents = set_up("gateway-api")
    [limit] = one(documents, "RateLimitPolicy")["spec"]["rateLimit"]["local"]["rules"]
    assert (limit["rate"], limit["burst"], limit["noDelay"], limit["rejectCode"]) == ("100r/s", 500, True, 429)
    assert one(documents, "ClientSettingsPolicy")["spec"]["body"] == {"maxSize": "10m"}
    assert one(documents, "ProxySettingsPolicy")["spec"]["buffering"]["disable"] is True
    assert "proxy_read_timeout 615s;" in one(documents, "SnippetsFilter")["spec"]["snippets"][0]["value"]
    assert one(documents, "HTTPRoute")["spec"]["rules"][-1]["timeouts"] == {"request": "615s"}


def pods(documents: list[Manifest]) -> dict[str, dict[str, Any]]:
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
        for manifest in documents
        if "template" in manifest.get("spec", {})
    }


def test_every_pod_is_confined() -> None:
    found = pods(set_up("double"))
    assert len(found) == 5
    for name, pod in found.items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["limits"]["memory"], name


def test_each_pod_sees_its_own_secrets_only_and_none_in_its_environment() -> None:
    def keys(documents: list[Manifest]) -> dict[str, set[str]]:
        return {
            name.partition("-migrate")[0] + ("-migrate" if "-migrate" in name else ""): {
                item["key"] for volume in pod["volumes"] for item in volume.get("secret", {}).get("items", [])
            }
            for name, pod in pods(documents).items()
        }

    providers = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"}
    ours = {"DATABASE_URL", "LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "VALKEY_PASSWORD"}
    assert keys(set_up()) == {
        "litellm": ours | providers,
        "litellm-migrate": {"DATABASE_URL"},
        "postgres": {"POSTGRES_PASSWORD"},
        "valkey": {"VALKEY_PASSWORD"},
    }
    double = keys(set_up("double"))
    assert double["litellm"] == ours | {"LITELLM_LOCAL_CONTROL_KEY"}
    assert double["simulator"] == {"LITELLM_LOCAL_CONTROL_KEY"}
    for pod in pods(set_up()).values():
        for container in pod["containers"]:
            assert not set(environment(container)) & (ours | providers) if "env" in container else True


def test_the_double_reaches_no_provider() -> None:
    documents = set_up("double")
    assert environment(gateway(documents))["LITELLM_LOCAL_MODE"] == "double"
    config = yaml.safe_load(named_like(documents, "ConfigMap", "litellm-config-")["data"]["litellm.yaml"])
    assert {model["litellm_params"]["api_base"].partition("/")[0:1] for model in config["model_list"]} == {("http:",)}
    assert all("http://simulator:8090/" in model["litellm_params"]["api_base"] for model in config["model_list"])
    names = {manifest["metadata"]["name"] for manifest in documents if manifest["kind"] == "NetworkPolicy"}
    assert "gateway-to-simulator" in names
    assert "gateway-to-providers" not in names
    assert "0.0.0.0/0" not in yaml.safe_dump(
        [manifest for manifest in documents if manifest["kind"] == "NetworkPolicy"]
    )


def test_replicas_share_their_limits_through_valkey() -> None:
    documents = set_up()
    config = yaml.safe_load(named_like(documents, "ConfigMap", "litellm-config-")["data"]["litellm.yaml"])
    [port] = one(documents, "Service", "valkey")["spec"]["ports"]
    assert (config["router_settings"]["redis_host"], config["router_settings"]["redis_port"]) == (
        "valkey",
        port["port"],
    )


def test_live_is_the_default_and_goes_to_providers_only() -> None:
    documents = set_up()
    assert environment(gateway(documents))["LITELLM_LOCAL_MODE"] == "live"
    [rule] = one(documents, "NetworkPolicy", "gateway-to-providers")["spec"]["egress"]
    assert rule["ports"] == [{"port": 443, "protocol": "TCP"}]
    assert "169.254.0.0/16" in rule["to"][0]["ipBlock"]["except"]  # the cloud's metadata


def test_a_database_outside_leaves_out_ours_and_is_reached() -> None:
    url = "postgresql://me@db.example.com:6432/litellm"
    documents = set_up(catalog=catalog_with(database={"url": url}))
    assert documents == set_up("external-database", catalog=catalog_with(database={"url": url}))
    assert not [manifest for manifest in documents if manifest["kind"] == "StatefulSet"]
    [rule] = one(documents, "NetworkPolicy", "to-external-database")["spec"]["egress"]
    assert rule["ports"] == [{"port": 6432, "protocol": "TCP"}]
    assert url not in yaml.safe_dump_all(documents)  # it may hold a password

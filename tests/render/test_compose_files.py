"""What the containers read, as rendered from the catalogue."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from proxy import secrets
from proxy.catalog import load_catalog
from proxy.render.compose import compose_files, valkey_conf

VALUES = {
    secrets.MASTER_KEY: "sk-master",
    secrets.SALT_KEY: "salt",
    secrets.POSTGRES_PASSWORD: "postgres-password",
    secrets.CONTROL_KEY: "control",
    secrets.VALKEY_PASSWORD: "valkey-password",
}


def rendered(replicas: int) -> tuple[dict[str, str], dict[str, Any]]:
    """The files, and LiteLLM's configuration among them."""
    files = compose_files(load_catalog(), VALUES, mode="double", keys={}, certificate="pem", replicas=replicas)
    return files, yaml.safe_load(files["rendered/gateway/litellm.yaml"])


def test_several_gateways_share_through_valkey_and_cache_no_reply() -> None:
    files, config = rendered(2)
    at = {"host": "valkey", "port": 6379, "password": "os.environ/VALKEY_PASSWORD"}
    assert config["general_settings"]["coordination_redis"] == at
    assert {f"redis_{name}": value for name, value in at.items()}.items() <= config["router_settings"].items()
    assert not {"cache", "cache_params"} & config["litellm_settings"].keys()
    assert files["secrets/gateway/VALKEY_PASSWORD"] == "valkey-password\n"


def test_a_single_gateway_knows_of_no_valkey() -> None:
    files, config = rendered(1)
    assert "coordination_redis" not in config["general_settings"]
    assert not [name for name in config["router_settings"] if name.startswith("redis")]
    assert "secrets/gateway/VALKEY_PASSWORD" not in files


def test_the_password_is_in_the_secrets_of_gateways_and_valkey_alone() -> None:
    files, _ = rendered(2)
    assert {name for name, content in files.items() if "valkey-password" in content} == {
        "secrets/gateway/VALKEY_PASSWORD",
        "secrets/valkey/valkey.conf",
    }


@pytest.mark.parametrize(
    ("password", "line"),
    [("plain", 'requirepass "plain"'), ('a"b\\c', 'requirepass "a\\"b\\\\c"')],
)
def test_a_password_is_quoted_for_valkey(password: str, line: str) -> None:
    assert valkey_conf(password) == line

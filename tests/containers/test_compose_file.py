"""docker-compose.yml as Compose reads it: every profile, the official images, the same care for every service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy import secrets
from proxy.catalog import project_root
from tests.containers.engine import STAND_INS, Project

PROFILES = ("double", "edge", "tls", "scale", "monitoring")
# Services that need a right of root's, and which.
CAPABILITIES: dict[str, set[str]] = {}


def config(folder: Path, *profiles: str, official: bool = False) -> dict[str, Any]:
    project = Project(folder, variables=dict.fromkeys(STAND_INS, "") if official else {})
    options = [part for profile in profiles for part in ("--profile", profile)]
    return json.loads(project.compose(*options, "config", "--format", "json"))


@pytest.fixture
def everything(engine: None, tmp_path: Path) -> dict[str, Any]:
    return config(tmp_path, *PROFILES)["services"]


@pytest.mark.parametrize("profile", ["", *PROFILES])
def test_every_profile_is_a_valid_configuration(engine: None, tmp_path: Path, profile: str) -> None:
    services = config(tmp_path, *([profile] if profile else []))["services"]
    assert {"postgres", "migrate", "gateway"} <= set(services)
    assert bool(profile) == (len(services) > 3)


def test_images_are_official_ones_by_default(engine: None, tmp_path: Path) -> None:
    services = config(tmp_path, *PROFILES, official=True)["services"]
    images = {name: service["image"].rpartition(":")[0] for name, service in services.items()}
    own = {name for name, image in images.items() if image == "litellm-local"}
    assert own == {"gateway", "migrate", "simulator"}
    assert {name: image for name, image in images.items() if name not in own} == {
        "postgres": "postgres",
        "edge": "nginx",
        "certbot": "certbot/certbot",
        "valkey": "valkey/valkey",
        "prometheus": "prom/prometheus",
    }
    assert services["gateway"]["build"]["args"]["PYTHON_IMAGE"] == "python:3.12-slim"


def test_every_service_is_confined(everything: dict[str, Any]) -> None:
    for name, service in everything.items():
        assert service["cap_drop"] == ["ALL"], name
        assert set(service.get("cap_add", ())) == CAPABILITIES.get(name, set()), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"], name
        assert service["init"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name
        assert "privileged" not in service, name


def test_databases_and_doubles_have_no_way_out(everything: dict[str, Any], tmp_path: Path) -> None:
    networks = config(tmp_path, *PROFILES)["networks"]
    inside = {name for name, network in networks.items() if network.get("internal")}
    for name in ("postgres", "migrate", "simulator", "valkey"):
        assert set(everything[name]["networks"]) <= inside, name


def test_valkey_is_on_a_network_with_the_gateways_alone(everything: dict[str, Any]) -> None:
    assert {name for name, service in everything.items() if "limits" in service["networks"]} == {"gateway", "valkey"}
    assert set(everything["valkey"]["networks"]) == {"limits"}


def test_only_the_gateway_is_published_and_on_this_machine_alone(engine: None, tmp_path: Path) -> None:
    services = config(tmp_path, "double", "scale")["services"]
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert set(published) == {"gateway"}
    assert {port["host_ip"] for port in published["gateway"]} == {"127.0.0.1"}


def test_behind_the_edge_the_edge_alone_is_published(engine: None, tmp_path: Path) -> None:
    project = Project(tmp_path, files=("docker-compose.yml",))
    found = json.loads(project.compose("--profile", "edge", "--profile", "tls", "config", "--format", "json"))
    assert {name for name, service in found["services"].items() if service.get("ports")} == {"edge"}


def test_no_secret_is_in_what_compose_reads(engine: None, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.render("--mode", "double")
    shown = project.compose("--profile", "*", "config") + (project.state / "compose.env").read_text()
    for name, value in project.secrets.items():
        assert value not in shown, name


def test_secrets_are_shut_away_from_other_users(tmp_path: Path) -> None:
    """Readable by whatever user a container has, but in a folder that only its owner may enter."""
    project = Project(tmp_path)
    project.render("--mode", "double")
    assert (project.state / "secrets").stat().st_mode & 0o777 == 0o700
    found = {file.relative_to(project.state).as_posix() for file in project.state.rglob("*") if file.is_file()}
    outside = [name for name in found if not name.startswith("secrets/")]
    assert {"compose.env", "rendered/gateway/litellm.yaml"} <= set(outside)
    for name in outside:
        text = (project.state / name).read_text()
        assert not [key for key, value in project.secrets.items() if value in text], name
    assert {name for name in found if name.startswith("secrets/postgres/")} == {"secrets/postgres/POSTGRES_PASSWORD"}


def test_a_secret_that_is_no_longer_there_goes_away(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.render("--mode", "double")
    assert (project.state / "secrets/gateway/ANTHROPIC_API_KEY").exists()
    project.render("--mode", "double", "--without", "anthropic")
    assert not (project.state / "secrets/gateway/ANTHROPIC_API_KEY").exists()
    assert "claude" not in (project.state / "rendered/gateway/proxy.yaml").read_text()


def test_behind_the_edge_compose_env_says_all_that_is_to_be_started(tmp_path: Path) -> None:
    project = Project(tmp_path)

    def variables(*arguments: str) -> dict[str, str]:
        project.render("--mode", "double", *arguments)
        return secrets.read_env_file(project.state / "compose.env")

    assert variables()["COMPOSE_PROFILES"] == "double"
    found = variables("--edge", "--https-port", "8443")
    assert (found["COMPOSE_FILE"], found["COMPOSE_PROFILES"]) == ("docker-compose.yml", "double,edge")
    assert "LITELLM_LOCAL_DOMAIN" not in found
    config = (project_root() / "config" / "proxy.yaml").read_text(encoding="utf-8")
    named = tmp_path / "proxy.yaml"
    named.write_text(config.replace("domain: null ", "domain: llm.example.com "), encoding="utf-8")
    found = variables("--edge", "--config", str(named))
    assert (found["COMPOSE_PROFILES"], found["LITELLM_LOCAL_DOMAIN"]) == ("double,edge,tls", "llm.example.com")

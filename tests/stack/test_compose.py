"""The containers' plan, and what is told of containers that do not come up."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from proxy.catalog import project_root
from proxy.stack.compose import failed, hopeless, other_folder, summary, told
from proxy.stack.compose_plan import ComposeOptions, ComposePlan, OptionsError, make_plan, project_of
from proxy.stack.docker import Container
from proxy.stack.state import StateDir

CONFIG = project_root() / "config" / "proxy.yaml"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LITELLM_LOCAL_") or name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
            monkeypatch.delenv(name)


def plan(folder: Path, **options: Any) -> ComposePlan:
    return make_plan(ComposeOptions(CONFIG, folder / "state", folder / ".env", **options))


# -- plan --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "http://127.0.0.1:4000"),
        ({"port": 5000}, "http://127.0.0.1:5000"),
        ({"edge": True}, "https://localhost"),
        ({"edge": True, "https_port": 8443}, "https://localhost:8443"),
        ({"edge": True, "domain": "llm.example.com", "port": 5000}, "https://llm.example.com"),
    ],
)
def test_where_clients_find_it(tmp_path: Path, options: dict[str, Any], url: str) -> None:
    assert plan(tmp_path, **options).url == url


def test_an_edge_without_tls_is_found_by_http(tmp_path: Path) -> None:
    config = tmp_path / "proxy.yaml"
    config.write_text(CONFIG.read_text(encoding="utf-8").replace("issuer: letsencrypt", "issuer: none"), "utf-8")
    made = make_plan(ComposeOptions(config, tmp_path / "state", tmp_path / ".env", edge=True, http_port=8080))
    assert (made.url, made.https) == ("http://localhost:8080", False)


def test_domain_and_email_reach_certbot_and_are_checked(tmp_path: Path) -> None:
    made = plan(tmp_path, edge=True, domain="llm.example.com", email="me@example.com")
    assert made.variables["COMPOSE_PROFILES"] == "double,edge,tls"
    assert made.variables["LITELLM_LOCAL_DOMAIN"] == "llm.example.com"
    assert made.variables["LITELLM_LOCAL_EMAIL"] == "me@example.com"
    with pytest.raises(OptionsError, match="--domain 'llm'"):
        plan(tmp_path, edge=True, domain="llm")
    with pytest.raises(OptionsError, match="--email 'me'"):
        plan(tmp_path, edge=True, email="me")
    with pytest.raises(OptionsError, match="give --edge, too"):
        plan(tmp_path, domain="llm.example.com")


def test_several_gateways_are_behind_the_edge_and_share_their_limits(tmp_path: Path) -> None:
    made = plan(tmp_path, edge=True, replicas=3)
    assert made.variables["LITELLM_LOCAL_REPLICAS"] == 3
    assert made.variables["COMPOSE_PROFILES"] == "double,edge,scale"
    with pytest.raises(OptionsError, match="several gateways need something in front"):
        plan(tmp_path, replicas=2)


def test_what_is_not_yet_as_it_is_to_be(tmp_path: Path) -> None:
    made = plan(tmp_path)
    assert {"gateway", "simulator", "postgres"} <= made.changed()
    made.write()
    assert plan(tmp_path).changed() == set()
    assert plan(tmp_path, without=("google",)).changed() == {"gateway", "simulator"}


def test_a_folder_has_a_project_of_its_own(tmp_path: Path) -> None:
    assert project_of(project_root() / ".litellm-local", {}) == "litellm-local"
    names = {project_of(tmp_path / name, {}) for name in ("a", "b")}
    assert len(names) == 2
    assert all(name.startswith("litellm-local-") for name in names)
    assert project_of(tmp_path, {"LITELLM_LOCAL_PROJECT": "mine"}) == "mine"


def test_the_operators_variables_are_kept_from_environment_and_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("LITELLM_LOCAL_POSTGRES_IMAGE=mirror/postgres:16\n", encoding="utf-8")
    monkeypatch.setenv("LITELLM_LOCAL_NGINX_IMAGE", "mirror/nginx:1")
    variables = plan(tmp_path).variables
    assert variables["LITELLM_LOCAL_POSTGRES_IMAGE"] == "mirror/postgres:16"
    assert variables["LITELLM_LOCAL_NGINX_IMAGE"] == "mirror/nginx:1"
    assert not {name for name in variables if "KEY" in name or "PASSWORD" in name}


# -- containers --------------------------------------------------------------------------------------------

WELL = Container(
    id="1",
    name="some-gateway-1",
    service="gateway",
    number=1,
    image="image",
    state="running",
    health="healthy",
    probe="",
    restarts=0,
    exit_code=None,
    out_of_memory=False,
    error="",
    pid=7,
    published=frozenset(),
    env_file="",
)


def a_container(**values: Any) -> Container:
    return dataclasses.replace(WELL, **values)


DONE = a_container(service="migrate", state="exited", health=None, exit_code=0)
ENDED = a_container(service="migrate", name="some-migrate-1", state="exited", health=None, exit_code=1)
SICK = a_container(health="unhealthy", probe="urllib.error.URLError:\n  <urlopen error>")
REFUSED = a_container(service="edge", state="created", health=None, error="port is already allocated")


def test_the_line_of_progress() -> None:
    second = a_container(number=2, health="starting")
    assert summary([WELL, second, DONE, ENDED]) == ("gateway healthy, gateway-2 starting, migrate done, migrate exited")


def test_the_cause_is_blamed_before_what_follows_from_it() -> None:
    assert failed([WELL, DONE]) is None
    assert failed([SICK, WELL]) is SICK
    assert failed([SICK, ENDED, DONE]) is ENDED
    assert failed([SICK, ENDED, REFUSED]) is REFUSED


def test_one_that_is_started_again_and_again_is_hopeless_but_not_for_its_past() -> None:
    restarted = a_container(restarts=4, state="restarting", exit_code=1)
    assert hopeless([WELL, restarted], {}) is restarted
    assert hopeless([WELL, restarted], {"1": 2}) is None
    assert hopeless([a_container(restarts=4)], {}) is None  # while it runs it does not tell how it ended


def test_containers_of_another_folder_are_not_ours(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    ours, others = (a_container(env_file=str(tmp_path / name / "compose.env")) for name in ("state", "other"))
    assert other_folder([WELL, ours], state) is None
    assert other_folder([ours, others], state) == tmp_path / "other"


@pytest.mark.parametrize(
    ("container", "words"),
    [
        (REFUSED, "cannot be started: port is already allocated"),
        (ENDED, "some-migrate-1 (image) ends with exit code 1."),
        (a_container(state="restarting", exit_code=7, restarts=3), "ends with exit code 7, 3 times over"),
        (a_container(state="exited", exit_code=137, out_of_memory=True), "needs more memory"),
        (SICK, "is unhealthy; its health check says: urllib.error.URLError: <urlopen error>"),
        (a_container(health="starting"), "is not healthy in time"),
        (a_container(state="paused", health=None), "is paused"),
    ],
)
def test_what_is_wrong_with_a_container_is_told(container: Container, words: str) -> None:
    said = told(container)
    assert said.startswith("the container some-")
    assert words in said
    assert said.endswith(f"\nLook at: litellm-local logs {container.service}")

"""`litellm-local up --stack compose` and what follows, on a real engine: from nothing to proven, and back."""

from __future__ import annotations

import re
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import until
from tests.containers.engine import build_stand_ins, docker
from tests.containers.launcher import IMAGE, Foreground, Launcher

DOMAIN = "llm.example.test"
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def image(images: None) -> str:
    """The gateway's image under a name of its own: `up --build` makes it from what is cached."""
    build_stand_ins("nginx", "certbot")
    return IMAGE


@pytest.fixture(scope="module")
def launched(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Launcher, str]]:
    """A stack that is up behind its edge, and what `up` said. It has a domain, and no authority answers."""
    nobody = {"LITELLM_LOCAL_ACME_SERVER": "https://127.0.0.1:1/dir"}
    launcher = Launcher(tmp_path_factory.mktemp("launched"), variables=nobody)
    try:
        yield launcher, launcher.up(*launcher.edge, "--domain", DOMAIN, "--build")
    finally:
        launcher.clean()


@pytest.fixture
def launcher(image: str, tmp_path: Path) -> Iterator[Launcher]:
    """A machine on which nothing is up yet."""
    launcher = Launcher(tmp_path)
    yield launcher
    launcher.clean()


def client_of(launcher: Launcher, url: str, key: str | None = None) -> httpx.Client:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    headers = {"Authorization": f"Bearer {key or launcher.secrets['LITELLM_MASTER_KEY']}"}
    return httpx.Client(base_url=url, headers=headers, verify=context, timeout=60, trust_env=False)


def new_key(launcher: Launcher, url: str) -> str:
    with client_of(launcher, url) as client:
        return str(client.post("/key/generate", json={}).raise_for_status().json()["key"])


def asks(launcher: Launcher, url: str, key: str) -> int:
    with client_of(launcher, url, key) as client:
        return client.post("/v1/chat/completions", json=ASK).status_code


# -- up behind the edge ------------------------------------------------------------------------------------


def test_up_builds_starts_and_proves_through_tls(launched: tuple[Launcher, str]) -> None:
    launcher, said = launched
    url = f"https://{DOMAIN}:{launcher.https_port}"
    for step in ("Docker", "Images", "Containers", "Certificate", "Smoke checks"):
        assert f"✓ {step}" in said
    assert "gateway built" in said
    assert f"36 of 37 passed, {url}" in said
    assert f": {url}\n" in said
    assert f"! No certificate for {DOMAIN} yet; certbot goes on trying" in said
    found = {service: one["NetworkSettings"]["Ports"] for service, one in launcher.project.inspect().items()}
    assert {service for service, ports in found.items() if any((ports or {}).values())} == {"edge"}
    assert docker("image", "inspect", "--format", '{{index .Config.Labels "litellm-local.source"}}', IMAGE).strip()


def test_status_tells_of_every_container(launched: tuple[Launcher, str]) -> None:
    launcher, _ = launched
    status = launcher.json("status")
    assert (status["running"], status["ready"], status["stack"], status["mode"]) == (True, True, "compose", "double")
    states = {name: (service["state"], service["restarts"]) for name, service in status["services"].items()}
    assert states.pop("certbot") == ("running", 0)
    assert states == dict.fromkeys(("edge", "gateway", "postgres", "simulator"), ("healthy", 0))
    for service in status["services"].values():
        assert service["memory_mb"] > 0
    assert f"ready  https://{DOMAIN}:{launcher.https_port}" in launcher.succeed("status")


def test_logs_of_one_container_and_of_all(launched: tuple[Launcher, str]) -> None:
    launcher, _ = launched
    assert "proxy.gateway: POST /v1/chat/completions 200" in launcher.succeed("logs", "gateway", "-n", "500")
    assert len(launcher.succeed("logs", "gateway", "-n", "3").splitlines()) == 3
    names = {line.partition(" ")[0] for line in launcher.succeed("logs", "-n", "2").splitlines()}
    assert {"gateway-1", "postgres-1", "edge-1"} <= names
    assert "no certificate; next try" in launcher.succeed("logs", "certbot")
    assert "no container of valkey" in launcher.fail("logs", "valkey")


def test_smoke_finds_it_and_trusts_it(launched: tuple[Launcher, str]) -> None:
    launcher, _ = launched
    said = launcher.succeed("smoke")
    assert "✗" not in said
    assert "no control of the simulator from here" in said


def test_the_edge_keeps_control_calls_out_and_says_so(launched: tuple[Launcher, str]) -> None:
    launcher, _ = launched
    assert "behind the edge" in launcher.fail("double", "show")


def test_the_other_stack_is_refused_on_its_folder(launched: tuple[Launcher, str]) -> None:
    launcher, _ = launched
    assert "the compose stack is up on" in launcher.fail("up", "--detach", "--port", str(launcher.port))
    assert launcher.json("status")["ready"]


def test_a_second_up_changes_what_has_changed_and_down_keeps_the_data(launched: tuple[Launcher, str]) -> None:
    launcher, _ = launched
    behind_edge = f"https://127.0.0.1:{launcher.https_port}"
    key = new_key(launcher, behind_edge)
    before = launcher.project.inspect()
    # Other models, all else as it was: what reads them starts anew.
    said = launcher.up(*launcher.edge, "--domain", DOMAIN, "--without", "google")
    assert re.search(rf"✓ Smoke checks .* (\d+) of (\d+) passed, https://{DOMAIN}", said), said
    after = launcher.project.inspect()
    started = {
        service for service in before if before[service]["State"]["StartedAt"] != after[service]["State"]["StartedAt"]
    }
    assert started == {"migrate", "gateway", "simulator"}
    assert not {service for service in before if before[service]["Id"] != after[service]["Id"]}
    with client_of(launcher, behind_edge) as client:
        models = {model["id"] for model in client.get("/v1/models").json()["data"]}
    assert "gpt-4o-mini" in models
    assert not {name for name in models if name.startswith("gemini")}
    # No edge any more.
    launcher.up("--port", str(launcher.port), "--no-smoke")
    assert not {"edge", "certbot"} & set(launcher.project.inspect())
    assert asks(launcher, f"http://127.0.0.1:{launcher.port}", key) == 200
    # Nothing for a while.
    assert "Stopped." in launcher.succeed("down")
    assert launcher.project.inspect() == {}
    assert launcher.fail("status", code=3)
    said = launcher.up("--port", str(launcher.port))
    assert f"37 of 37 passed, http://127.0.0.1:{launcher.port}" in said
    assert asks(launcher, f"http://127.0.0.1:{launcher.port}", key) == 200


# -- foreground --------------------------------------------------------------------------------------------


def test_ctrl_c_ends_a_start_and_a_running_stack(launcher: Launcher) -> None:
    options = ("--stack", "compose", *launcher.edge)
    half_way = Foreground(launcher, *options)
    until("a container runs", lambda: any(one["State"]["Running"] for one in launcher.project.inspect().values()))
    assert half_way.end(signal.SIGINT) == 130
    assert launcher.project.inspect() == {}

    ready = Foreground(launcher, *options)
    ready.until("Following the logs")
    assert f"36 of 37 passed, https://localhost:{launcher.https_port}" in ready.text
    a_client_is_led_there(launcher)
    ready.until("proxy.gateway: GET /v1/models/a-client 404", 30)
    assert "already up" in launcher.succeed("up", *options)
    assert ready.end(signal.SIGINT) == 0
    assert launcher.project.inspect() == {}
    assert "postgres" in launcher.volumes()
    assert launcher.fail("status", code=3)


def a_client_is_led_there(launcher: Launcher) -> None:
    """By what `env` prints, and nothing else."""
    found = launcher.json("env")
    assert "PRIVATE KEY" not in Path(found["LITELLM_LOCAL_CA"]).read_text(encoding="ascii")
    answer = httpx.get(
        f"{found['OPENAI_BASE_URL']}/models/a-client",
        headers={"Authorization": f"Bearer {found['OPENAI_API_KEY']}"},
        verify=ssl.create_default_context(cafile=found["LITELLM_LOCAL_CA"]),
        trust_env=False,
    )
    assert answer.status_code == 404


# -- what can be wrong -------------------------------------------------------------------------------------


def test_a_missing_engine_is_named(launcher: Launcher) -> None:
    nowhere = Launcher(launcher.folder, variables={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    said = nowhere.fail("up", "--stack", "compose", "--detach")
    assert "no Docker engine answers at DOCKER_HOST=unix:///nowhere/docker.sock" in said
    assert "Is DOCKER_HOST right?" in said


def test_a_busy_port_is_named_with_its_option(launcher: Launcher) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", launcher.https_port))
        busy.listen()
        said = launcher.fail("up", "--stack", "compose", "--detach", *launcher.edge)
    assert f"port {launcher.https_port} on 127.0.0.1 is in use" in said
    assert "another port: --https-port" in said
    assert launcher.project.inspect() == {}


def test_an_image_that_cannot_be_had_is_named_with_the_variables(launcher: Launcher) -> None:
    lacking = {"LITELLM_LOCAL_POSTGRES_IMAGE": "localhost:1/postgres:none"}
    said = Launcher(launcher.folder, variables=lacking).fail("up", "--stack", "compose", "--detach")
    assert "✗ Images" in said
    assert "LITELLM_LOCAL_*_IMAGE" in said


def test_a_build_that_fails_shows_its_last_lines(launcher: Launcher) -> None:
    lacking = {"LITELLM_LOCAL_PYTHON_IMAGE": "localhost:1/python:none"}
    said = Launcher(launcher.folder, variables=lacking).fail("up", "--stack", "compose", "--detach", "--build")
    assert "docker compose build failed" in said
    assert "    #" in said  # the builder's own lines
    assert "LITELLM_LOCAL_*_IMAGE" in said


def test_a_gateway_that_ends_is_named_with_its_last_lines(launcher: Launcher) -> None:
    broken = f"{IMAGE}-broken"
    program = launcher.folder / "__main__.py"
    program.write_text("import sys\nprint('nothing works here', flush=True)\nsys.exit(7)\n", encoding="utf-8")
    program.chmod(0o644)
    container = docker("create", IMAGE).strip()
    try:
        docker("cp", str(program), f"{container}:/app/proxy/gateway/__main__.py")
        docker("commit", container, broken)
        broken_launcher = Launcher(launcher.folder, variables={"LITELLM_LOCAL_GATEWAY_IMAGE": broken})
        said = broken_launcher.fail("up", "--stack", "compose", "--detach", "--port", str(launcher.port))
        assert f"{launcher.project.name}-gateway-1 ({broken}) ends with exit code 7" in said
        assert "    nothing works here" in said
        assert "litellm-local logs gateway" in said
        assert "nothing works here" in launcher.succeed("logs", "gateway")  # it stays, to be looked at
        launcher.succeed("down")
    finally:
        docker("rm", container)
        docker("rmi", "--force", broken)


# -- only the database in a container ----------------------------------------------------------------------


def test_the_database_alone_in_a_container(launcher: Launcher) -> None:
    options = ("--database", "compose", "--detach", "--port", str(launcher.port), "--mode", "double")
    url = f"http://127.0.0.1:{launcher.port}"
    assert f"37 of 37 passed, {url}" in launcher.succeed("up", *options)
    status = launcher.json("status")
    assert (status["stack"], status["database"]) == ("embedded", "compose")
    assert set(status["services"]) == {"gateway", "postgres", "simulator"}
    found = launcher.project.inspect()
    assert set(found) == {"postgres"}
    assert {bound["HostIp"] for bound in found["postgres"]["NetworkSettings"]["Ports"]["5432/tcp"]} == {"127.0.0.1"}
    assert "database system is ready" in launcher.succeed("logs", "postgres")
    assert not (launcher.folder / "state" / "postgres").exists()
    key = new_key(launcher, url)

    launcher.succeed("down")
    assert launcher.project.inspect() == {}
    again = Foreground(launcher, *(word for word in options if word != "--detach"), "--no-smoke")
    again.until("Ready in")
    assert asks(launcher, url, key) == 200
    assert "the embedded stack is up on" in launcher.fail("up", "--stack", "compose", "--detach")
    assert again.end(signal.SIGINT) == 0
    assert launcher.project.inspect() == {}

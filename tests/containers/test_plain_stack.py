"""Postgres, migration, simulator and gateway in containers: proven, confined, and back by themselves when killed."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from proxy.checks import Target, run_checks
from tests.conftest import until
from tests.containers.engine import Project

SERVICES = ("postgres", "simulator", "gateway")
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}


def healthy(project: Project, service: str) -> bool:
    return project.inspect()[service]["State"].get("Health", {}).get("Status") == "healthy"


def answers(client: httpx.Client, key: str | None = None) -> bool:
    """Whether a completion is answered: by a virtual key, that is with the database."""
    headers = {"Authorization": f"Bearer {key}"} if key else None
    try:
        return client.post("/v1/chat/completions", json=ASK, headers=headers).status_code == 200
    except httpx.HTTPError:
        return False


def new_key(client: httpx.Client) -> str:
    return str(client.post("/key/generate", json={}).raise_for_status().json()["key"])


def test_smoke_checks_pass_from_the_host(plain: Project) -> None:
    key = plain.secrets["LITELLM_MASTER_KEY"]
    # The double's control calls are on the gateway, too, where the simulator itself is out of reach.
    results = run_checks(Target(plain.url, key, simulator_url=plain.url, control_key=key))
    assert [result for result in results if not result.passed] == []
    assert len(results) >= 37


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_may_do_nothing_it_need_not(plain: Project, service: str) -> None:
    status = dict(line.split(":", 1) for line in plain.exec(service, "cat", "/proc/1/status").splitlines())
    assert set(status["Uid"].split()) & {"0"} == set()
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert "Read-only" in plain.exec(service, "sh", "-c", "touch /here 2>&1; touch /usr/here 2>&1; true")


@pytest.mark.parametrize("service", ["simulator", "postgres"])
def test_it_cannot_reach_the_outside(plain: Project, service: str) -> None:
    """Held against the gateway, which can: it asks real providers."""
    servers = re.findall(r"^nameserver\s+(?!127\.)([\d.]+)", Path("/etc/resolv.conf").read_text(), re.M)

    def reaches(one: str, address: str) -> bool:
        script = f"timeout 3 bash -c '</dev/tcp/{address}/53' 2>/dev/null && echo reached; true"
        return "reached" in plain.exec(one, "sh", "-c", script)

    outside = next((server for server in servers if reaches("gateway", server)), None)
    if outside is None:
        pytest.skip("no server outside of this machine answers the gateway either")
    assert not reaches(service, outside)


def test_only_the_gateway_is_published(plain: Project) -> None:
    ports = {
        service: {f"{bound['HostIp']}:{bound['HostPort']}" for bounds in ports.values() for bound in bounds or ()}
        for service, one in plain.inspect().items()
        if (ports := one["NetworkSettings"]["Ports"])
    }
    assert {service: bound for service, bound in ports.items() if bound} == {"gateway": {f"127.0.0.1:{plain.port}"}}


@pytest.mark.parametrize("service", SERVICES)
def test_killed_it_comes_back_by_itself(
    plain: Project, client: httpx.Client, service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = new_key(client)
    until("a completion", lambda: answers(client, key))
    restarts = plain.inspect()[service]["RestartCount"]
    began = time.monotonic()
    plain.kill_main_process(service)
    until(f"{service} restarts", lambda: plain.inspect()[service]["RestartCount"] > restarts)
    until("a completion", lambda: answers(client, key), 120)
    with capsys.disabled():
        print(f"\n{service} killed: served again after {time.monotonic() - began:.1f} s")
    until(f"{service} is healthy", lambda: healthy(plain, service), 60)
    # LiteLLM may be connecting to the database anew, for which it ends its engine first.
    until("a key can be made", lambda: client.post("/key/generate", json={}).status_code == 200, 60)


def test_down_ends_requests_under_way_and_up_finds_the_data(plain: Project, client: httpx.Client) -> None:
    """With a new password of the database in between, which takes effect with the start."""
    rule = {"when": {"text": "slowly, please"}, "reply": {"text": "Done.", "timing": {"first_token": 4}}}
    client.post("/_double/rules", json=rule).raise_for_status()
    key = new_key(client)
    slow = {**ASK, "messages": [{"role": "user", "content": "slowly, please"}]}
    answered: list[int] = []
    headers = {"Authorization": f"Bearer {key}", "x-double-scope": "default"}
    asking = threading.Thread(
        target=lambda: answered.append(client.post("/v1/chat/completions", json=slow, headers=headers).status_code)
    )
    assert answers(client, key)

    def usage() -> dict[str, object]:
        return dict(client.get("/usage", headers={"Authorization": f"Bearer {key}"}).json()["totals"])

    until("the spend is in the database", lambda: usage()["requests"] == 1)
    asking.start()
    until("a request under way", lambda: client.get("/_double/journal?text=slowly").json()["entries"])
    plain.down()
    asking.join(60)
    assert answered == [200]
    assert plain.inspect() == {}
    plain.change_secret("POSTGRES_PASSWORD", "ano'ther-pass%word-of-the-test")
    plain.render("--mode", "double")
    plain.up()
    assert usage()["requests"] == 2
    assert answers(client, key)


def test_no_secret_is_shown_anywhere(plain: Project, client: httpx.Client) -> None:
    """After all the above: starts, kills, a wrong key, a failed connection."""
    client.post("/v1/chat/completions", json=ASK, headers={"Authorization": "Bearer sk-wrong-key-of-the-test"})
    values = {**plain.secrets, **{f"an earlier {name}": value for name, value in plain.past}}
    assert len(values) == 6
    values["password in a URL"] = quote(values["POSTGRES_PASSWORD"], safe="")
    plain.assert_hidden(values)

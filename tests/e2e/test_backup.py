"""A stack's database on a fresh machine: virtual keys work there, /usage says the same."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.conftest import Stack, free_port, until

YEARS = {"since": "2020-01-01", "group_by": "model"}


def client_of(stack: Stack, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False)


def usage(stack: Stack, key: str) -> dict:
    with client_of(stack, key) as client:
        report = client.get("/usage", params=YEARS).raise_for_status().json()
    return {name: report[name] for name in ("totals", "groups")}


def chat(stack: Stack, key: str) -> httpx.Response:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
    with client_of(stack, key) as client:
        return client.post("/v1/chat/completions", json=body)


def spend_of(gateway: httpx.Client, key: str) -> float:
    return gateway.get("/key/info", params={"key": key}).raise_for_status().json()["info"]["spend"]


def test_keys_budgets_and_spend_on_a_fresh_machine(stack: Stack, gateway: httpx.Client, tmp_path: Path) -> None:
    made = [gateway.post("/key/generate", json={"max_budget": budget}).json()["key"] for budget in (1, 1e-9)]
    rich, poor = made
    assert [chat(stack, key).status_code for key in made] == [200, 200]
    until("the budget is spent", lambda: "udget" in chat(stack, poor).text)
    for key in made:  # LiteLLM writes a key's spend seconds after the request
        until("spend is in Postgres", lambda key=key: spend_of(gateway, key) > 0)
    before = usage(stack, rich)
    assert before["totals"]["requests"] == 1
    file = tmp_path / "backup.zip"
    said = stack.command("backup", str(file)).stdout  # what is up tells where its secrets are
    assert f"Keep a copy of {stack.env_file} too" in said

    fresh = Stack(tmp_path / "fresh", free_port())
    fresh.folder.mkdir()
    told = fresh.command("restore", str(file), "--yes", "--env-file", str(fresh.env_file)).stdout
    assert "every table has its rows and its checksum" in told
    fresh.up()
    try:
        assert usage(fresh, rich) == before
        assert chat(fresh, rich).status_code == 200
        assert "udget" in chat(fresh, poor).text
        refused = fresh.command("restore", str(file), "--yes", "--env-file", str(fresh.env_file), check=False)
        assert refused.returncode == 1
        assert "litellm-local down" in refused.stderr
    finally:
        fresh.down()
    again = fresh.command("backup", str(tmp_path / "again.zip"), "--env-file", str(fresh.env_file))
    assert "Written" in again.stdout


def test_a_folder_that_was_never_up_has_nothing_to_back_up(stack: Stack, tmp_path: Path) -> None:
    nowhere = Stack(tmp_path, free_port())
    done = nowhere.command("backup", str(tmp_path / "b.zip"), "--env-file", str(nowhere.env_file), check=False)
    assert done.returncode == 1
    assert "never up there" in done.stderr
    assert not (tmp_path / "state").exists()

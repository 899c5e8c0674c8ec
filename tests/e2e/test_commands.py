"""What the commands say and do on a running stack, and a database that is not the embedded one."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import httpx

from tests.conftest import Stack, free_port


def test_env_is_for_a_shell(stack: Stack) -> None:
    lines = stack.command("env").stdout.splitlines()
    values = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    assert values["LITELLM_PROXY_URL"] == stack.url
    assert values["OPENAI_BASE_URL"] == f"{stack.url}/v1"
    assert values["ANTHROPIC_BASE_URL"] == stack.url
    assert values["LITELLM_MASTER_KEY"] == values["OPENAI_API_KEY"] == stack.master_key
    assert json.loads(stack.command("env", "--json").stdout) == values


def test_status_tells_of_each_service(stack: Stack) -> None:
    status = stack.status()
    assert status["ready"]
    assert status["mode"] == "double"
    assert set(status["services"]) == {"gateway", "simulator", "postgres"}
    assert all(service["running"] and service["memory_mb"] > 0 for service in status["services"].values())
    text = stack.command("status").stdout
    assert stack.url in text
    assert "double" in text


def test_logs_shows_the_last_lines_of_a_service(stack: Stack) -> None:
    httpx.get(f"{stack.url}/health/liveliness", timeout=60, trust_env=False)
    done = stack.command("logs", "gateway", "-n", "3")
    assert len(done.stdout.splitlines()) == 3
    assert "gateway" in stack.command("logs", "-n", "1").stdout


def test_doctor_finds_a_running_stack_sound(stack: Stack) -> None:
    done = stack.command("doctor", "--json", "--env-file", str(stack.env_file))
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert not [finding for finding in findings.values() if finding["level"] == "failed"]
    assert stack.url in findings["port"]["text"]


def test_doctor_names_what_is_wrong(stack: Stack, tmp_path: Path) -> None:
    open_file = tmp_path / ".env"
    open_file.write_text("OPENAI_API_KEY=o\n")
    open_file.chmod(0o644)
    wrong = tmp_path / "proxy.yaml"
    wrong.write_text("modles: {}\n")
    done = stack.command("doctor", "--env-file", str(open_file), "--config", str(wrong), check=False)
    assert done.returncode == 1
    assert "chmod 600" in done.stdout
    assert "✗ configuration" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_commands_without_a_stack_say_how_to_start_one(tmp_path: Path) -> None:
    nowhere = Stack(tmp_path, free_port())
    for command in ("status", "env", "smoke"):
        done = nowhere.command(command, check=False)
        assert done.returncode == 3, command
        assert "litellm-local up" in done.stdout + done.stderr


def test_another_database_takes_the_embedded_ones_place(stack: Stack, tmp_path: Path) -> None:
    """A second gateway on the first one's Postgres, by its URL: they share their virtual keys."""
    other = Stack(tmp_path, free_port())
    try:
        other.up("--database", stack.database_url)
        assert set(other.status()["services"]) == {"gateway", "simulator"}
        assert stack.database_url.split("@")[1] in other.status()["database"] + "/litellm"
        password = stack.database_url.split(":")[2].split("@")[0]
        assert password not in other.state.run_file.read_text() + other.command("status").stdout
        master = {"Authorization": f"Bearer {stack.master_key}"}
        made = httpx.post(f"{stack.url}/key/generate", json={}, headers=master, trust_env=False, timeout=30)
        key = {"Authorization": f"Bearer {made.json()['key']}"}
        assert httpx.get(f"{other.url}/v1/models", headers=key, trust_env=False, timeout=30).status_code == 200
    finally:
        other.down()


def test_a_database_out_of_reach_is_named_without_its_password(tmp_path: Path) -> None:
    other = Stack(tmp_path, free_port())
    secret = "do-not-" + "show-this"
    done = other.up("--database", f"postgresql://u:{secret}@127.0.0.1:{free_port()}/x", check=False)
    assert done.returncode == 1
    assert "cannot" in done.stdout + done.stderr
    assert "127.0.0.1" in done.stdout + done.stderr
    assert secret not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert other.state.leftovers() == []


def test_wipe_deletes_what_it_says(tmp_path: Path) -> None:
    other = Stack(tmp_path, free_port())
    other.state.prepare()
    refused = other.command("down", "--wipe", check=False, input="n\n")
    assert refused.returncode != 0
    assert other.state.root.exists()
    other.command("down", "--wipe", "--yes")
    assert not other.state.root.exists()

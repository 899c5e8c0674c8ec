"""Gateways of their own: in live mode, where there is no double; and while a simulator and a gateway come and go."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import yaml

from proxy.catalog import load_catalog, project_root
from proxy.render.litellm import litellm_config, litellm_yaml
from proxy.simulator import api_bases
from tests.conftest import free_port, until
from tests.gateway.processes import gateway_environment, running
from tests.simulator.running import CONTROL_KEY, Double, port_of, start

KEY = "sk-" + "double-of-a-test"
CATALOG = project_root() / "config" / "proxy.yaml"


@contextmanager
def simulator(*arguments: str) -> Iterator[Double]:
    process = start(*arguments)
    try:
        yield Double(port_of(process))
    finally:
        process.terminate()
        process.communicate(timeout=30)


def as_live(environment: dict[str, str], bases: dict[str, str]) -> dict[str, str]:
    """The environment of a gateway in live mode, its configuration rendered for the real providers; only where
    these answer is put right afterwards, for what stands in for them here."""
    catalog = load_catalog(CATALOG)
    config = litellm_config(catalog)
    for deployment in config["model_list"]:
        deployment["litellm_params"]["api_base"] = bases[catalog.models[deployment["model_name"]].provider]
    rendered = Path(environment["CONFIG_FILE_PATH"])
    rendered.write_text(litellm_yaml(config), encoding="utf-8")
    assert "x-double" not in rendered.read_text(encoding="utf-8")
    assert yaml.safe_load(rendered.read_text(encoding="utf-8"))["model_list"]
    return {**environment, "LITELLM_LOCAL_MODE": "live", "LITELLM_LOCAL_CONTROL_KEY": CONTROL_KEY}


def test_in_live_mode_nothing_of_the_double_is_there(stack, tmp_path):
    with simulator() as provider:
        environment = gateway_environment(tmp_path, CATALOG, stack.database_url, KEY, provider.bases)
        environment = as_live({**environment, "LITELLM_LOCAL_SIMULATOR": provider.url}, provider.bases)
        provider.faults({"provider": "google", "kind": "status", "status": 400})
        with running(environment, tmp_path) as url:
            headers = {"Authorization": f"Bearer {KEY}", "x-double-scope": "mine"}
            with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
                for method, path in [
                    ("GET", "/_double/"),
                    ("GET", "/_double"),
                    ("GET", "/_double/page.js"),
                    ("GET", "/_double/me"),
                    ("GET", "/_double/journal"),
                    ("PUT", "/_double/script"),
                ]:
                    assert client.request(method, path).status_code == 404, path
                said = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
                for model in ("gpt-4o", "claude-sonnet-4", "gemini-2.5-pro"):
                    assert client.post("/v1/chat/completions", json={"model": model, **said}).status_code == 200
                    assert client.post("/v1/messages", json={"model": model, **said}).status_code == 200
        calls = provider.journal(scope="*")
    assert {call["provider"] for call in calls} == {"openai", "anthropic", "google"}
    assert {call["outcome"] for call in calls} == {"ok", "fault:status"}  # fallbacks and health probes among them
    assert [name for call in calls for name in call["headers"] if name.startswith("x-double")] == []


def test_a_simulator_that_is_gone_is_told_and_found_again_and_a_stop_ends_streams(stack, tmp_path):
    port = free_port()
    bases = api_bases(f"http://127.0.0.1:{port}")
    environment = {
        **gateway_environment(tmp_path, CATALOG, stack.database_url, KEY, bases),
        "LITELLM_LOCAL_SIMULATOR": f"http://127.0.0.1:{port}",
        "LITELLM_LOCAL_CONTROL_KEY": CONTROL_KEY,
    }
    with ExitStack() as gateway, ExitStack() as clients, ThreadPoolExecutor(1) as threads:
        with simulator("--port", f"{port}"):
            url = gateway.enter_context(running(environment, tmp_path))
            headers = {"Authorization": f"Bearer {KEY}"}
            client = clients.enter_context(httpx.Client(headers=headers, timeout=60, trust_env=False, base_url=url))
            assert client.put("/_double/script", json={"strict": True}).status_code == 200
            events = clients.enter_context(client.stream("GET", "/_double/events"))
            pieces = events.iter_raw()
            assert next(pieces).startswith(b": ")
        assert b"".join(pieces) == b""  # ends with the simulator, and is not cut off

        for method, path in [("GET", "/_double/script"), ("GET", "/_double/events"), ("GET", "/_double/scopes")]:
            answer = client.request(method, path)
            assert answer.status_code == 502, answer.text
            assert answer.json()["error"]["type"] == "simulator_unavailable"
            assert "simulator does not answer" in answer.json()["error"]["message"]

        with simulator("--port", f"{port}"):
            until("control is back", lambda: client.get("/_double/script").status_code == 200)
            assert client.get("/_double/script").json()["strict"] is False
            events = clients.enter_context(client.stream("GET", "/_double/events"))
            pieces = events.iter_raw()
            next(pieces)
            ends = threads.submit(gateway.close)
            assert b"".join(pieces) == b""  # ended, not cut off
            ends.result()

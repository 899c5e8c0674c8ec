"""What asks MCP's servers is loaded once there is one, or somebody asks for it; until then all is as with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.gateway.speed.mcp import MANAGER
from tests.conftest import Stack
from tests.gateway.processes import Asked, beside, running

PROGRAM = """
import json, os, signal, sys
from pathlib import Path
from proxy.gateway.__main__ import main

signal.signal(signal.SIGTERM, lambda *_: None)  # which uvicorn raises anew, once it has ended
code = main()
Path(os.environ["MODULES"]).write_text(json.dumps(list(sys.modules)))
sys.exit(code)
"""
TOOL = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}
SAID = [{"role": "user", "content": "Hello"}]
WITH_TOOLS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": SAID, "tools": [{"type": "function", "function": TOOL}]},
    "/v1/responses": {"input": "Hello", "tools": [{"type": "function", **TOOL}]},
    "/v1/messages": {
        "messages": SAID,
        "max_tokens": 50,
        "tools": [{"name": "look", "input_schema": TOOL["parameters"]}],
    },
}

SAME = """
import json, os, sys
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
from litellm.proxy import proxy_server
from litellm.proxy._experimental.mcp_server import utils
from litellm.proxy.guardrails import tool_name_extraction as tools
from proxy.gateway.speed import mcp

as_ever, load_all = utils.upstream_credential_headers, tools.load_guardrail_translation_mappings
mcp.load_later()
mine = utils.upstream_credential_headers
mapping = tools.load_guardrail_translation_mappings()
early = {kind: mapping.get(kind) for kind in tools.CallTypes if kind.value in mcp.NAMING_TOOLS}
headers = ["Authorization", "X-Tag", "user-agent", "x-litellm-api-key"]
found = [sorted(mine(iter(headers)))]
loaded = mcp.MANAGER in sys.modules
secret = [*headers, "X-MCP-Auth", "x-mcp-github-authorization", "x-mcp-servers", "x-mcp-access-groups"]
found += [sorted(mine(secret)) == sorted(as_ever(secret)) == ["x-mcp-auth", "x-mcp-github-authorization"]]
named = {}
for how in ("setting", "environment"):
    del sys.modules[mcp.MANAGER]
    if how == "setting":
        proxy_server.general_settings["mcp_client_side_auth_header_name"] = "X-Tag"
    else:
        proxy_server.general_settings.clear()
        os.environ["LITELLM_MCP_CLIENT_SIDE_AUTH_HEADER_NAME"] = "User-Agent"
    named[how] = sorted(mine(iter(headers)))
whole = load_all()
tools._register_standalone_extractors()
naming = {kind.value for kind in whole} & tools.TOOL_CAPABLE_CALL_TYPES - set(tools.STANDALONE_EXTRACTORS)
same = {kind.value: mapping.get(kind) is whole.get(kind) for kind in tools.CallTypes}
print(json.dumps({
    "found": found, "loaded": loaded, "named": named,
    "same": all(same.values()), "kinds": len(whole),
    "early": all(whole[kind] is one for kind, one in early.items()),
    "all named": naming == set(mcp.NAMING_TOOLS),
}))
"""


def test_headers_and_handlers_are_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", SAME], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "found": [[], True],
        "loaded": False,
        "named": {"setting": ["x-tag"], "environment": ["user-agent"]},
        "same": True,
        "kinds": pytest.approx(40, abs=20),
        "early": True,
        "all named": True,
    }


class Gateway(Asked):
    """One beside the shared stack, and once it has ended, the modules that it had loaded."""

    def __init__(self, client: httpx.Client, master_key: str) -> None:
        super().__init__(client, master_key)
        self.modules: set[str] = set()

    def servers(self) -> list[str]:
        found = self._client.get("/v1/mcp/server", headers=self._master).raise_for_status().json()
        return [one["server_name"] for one in found]

    def remove(self, server: str) -> None:
        self._client.delete(f"/v1/mcp/server/{server}", headers=self._master).raise_for_status()

    def ask(self, path: str, body: dict[str, Any], key: str, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {key}", **headers}
        return self._client.post(path, json={"model": "gpt-4o-mini", **body}, headers=sent)


@contextmanager
def a_gateway(stack: Stack, folder: Path) -> Iterator[Gateway]:
    told = folder / "modules.json"
    environment = beside(stack) | {"MODULES": str(told)}
    with (
        running(environment, folder, ["-c", PROGRAM]) as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        gateway = Gateway(client, stack.master_key)
        yield gateway
    gateway.modules = set(json.loads(told.read_text()))


def test_who_has_nothing_to_do_with_mcp_does_not_load_it(stack: Stack, tmp_path: Path) -> None:
    with a_gateway(stack, tmp_path) as gateway:
        anyone, looking, eating = (
            gateway.key(),
            *(gateway.key(metadata={"allowed_tools": [tool]}) for tool in ("look", "eat")),
        )
        for path, body in WITH_TOOLS.items():
            answers = [gateway.ask(path, body, key) for key in (anyone, looking, eating)]
            assert [answer.status_code for answer in answers] == [200, 200, 403], path
            assert "look" in answers[2].json()["error"]["message"]
        assert gateway.ask("/v1/chat/completions", {"messages": SAID, "stream": True}, anyone).status_code == 200
    assert "litellm.llms.anthropic.chat.guardrail_translation" in gateway.modules
    assert gateway.modules.isdisjoint({MANAGER, "mcp.client.session", "mcp_types.methods", "pydantic.v1.main"})


def test_who_asks_for_it_has_it(stack: Stack, tmp_path: Path) -> None:
    made = {"server_name": "a_server", "url": "http://127.0.0.1:9/mcp", "transport": "http", "auth_type": "none"}
    with a_gateway(stack, tmp_path) as gateway:
        assert gateway.servers() == []
        server = gateway.admin("/v1/mcp/server", **made)["server_id"]
        try:
            assert gateway.servers() == ["a_server"]
            with a_gateway(stack, tmp_path) as later:
                pass
        finally:
            gateway.remove(server)
    assert MANAGER in gateway.modules
    assert MANAGER in later.modules, "what is in the database is loaded at the start"


def test_a_key_of_mcp_is_known_as_one(stack: Stack, tmp_path: Path) -> None:
    with a_gateway(stack, tmp_path) as gateway:
        headers = {"x-mcp-one-authorization": "any"}
        assert gateway.ask("/v1/chat/completions", {"messages": SAID}, gateway.key(), **headers).status_code == 200
    assert MANAGER in gateway.modules

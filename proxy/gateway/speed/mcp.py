"""What asks MCP's servers is loaded once there is one, or somebody asks for it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

MANAGER = "litellm.proxy._experimental.mcp_server.mcp_server_manager"
NAMING_TOOLS = {
    call: f"litellm.llms.{package}.guardrail_translation"
    for package, calls in (
        ("openai.chat", ("completion", "acompletion")),
        ("openai.responses", ("responses", "aresponses")),
        ("anthropic.chat", ("anthropic_messages",)),
    )
    for call in calls
}
"""Kinds of calls that may bring tools -> where LiteLLM has what tells their names."""


def load_later() -> None:
    """LiteLLM loads it, 17 MB, at the start to find that its database has no such server, and at the first request to
    know the names of its tools and MCP's headers."""
    look_for_servers_first()
    load_what_names_tools_alone()
    look_for_headers_first()


def look_for_servers_first() -> None:
    """At the start and every 30 s. Servers in the configuration load the manager before that; it then asks itself."""
    from litellm.proxy import proxy_server

    config: Any = proxy_server.ProxyConfig

    def where_there_are_some(load: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        async def load_those_there_are(self: Any) -> None:
            if MANAGER in sys.modules or await has_servers(proxy_server.prisma_client):
                await load(self)

        return load_those_there_are

    for name in ("_init_mcp_servers_in_db", "reload_mcp_servers_from_db"):
        setattr(config, name, where_there_are_some(getattr(config, name)))


async def has_servers(client: Any) -> bool:
    """Whether the database has any; also where it cannot be asked: LiteLLM then tells what is wrong."""
    try:
        return bool(await client.db.litellm_mcpservertable.count(take=1))
    except Exception:  # whatever prisma's client raises
        return True


class Handlers:
    """LiteLLM's handlers for guardrails, of which the one for a kind of call is loaded when it is asked for."""

    def __init__(self, load_all: Callable[[], dict[Any, Any]]) -> None:
        self._load_all = load_all

    def get(self, call_type: Any) -> Any:
        package = NAMING_TOOLS.get(call_type.value)
        if package is None:
            return self._load_all().get(call_type)
        return importlib.import_module(package).guardrail_translation_mappings.get(call_type)


def load_what_names_tools_alone() -> None:
    """To see whether a key may use the tools of a request; of 30 handlers, one knows them."""
    from litellm.proxy.guardrails import tool_name_extraction

    module: Any = tool_name_extraction
    load_all = module.load_guardrail_translation_mappings
    module.load_guardrail_translation_mappings = lambda: Handlers(load_all)


def look_for_headers_first() -> None:
    """Keys for MCP's servers stay out of what is logged of a request's headers. While none is loaded, they are those
    that begin with MCP's prefix, or have the name that was configured."""
    from litellm.proxy import proxy_server
    from litellm.proxy._experimental.mcp_server import utils
    from litellm.secret_managers.main import get_secret_str

    module: Any = utils
    find, prefix = module.upstream_credential_headers, module._MCP_SERVER_AUTH_HEADER_PREFIX

    def upstream_credential_headers(header_names: Iterable[str]) -> frozenset[str]:
        names = tuple(header_names)
        if (
            MANAGER in sys.modules
            or any(name.lower().startswith(prefix) for name in names)
            or get_secret_str("LITELLM_MCP_CLIENT_SIDE_AUTH_HEADER_NAME") is not None
            or proxy_server.general_settings.get("mcp_client_side_auth_header_name") is not None
        ):
            return frozenset(find(names))
        return frozenset()

    module.upstream_credential_headers = upstream_credential_headers

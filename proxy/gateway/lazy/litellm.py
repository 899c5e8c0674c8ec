"""Parts of LiteLLM that it loads for what is not asked of it: they wait until it is.

`install` is called once, after LiteLLM was imported.
"""

from __future__ import annotations

import sys
from typing import Any

from proxy.gateway.made_for import fits


def install() -> None:
    if fits("parts of it that may not be needed are loaded all the same"):
        load_vocabulary_to_count()
        load_spans_to_make_some()
        load_tool_filter_to_filter()


class Vocabulary:
    """Stands in for tiktoken's encoding, 40 MB, which each request to Anthropic or Gemini is given, to count the
    tokens of a reply that does not say how many they are."""

    def __getattr__(self, name: str) -> Any:
        from litellm import main

        return getattr(main.encoding, name)  # loaded when it is asked for; then it stands in main's cache itself


def load_vocabulary_to_count() -> None:
    import tiktoken
    from litellm import main

    load = tiktoken.get_encoding

    def get_encoding(encoding_name: str) -> Any:
        encoding = load(encoding_name)
        encoding._mergeable_ranks = {}  # a third of its memory; nothing but __init__ reads them
        return encoding

    tiktoken.get_encoding = get_encoding
    cached: Any = main
    cached._encoding_cache = Vocabulary()


def load_spans_to_make_some() -> None:
    """LiteLLM asks in each request whether OpenTelemetry wants to know of it, and loads it to ask. Where it does, what
    asks was loaded before."""
    from litellm.integrations.otel import runtime

    module: Any = runtime
    hooks = module._otel_runtime

    def otel_runtime() -> Any:
        return hooks() if "litellm.integrations.otel.logger" in sys.modules else None

    module._otel_runtime = otel_runtime


def load_tool_filter_to_filter() -> None:
    """LiteLLM loads its MCP server at the start to find that no filter of MCP's tools is configured."""
    from litellm.proxy.proxy_server import ProxyStartupEvent

    event: Any = ProxyStartupEvent
    initialize = event.initialize_semantic_tool_filter

    async def initialize_if_configured(llm_router: Any, litellm_settings: dict[str, Any]) -> None:
        if litellm_settings.get("mcp_semantic_tool_filter"):
            await initialize(llm_router=llm_router, litellm_settings=litellm_settings)

    event.initialize_semantic_tool_filter = staticmethod(initialize_if_configured)

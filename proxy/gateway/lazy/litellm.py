"""Parts of LiteLLM that it loads for what is not asked of it: they wait until it is.

`install` is called once, after LiteLLM was imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import litellm

from proxy.gateway.made_for import fits

DEFAULT = "cl100k_base"


def install() -> None:
    if fits("parts of it that may not be needed are loaded all the same"):
        drop_read_vocabulary()
        load_vocabulary_to_count()
        load_spans_to_make_some()
        load_tool_filter_to_filter()


def drop_read_vocabulary() -> None:
    """14 MB of the JSON of Anthropic's tokenizer, of which LiteLLM uses the text."""
    from litellm import utils

    if isinstance(getattr(utils, "claude_json_str", None), str):
        vars(utils).pop("json_data", None)


class Vocabulary:
    """Stands in for an encoding of tiktoken's, which is loaded when something is asked of it."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)


def load_vocabulary_to_count() -> None:
    """Of tiktoken's two, 25 and 50 MB, what is counted with. LiteLLM loads the first one with the second; each request
    to Anthropic or Gemini is given it, to count a reply that does not say how many tokens it is; and at the start of
    each stream it has the model's count an empty text."""
    import tiktoken
    from litellm.rust_bridge import tokenizer

    bridge: Any = tokenizer
    load, load_both = tiktoken.get_encoding, bridge._python_encoding

    def get_encoding(encoding_name: str) -> Any:
        encoding = load(encoding_name)
        encoding._mergeable_ranks = {}  # a third of its memory; nothing but __init__ reads them
        return encoding

    def load_named(name: str) -> Any:
        if name == DEFAULT or "CUSTOM_TIKTOKEN_CACHE_DIR" in os.environ:
            return load_both(name)
        # where LiteLLM's module of the default one says that its copies are
        os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers")
        return get_encoding(name)

    tiktoken.get_encoding = get_encoding
    bridge._python_encoding = lambda name: Vocabulary(lambda: load_named(name))


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

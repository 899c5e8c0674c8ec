"""What LiteLLM is not asked for, it does not load; asked for, it is all there."""

from __future__ import annotations

import json
import os
import subprocess
import sys

HEAD = """
import asyncio, json, os, sys
from proxy.gateway import lazy
lazy.before_import()
import litellm.proxy.proxy_server
lazy.after_import()
VOCABULARY, SPANS = "tiktoken_ext.openai_public", "litellm.integrations.otel.logger"
FILTER = "litellm.proxy.hooks.mcp_semantic_filter"
there = lambda name: name in sys.modules
"""

COUNTING = (
    HEAD
    + """
reply = litellm.completion(
    "anthropic/claude-3-opus-20240229", [{"role": "user", "content": "hello"}], api_base=sys.argv[1], api_key="any",
    extra_headers={"x-double-scope": "lazy"},
)
empty = [litellm.token_counter(model, text="") for model in ("gpt-4o", "gpt-4-turbo", "gemini/gemini-2.5-pro")]
found = [bool(reply.choices[0].message.content), empty, there(VOCABULARY), hasattr(litellm.utils, "json_data")]
found += [litellm.token_counter("gpt-4o", text="hello world"), there("litellm.litellm_core_utils.default_encoding")]
given = litellm.main._get_encoding()
text = "Grüße, 世界! <|endoftext|> hello"
counted = given.encode(text, disallowed_special=())
import tiktoken
alone = tiktoken.get_encoding("cl100k_base")
found += [counted == alone.encode(text, disallowed_special=()), given.name]
found += [given._load() is alone, alone.decode(alone.encode("hello world"))]
found += [alone._mergeable_ranks, alone.n_vocab, litellm.token_counter("claude-2", text="hello world")]
print(json.dumps(found))
"""
)

ASKING = (
    HEAD
    + """
from litellm.integrations.otel import runtime
def span():
    with runtime.phase_span("any") as found:
        return found
initialize = litellm.proxy.proxy_server.ProxyStartupEvent.initialize_semantic_tool_filter
asyncio.run(initialize(llm_router=None, litellm_settings={}))
before = [runtime._otel_runtime(), span(), there(SPANS), there(FILTER)]
asyncio.run(initialize(llm_router=None, litellm_settings={"mcp_semantic_tool_filter": {"enabled": False}}))
import litellm.integrations.otel.logger as logger
known = (logger.phase_span, logger.seed_request_identity, logger.phase_event, logger.phase_attributes)
after = [runtime._otel_runtime() == known]
print(json.dumps([before, after + [span(), there(FILTER)]]))
"""
)


def told(program: str, *arguments: str):
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_vocabulary_is_loaded_to_count(stack) -> None:
    replied, empty, loaded, left, count, both, same, name, is_cached, text, ranks, size, of_claude = told(
        COUNTING, f"{stack.simulator_url}/anthropic"
    )
    assert replied
    assert empty == [0, 0, 0]
    assert not loaded
    assert not left
    assert count == of_claude == 2
    assert not both
    assert same
    assert name == "cl100k_base"
    assert is_cached
    assert text == "hello world"
    assert ranks == {}
    assert size == 100277


def test_spans_and_filters_are_loaded_to_make_and_to_filter(stack) -> None:
    before, after = told(ASKING)
    assert before == [None, None, False, False]
    assert after == [True, None, True]

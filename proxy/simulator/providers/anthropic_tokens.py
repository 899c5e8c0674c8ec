"""What Anthropic counts a Messages request as; used by anthropic.py."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.simulator.replies import tokens

IMAGE_TOKENS = 1_600
"""What an image of the usual greatest size counts (https://docs.claude.com/en/docs/build-with-claude/vision)."""
PAGE_TOKENS = 2_000
"""What a page of a PDF counts, as text and image together."""
PAGE_BASE64 = 100_000
"""Characters of base64 to a page."""
TOOLS_TOKENS = 346
"""The system prompt that goes with tools (https://docs.anthropic.com/en/docs/build-with-claude/tool-use)."""


def prompt_tokens(body: dict[str, Any]) -> int:
    """Texts, a few tokens a message, images at their usual size, tools as JSON."""
    total = 3 + _content(body.get("system") or "")
    for message in body["messages"]:
        total += 4 + _content(message["content"])
    if body.get("tools"):
        total += TOOLS_TOKENS + tokens.count(orjson.dumps(body["tools"]).decode())
    return total


def _content(content: Any) -> int:
    if isinstance(content, str):
        return tokens.count(content)
    return sum(map(_block, content)) if isinstance(content, list) else 0


def _block(block: Any) -> int:
    fields: dict[str, Any] = block if isinstance(block, dict) else {}
    kind = fields.get("type")
    if kind == "text" and isinstance(fields.get("text"), str):
        return tokens.count(fields["text"])
    if kind == "image":
        return IMAGE_TOKENS
    if kind == "document":
        return _document(fields.get("source"))
    if kind == "tool_result":
        return _content(fields.get("content") or "") + 10
    return tokens.count(orjson.dumps(block).decode())


def _document(source: Any) -> int:
    fields: dict[str, Any] = source if isinstance(source, dict) else {}
    kind, data = fields.get("type"), fields.get("data")
    if kind == "text" and isinstance(data, str):
        return tokens.count(data)
    if kind == "content":
        return _content(fields.get("content") or "")
    return PAGE_TOKENS * (1 + (len(data) // PAGE_BASE64 if isinstance(data, str) else 0))

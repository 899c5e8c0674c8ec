"""What OpenAI counts a chat completion request as; used by openai.py."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.simulator.providers.openai_request import FIXED_SAMPLING, texts
from proxy.simulator.replies import tokens

IMAGE_TOKENS = 85
"""What an image counts in low detail (https://platform.openai.com/docs/guides/images-vision)."""
DETAILED_TOKENS = 765
"""What one of 1024 by 1024 counts in high detail. Sizes are not looked at."""
AUDIO_BASE64_PER_TOKEN = 4_300
"""Characters of base64 to a token of audio: ten tokens a second, and 32 kB of 16-bit sound at 16 kHz."""
PAGE_TOKENS = 800
"""What a file counts that is not sent along."""
PAGE_BASE64 = 100_000
"""Characters of base64 to a page's tokens."""

EFFORT = {"none": 0, "minimal": 0, "low": 64, "medium": 192, "high": 512, "xhigh": 1024}
"""reasoning_effort -> tokens of reasoning in a reply. OpenAI counts them in steps of 64."""


def prompt_tokens(body: dict[str, Any]) -> int:
    """OpenAI's published way for chat messages (3 a message and 3 for the reply), and tool definitions as the JSON
    they are."""
    total = 3
    for message in body["messages"]:
        total += 4  # three for the message, one for its role
        content = message.get("content")
        for text in texts(content):
            total += tokens.count(text)
        if isinstance(content, list):
            total += sum(_part(part) for part in content if part["type"] != "text")
        if message.get("tool_calls"):
            total += tokens.count(orjson.dumps(message["tool_calls"]).decode())
    if body.get("tools"):
        total += tokens.count(orjson.dumps(body["tools"]).decode())
    return total


def _part(part: dict[str, Any]) -> int:
    kind = part["type"]
    given = part.get(kind)
    if kind == "refusal":
        return tokens.count(given) if isinstance(given, str) else 0
    fields: dict[str, Any] = given if isinstance(given, dict) else {}
    if kind == "image_url":
        return image_tokens(fields.get("detail"))
    if kind == "file":
        return file_tokens(fields.get("file_data"))
    return 1 + _size(fields.get("data")) // AUDIO_BASE64_PER_TOKEN


def image_tokens(detail: Any) -> int:
    return IMAGE_TOKENS if detail == "low" else DETAILED_TOKENS


def file_tokens(data: Any) -> int:
    """`data` is base64, or something else where the file is not sent along."""
    return PAGE_TOKENS * (1 + _size(data) // PAGE_BASE64)


def _size(data: Any) -> int:
    return len(data) if isinstance(data, str) else 0


def reasoning(body: dict[str, Any]) -> int:
    """The tokens of reasoning that a request asks for; none where it does not say, so that replies stay short."""
    effort = body.get("reasoning_effort")
    asked = EFFORT.get(effort, 0) if isinstance(effort, str) else 0
    return asked if asked and FIXED_SAMPLING.match(body["model"]) else 0

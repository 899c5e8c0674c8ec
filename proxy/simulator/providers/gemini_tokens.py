"""What Gemini counts a generateContent request as, and what it thinks; used by gemini.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from proxy.simulator.providers.gemini_request import either
from proxy.simulator.replies import tokens

TILE_TOKENS = 258
"""What a small image counts, and a page of a PDF (https://ai.google.dev/gemini-api/docs/tokens)."""
SOUND_TOKENS, FILM_TOKENS = 32, 263
"""What a second counts."""
SECOND_BASE64 = {"AUDIO": 20_000, "VIDEO": 300_000, "DOCUMENT": 100_000}
"""Characters of base64 to a second of it, or to a page."""
MODALITIES = {"image": "IMAGE", "audio": "AUDIO", "video": "VIDEO"}

LEVELS = {"minimal": 0, "low": 64, "medium": 192, "high": 512}
"""thinkingLevel -> tokens of thoughts."""
DYNAMIC = 192
"""Of thoughts that are as long as the model likes (thinkingBudget -1), at most."""


def modalities(body: Mapping[str, Any]) -> dict[str, int]:
    """What a request counts as: its texts, inline files by their kind, the rest as JSON. At least 1."""
    contents = body["contents"]
    system = either(body, "systemInstruction", "system_instruction")
    found = {"TEXT": 0}
    for content in contents if isinstance(contents, list) else [contents]:
        _add(found, content)
    if system is not None:
        _add(found, system)
    if body.get("tools"):
        found["TEXT"] += tokens.count(orjson.dumps(body["tools"]).decode())
    if sum(found.values()) == 0:
        found["TEXT"] = 1
    return found


def _add(found: dict[str, int], content: Mapping[str, Any]) -> None:
    parts = content["parts"]
    for part in parts if isinstance(parts, list) else [parts]:
        file = either(part, "inlineData", "inline_data") or either(part, "fileData", "file_data")
        if "text" in part:
            found["TEXT"] += tokens.count(part["text"])
        elif isinstance(file, dict):
            modality, count = _file(file)
            found[modality] = found.get(modality, 0) + count
        else:
            found["TEXT"] += tokens.count(orjson.dumps(part).decode())


def _file(file: Mapping[str, Any]) -> tuple[str, int]:
    mime, data = either(file, "mimeType", "mime_type"), file.get("data")
    modality = MODALITIES.get(str(mime).split("/")[0], "DOCUMENT")
    if modality == "IMAGE":
        return modality, TILE_TOKENS
    size = 1 + (len(data) // SECOND_BASE64[modality] if isinstance(data, str) else 0)
    return modality, size * {"AUDIO": SOUND_TOKENS, "VIDEO": FILM_TOKENS, "DOCUMENT": TILE_TOKENS}[modality]


def reasoning(config: Mapping[str, Any]) -> int:
    """The tokens of thoughts that a request asks for; none where it does not say, so that replies stay short."""
    thinking = either(config, "thinkingConfig", "thinking_config") or {}
    level = either(thinking, "thinkingLevel", "thinking_level")
    if isinstance(level, str):
        return LEVELS.get(level.lower(), DYNAMIC)
    budget = either(thinking, "thinkingBudget", "thinking_budget")
    if not isinstance(budget, int) or budget == 0:
        return 0
    return DYNAMIC if budget < 0 else min(budget, DYNAMIC)

"""Exchanges as tests make them up."""

from __future__ import annotations

import json
from typing import Any

from proxy.simulator.cassettes import notation
from proxy.simulator.cassettes.model import Exchange, Request, Response

PATHS = {
    "chat": "/openai/v1/chat/completions",
    "responses": "/openai/v1/responses",
    "messages": "/anthropic/v1/messages",
    "generateContent": "/gemini/v1beta/models/gemini-1.5-pro:generateContent",
}
PROVIDERS = {"chat": "openai", "responses": "openai", "messages": "anthropic", "generateContent": "google"}


def chat(text: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **fields}


def exchange(body: Any, answer: bytes | list[bytes] = b"{}", *, api: str = "chat", **fields: Any) -> Exchange:
    """An exchange with an answer in one piece, or with a stream of these events."""
    content = notation.of_body(answer) if isinstance(answer, bytes) else notation.of_chunks([(0, e) for e in answer])
    given: dict[str, Any] = {
        "at": "2026-11-25T10:00:00.000Z",
        "provider": PROVIDERS[api],
        "api": api,
        "method": "POST",
        "path": PATHS[api],
        "request": Request(**notation.of_request(json.dumps(body).encode())),
        "response": Response(status=200, **content),
    }
    return Exchange(**{**given, **fields})

"""Which API a request path belongs to: decides the shape a body must have and the dialect of its errors.

LiteLLM serves each API under several paths (`/v1/chat/completions`, `/chat/completions`,
`/engines/<model>/chat/completions`, `/openai/deployments/<model>/chat/completions`, ...), so paths are told
apart by how they end. Used by the guards.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

from proxy.gateway.errors import Dialect

# Where an ingress that cannot answer by itself sends what it keeps closed to the outside: 404, as the edge has it.
CLOSED_PATH = "/_closed"


class Api(Enum):
    """The APIs that spend money, and everything else."""

    CHAT = "chat completions"
    COMPLETION = "completions"
    EMBEDDING = "embeddings"
    RESPONSES = "responses"
    MESSAGES = "messages"
    GEMINI = "generateContent"
    OTHER_MODEL = "other model API"  # images, audio, rerank, ...: forms allowed, no shape of ours
    MANAGEMENT = "management"  # keys, users, spend, the admin UI
    RAW = "raw"  # bodies that are no plain JSON object: MCP, agents' JSON-RPC, telemetry

    @property
    def has_shape(self) -> bool:
        return self in _WITH_SHAPE

    @property
    def is_model_api(self) -> bool:
        return self.has_shape or self is Api.OTHER_MODEL


_WITH_SHAPE = frozenset({Api.CHAT, Api.COMPLETION, Api.EMBEDDING, Api.RESPONSES, Api.MESSAGES, Api.GEMINI})
_VERSION = r"(?:/v1|/v2|/v1beta|/openai/v1|/openai/deployments/[^/]+|/openai/deployments/[^/]+/[^/]+|/engines/.+)?"
_GEMINI = re.compile(r":(?:generateContent|streamGenerateContent|countTokens)$")
_OTHER_MODEL = re.compile(
    rf"^{_VERSION}/(?:images|audio|moderations|rerank|ocr|videos|batches|files|fine_tuning|assistants|threads"
    r"|responses|realtime|search|interactions|vector_stores|containers|rag|messages|cursor|claude_code_gateway"
    r"|utils|decisions|systemone|skills|evals)(?:/|$)"
)
_RAW = re.compile(r"^(?:/mcp|/mcp-rest|/[^/]+/mcp|/a2a|/v1/a2a|/v1/traces|/v1/logs|/sso)(?:/|$)")


@lru_cache(maxsize=1024)
def api_of(path: str) -> Api:
    """The API of a request path, without regard to its method."""
    path = path.rstrip("/")
    if _RAW.match(path):
        return Api.RAW
    if _GEMINI.search(path):
        return Api.GEMINI
    if path.startswith("/cursor/"):
        return Api.OTHER_MODEL  # Cursor sends Responses bodies to /chat/completions
    if path.endswith("/chat/completions"):
        return Api.CHAT
    if path.endswith("/completions"):
        return Api.COMPLETION
    if path.endswith("/embeddings"):
        return Api.EMBEDDING
    if path.endswith("/responses"):
        return Api.RESPONSES
    if path.endswith(("/v1/messages", "/v1/messages/count_tokens")):
        return Api.MESSAGES
    if _OTHER_MODEL.match(path):
        return Api.OTHER_MODEL
    return Api.MANAGEMENT


def dialect_of(path: str) -> Dialect:
    """How errors for this path are written."""
    api = api_of(path)
    if api is Api.MESSAGES:
        return "anthropic"
    return "gemini" if api is Api.GEMINI else "openai"


def names_model(path: str) -> bool:
    """Whether the path itself carries the model, so that the body need not."""
    return "/engines/" in path or "/deployments/" in path or _GEMINI.search(path) is not None

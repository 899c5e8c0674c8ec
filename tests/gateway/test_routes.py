"""Every path under which LiteLLM serves a model must be known as one, or its body would pass unchecked."""

from __future__ import annotations

import pytest

from proxy.gateway.routes import Api, api_of, dialect_of, names_model


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/chat/completions", Api.CHAT),
        ("/chat/completions", Api.CHAT),
        ("/chat/completions/", Api.CHAT),
        ("/engines/gpt-4o/chat/completions", Api.CHAT),
        ("/openai/deployments/gpt-4o/chat/completions", Api.CHAT),
        ("/v1/completions", Api.COMPLETION),
        ("/v1/embeddings", Api.EMBEDDING),
        ("/v1/responses", Api.RESPONSES),
        ("/v1/responses/resp_1/cancel", Api.OTHER_MODEL),
        ("/v1/messages", Api.MESSAGES),
        ("/v1/messages/count_tokens", Api.MESSAGES),
        ("/v1/threads/t/messages", Api.OTHER_MODEL),
        ("/v1beta/models/gemini-2.5-pro:streamGenerateContent", Api.GEMINI),
        ("/v1/images/generations", Api.OTHER_MODEL),
        ("/v1/audio/transcriptions", Api.OTHER_MODEL),
        ("/mcp/tools", Api.RAW),
        ("/key/generate", Api.MANAGEMENT),
        ("/model/new", Api.MANAGEMENT),
        ("/health/test_connection", Api.MANAGEMENT),
        ("/usage", Api.MANAGEMENT),
    ],
)
def test_api_of_path(path, api):
    assert api_of(path) is api


def test_dialects():
    assert dialect_of("/v1/chat/completions") == "openai"
    assert dialect_of("/v1/messages") == "anthropic"
    assert dialect_of("/models/gemini-2.5-pro:generateContent") == "gemini"
    assert dialect_of("/key/generate") == "openai"


def test_models_in_paths():
    assert names_model("/engines/gpt-4o/chat/completions")
    assert not names_model("/v1/chat/completions")


def test_every_model_route_of_litellm_is_known():
    from litellm.proxy._types import LiteLLMRoutes

    routes = {*LiteLLMRoutes.openai_routes.value, *LiteLLMRoutes.google_routes.value}
    routes |= {*LiteLLMRoutes.anthropic_routes.value}
    about_models = {"/models", "/v1/models", "/vector_store/list", "/v1/vector_store/list"}
    unknown = [
        route
        for route in sorted(routes)
        if not api_of(route.partition("?")[0]).is_model_api and route not in about_models
    ]
    # what is left takes no model: lists of what there is, and Claude Code's plug-in shop
    assert [route for route in unknown if "claude-code" not in route and "agents" not in route] == []

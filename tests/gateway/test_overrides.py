"""What a request may not decide for itself."""

from __future__ import annotations

import types
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from proxy.gateway import internals
from proxy.gateway.errors import Refusal
from proxy.gateway.overrides import Overrides


@pytest.fixture(scope="module")
def overrides() -> Overrides:
    return Overrides(internals.own_parameters(), max_timeout=600, max_retries=3)


@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "api_base", "base_url", "api_version", "organization", "custom_llm_provider", "model_list"),
        *("litellm_params", "fallbacks", "context_window_fallbacks", "extra_headers", "headers", "model_info"),
        *("aws_access_key_id", "aws_anything_new", "vertex_credentials", "azure_ad_token", "litellm_credential_name"),
        *("mock_response", "mock_testing_fallbacks", "input_cost_per_token", "user_config", "router_settings_override"),
        *("specific_deployment", "retry_policy", "no-log", "ssl_verify", "user_api_key_auth_metadata", "callbacks"),
    ],
)
def test_operators_decision_is_refused_wherever_it_stands(overrides, name):
    with pytest.raises(Refusal) as refused:
        overrides.check_body({"model": "gpt-4o", name: None})
    assert (refused.value.status, refused.value.param) == (400, name)
    with pytest.raises(Refusal) as refused:
        overrides.check_body({"extra_body": {name: "x"}})
    assert refused.value.param == f"extra_body.{name}"


@pytest.mark.parametrize("container", ["metadata", "litellm_metadata"])
def test_metadata_carries_no_credentials_but_what_the_client_likes(overrides, container):
    overrides.check_body({container: {"organization": "acme", "tags": ["a"], "model_info": "v2"}})
    for name in ("api_key", "api_base", "base_url", "aws_role_name"):
        with pytest.raises(Refusal, match=name):
            overrides.check_body({container: {name: "x"}})
    with pytest.raises(Refusal, match="must be an object"):
        overrides.check_body({container: '{"api_key": "x"}'})


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("timeout", [1, 0.5, 600, None], ["60", 0, -1, 601, True, [1]]),
        ("request_timeout", [1], ["60", 1e9]),
        ("num_retries", [0, 3, None], [4, -1, "1", 1.5, False]),
        ("max_retries", [0], [100]),
    ],
)
def test_timeouts_and_retries_only_within_the_limits(overrides, field, good, bad):
    for value in good:
        overrides.check_body({field: value})
    for value in bad:
        with pytest.raises(Refusal) as refused:
            overrides.check_body({field: value})
        assert (refused.value.status, refused.value.param) == (400, field)


def test_the_same_limits_in_headers(overrides):
    overrides.check_headers([(b"x-litellm-timeout", b"30"), (b"x-litellm-num-retries", b"2"), (b"accept", b"*/*")])
    for name, value in [
        (b"x-litellm-timeout", b"soon"),
        (b"x-litellm-timeout", b"nan"),
        (b"x-litellm-stream-timeout", b"9999"),
        (b"x-litellm-num-retries", b"1000"),
        (b"x-litellm-num-retries", b"many"),
    ]:
        with pytest.raises(Refusal, match=name.decode()):
            overrides.check_headers([(name, value)])


def test_form_fields_are_looked_at_but_not_file_contents(overrides):
    def form(field: str, content: str) -> bytes:
        return f'--b\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{content}\r\n--b--\r\n'.encode()

    overrides.check_form(form("model", 'name="api_key"'))
    with pytest.raises(Refusal, match="api_base"):
        overrides.check_form(form("api_base", "http://elsewhere"))


def _names(annotation: Any) -> set[str]:
    """Field names of a TypedDict, or of all in a union of them."""
    if get_origin(annotation) is not None or isinstance(annotation, types.UnionType):
        return set().union(*(_names(part) for part in get_args(annotation)))
    return set(get_type_hints(annotation))


def test_no_parameter_of_the_providers_own_sdks_is_refused(overrides):
    """The lists come from LiteLLM; one of its names may one day be a provider's too."""
    from anthropic.types import message_create_params
    from openai.types import completion_create_params, embedding_create_params
    from openai.types.chat import completion_create_params as chat_create_params
    from openai.types.responses import response_create_params

    official = (
        _names(chat_create_params.CompletionCreateParamsNonStreaming)
        | _names(completion_create_params.CompletionCreateParamsNonStreaming)
        | _names(embedding_create_params.EmbeddingCreateParams)
        | _names(response_create_params.ResponseCreateParamsNonStreaming)
        | _names(message_create_params.MessageCreateParamsNonStreaming)
        | {"contents", "generationConfig", "safetySettings", "systemInstruction", "toolConfig", "cachedContent"}
    )
    assert {"messages", "input", "max_tokens", "temperature", "contents"} <= official
    operators = {"workspace_id"}  # chooses who pays at the provider
    for name in sorted(official - operators):
        overrides.check_body({name: None})

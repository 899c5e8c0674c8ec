"""Which of LiteLLM's errors are an outage, and that what says "not asked" is tried again by nobody."""

from __future__ import annotations

import asyncio

import httpx
import litellm
import openai
import pytest

from proxy.gateway.breaker_hooks import ProviderDown, is_outage

REQUEST = httpx.Request("POST", "http://provider")
NAMES = {"model": "gpt-4o", "llm_provider": "openai"}

OUTAGES = [
    litellm.InternalServerError("", **NAMES),
    litellm.ServiceUnavailableError("", **NAMES),
    litellm.BadGatewayError("", **NAMES),
    litellm.APIError(529, "", **NAMES),
    litellm.APIConnectionError("", **NAMES),
    litellm.Timeout("", **NAMES),
    openai.APIConnectionError(request=REQUEST),
    openai.APITimeoutError(REQUEST),
    httpx.ConnectError(""),
    httpx.ReadTimeout(""),
    httpx.RemoteProtocolError(""),
    ConnectionResetError(),
    asyncio.TimeoutError(),
]
OTHERS = [
    litellm.BadRequestError("", **NAMES),
    litellm.AuthenticationError("", **NAMES),
    litellm.PermissionDeniedError("", response=httpx.Response(403, request=REQUEST), **NAMES),
    litellm.NotFoundError("", **NAMES),
    litellm.RateLimitError("", **NAMES),
    litellm.ContextWindowExceededError("", **NAMES),
    litellm.ContentPolicyViolationError("", **NAMES),
    litellm.UnprocessableEntityError("", response=httpx.Response(422, request=REQUEST), **NAMES),
    ValueError(),
    KeyError(),
]


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
def test_what_a_provider_that_is_down_does(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_what_is_no_sign_of_an_outage(error: Exception) -> None:
    assert not is_outage(error)


def test_clients_read_503_and_litellm_does_not_try_again() -> None:
    error = ProviderDown("gpt-4o", 4)
    assert error.status_code == error.response.status_code == 503
    assert str(error) == "gpt-4o is not asked, for its provider is down; come back in 4 s"
    router = litellm.Router(model_list=[])
    healthy = [{}, {}]
    with pytest.raises(ProviderDown):
        router.should_retry_this_error(error, healthy_deployments=healthy, all_deployments=healthy)
    ordinary = litellm.ServiceUnavailableError("", **NAMES)
    assert router.should_retry_this_error(ordinary, healthy_deployments=healthy, all_deployments=healthy)

"""The router's checks before a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_PER_PART = 100
"""More tokens than LiteLLM counts for a message beside its texts (8), an image (85), a request or its tools as such."""


def count_only_long_prompts() -> None:
    """Before each call a thread counts the prompt's tokens, to compare them with the model's context window, and loads
    a vocabulary for it. A token is at least one byte: where the bytes fit, so do the tokens."""
    from litellm.router import Router

    count = Router._acount_pre_call_check_tokens

    async def count_tokens(
        self: Any, model: str, healthy_deployments: Any, messages: Any, input: Any, request_kwargs: Any
    ) -> Any:
        most = most_tokens(messages, input, request_kwargs or {})
        if most is not None:
            windows = [self._deployment_max_input_tokens(model, one) for one in healthy_deployments]
            limits = [window for window in windows if window is not None]
            if not limits:
                return None
            if most <= min(limits):
                return most
        return await count(self, model, healthy_deployments, messages, input, request_kwargs)

    Router._acount_pre_call_check_tokens = count_tokens


def most_tokens(messages: Any, input: Any, asked: Mapping[str, Any]) -> int | None:
    """A number that the tokens of a prompt cannot exceed; None for one that is not of chat messages, or has parts
    other than text, tools and their results, or images without a detail asked for."""
    if input is not None or not isinstance(messages, Sequence) or isinstance(messages, str):
        return None
    if asked.get("system") or asked.get("instructions") or asked.get("functions"):
        return None
    try:
        return _PER_PART + sum(map(_of_message, messages)) + _of_tools(asked.get("tools"))
    except (TypeError, AttributeError, KeyError):  # another shape than the API's: LiteLLM says what is wrong with it
        return None


def _of_message(message: Any) -> int:
    most = _PER_PART
    for name, value in message.items():
        if isinstance(value, str):
            most += _bytes(value)
        elif name == "tool_calls" and isinstance(value, list):
            most += sum(_bytes(call["function"].get("arguments", "")) for call in value)
        elif name == "content" and isinstance(value, list):
            most += sum(map(_of_part, value))
        elif value is not None:
            raise TypeError(name)
    return most


def _of_part(part: Any) -> int:
    if part["type"] == "text":
        return _bytes(part["text"])
    if part["type"] == "image_url" and "detail" not in part["image_url"]:
        return _PER_PART  # LiteLLM's count for one whose pixels it does not look at is 85
    raise KeyError(part["type"])


def _of_tools(tools: Any) -> int:
    """Of LiteLLM's own text of them."""
    if not tools:
        return 0
    from litellm.litellm_core_utils.token_counter import _format_function_definitions

    return _PER_PART + _bytes(_format_function_definitions(tools))


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))

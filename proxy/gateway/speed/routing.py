"""The router's checks before a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_PER_MESSAGE = 100
"""More tokens than LiteLLM counts for a message beside its texts (8), and for a request as a whole."""


def count_only_long_prompts() -> None:
    """Before each call a thread counts the prompt's tokens, to compare them with the model's context window. A token
    is at least one byte: where the bytes fit, so do the tokens. Only prompts of plain text, without tools, are judged
    so."""
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
    """A number that the tokens of a prompt cannot exceed; None for a prompt that is more than texts."""
    if input is not None or not isinstance(messages, Sequence) or isinstance(messages, str):
        return None
    if asked.get("tools") or asked.get("system") or asked.get("instructions") or asked.get("functions"):
        return None
    most = _PER_MESSAGE
    for message in messages:
        if not isinstance(message, Mapping):
            return None
        most += _PER_MESSAGE
        for name, value in message.items():
            if not isinstance(value, str):
                return None
            most += len(value.encode("utf-8", "surrogatepass")) + len(name)
    return most

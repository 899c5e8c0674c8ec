"""What a client may not decide: whose key pays, where a request goes, how often it is tried.

LiteLLM lets a request body (and a few headers) override what the operator configured. `Overrides` refuses
those with a 400 that names the field. Which names count is taken from LiteLLM's own lists of the parameters
it keeps for itself (see app.py), so that a parameter new in LiteLLM is refused until it is allowed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from proxy.gateway.errors import Refusal

# LiteLLM's parameters that change nothing but the caller's own request.
ALLOWED = frozenset(
    {
        *("metadata", "litellm_metadata", "tags", "user", "id", "guardrails", "cache", "keepalive_seconds"),
        *("litellm_session_id", "litellm_trace_id", "litellm_call_id", "max_retries", "num_retries"),
        *("timeout", "request_timeout", "stream_timeout", "drop_params", "allowed_openai_params"),
        *("prompt_id", "prompt_variables", "prompt_label", "prompt_version", "merge_reasoning_content_in_choices"),
    }
)
# Overrides that LiteLLM honours but does not list among its own parameters.
UNLISTED = frozenset(
    {
        *("api_key", "api_base", "base_url", "api_version", "organization", "custom_llm_provider", "deployment_id"),
        *("extra_headers", "extra_query", "headers", "litellm_params", "litellm_embedding_config", "model_list"),
        *("fallbacks", "default_fallbacks", "context_window_fallbacks", "content_policy_fallbacks"),
        *("router_settings_override", "specific_deployment", "model_group_retry_policy", "user_config"),
        *("default_litellm_params", "default_max_parallel_requests", "callbacks", "success_callback"),
    }
)
_PREFIXES = ("aws_", "vertex_", "azure_", "mock_", "user_api_key")
_CREDENTIALS = frozenset({"api_key", "api_base", "base_url", "api_version"})

_TIMEOUTS = ("timeout", "request_timeout", "stream_timeout")
_RETRIES = ("num_retries", "max_retries")
_TIMEOUT_HEADERS = frozenset({b"x-litellm-timeout", b"x-litellm-stream-timeout", b"x-litellm-keepalive-seconds"})
_RETRY_HEADER = b"x-litellm-num-retries"
_FORM_FIELD = re.compile(rb'^content-disposition:[^\r\n]*?[; ]name="?([^";\r\n]+)', re.IGNORECASE | re.MULTILINE)


class Overrides:
    """Checks bodies, headers and forms against the operator's decisions. Raises `Refusal` (400)."""

    def __init__(self, litellm_parameters: Iterable[str], *, max_timeout: float, max_retries: int) -> None:
        self.refused = (frozenset(litellm_parameters) | UNLISTED) - ALLOWED
        self._max_timeout = max_timeout
        self._max_retries = max_retries

    def check_body(self, body: Mapping[str, Any]) -> None:
        """A parsed JSON object."""
        self._check_names(body, "")
        for container in ("extra_body", "metadata", "litellm_metadata"):
            inner = body.get(container)
            if inner is None:
                continue
            if not isinstance(inner, dict):
                raise Refusal(400, f"{container}: must be an object", param=container, code="invalid_type")
            if container == "extra_body":
                self._check_names(inner, "extra_body.")
            else:
                _refuse_first(inner, _CREDENTIALS, f"{container}.")
        for name in _TIMEOUTS:
            self._check_timeout(name, body.get(name))
        for name in _RETRIES:
            self._check_retries(name, body.get(name))

    def check_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The headers in which LiteLLM takes timeouts and retries."""
        for name, value in headers:
            if name in _TIMEOUT_HEADERS:
                self._check_timeout(name.decode(), _number(value))
            elif name == _RETRY_HEADER:
                self._check_retries(name.decode(), int(value) if value.isdigit() else value)

    def check_form(self, body: bytes) -> None:
        """The field names of a multipart form."""
        fields = {match.decode("utf-8", "replace"): None for match in _FORM_FIELD.findall(body)}
        self._check_names(fields, "")

    def _check_names(self, names: Mapping[str, Any], where: str) -> None:
        if not self.refused.isdisjoint(names) or any(name.startswith(_PREFIXES) for name in names):
            _refuse_first(names, self.refused, where)

    def _check_timeout(self, name: str, value: object) -> None:
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= self._max_timeout:
            raise Refusal(
                400,
                f"{name}: must be a number of seconds above 0 and at most {self._max_timeout:g}, "
                "the limit of a whole request here",
                param=name,
                code="invalid_value",
            )

    def _check_retries(self, name: str, value: object) -> None:
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= self._max_retries:
            raise Refusal(
                400, f"{name}: must be an integer from 0 to {self._max_retries}", param=name, code="invalid_value"
            )


def _refuse_first(names: Mapping[str, Any], refused: frozenset[str], where: str) -> None:
    for name in names:
        if name in refused or name.startswith(_PREFIXES):
            raise Refusal(
                400,
                f"{where}{name}: cannot be set by a request; the gateway's configuration decides it",
                param=f"{where}{name}",
                code="unsupported_parameter",
            )


def _number(text: bytes) -> float | bytes:
    try:
        return float(text)
    except ValueError:
        return text

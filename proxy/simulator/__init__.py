"""The providers' double: OpenAI, Anthropic and Gemini on their own wire formats.

`python -m proxy.simulator` serves it; the launcher starts it and points the gateway's deployments at
`api_bases`. Nothing in this package knows of LiteLLM or of the rest of the proxy.
"""

from __future__ import annotations


def api_bases(base_url: str) -> dict[str, str]:
    """Where each provider answers under the simulator's `base_url`, as LiteLLM's `api_base` wants it.

    OpenAI's ends in /v1; Anthropic's gets /v1/messages appended; Gemini's gets /models/... appended.
    """
    root = base_url.rstrip("/")
    return {
        "openai": f"{root}/openai/v1",
        "anthropic": f"{root}/anthropic",
        "google": f"{root}/gemini/v1beta",
    }

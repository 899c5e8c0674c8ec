"""litellm-local: a self-hosted LiteLLM proxy distribution. See README.md for what it serves."""

__version__ = "0.1.0"

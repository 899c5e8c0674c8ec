"""Upstream models that are gone and that LiteLLM's map, which drops such entries, therefore says nothing about.

Kept by hand, from the providers' own pages; used by `drift`. An entry belongs here when `config check` says
of a model that LiteLLM no longer lists it and the provider confirms it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Retirement:
    """The day from which the provider refuses requests, and the page that says so."""

    on: date
    source: str


_ANTHROPIC = "https://platform.claude.com/docs/en/about-claude/model-deprecations"
_GEMINI = "https://ai.google.dev/gemini-api/docs/deprecations"

# (api, upstream) as in config/proxy.yaml
RETIRED = {
    ("anthropic", "claude-3-opus-20240229"): Retirement(date(2026, 1, 5), _ANTHROPIC),
    ("anthropic", "claude-3-5-sonnet-20241022"): Retirement(date(2025, 10, 28), _ANTHROPIC),
    ("gemini", "gemini-1.5-pro"): Retirement(date(2025, 9, 29), _GEMINI),
    ("gemini", "gemini-1.5-flash"): Retirement(date(2025, 9, 29), _GEMINI),
}

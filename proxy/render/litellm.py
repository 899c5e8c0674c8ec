"""LiteLLM's configuration from the catalogue. Pure: the launcher and `config render` write what is made here.

LiteLLM ignores keys it does not know without a word, so each key here was looked up in its source (1.106.2)
and tests/render holds them against the installed version.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import yaml

from proxy.catalog import Catalog, Model, Provider
from proxy.secrets import VALKEY_PASSWORD

# Where the providers answer, as LiteLLM wants it: it appends /v1/messages for Anthropic and /models/... for
# Gemini. Given outright so that an OPENAI_BASE_URL in the environment (`litellm-local env` sets it, for
# clients) cannot send the gateway's own requests somewhere else.
LIVE_BASES = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
}
# Spend reaches Postgres this many seconds (and up to 5 more, by LiteLLM's own scatter) after the request.
SPEND_WRITE_SECONDS = 1
# The scope of the providers' double in which LiteLLM's own health probes are journaled.
PROBES_SCOPE = "probes"
VALKEY_PORT = 6379
# Series of each metric, some 400 bytes each (a histogram's: 20 times that, but it has one for each model only).
MOST_SERIES = 1000
# Seconds until a Valkey that failed is tried again; LiteLLM's own minute is long for one that is back in two seconds.
VALKEY_RETRY_SECONDS = 5


def live_base(provider: Provider) -> str:
    """Where the real provider answers, as LiteLLM's `api_base` wants it."""
    return provider.base_url or LIVE_BASES[provider.api]


def litellm_config(
    catalog: Catalog,
    *,
    api_bases: Mapping[str, str] | None = None,
    database: bool = True,
    valkey: str | None = None,
) -> dict[str, Any]:
    """LiteLLM's config.yaml as plain data.

    `api_bases` maps the provider names of the catalogue to base URLs (the simulator's, the recorder's); None means
    the real providers. Raises ValueError for a provider it leaves out: a double must never reach the real one.
    `database` False leaves out Postgres, for a LiteLLM that keeps no keys and no spend. `valkey` is the host of the
    Valkey or Redis through which several gateways share limits, budgets and what has become of keys; its password is
    the variable VALKEY_PASSWORD. Nothing of a request or a reply is kept there.
    """
    return {
        "model_list": [_deployment(catalog, alias, model, api_bases) for alias, model in catalog.models.items()],
        "router_settings": _router_settings(catalog, valkey),
        "litellm_settings": {
            # Without it, a parameter that a model does not take silently moves the request to the fallback.
            "drop_params": True,
            "request_timeout": _number(catalog.limits.request_timeout_seconds),
            "callbacks": ["prometheus"],
            **_metrics_settings(),
            # Keeps "Give Feedback / Get Help" out of the log of every failed request.
            "suppress_debug_info": True,
        },
        "general_settings": _general_settings(catalog, database, valkey),
    }


def litellm_environment(catalog: Catalog) -> dict[str, str]:
    """Settings that LiteLLM reads from the environment only, and when it is imported."""
    delay = f"{_number(catalog.limits.retry_delay_seconds)}"
    return {
        # router_settings.retry_after is only a floor under an exponential back-off; these make it exact.
        "INITIAL_RETRY_DELAY": delay,
        "MAX_RETRY_DELAY": delay,
        "JITTER": "0",
        "REDIS_CIRCUIT_BREAKER_RECOVERY_TIMEOUT": f"{VALKEY_RETRY_SECONDS}",
        # Use the bundled copies of what is fetched from the internet otherwise.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
        "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
        "LITELLM_LOCAL_BLOG_POSTS": "True",
        "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
        # Otherwise it reads any .env it finds in or above the working directory.
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_DONT_SHOW_FEEDBACK_BOX": "true",
        # Otherwise clients read in an error where in LiteLLM's source it arose, and a link to report it.
        "LITELLM_DISABLE_BUG_REPORT_LINK": "true",
        # When a counter began, as a series of its own beside each: twice the size, and Prometheus does not use it.
        "PROMETHEUS_DISABLE_CREATED_SERIES": "True",
        "DOCS_URL": "/docs",
        "UI_USERNAME": "admin",
    }


def litellm_yaml(config: Mapping[str, Any]) -> str:
    """The configuration as YAML, in the order of its keys."""
    heading = "# Rendered from config/proxy.yaml by litellm-local. Edit that file: this one is overwritten.\n"
    return heading + yaml.safe_dump(dict(config), sort_keys=False, width=120, allow_unicode=True)


def _deployment(catalog: Catalog, alias: str, model: Model, api_bases: Mapping[str, str] | None) -> dict[str, Any]:
    provider = catalog.providers[model.provider]
    deployment: dict[str, Any] = {
        "model_name": alias,
        "litellm_params": {
            "model": f"{provider.api}/{model.upstream}",
            "api_base": _api_base(catalog, model, api_bases),
            "api_key": f"os.environ/{provider.key_env}",
            "temperature": model.temperature,
            "input_cost_per_token": _per_token(model.price_per_1k.input),
            "output_cost_per_token": _per_token(model.price_per_1k.output),
        },
        "model_info": {
            "mode": "chat",
            # The window goes here: litellm_params.max_tokens would be sent upstream with every request.
            "max_input_tokens": model.context_window,
            # Not among litellm_params: there LiteLLM's pre-call checks count it a second time, in minutes that
            # begin with a request, and refuse what enforce_model_rate_limits (UTC minutes) would let through.
            "rpm": catalog.limits.requests_per_minute,
            "health_check_timeout": catalog.health.probe_timeout_seconds,
            "health_check_max_tokens": catalog.health.probe_max_tokens,
        },
    }
    if api_bases is not None:
        # The double keeps the probes apart from what tests ask; a probe has no key that would tell its scope.
        deployment["model_info"]["health_check_params"] = {"extra_headers": {"x-double-scope": PROBES_SCOPE}}
    return deployment


def _api_base(catalog: Catalog, model: Model, api_bases: Mapping[str, str] | None) -> str:
    if api_bases is None:
        return live_base(catalog.providers[model.provider])
    if model.provider not in api_bases:
        known = ", ".join(api_bases)
        raise ValueError(f"the double stands in for {known}, but the catalogue has a provider '{model.provider}'")
    return api_bases[model.provider]


def _router_settings(catalog: Catalog, valkey: str | None) -> dict[str, Any]:
    chains = {alias: chain for alias, chain in catalog.fallbacks.items() if chain}
    settings: dict[str, Any] = {
        "num_retries": catalog.limits.retries,
        "retry_after": _number(catalog.limits.retry_delay_seconds),
        # With one deployment per model, a cooldown is an outage of its own: 401 or 404 would close it for 5 s.
        "disable_cooldowns": True,
        "enable_pre_call_checks": True,
        # `rpm` alone is not enforced; routing by usage hangs at the limit instead of answering 429.
        "optional_pre_call_checks": ["enforce_model_rate_limits"],
        # disable_fallbacks keeps LiteLLM from following the chain of each model in the chain.
        "fallbacks": [
            {alias: [{"model": target, "disable_fallbacks": True} for target in chain]}
            for alias, chain in chains.items()
        ],
        "max_fallbacks": max((len(chain) for chain in chains.values()), default=0),
    }
    if valkey is not None:
        # The requests per minute of each model.
        settings |= {f"redis_{name}": value for name, value in _valkey(valkey).items()}
    return settings


def _general_settings(catalog: Catalog, database: bool, valkey: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "master_key": "os.environ/LITELLM_MASTER_KEY",
        # /health answers from the last round of probes rather than making one.
        "background_health_checks": True,
        "health_check_interval": catalog.health.interval_seconds,
        # Windows come from the catalogue; every 5 minutes LiteLLM would ask OpenAI-like providers for theirs.
        "disable_model_info_refresh": True,
        # Models come from the catalogue only: none can be added or changed through the API or the UI.
        "store_model_in_db": False,
    }
    if database:
        settings["database_url"] = "os.environ/DATABASE_URL"
        settings["proxy_batch_write_at"] = SPEND_WRITE_SECONDS
    if valkey is not None:
        # Limits and budgets of keys, and word of keys that change: without it another gateway lets a deleted key in
        # for up to a minute. Given here and not as LiteLLM's cache of replies, which would do it, too.
        settings["coordination_redis"] = _valkey(valkey)
    return settings


def _valkey(host: str) -> dict[str, Any]:
    return {"host": host, "port": VALKEY_PORT, "password": f"os.environ/{VALKEY_PASSWORD}"}


def _metrics_settings() -> dict[str, Any]:
    """What keeps /metrics from growing with what clients send; proxy/gateway/metrics.py does the rest."""
    return {
        # Anybody can send any number of these, without a key.
        "prometheus_exclude_labels": ["client_ip", "end_user", "user_agent"],
        # The first two LiteLLM itself calls deprecated; the third tells of guardrails, of which there are none.
        "prometheus_exclude_metrics": [
            "litellm_llm_api_failed_requests_metric",
            "litellm_requests_metric",
            "litellm_overhead_with_guardrails_latency_metric",
        ],
        # The last bound, for thousands of virtual keys: what comes later is counted together, as `other`.
        "prometheus_metrics_max_series_per_metric": MOST_SERIES,
    }


def _per_token(price_per_1k: float) -> float:
    """Dollars per token. Divided as decimals: 0.00003 / 1000 in binary is 3.0000000000000004e-08."""
    return float(Decimal(repr(price_per_1k)) / 1000)


def _number(value: float) -> int | float:
    """2 rather than 2.0 where nothing is lost: some of LiteLLM's settings are declared as integers."""
    return int(value) if value == int(value) else value

"""LiteLLM's configuration as rendered from the catalogue."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from proxy.catalog import Catalog, Provider, load_catalog
from proxy.render.litellm import litellm_config, litellm_environment, litellm_yaml

DOUBLE = {
    "openai": "http://127.0.0.1:9/openai/v1",
    "anthropic": "http://127.0.0.1:9/anthropic",
    "google": "http://127.0.0.1:9/gemini/v1beta",
}


def deployments(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {deployment["model_name"]: deployment for deployment in config["model_list"]}


def with_limits(**changes: Any) -> Catalog:
    catalog = load_catalog()
    return catalog.model_copy(update={"limits": catalog.limits.model_copy(update=changes)})


def test_each_model_is_one_deployment_with_its_upstream_key_and_costs() -> None:
    config = litellm_config(load_catalog())
    found = {
        alias: (
            deployment["litellm_params"]["model"],
            deployment["litellm_params"]["api_key"],
            deployment["litellm_params"]["temperature"],
            deployment["litellm_params"]["input_cost_per_token"],
            deployment["litellm_params"]["output_cost_per_token"],
            deployment["model_info"]["max_input_tokens"],
        )
        for alias, deployment in deployments(config).items()
    }
    openai, anthropic, gemini = (f"os.environ/{name}_API_KEY" for name in ("OPENAI", "ANTHROPIC", "GEMINI"))
    assert found == {
        "gpt-5-mini": ("openai/gpt-5-mini-2025-08-07", openai, 1.0, 7.5e-07, 3e-06, 400_000),
        "gpt-4o": ("openai/gpt-4o", openai, 0.7, 2e-06, 6e-06, 128_000),
        "gpt-4o-mini": ("openai/gpt-4o-mini", openai, 0.7, 1.5e-07, 6e-07, 128_000),
        "claude-opus-4.1": ("anthropic/claude-3-opus-20240229", anthropic, 0.7, 1.5e-05, 7.5e-05, 200_000),
        "claude-sonnet-4": ("anthropic/claude-3-5-sonnet-20241022", anthropic, 0.7, 3e-06, 1.5e-05, 200_000),
        "claude-opus-4-5-20251101": (
            "anthropic/claude-opus-4-5-20251101",
            anthropic,
            0.1,
            1.5e-05,
            7.5e-05,
            200_000,
        ),
        "gemini-2.5-pro": ("gemini/gemini-1.5-pro", gemini, 0.7, 1.25e-06, 5e-06, 2_000_000),
        "gemini-2.0-flash": ("gemini/gemini-1.5-flash", gemini, 0.7, 7.5e-08, 3e-07, 1_000_000),
    }


def test_chains_are_flat_and_in_the_order_of_the_file() -> None:
    """Without disable_fallbacks LiteLLM goes on to the chain of each model in the chain."""
    rendered = litellm_config(load_catalog())["router_settings"]["fallbacks"]

    def flat(*aliases: str) -> list[dict[str, Any]]:
        return [{"model": alias, "disable_fallbacks": True} for alias in aliases]

    assert rendered == [
        {"gpt-5-mini": flat("gpt-4o", "claude-opus-4.1", "gemini-2.5-pro")},
        {"gpt-4o": flat("gpt-4o-mini", "claude-sonnet-4", "gemini-2.0-flash")},
        {"claude-opus-4.1": flat("claude-sonnet-4", "gpt-4o", "gemini-2.5-pro")},
        {"gemini-2.5-pro": flat("gemini-2.0-flash", "gpt-4o", "claude-sonnet-4")},
    ]


def test_a_chain_longer_than_litellms_five_is_asked_to_its_end() -> None:
    catalog = load_catalog()
    chain = [alias for alias in catalog.models if alias != "gpt-4o"]
    longer = catalog.model_copy(update={"fallbacks": {"gpt-4o": chain, "gpt-4o-mini": []}})
    settings = litellm_config(longer)["router_settings"]
    assert settings["max_fallbacks"] == len(chain) == 7
    assert [list(entry) for entry in settings["fallbacks"]] == [["gpt-4o"]]


def test_limits_reach_every_setting_that_carries_them() -> None:
    catalog = with_limits(requests_per_minute=7, retries=5, retry_delay_seconds=1.5, request_timeout_seconds=42.0)
    config = litellm_config(catalog)
    for deployment in config["model_list"]:
        assert deployment["model_info"]["rpm"] == 7
        assert "rpm" not in deployment["litellm_params"]  # there it is counted twice
    assert config["router_settings"]["num_retries"] == 5
    assert config["router_settings"]["retry_after"] == 1.5
    assert repr(config["litellm_settings"]["request_timeout"]) == "42"
    environment = litellm_environment(catalog)
    assert (environment["INITIAL_RETRY_DELAY"], environment["MAX_RETRY_DELAY"], environment["JITTER"]) == (
        "1.5",
        "1.5",
        "0",
    )


def test_rpm_is_enforced_and_cooldowns_are_off() -> None:
    settings = litellm_config(load_catalog())["router_settings"]
    assert settings["optional_pre_call_checks"] == ["enforce_model_rate_limits"]
    assert settings["disable_cooldowns"] is True
    assert settings["enable_pre_call_checks"] is True
    assert settings["num_retries"] == 3
    assert "routing_strategy" not in settings  # usage-based routing hangs at the limit


def test_the_context_window_is_never_sent_upstream_as_max_tokens() -> None:
    for deployment in litellm_config(load_catalog())["model_list"]:
        assert "max_tokens" not in deployment["litellm_params"]


def test_parameters_are_dropped_metrics_served_and_probes_cached() -> None:
    config = litellm_config(load_catalog())
    assert config["litellm_settings"]["drop_params"] is True
    assert config["litellm_settings"]["callbacks"] == ["prometheus"]
    assert config["general_settings"]["background_health_checks"] is True
    assert config["general_settings"]["health_check_interval"] == 300
    assert config["general_settings"]["store_model_in_db"] is False
    for deployment in config["model_list"]:
        assert deployment["model_info"]["health_check_timeout"] == 10
        assert deployment["model_info"]["health_check_max_tokens"] == 16


def test_secrets_are_named_and_not_contained() -> None:
    config = litellm_config(load_catalog())
    assert config["general_settings"]["master_key"] == "os.environ/LITELLM_MASTER_KEY"
    assert config["general_settings"]["database_url"] == "os.environ/DATABASE_URL"


def test_without_a_database_nothing_of_it_is_set() -> None:
    settings = litellm_config(load_catalog(), database=False)["general_settings"]
    assert not {"database_url", "proxy_batch_write_at"} & set(settings)


def test_a_double_stands_in_for_every_model() -> None:
    for deployment in litellm_config(load_catalog(), api_bases=DOUBLE)["model_list"]:
        assert deployment["litellm_params"]["api_base"].startswith("http://127.0.0.1:9/")


def test_a_double_that_leaves_a_provider_out_is_refused() -> None:
    with pytest.raises(ValueError, match="openai, anthropic, but the catalogue has a provider 'google'"):
        litellm_config(load_catalog(), api_bases={name: DOUBLE[name] for name in ("openai", "anthropic")})


def test_live_requests_go_to_the_providers_whatever_the_environment_says() -> None:
    bases = {
        deployment["litellm_params"]["model"].partition("/")[0]: deployment["litellm_params"]["api_base"]
        for deployment in litellm_config(load_catalog())["model_list"]
    }
    assert bases == {
        "openai": "https://api.openai.com/v1",
        "anthropic": "https://api.anthropic.com",
        "gemini": "https://generativelanguage.googleapis.com/v1beta",
    }


def test_live_requests_go_to_the_base_url_of_the_file() -> None:
    catalog = load_catalog()
    google = Provider(api="gemini", key_env="GEMINI_API_KEY", base_url="https://llm.example.com/google/v1beta/")
    changed = catalog.model_copy(update={"providers": {**catalog.providers, "google": google}})
    bases = {alias: d["litellm_params"]["api_base"] for alias, d in deployments(litellm_config(changed)).items()}
    assert bases["gemini-2.5-pro"] == bases["gemini-2.0-flash"] == "https://llm.example.com/google/v1beta"
    assert bases["gpt-4o"] == "https://api.openai.com/v1"


def test_a_double_stands_in_whatever_the_base_url() -> None:
    catalog = load_catalog()
    elsewhere = {
        name: provider.model_copy(update={"base_url": "https://llm.example.com/v1"})
        for name, provider in catalog.providers.items()
    }
    changed = catalog.model_copy(update={"providers": elsewhere})
    for deployment in litellm_config(changed, api_bases=DOUBLE)["model_list"]:
        assert deployment["litellm_params"]["api_base"].startswith("http://127.0.0.1:9/")


@pytest.mark.parametrize(
    ("price_per_1k", "per_token"),
    [(0.00075, "7.5e-07"), (0.000075, "7.5e-08"), (0.00003, "3e-08"), (0.00006, "6e-08"), (0.0, "0.0")],
)
def test_costs_carry_no_float_dust(price_per_1k: float, per_token: str) -> None:
    """0.00003 / 1000 in binary is 3.0000000000000004e-08."""
    catalog = load_catalog()
    model = catalog.models["gpt-4o"]
    price = model.price_per_1k.model_copy(update={"input": price_per_1k})
    changed = catalog.model_copy(update={"models": {"gpt-4o": model.model_copy(update={"price_per_1k": price})}})
    params = deployments(litellm_config(changed))["gpt-4o"]["litellm_params"]
    assert repr(params["input_cost_per_token"]) == per_token


def test_yaml_reads_back_as_it_was() -> None:
    """PyYAML takes 2e-06, without a dot, for text."""
    config = litellm_config(load_catalog(), api_bases=DOUBLE)
    text = litellm_yaml(config)
    assert yaml.safe_load(text) == config
    assert text.startswith("# Rendered from config/proxy.yaml")


def test_nothing_is_fetched_at_start_and_docs_are_where_the_service_has_them() -> None:
    environment = litellm_environment(load_catalog())
    assert {name for name, value in environment.items() if name.startswith("LITELLM_LOCAL_") and value == "True"} == {
        "LITELLM_LOCAL_MODEL_COST_MAP",
        "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS",
        "LITELLM_LOCAL_AUTOROUTER_PRESETS",
        "LITELLM_LOCAL_BLOG_POSTS",
        "LITELLM_LOCAL_POLICY_TEMPLATES",
    }
    assert environment["DOCS_URL"] == "/docs"
    assert (environment["INITIAL_RETRY_DELAY"], environment["MAX_RETRY_DELAY"]) == ("2", "2")

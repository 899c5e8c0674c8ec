"""Double or live: decided by the keys there are, never by accident."""

from __future__ import annotations

import pytest

from proxy.catalog import Provider, load_catalog
from proxy.simulator import api_bases
from proxy.stack.mode import (
    RECORDED,
    Asked,
    ModeError,
    asked_for_cassettes,
    check_master_key,
    choose_mode,
    without_providers,
)

CATALOG = load_catalog()
KEYS = {"OPENAI_API_KEY": "o-key", "ANTHROPIC_API_KEY": "a-key", "GEMINI_API_KEY": "g-key"}


def test_no_key_at_all_is_the_double() -> None:
    choice = choose_mode("auto", CATALOG, {"OPENAI_API_KEY": "  "})
    assert choice.mode == "double"
    assert set(choice.keys) == set(KEYS)


def test_all_keys_are_live() -> None:
    choice = choose_mode("auto", CATALOG, KEYS)
    assert (choice.mode, choice.keys) == ("live", KEYS)


def test_one_key_of_three_is_neither() -> None:
    with pytest.raises(ModeError) as failure:
        choose_mode("auto", CATALOG, {"OPENAI_API_KEY": "o-key"})
    message = str(failure.value)
    assert "ANTHROPIC_API_KEY is not set" in message
    assert "GEMINI_API_KEY is not set" in message
    assert "--without anthropic --without google" in message
    assert "o-key" not in message


def test_the_double_never_gets_a_real_key() -> None:
    choice = choose_mode("double", CATALOG, KEYS)
    assert choice.mode == "double"
    assert not set(choice.keys.values()) & set(KEYS.values())
    assert "o-key" not in repr(choose_mode("live", CATALOG, KEYS))


def test_without_a_provider_its_models_leave_the_chains_too() -> None:
    catalog = without_providers(CATALOG, ["anthropic"])
    assert set(catalog.providers) == {"openai", "google"}
    assert not [alias for alias in catalog.models if alias.startswith("claude")]
    assert list(catalog.fallbacks["gpt-5-mini"]) == ["gpt-4o", "gemini-2.5-pro"]
    assert "claude-opus-4.1" not in catalog.fallbacks
    assert choose_mode("auto", catalog, {"OPENAI_API_KEY": "o", "GEMINI_API_KEY": "g"}).mode == "live"


@pytest.mark.parametrize(("names", "why"), [(["azure"], "no such provider"), (list(CATALOG.providers), "no model")])
def test_without_has_its_limits(names: list[str], why: str) -> None:
    with pytest.raises(ModeError, match=why):
        without_providers(CATALOG, names)


def test_a_weak_master_key_is_for_the_double_only() -> None:
    weak = "sk-" + "1234"
    check_master_key("double", weak, ".env")
    with pytest.raises(ModeError, match="refused") as failure:
        check_master_key("live", weak, ".env")
    assert weak not in str(failure.value)


def test_recording_is_live_and_replaying_is_the_double_where_the_mode_is_left_open() -> None:
    assert asked_for_cassettes("auto", CATALOG, record="a", replay=None) == "live"
    assert asked_for_cassettes("live", CATALOG, record="a", replay=None) == "live"
    assert asked_for_cassettes("auto", CATALOG, record=None, replay="a") == "double"
    asked: Asked
    for asked in ("auto", "double", "live"):
        assert asked_for_cassettes(asked, CATALOG, record=None, replay=None) == asked


def test_recording_refuses_a_provider_that_the_recorder_does_not_know() -> None:
    other = Provider(api="openai", key_env="MISTRAL_API_KEY", base_url="https://api.mistral.ai/v1")
    catalog = CATALOG.model_copy(update={"providers": {**CATALOG.providers, "mistral": other}})
    with pytest.raises(ModeError, match=r"'mistral' besides\. Take it out with --without mistral"):
        asked_for_cassettes("live", catalog, record="a", replay=None)
    assert tuple(api_bases("")) == RECORDED

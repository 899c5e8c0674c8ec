"""Double or live: decided by the keys there are, never by accident."""

from __future__ import annotations

import pytest

from proxy.catalog import load_catalog
from proxy.stack.mode import ModeError, check_master_key, choose_mode, without_providers

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

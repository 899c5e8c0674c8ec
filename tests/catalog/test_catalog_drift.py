"""What has changed at the providers, by the map of the installed LiteLLM, on a fixed day."""

from __future__ import annotations

from datetime import date

import pytest

from proxy.catalog import Catalog, load_catalog
from proxy.catalog.drift import drift
from proxy.catalog.prices import bundled_map

TODAY = date(2026, 11, 24)


def found(today: date = TODAY, catalog: Catalog | None = None) -> dict[tuple[str, str], str]:
    return {(item.kind, item.alias): item.message for item in drift(catalog or load_catalog(), today)}


def with_model(alias: str, **changes: object) -> Catalog:
    catalog = load_catalog()
    model = catalog.models[alias].model_copy(update=changes)
    return catalog.model_copy(update={"models": {**catalog.models, alias: model}})


FACTS = {
    ("retired", "claude-opus-4.1"): "claude-3-opus-20240229 was retired on 2026-01-05",
    ("retired", "claude-sonnet-4"): "claude-3-5-sonnet-20241022 was retired on 2025-10-28",
    ("retired", "gemini-2.5-pro"): "gemini-1.5-pro was retired on 2025-09-29",
    ("retired", "gemini-2.0-flash"): "gemini-1.5-flash was retired on 2025-09-29",
    ("retiring", "gpt-5-mini"): "gpt-5-mini-2025-08-07 retires on 2026-12-11, 17 days from today",
    ("price", "gpt-5-mini"): "is 0.00025 / 0.002 per 1K in / out, not 0.00075 / 0.003",
    ("price", "gpt-4o"): "is 0.0025 / 0.01 per 1K in / out, not 0.002 / 0.006",
    ("price", "claude-opus-4-5-20251101"): "is 0.005 / 0.025 per 1K in / out, not 0.015 / 0.075",
    ("window", "gpt-5-mini"): "272,000 tokens, not 400,000: the 400,000 are 272,000 in + 128,000 out",
}


@pytest.mark.parametrize("fact", FACTS, ids=" ".join)
def test_known_fact_shows(fact: tuple[str, str]) -> None:
    assert FACTS[fact] in found()[fact]


def test_nothing_else_shows() -> None:
    assert set(found()) == set(FACTS)


def test_a_retirement_is_announced_90_days_ahead_and_stated_from_its_day() -> None:
    def about_gpt_5_mini(today: date) -> set[str]:
        return {kind for kind, alias in found(today) if alias == "gpt-5-mini"} - {"price", "window"}

    assert about_gpt_5_mini(date(2026, 9, 11)) == set()
    assert about_gpt_5_mini(date(2026, 9, 12)) == {"retiring"}
    assert about_gpt_5_mini(date(2026, 12, 10)) == {"retiring"}
    assert about_gpt_5_mini(date(2026, 12, 11)) == {"retired"}


def test_a_model_that_litellm_does_not_list_is_warned_about() -> None:
    messages = found(catalog=with_model("gpt-4o", upstream="gpt-4o-2099-01-01"))
    assert "gpt-4o-2099-01-01 is not in LiteLLM's map of openai models" in messages[("unlisted", "gpt-4o")]
    assert ("price", "gpt-4o") not in messages


def test_an_entry_of_another_provider_is_not_taken_for_the_model() -> None:
    """gemini-2.5-pro without a prefix is Vertex AI's in the map; gpt-4o is OpenAI's, not Gemini's."""
    assert ("unlisted", "gemini-2.5-pro") not in found(catalog=with_model("gemini-2.5-pro", upstream="gemini-2.5-pro"))
    assert ("unlisted", "gemini-2.5-pro") in found(catalog=with_model("gemini-2.5-pro", upstream="gpt-4o"))


def test_a_chain_that_asks_one_upstream_twice_is_warned_about() -> None:
    messages = found(catalog=with_model("gpt-4o-mini", upstream="gpt-4o"))
    assert messages[("repeat", "gpt-4o")].startswith("gpt-4o-mini is the same upstream as gpt-4o")


def test_without_a_map_only_the_known_retirements_show() -> None:
    kinds = {(item.kind, item.alias) for item in drift(load_catalog(), TODAY, prices={})}
    assert {fact for fact in FACTS if fact[0] == "retired"} <= kinds
    assert not {kind for kind, _ in kinds} & {"price", "window"}


def test_the_map_is_read_without_importing_litellm() -> None:
    assert bundled_map()["gpt-5-mini-2025-08-07"]["deprecation_date"] == "2026-12-11"
    assert "sample_spec" not in bundled_map()

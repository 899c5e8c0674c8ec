"""What is remembered: the same as what is computed, for each caller his own, and anew when its sources change."""

from __future__ import annotations

import copy
import gc
from typing import Any

import litellm
import pytest
from litellm import main, utils
from litellm.proxy._types import LiteLLM_UserTable, UserAPIKeyAuth
from litellm.proxy.auth.route_checks import RouteChecks
from litellm.proxy.common_utils.cache_pydantic_utils import CacheCodec
from litellm.proxy.config_resolvers.settings_store import SettingsStore
from litellm.router import Router

from proxy.gateway import collecting
from proxy.gateway.speed import auth, prices, runtime
from proxy.gateway.speed.copies import copies_of
from tests.gateway.speed.conftest import Keep

PRICES = {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}
NAMES = ("gpt-4o", "openai/gpt-4o", "one", "two")


@pytest.fixture
def price_map(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    own = {name: copy.deepcopy(entry) for name, entry in litellm.model_cost.items() if name in NAMES}
    monkeypatch.setattr(litellm, "model_cost", {**litellm.model_cost, **own})
    return litellm.model_cost


def register(deployment: str, **changed: float) -> None:
    kwargs = {**PRICES, **changed, "metadata": {"model_info": {"id": deployment}}}
    main._register_custom_pricing_for_request("gpt-4o", "openai", kwargs, {"mode": "chat"})


def entries(price_map: dict[str, Any]) -> dict[str, Any]:
    return {name: copy.deepcopy(price_map.get(name)) for name in NAMES}


@pytest.mark.usefixtures("price_map")
def test_prices_are_registered_until_that_changes_nothing(keep: Keep) -> None:
    keep(main, "_register_custom_pricing_for_request")
    prices.register_prices_once()
    for _ in range(3):
        register("one")
        register("two", input_cost_per_token=5e-06)
    before = utils.get_model_cost_mutation_generation()
    register("one")
    register("two", input_cost_per_token=5e-06)
    assert utils.get_model_cost_mutation_generation() == before


def test_registered_prices_are_those_of_the_request(keep: Keep, price_map: dict[str, Any]) -> None:
    for _ in range(3):
        register("one")
        register("two", input_cost_per_token=5e-06)
    wanted = entries(price_map)
    keep(main, "_register_custom_pricing_for_request")
    prices.register_prices_once()
    for _ in range(3):
        register("one", input_cost_per_token=9e-06)
        register("one")
        register("two", input_cost_per_token=5e-06)
    assert entries(price_map) == wanted
    for _ in range(3):
        register("one", input_cost_per_token=9e-06)
        assert price_map["one"]["input_cost_per_token"] == 9e-06
    price_map["one"]["input_cost_per_token"] = 1.0
    utils._invalidate_model_cost_lowercase_map()  # as all do that change the map
    register("one", input_cost_per_token=9e-06)
    assert price_map["one"]["input_cost_per_token"] == 9e-06


@pytest.fixture
def router() -> Router:
    settings = {"model": "openai/gpt-4o", "api_key": "sk-none", **PRICES}
    return Router([{"model_name": "four", "litellm_params": settings, "model_info": {"id": "one", "rpm": 7}}])


@pytest.mark.usefixtures("price_map")
def test_model_infos(keep: Keep, router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    def infos() -> list[Any]:
        deployment = router.model_list[0]
        return [
            router.get_router_model_info(deployment, "four"),
            router.get_router_model_info(router.get_deployment("one"), "four"),
            router.get_deployment_model_info("one", "gpt-4o"),
            main.get_model_info_helper(model="gpt-4o", custom_llm_provider="openai"),
            main.get_model_info_helper(model="gpt-4o"),
        ]

    wanted = infos()
    keep(Router, "get_router_model_info", "get_deployment_model_info")
    keep(main, "get_model_info_helper")
    find, found = main.get_model_info_helper, []
    monkeypatch.setattr(main, "get_model_info_helper", lambda **named: found.append(named) or find(**named))
    prices.remember_model_infos()
    for _ in range(2):
        assert infos() == wanted
        for info in infos():
            info["max_input_tokens"] = 1  # a caller's own
    assert [one["custom_llm_provider"] for one in found] == ["openai", None, None, None, None]
    for _ in range(2):
        with pytest.raises(Exception, match="isn't mapped"):
            main.get_model_info_helper(model="unheard of", custom_llm_provider="openai")
    litellm.register_model({"one": {"input_cost_per_token": 5e-06, "litellm_provider": "openai"}})
    litellm.register_model({"openai/gpt-4o": {"input_cost_per_token": 6e-06, "litellm_provider": "openai"}})
    assert infos()[2]["input_cost_per_token"] == 5e-06
    assert infos()[3]["input_cost_per_token"] == 6e-06


def test_deployments(keep: Keep, router: Router) -> None:
    wanted = router.get_deployment("one")
    assert wanted is not None
    keep(Router, "get_deployment")
    prices.remember_deployments()
    for _ in range(2):
        found = router.get_deployment("one")
        assert found == wanted
        assert found is not None
        found.litellm_params.api_key = "another's"
        found.model_info["rpm"] = 8
    router.model_list[0]["litellm_params"]["api_key"] = "sk-new"
    assert router.get_deployment("one").litellm_params.api_key == "sk-new"  # type: ignore[union-attr]
    assert router.get_deployment("none") is None


def test_keys(keep: Keep) -> None:
    kept = {"token": "abc", "models": ["gpt-4o"], "metadata": {"tags": ["x"]}, "spend": 1.5, "key_name": "sk-...x"}
    wanted = CacheCodec.deserialize(dict(kept), UserAPIKeyAuth)
    keep(CacheCodec, "deserialize")
    auth.remember_keys()
    for _ in range(2):
        found = CacheCodec.deserialize(kept, UserAPIKeyAuth)
        assert found == wanted
        assert found is not None
        found.models.append("another's")
        found.metadata["tags"].append("another's")
        found.spend = 7
    kept["spend"] = 2.5  # in place
    assert CacheCodec.deserialize(kept, UserAPIKeyAuth).spend == 2.5  # type: ignore[union-attr]
    user = CacheCodec.deserialize({"user_id": "me"}, LiteLLM_UserTable)
    assert type(user) is LiteLLM_UserTable
    assert CacheCodec.deserialize(user, LiteLLM_UserTable) is user
    assert CacheCodec.deserialize({"user_id": {}}, LiteLLM_UserTable) is None


def test_copies_share_nothing_that_changes() -> None:
    first = {"list": [{"a": [1]}, 2], "set": {3}, "model": UserAPIKeyAuth(models=["x"], metadata={"y": [4]})}
    make = copies_of(first)
    second = make()
    assert second == first
    second["list"][0]["a"].append(5)
    second["list"].append(6)
    second["set"].add(7)
    second["model"].metadata["y"].append(8)
    assert make() == first != second


def test_routes(keep: Keep) -> None:
    routes = ["/v1/threads/a/b", "/v1/threads/a", "/threads/x", "/v1/files/1/content", None, "/threads/"]
    patterns = ["/v1/threads/{id}", "/threads/{thread_id}", "/v1/files/{file_id}/content", "/models/{name:path}"]
    wanted = [RouteChecks._route_matches_pattern(route, pattern) for route in routes for pattern in patterns]
    keep(RouteChecks, "_route_matches_pattern")
    auth.remember_routes()
    for _ in range(2):
        found = [RouteChecks._route_matches_pattern(route, pattern) for route in routes for pattern in patterns]
        assert found == wanted
    assert RouteChecks._route_matches_pattern.cache_info().hits == len(routes) * len(patterns)  # type: ignore[attr-defined]


def test_settings(keep: Keep) -> None:
    keep(SettingsStore, "__getitem__", "get")
    runtime.remember_settings()
    store = SettingsStore("general_settings")
    store.load_yaml({"master_key": "sk", "nothing": None})
    for _ in range(2):
        assert store["master_key"] == "sk"
        assert store.get("nothing", 1) is None
        assert store.get("none", 1) == 1
        with pytest.raises(KeyError):
            store["none"]
    store["none"] = 2
    assert store["none"] == 2
    del store["none"]
    assert store.get("none") is None
    store.load_yaml({"master_key": "new"})
    assert store.get("master_key") == "new"
    store.apply_db_row("general_settings", {"of_db": 3})
    assert store.get("of_db") == 3


def test_garbage_is_collected_less_often() -> None:
    before = gc.get_threshold()
    try:
        runtime.collect_less_often()
        assert gc.get_threshold()[0] > before[0]
        assert gc.isenabled()
    finally:
        gc.set_threshold(*before)


def test_what_stays_is_put_into_huge_pages(keep: Keep) -> None:
    keep(collecting, "huge_pages")
    assert collecting.huge_pages is False
    runtime.hold_memory_in_huge_pages()
    assert collecting.huge_pages is True

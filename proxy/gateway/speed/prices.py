"""Prices and model data: computed once instead of for every request."""

from __future__ import annotations

import copy
from typing import Any

from proxy.gateway.speed.copies import copies_of

_BY_THE_MAP = ("openai", "anthropic")
"""Providers whose models are known from the price map alone; that of others may be asked of themselves."""
_MOST = 1000
"""Entries of a memo: beyond it begins anew. The models of a catalogue need a few each."""


def register_prices_once() -> None:
    """A deployment with prices of its own has them registered anew by each of its requests, which each time throws all
    that LiteLLM remembers of models away, and an index of 3000 models that it then builds again. Here this is done
    until it changes nothing any more."""
    from litellm import main, utils

    register, generation = main._register_custom_pricing_for_request, utils.get_model_cost_mutation_generation
    settled: dict[Any, int] = {}  # what was registered -> the generation of the price map that has it

    def register_custom_pricing_for_request(
        model: str, custom_llm_provider: str, kwargs: dict[str, Any], model_info: dict[str, Any] | None
    ) -> None:
        entry = main._build_custom_pricing_entry(custom_llm_provider, kwargs, model_info)
        deployment = main._get_router_deployment_id(kwargs)
        try:
            key = (model, custom_llm_provider, deployment, frozenset(entry.items()))
        except TypeError:  # prices by tier: a list
            register(model, custom_llm_provider, kwargs, model_info)
            return
        before = generation()
        if settled.get(key) == before:
            return
        names = names_of(model, custom_llm_provider, deployment)
        had = [copy.copy(main.litellm.model_cost.get(name)) for name in names]
        register(model, custom_llm_provider, kwargs, model_info)
        if had != [main.litellm.model_cost.get(name) for name in names]:
            return
        if len(settled) >= _MOST:
            settled.clear()
        after = generation()
        for other in [other for other, at in settled.items() if at == before]:
            settled[other] = after
        settled[key] = after

    def names_of(model: str, provider: str, deployment: str | None) -> set[str]:
        """All entries of the price map that a registration may change."""
        names = {model, f"{provider}/{model}"}
        if deployment is not None:
            names.add(deployment)
        for name in tuple(names):
            known = utils._get_builtin_model_info_for_registration(model=name, custom_llm_provider=provider)
            if known is not None:
                names.add(str(known["key"]))
        return names

    main._register_custom_pricing_for_request = register_custom_pricing_for_request


def remember_model_infos() -> None:
    """What is known of a deployment's model is put together from the price map, with deep copies, several times in
    each request: for its context window, its limits, its prices and its savings, and for the way to ask it. Here it is
    remembered for as long as the price map is the same; each caller gets a dictionary of its own."""
    from litellm import main
    from litellm.router import Router
    from litellm.utils import get_model_cost_mutation_generation as generation

    by_deployment, by_id = Router.get_router_model_info, Router.get_deployment_model_info
    by_name = main.get_model_info_helper
    known: dict[Any, Any] = {}
    at = generation()

    def remembered(key: Any, find: Any) -> Any:
        nonlocal at
        if at != generation() or len(known) >= _MOST:
            known.clear()
            at = generation()
        if key not in known:
            known[key] = find()
        return copy.copy(known[key])

    def get_router_model_info(self: Any, deployment: Any, received_model_name: str, id: str | None = None) -> Any:
        def find() -> Any:
            return by_deployment(self, deployment, received_model_name, id)

        own = (deployment.get("model_info") or {}).get("id") if deployment is not None else None
        if id is not None or own is None or self.get_discovered_model_info(own):
            return find()
        return remembered(("router", self, type(deployment), own, received_model_name), find)

    def get_deployment_model_info(self: Any, model_id: str, model_name: str) -> Any:
        def find() -> Any:
            return by_id(self, model_id, model_name)

        if self.get_discovered_model_info(model_id):
            return find()
        return remembered(("deployment", self, model_id, model_name), find)

    def get_model_info_helper(model: str, custom_llm_provider: str | None = None, **named: Any) -> Any:
        def find() -> Any:
            return by_name(model=model, custom_llm_provider=custom_llm_provider, **named)

        if named or custom_llm_provider not in _BY_THE_MAP:
            return find()
        return remembered(("name", model, custom_llm_provider), find)

    main.get_model_info_helper = get_model_info_helper
    Router.get_router_model_info = get_router_model_info
    Router.get_deployment_model_info = get_deployment_model_info


def remember_deployments() -> None:
    """The router makes an object of a deployment's settings, validated, five times in a request. Here this is done once
    for the same settings; each caller gets an object of its own."""
    from litellm.router import Router

    find = Router.get_deployment
    known: dict[tuple[int, str], tuple[Any, Any, Any]] = {}

    def get_deployment(self: Any, model_id: str) -> Any:
        at = self.model_id_to_deployment_index_map.get(model_id)
        settings = None if at is None else self.model_list[at]
        if type(settings) is not dict:
            return find(self, model_id)
        found = known.get((id(self), model_id))
        if found is None or found[0] is not settings or found[1] != settings:
            if len(known) >= _MOST:
                known.clear()
            found = known[id(self), model_id] = (
                settings,
                copies_of(settings)(),
                copies_of(find(self, model_id)),
            )
        return found[2]()

    Router.get_deployment = get_deployment

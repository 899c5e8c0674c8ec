"""What LiteLLM does while Postgres is away, so that requests go on and no spend is lost. Used by app.py.

Left to itself LiteLLM forgets a virtual key after a minute and answers 503 when it cannot look it up again, and what
keys have spent is dropped after three attempts to write it. Here a key, user or team that was known when Postgres went
is known until it is back, with all its limits, and spend waits in memory. New keys, and all that manages keys, get 503.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections import OrderedDict
from typing import Any

from proxy.gateway.made_for import fits
from proxy.gateway.stores import Store, answers

log = logging.getLogger("proxy.gateway")

JUST_EXPIRED_SECONDS = 60.0
"""An entry that expired so shortly before Postgres was found to be away is taken back."""

MOST_JUST_EXPIRED = 10_000


def go_on_without(postgres: Store) -> None:
    """Both of these, in the LiteLLM they were made for."""
    if fits("without Postgres it forgets keys after a minute and drops spend (proxy/gateway/away.py)"):
        keep_known_keys(postgres)
        keep_unwritten_spend()


def keep_known_keys(postgres: Store) -> None:
    """Has what LiteLLM remembers of keys, users and teams not expire while Postgres is away."""
    from litellm.proxy import proxy_server
    from litellm.proxy._types import UserAPIKeyAuth
    from litellm.proxy.auth import auth_checks, user_api_key_auth
    from litellm.proxy.auth.resolvers import store as resolver
    from litellm.proxy.db.exception_handler import PrismaDBExceptionHandler

    known = proxy_server.user_api_key_cache
    kept = [Kept(cache, postgres) for cache in (known.in_memory_cache, known.key_object_cache.in_memory_cache)]
    fetch = auth_checks.fetch_key_object_from_db_with_reconnect

    async def fetch_key_object(*arguments: Any, **named: Any) -> Any:
        try:
            return await fetch(*arguments, **named)
        except Exception as error:
            if named.get("check_db_only") or not PrismaDBExceptionHandler.is_database_service_unavailable_error(error):
                raise
            postgres.lost(error)
            for one in kept:
                one.take_back()
            key = await known.async_get_cache(key=named["hashed_token"], model_type=UserAPIKeyAuth)
            if key is None:
                raise
            return key

    def asked_again(look_up: Any) -> Any:
        """LiteLLM takes a user or a team that cannot be looked up for one that is not there."""

        async def found_or_known(*arguments: Any, **named: Any) -> Any:
            try:
                return await look_up(*arguments, **named)
            except Exception:
                if named.get("check_db_only") or await answers(postgres):
                    raise
                for one in kept:
                    one.take_back()
                return await look_up(*arguments, **named)

        return found_or_known

    for name in ("get_team_object", "get_user_object"):
        known_or_found = asked_again(getattr(auth_checks, name))
        for module in (auth_checks, user_api_key_auth):
            setattr(module, name, known_or_found)
    auth_checks.fetch_key_object_from_db_with_reconnect = fetch_key_object
    resolver.fetch_key_object_from_db_with_reconnect = fetch_key_object


class Kept:
    """One of LiteLLM's in-memory caches, whose entries do not expire while Postgres is away."""

    def __init__(self, cache: Any, postgres: Store) -> None:
        self._cache = cache
        self._postgres = postgres
        self._expired: OrderedDict[str, tuple[float, Any]] = OrderedDict()
        self._is_expired, self._remove = cache._is_key_expired, cache._remove_key
        self._delete, self._evict = cache.delete_cache, cache.evict_cache
        cache._is_key_expired = self.is_expired
        cache._remove_key = self.remove
        cache.delete_cache = self.delete
        cache.evict_cache = self.evict

    def is_expired(self, key: str) -> bool:
        return not self._postgres.away and bool(self._is_expired(key))

    def evict(self) -> None:
        if not self._postgres.away or len(self._cache.cache_dict) >= self._cache.max_size_in_memory:
            self._evict()

    def remove(self, key: str) -> None:
        if key in self._cache.cache_dict and self._is_expired(key):
            self._expired[key] = (time.monotonic(), self._cache.cache_dict[key])
            self._expired.move_to_end(key)
            self._forget_old()
        self._remove(key)

    def delete(self, key: str) -> None:
        self._delete(key)
        self._expired.pop(key, None)

    def take_back(self) -> None:
        """What has just expired, where nothing newer has come."""
        self._forget_old()
        now = time.time()
        for key, (_, value) in self._expired.items():
            if key not in self._cache.cache_dict:
                self._cache.cache_dict[key], self._cache.ttl_dict[key] = value, now
                heapq.heappush(self._cache.expiration_heap, (now, key))
        self._expired.clear()

    def _forget_old(self) -> None:
        oldest = time.monotonic() - JUST_EXPIRED_SECONDS
        while self._expired:
            key = next(iter(self._expired))
            if self._expired[key][0] > oldest and len(self._expired) <= MOST_JUST_EXPIRED:
                return
            del self._expired[key]


def keep_unwritten_spend() -> None:
    """Has LiteLLM try again later to write what keys, users and teams have spent, as it does where Valkey keeps it.

    By its own rule: what may have been written already (the connection broke when all was sent) is not sent again.
    """
    from litellm.proxy._types import Litellm_EntityType as Entity
    from litellm.proxy.db import db_spend_update_writer as writer

    entities = {
        "user_list_transactions": Entity.USER,
        "end_user_list_transactions": Entity.END_USER,
        "key_list_transactions": Entity.KEY,
        "team_list_transactions": Entity.TEAM,
        "team_member_list_transactions": Entity.TEAM_MEMBER,
        "org_list_transactions": Entity.ORGANIZATION,
        "org_member_list_transactions": Entity.ORGANIZATION_MEMBER,
        "project_list_transactions": Entity.PROJECT,
        "tag_list_transactions": Entity.TAG,
        "model_access_group_list_transactions": Entity.MODEL_ACCESS_GROUP,
        "agent_list_transactions": Entity.AGENT,
    }
    commit = writer.DBSpendUpdateWriter._commit_spend_updates_to_db

    async def commit_spend(self: Any, **named: Any) -> None:
        if named.get("on_table_committed") is not None:  # from Valkey, where LiteLLM puts back what is left
            await commit(self, **named)
            return
        committed: list[Any] = []
        transactions = named["db_spend_update_transactions"]
        try:
            await commit(self, **{**named, "on_table_committed": committed.append})
        except Exception as error:
            left = writer._spend_tables_left_to_send(transactions, committed, error) or {}
            count = 0
            for table, amounts in left.items():
                for entity_id, cost in (amounts or {}).items():
                    count += 1
                    await self.spend_update_queue.add_update(
                        {"entity_type": entities[table], "entity_id": entity_id, "response_cost": cost}
                    )
            log.warning("spend of %d keys, users and teams is not written yet; it is tried again", count)

    writer.DBSpendUpdateWriter._commit_spend_updates_to_db = commit_spend

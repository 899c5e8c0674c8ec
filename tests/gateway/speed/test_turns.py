"""Requests are logged together, but for those of whom has a limit or a budget; and at the end, all are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import litellm
import pytest
from litellm.proxy._types import UserAPIKeyAuth
from litellm.types.proxy.carried_budget_state import TeamBudgetSnapshot

from proxy.gateway.speed import callbacks
from tests.conftest import Stack, until
from tests.gateway.processes import Asked, beside, hashed, running, spend_of

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
LONG = 600
PROGRAM = f"""
import sys
from proxy.gateway.__main__ import main
from proxy.gateway.speed import callbacks

callbacks.TURN_SECONDS = callbacks.MOST = {LONG}
sys.exit(main())
"""


class Gateway(Asked):
    """One that logs in turns of ten minutes."""

    def ask(self, key: str, **more: Any) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return self._client.post("/v1/chat/completions", json={**BODY, **more}, headers=headers).status_code

    def usage(self) -> None:
        self._client.get("/usage", headers=self._master).raise_for_status()

    def has_logged(self, key: str) -> bool:
        """Whether the metrics, which are counted when a request is logged, know of this key's."""
        found = self._client.get("/metrics", headers=self._master).raise_for_status().text
        name = hashed(key)
        return any(line.startswith("litellm_spend_metric_total{") and name in line for line in found.splitlines())


@contextmanager
def in_turns(stack: Stack, folder: Path) -> Iterator[Gateway]:
    with (
        running(beside(stack), folder, ["-c", PROGRAM]) as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        yield Gateway(client, stack.master_key)


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with in_turns(stack, tmp_path_factory.mktemp("turns")) as one:
        yield one


def of_a_user(one: Gateway, **settings: Any) -> str:
    return one.key(user_id=one.admin("/user/new", auto_create_key=False, **settings)["user_id"])


def of_a_team(one: Gateway, **settings: Any) -> str:
    return one.key(team_id=one.admin("/team/new", **settings)["team_id"])


def of_a_member(one: Gateway) -> str:
    user = one.admin("/user/new", auto_create_key=False)["user_id"]
    team = one.admin("/team/new", members_with_roles=[{"role": "user", "user_id": user}])["team_id"]
    return one.key(team_id=team, user_id=user)


LIMITED: dict[str, Callable[[Gateway], str]] = {
    "requests at once": lambda one: one.key(max_parallel_requests=1),
    "tokens": lambda one: one.key(tpm_limit=1_000_000),
    "tokens of a model": lambda one: one.key(model_tpm_limit={"gpt-4o-mini": 1_000_000}),
    "a budget": lambda one: one.key(max_budget=1),
    "a user's budget": lambda one: of_a_user(one, max_budget=1),
    "a user's tokens": lambda one: of_a_user(one, tpm_limit=1_000_000),
    "a team's budget": lambda one: of_a_team(one, max_budget=1),
    "a team's tokens": lambda one: of_a_team(one, tpm_limit=1_000_000),
    "a member of a team": of_a_member,
}
UNLIMITED: dict[str, Callable[[Gateway], str]] = {
    "a key": lambda one: one.key(),
    "requests a minute": lambda one: one.key(rpm_limit=1000),
    "requests a minute of a model": lambda one: one.key(model_rpm_limit={"gpt-4o-mini": 1000}),
    "a user": lambda one: of_a_user(one),
    "a team": lambda one: of_a_team(one),
}


@pytest.mark.parametrize("what", LIMITED)
def test_who_has_limits_is_logged_at_once(gateway: Gateway, what: str) -> None:
    key = LIMITED[what](gateway)
    assert gateway.ask(key) == 200
    until("it is logged", lambda: gateway.has_logged(key))


@pytest.mark.parametrize("what", UNLIMITED)
def test_others_are_logged_in_turns(gateway: Gateway, what: str) -> None:
    key, limited = UNLIMITED[what](gateway), gateway.key(tpm_limit=1_000_000)
    assert [gateway.ask(one) for one in (key, limited)] == [200, 200]
    until("a later one is logged", lambda: gateway.has_logged(limited))
    assert not gateway.has_logged(key)
    gateway.usage()  # long before the turn is over, ten minutes; it waits for two seconds at most
    until("it is logged", lambda: gateway.has_logged(key))


def test_what_has_a_tag_is_logged_at_once(gateway: Gateway) -> None:
    key = gateway.key()
    assert gateway.ask(key, metadata={"tags": ["of a test"]}) == 200
    until("it is logged", lambda: gateway.has_logged(key))


OF_A_TEAM = {"user_api_key_team_table_max_budget": None, "user_api_key_team_budget_reset_at": None}
SET_ELSEWHERE: list[dict[str, Any]] = [
    {"model_max_budget": {"gpt-4o": {"budget_limit": 1, "time_period": "1d"}}},
    {"organization_max_budget": 1},
    {"end_user_max_budget": 1},
    {"project_id": "of-a-test"},
    {"team_metadata": {"model_tpm_limit": {"gpt-4o": 1}}},
    {"team_budget_snapshot": TeamBudgetSnapshot.model_validate({**OF_A_TEAM, "user_api_key_team_table_max_budget": 1})},
]


def call_by(**key: Any) -> dict[str, Any]:
    return {"litellm_params": {"metadata": {"user_api_key_auth": UserAPIKeyAuth(api_key="sk-1", **key)}}}


@pytest.mark.parametrize("limits", SET_ELSEWHERE, ids=lambda limits: next(iter(limits)))
def test_limits_that_are_set_elsewhere(limits: dict[str, Any]) -> None:
    assert callbacks.is_unlimited(call_by(team_budget_snapshot=TeamBudgetSnapshot.model_validate(OF_A_TEAM)))
    assert not callbacks.is_unlimited(call_by(**limits))


def test_with_a_budget_for_all_everyone_is_logged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "max_budget", 10.0)
    assert not callbacks.is_unlimited(call_by())


def test_what_is_not_known_to_be_of_a_key_is_logged_at_once() -> None:
    assert not callbacks.is_unlimited({})
    assert not callbacks.is_unlimited({"litellm_params": {"metadata": {}}})
    assert not callbacks.is_unlimited({"litellm_params": {"metadata": {"user_api_key_auth": {"team_id": None}}}})


def test_one_at_a_time_is_enough_for_who_may_not_ask_twice_at_once(gateway: Gateway) -> None:
    key = gateway.key(max_parallel_requests=1)
    assert [gateway.ask(key) for _ in range(5)] == [200] * 5


def test_requests_a_minute_are_counted_all_the_same(gateway: Gateway) -> None:
    key = gateway.key(rpm_limit=2)
    assert [gateway.ask(key, model="claude-sonnet-4") for _ in range(4)] == [200, 200, 429, 429]


def test_those_that_wait_are_logged_at_the_end(stack: Stack, tmp_path: Path) -> None:
    with in_turns(stack, tmp_path) as one:
        key = one.key()
        assert [one.ask(key) for _ in range(3)] == [200] * 3
        assert not one.has_logged(key)
    spend = spend_of(stack, key)
    assert len(spend) == 3
    assert all(one > 0 for one in spend)


def test_a_turn_begins_when_enough_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "TURN_SECONDS", LONG)

    async def turns() -> list[int]:
        turns, gone = callbacks.Turns(), []

        async def one() -> None:
            await turns.next()
            gone.append(1)

        waiting = [asyncio.create_task(one()) for _ in range(callbacks.MOST + 1)]
        await asyncio.wait_for(asyncio.gather(*waiting[: callbacks.MOST]), 10)
        before = len(gone)
        turns.end()
        await asyncio.wait_for(waiting[-1], 10)
        return [before, len(gone)]

    assert asyncio.run(turns()) == [callbacks.MOST, callbacks.MOST + 1]


def test_a_turn_begins_when_its_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "TURN_SECONDS", 0.01)
    turns = callbacks.Turns()

    async def next_one() -> None:
        await asyncio.wait_for(turns.next(), 10)

    asyncio.run(next_one())
    asyncio.run(next_one())  # with another loop


def test_one_that_is_cancelled_takes_nobody_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "TURN_SECONDS", LONG)

    async def cancelled() -> None:
        turns = callbacks.Turns()
        one, other = (asyncio.create_task(turns.next()) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        assert not other.done()
        turns.end()
        await asyncio.wait_for(other, 10)

    asyncio.run(cancelled())

"""Outages on the real LiteLLM: the first requests pay the retries, the next go straight to the fallback, and what is
back is asked again without a request that failed for it. Told by who was asked, how often, never by the time it took.

Each test asks in scopes of its own: a breaker is a scope's, as its providers are.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from proxy.catalog import load_catalog
from tests.conftest import Stack

CATALOG = load_catalog()
FIRST = CATALOG.breaker.failed_requests
ATTEMPTS = CATALOG.limits.retries + 1
PATIENCE = 60.0  # for what is sure to come, on a busy machine
BY_PROVIDER = ["gpt-4o", "claude-opus-4.1", "gemini-2.5-pro"]
CHAIN_LESS = "gpt-4o-mini"


def chat(model: str, stream: bool) -> tuple[str, dict[str, Any]]:
    return "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}


def messages(model: str, stream: bool) -> tuple[str, dict[str, Any]]:
    return "/v1/messages", {**chat(model, stream)[1], "max_tokens": 20}


def responses(model: str, stream: bool) -> tuple[str, dict[str, Any]]:
    return "/v1/responses", {"model": model, "input": "hi", "stream": stream}


def gemini(model: str, stream: bool) -> tuple[str, dict[str, Any]]:
    action = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{model}:{action}", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


DOORS = [chat, messages, responses, gemini]


class Outage:
    """A scope of the double, a client of the gateway in it, and what upstream was asked for that client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.scope = f"outage-{uuid.uuid4().hex}"
        self.headers = {"x-double-scope": self.scope}

    async def begin(self, *models: str, fault: Any = 503, **fields: Any) -> int:
        """Has these models fail; the id of the rule."""
        rule = {"when": {"model": list(models)}, "fault": fault, **fields}
        answer = await self._client.post("/_double/rules", json=rule, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["ids"][0])

    async def end(self, rule: int) -> None:
        answer = await self._client.delete(f"/_double/rules/{rule}", headers=self.headers)
        assert answer.status_code == 200, answer.text

    async def ask(self, model: str, stream: bool = False, door: Any = chat, **fields: Any) -> httpx.Response:
        path, body = door(model, stream)
        return await self._client.post(path, json={**body, **fields}, headers=self.headers)

    async def ask_at_once(self, number: int, model: str, **how: Any) -> list[httpx.Response]:
        return await asyncio.gather(*(self.ask(model, **how) for _ in range(number)))

    async def asked(self) -> Counter[str]:
        """How often each model was asked in this scope, by its alias."""
        answer = await self._client.get("/_double/journal", headers=self.headers)
        return Counter(entry["alias"] for entry in answer.json()["entries"])

    async def open(self) -> set[str]:
        """What /health says is down in this scope."""
        told = (await self._client.get("/health")).json()
        return {one["model"] for one in told["open_breakers"] if one["scope"] == self.scope}

    async def until_asked_again(self, model: str, **how: Any) -> list[httpx.Response]:
        """Asks until the model itself is asked; all the answers."""
        before = (await self.asked())[model]
        answers = []
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while (await self.asked())[model] == before:
            assert asyncio.get_running_loop().time() < deadline, f"{model} is not asked any more"
            answers.append(await self.ask(model, **how))
            await asyncio.sleep(0.2)
        return answers


@asynccontextmanager
async def client_of(url: str, key: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture
def play(stack: Stack) -> Callable[..., None]:
    """Plays scenes at once, each in a scope of its own; fails with all that failed in them."""

    def run(*scenes: Callable[[Outage], Awaitable[None]]) -> None:
        async def all_of_them() -> list[BaseException | None]:
            async with client_of(stack.url, stack.master_key) as client:
                return await asyncio.gather(*(scene(Outage(client)) for scene in scenes), return_exceptions=True)

        failed = [error for error in asyncio.run(all_of_them()) if error is not None]
        if failed:
            pytest.fail("\n".join(f"{type(error).__name__}: {error}" for error in failed))

    return run


def the_whole_of_it(model: str, door: Any, stream: bool, fault: Any = 503) -> Callable[[Outage], Awaitable[None]]:
    async def scene(outage: Outage) -> None:
        what = f"{model} {door.__name__} {'stream' if stream else 'whole'} {fault}"
        following = CATALOG.fallbacks[model][0]
        how = {"door": door, "stream": stream}
        rule = await outage.begin(model, fault=fault)
        # The first requests pay
        answers = await outage.ask_at_once(FIRST, model, **how)
        assert [answer.status_code for answer in answers] == [200] * FIRST, what
        paid = await outage.asked()
        assert paid[model] >= FIRST * ATTEMPTS, what
        assert paid[following] == FIRST, what
        # The next go straight to the fallback
        answers = [await outage.ask(model, **how) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200] * 3, what
        asked = await outage.asked()
        assert asked[model] == paid[model], what
        assert asked[following] == FIRST + 3, what
        assert await outage.open() == {model}, what
        # What is back is asked again, and no request failed for it
        await outage.end(rule)
        answers = await outage.until_asked_again(model, **how)
        assert {answer.status_code for answer in answers} == {200}, what
        assert (await outage.asked())[model] == paid[model] + 1, what
        assert await outage.open() == set(), what

    return scene


@pytest.mark.timeout(300)
@pytest.mark.parametrize("model", BY_PROVIDER)
def test_an_outage_through_every_door(play: Callable[..., None], model: str) -> None:
    play(*(the_whole_of_it(model, door, stream) for door, stream in itertools.product(DOORS, (False, True))))


@pytest.mark.timeout(300)
def test_an_outage_of_every_kind(play: Callable[..., None]) -> None:
    kinds = [500, 502, 504, 529, 408, "drop"]
    play(*(the_whole_of_it(model, chat, False, kind) for model, kind in itertools.product(BY_PROVIDER, kinds)))


@pytest.mark.timeout(300)
def test_each_dead_model_of_a_chain_is_passed_over(play: Callable[..., None]) -> None:
    async def scene(outage: Outage) -> None:
        first, *others, last = ["gpt-5-mini", *CATALOG.fallbacks["gpt-5-mini"]]
        await outage.begin(first, *others)
        await outage.ask_at_once(FIRST, first)
        paid = await outage.asked()
        assert paid == {**dict.fromkeys([first, *others], FIRST * ATTEMPTS), last: FIRST}
        for stream in (False, True):
            answer = await outage.ask(first, stream)
            assert answer.status_code == 200
        assert await outage.asked() == {**paid, last: FIRST + 2}
        # Those that have a chain of their own are passed over there too
        assert (await outage.ask("claude-opus-4.1")).status_code == 200
        assert await outage.asked() == {**paid, last: FIRST + 2, "claude-sonnet-4": 1}

    play(scene)


@pytest.mark.timeout(300)
def test_where_there_is_no_other_model_the_client_is_told_to_come_back(play: Callable[..., None]) -> None:
    async def no_chain(outage: Outage) -> None:
        await outage.begin(CHAIN_LESS)
        answers = await outage.ask_at_once(FIRST, CHAIN_LESS)
        assert {answer.status_code for answer in answers} == {503}
        assert all("retry-after" not in answer.headers for answer in answers)
        paid = await outage.asked()
        for door, stream in itertools.product(DOORS, (False, True)):
            told(await outage.ask(CHAIN_LESS, stream, door))
        assert await outage.asked() == paid

    async def whole_chain(outage: Outage) -> None:
        chain = ["gpt-4o", *CATALOG.fallbacks["gpt-4o"]]
        await outage.begin(*chain)
        await outage.ask_at_once(FIRST, "gpt-4o")
        paid = await outage.asked()
        assert paid == dict.fromkeys(chain, FIRST * ATTEMPTS)
        told(await outage.ask("gpt-4o"))
        assert await outage.asked() == paid

    def told(answer: httpx.Response) -> None:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) == CATALOG.breaker.probe_seconds
        assert "is not asked, for its provider is down" in answer.json()["error"]["message"]

    play(no_chain, whole_chain)


@pytest.mark.timeout(300)
def test_what_passes_within_a_requests_retries_is_waited_out(play: Callable[..., None]) -> None:
    async def as_often_as_there_are_retries(outage: Outage) -> None:
        await outage.begin("gpt-4o", times=CATALOG.limits.retries)
        assert (await outage.ask("gpt-4o")).status_code == 200
        assert await outage.asked() == {"gpt-4o": ATTEMPTS}

    async def for_many_at_once(outage: Outage) -> None:
        await outage.begin("gpt-4o", **{"for": "3s"})
        answers = await outage.ask_at_once(20, "gpt-4o", stream=False)
        assert {answer.status_code for answer in answers} == {200}
        assert set(await outage.asked()) == {"gpt-4o"}
        assert await outage.open() == set()

    play(as_often_as_there_are_retries, for_many_at_once)


@pytest.mark.timeout(300)
def test_a_request_less_is_not_enough_through_any_door(play: Callable[..., None]) -> None:
    """An API that is served by another one inside does not count its failures twice."""

    def one_less(model: str, door: Any, stream: bool) -> Callable[[Outage], Awaitable[None]]:
        async def scene(outage: Outage) -> None:
            await outage.begin(model)
            await outage.ask_at_once(FIRST - 1, model, door=door, stream=stream)
            assert await outage.open() == set(), f"{model} {door.__name__} {'stream' if stream else 'whole'}"
            asked = await outage.asked()
            assert asked[model] == (FIRST - 1) * ATTEMPTS, f"{asked} {model} {door.__name__} {stream}"

        return scene

    play(*(one_less(*which) for which in itertools.product(BY_PROVIDER, DOORS, (False, True))))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", [429, 409, {"kind": "status", "status": 429, "retry_after": 1}])
def test_what_is_no_outage_leaves_the_breaker_closed(play: Callable[..., None], fault: Any) -> None:
    async def scene(outage: Outage) -> None:
        await outage.begin("gpt-4o", fault=fault)
        await outage.ask_at_once(FIRST + 1, "gpt-4o")
        assert await outage.open() == set()
        before = (await outage.asked())["gpt-4o"]
        assert before == (FIRST + 1) * ATTEMPTS
        await outage.ask("gpt-4o", num_retries=0)
        assert (await outage.asked())["gpt-4o"] == before + 1

    play(scene)


@pytest.mark.timeout(300)
def test_requests_that_are_to_blame_themselves_do_not_keep_a_model_away(play: Callable[..., None]) -> None:
    """The probe gets an answer where they got none, at once, and the next request is made as ever."""

    async def scene(outage: Outage) -> None:
        rule = {"when": {"model": "gpt-4o", "text": "poison"}, "fault": 500}
        await outage._client.post("/_double/rules", json=rule, headers=outage.headers)
        poison = [{"role": "user", "content": "poison"}]
        await outage.ask_at_once(FIRST, "gpt-4o", messages=poison)
        before = (await outage.asked())["gpt-4o"]
        answers = await outage.until_asked_again("gpt-4o")
        assert {answer.status_code for answer in answers} == {200}
        assert (await outage.asked())["gpt-4o"] == before + 1

    play(scene)


@pytest.mark.timeout(300)
def test_an_outage_in_one_scope_is_no_other_scopes(play: Callable[..., None]) -> None:
    async def scene(outage: Outage) -> None:
        others = [Outage(outage._client) for _ in range(50)]
        await outage.begin("gpt-4o")
        await outage.ask_at_once(FIRST, "gpt-4o")
        assert await outage.open() == {"gpt-4o"}
        await asyncio.gather(*(other.ask("gpt-4o") for other in others))
        for other in others:
            assert await other.asked() == {"gpt-4o": 1}
            assert await other.open() == set()
        assert await outage.open() == {"gpt-4o"}

    play(scene)


@pytest.mark.timeout(300)
def test_probes_leave_no_trace_in_the_scope(play: Callable[..., None]) -> None:
    """Neither calls in its journal, nor uses of its rules: what a test counts is what its app did."""

    async def scene(outage: Outage) -> None:
        used = FIRST * ATTEMPTS
        await outage.begin("gpt-4o", times=used + 1)
        await outage.ask_at_once(FIRST, "gpt-4o")
        for _ in range(2):  # so many probes, at least
            before = await probes(outage)
            deadline = asyncio.get_running_loop().time() + PATIENCE
            while await probes(outage) == before:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.1)
        assert await outage.asked() == {"gpt-4o": used, "gpt-4o-mini": FIRST}
        script = (await outage._client.get("/_double/script", headers=outage.headers)).json()
        assert [rule["used"] for rule in script["rules"]] == [used]
        assert await outage.open() == {"gpt-4o"}

    async def probes(outage: Outage) -> int:
        answer = await outage._client.get("/_double/journal", headers={"x-double-scope": "probes"})
        return sum(entry["headers"].get("x-double-probe") == outage.scope for entry in answer.json()["entries"])

    play(scene)


@pytest.mark.timeout(300)
def test_a_new_script_is_a_new_provider(play: Callable[..., None]) -> None:
    async def scene(outage: Outage) -> None:
        await outage.begin("gpt-4o")
        await outage.ask_at_once(FIRST, "gpt-4o")
        before = (await outage.asked())["gpt-4o"]
        answer = await outage._client.put("/_double/script", json={"rules": []}, headers=outage.headers)
        assert answer.status_code == 200
        assert (await outage.ask("gpt-4o")).status_code == 200
        assert (await outage.asked())["gpt-4o"] == before + 1

    play(scene)


@pytest.mark.timeout(300)
def test_metrics_and_log_tell_of_it(play: Callable[..., None], stack: Stack) -> None:
    async def scene(outage: Outage) -> None:
        model, labels = "gpt-4o", '{model="gpt-4o",provider="openai"}'
        before = await metrics(outage._client)
        rule = await outage.begin(model)
        await outage.ask_at_once(FIRST, model)
        await outage.ask_at_once(3, model)
        during = await metrics(outage._client)
        assert during[f"litellm_local_breaker_open{labels}"] == before[f"litellm_local_breaker_open{labels}"] + 1
        for name, more in (("opened", 1), ("skipped", 3)):
            full = f"litellm_local_breaker_{name}_total{labels}"
            assert during[full] == before.get(full, 0) + more
        await outage.end(rule)
        await outage.until_asked_again(model)
        after = await metrics(outage._client)
        assert after[f"litellm_local_breaker_open{labels}"] == before[f"litellm_local_breaker_open{labels}"]
        log = (stack.folder / "state" / "logs" / "gateway.log").read_text(encoding="utf-8")
        assert f"breaker: gpt-4o (openai, scope {outage.scope}) is down: {FIRST * ATTEMPTS} attempts in a row" in log
        assert f"breaker: gpt-4o (openai, scope {outage.scope}) is back" in log

    async def metrics(client: httpx.AsyncClient) -> dict[str, float]:
        lines = (await client.get("/metrics")).text.splitlines()
        told = (line.rsplit(" ", 1) for line in lines if line.startswith("litellm_local_breaker"))
        return {name: float(value) for name, value in told}

    play(scene)

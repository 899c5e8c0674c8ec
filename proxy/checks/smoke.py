"""The smoke checks. Each is a function that returns when all is well and raises CheckFailed otherwise.

`costs` says why a check is left out of a live deployment; `per_model` ones run once for each model served.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from proxy.checks.target import CheckFailed, Session, events, expect, expect_status, short

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

FLUSH_SECONDS = 30.0  # LiteLLM writes spend behind the request


@dataclass(frozen=True)
class Check:
    """One named check."""

    name: str
    run: Callable[[Session, str], Awaitable[None]]
    per_model: bool = False
    costs: str = ""
    needs_control: bool = False
    alone: bool = False


CHECKS: list[Check] = []


def check(name: str, **options: Any) -> Callable[[Callable[[Session, str], Awaitable[None]]], Any]:
    def register(run: Callable[[Session, str], Awaitable[None]]) -> Callable[[Session, str], Awaitable[None]]:
        CHECKS.append(Check(name, run, **options))
        return run

    return register


PAID = "a completion costs money"

# -- completions -------------------------------------------------------------------------------------------


def _answered_itself(answer: httpx.Response, model: str) -> None:
    """A fallback would hide a deployment that is broken."""
    fallbacks, group = (answer.headers.get(f"x-litellm-{name}") for name in ("attempted-fallbacks", "model-group"))
    expect(fallbacks is not None and group is not None, "the answer does not say which model it is from")
    expect(group == model and fallbacks == "0", f"{group} answered instead of {model}: a fallback hides a failure")


@check("completion", per_model=True, costs=PAID)
async def completion(session: Session, model: str) -> None:
    answer = await session.chat(model)
    _answered_itself(answer, model)
    body = answer.json()
    choice = body["choices"][0]
    expect(choice["message"]["content"], f"no text in the answer: {short(answer.text)}")
    expect(choice["finish_reason"] == "stop", f"finish_reason {choice['finish_reason']}")
    expect(body["usage"]["completion_tokens"] > 0, f"no usage: {short(answer.text)}")


@check("streaming", per_model=True, costs=PAID)
async def streaming(session: Session, model: str) -> None:
    answer = await session.chat(model, stream=True)
    _answered_itself(answer, model)
    chunks = events(answer.text)
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c.get("choices"))
    expect(text, f"no text in the stream: {short(answer.text)}")
    reasons = [c["choices"][0].get("finish_reason") for c in chunks if c.get("choices")]
    expect("stop" in reasons, f"the stream has no finish_reason stop: {short(answer.text)}")


@check("tool call", per_model=True, costs=PAID)
async def tool_call(session: Session, model: str) -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    answer = await session.chat(model, text="How is the weather in Paris?", tools=[WEATHER], tool_choice=choice)
    _answered_itself(answer, model)
    calls = answer.json()["choices"][0]["message"].get("tool_calls") or []
    expect(calls and calls[0]["function"]["name"] == "get_weather", f"no call of the tool: {short(answer.text)}")
    arguments = json.loads(calls[0]["function"]["arguments"])
    expect(isinstance(arguments.get("city"), str), f"the tool is called without its argument: {short(answer.text)}")


@check("unknown model is 400")
async def unknown_model(session: Session, _: str) -> None:
    body = {"model": "no-such-model", "messages": [{"role": "user", "content": "hi"}]}
    answer = await session.request("POST", "/v1/chat/completions", body=body)
    expect_status(answer, 400)
    expect("no-such-model" in answer.json()["error"]["message"], f"the error does not name it: {short(answer.text)}")


@check("wrong key is 401")
async def wrong_key(session: Session, _: str) -> None:
    for key in ("sk-not-a-key-of-this-proxy", None):
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/usage")):
            body = {"model": session.models[0], "messages": [{"role": "user", "content": "hi"}]}
            answer = await session.request(method, path, key=key, body=body if method == "POST" else None)
            expect_status(answer, 401)


# -- routes ------------------------------------------------------------------------------------------------


@check("GET /health")
async def health(session: Session, _: str) -> None:
    expect_status(await session.request("GET", "/health", key=None), 401)
    answer = await session.request("GET", "/health")
    expect_status(answer, 200)
    body = answer.json()
    expect(body["healthy_count"] > 0, f"no model is healthy: {short(answer.text)}")
    expect(body["unhealthy_count"] == 0, f"{body['unhealthy_count']} model(s) are unhealthy: {short(answer.text)}")


@check("GET /health/readiness and /health/liveliness")
async def probes(session: Session, _: str) -> None:
    for path in ("/health/readiness", "/health/liveliness"):
        expect_status(await session.request("GET", path, key=None), 200)


@check("GET /models")
async def models(session: Session, _: str) -> None:
    lists = []
    for path in ("/models", "/v1/models"):
        expect_status(await session.request("GET", path, key=None), 401)
        answer = await session.request("GET", path)
        expect_status(answer, 200)
        lists.append(sorted(entry["id"] for entry in answer.json()["data"]))
    expect(lists[0] == lists[1], "/models and /v1/models differ")


@check("GET /usage")
async def usage(session: Session, _: str) -> None:
    for group in ("model", "key", "day", "provider"):
        answer = await session.request("GET", f"/usage?group_by={group}")
        expect_status(answer, 200)
        missing = {"as_of", "since", "until", "totals", "groups"} - set(answer.json())
        expect(not missing, f"/usage lacks {', '.join(sorted(missing))}")
    expect_status(await session.request("GET", "/usage?group_by=colour"), 400)


@check("GET /metrics")
async def metrics(session: Session, _: str) -> None:
    answer = await session.request("GET", "/metrics", follow_redirects=False)
    expect_status(answer, 200)
    expect("# HELP" in answer.text, f"no Prometheus metrics: {short(answer.text)}")


@check("GET /docs")
async def docs(session: Session, _: str) -> None:
    answer = await session.request("GET", "/docs", key=None)
    expect_status(answer, 200)
    expect("swagger" in answer.text.lower(), "/docs is not Swagger")
    schema = await session.request("GET", "/openapi.json", key=None)
    expect_status(schema, 200)
    expect("/v1/chat/completions" in schema.json()["paths"], "the OpenAPI document lacks the main route")


@check("GET /ui")
async def ui(session: Session, _: str) -> None:
    answer = await session.request("GET", "/ui/", key=None, follow_redirects=True)
    expect_status(answer, 200)
    expect("<html" in answer.text.lower(), "/ui is no page")


# -- keys and spend ----------------------------------------------------------------------------------------


@asynccontextmanager
async def _virtual_key(session: Session, **fields: Any) -> AsyncIterator[str]:
    """A virtual key for the time of a check; it is deleted whatever happens."""
    answer = await session.request("POST", "/key/generate", body={"duration": "10m", **fields})
    expect_status(answer, 200)
    key: str = answer.json()["key"]
    try:
        yield key
    finally:
        await session.request("POST", "/key/delete", body={"keys": [key]})


async def _until(what: str, condition: Callable[[], Awaitable[bool]]) -> None:
    seconds = FLUSH_SECONDS
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise CheckFailed(f"{what} (waited {seconds:.0f} s)")
        await asyncio.sleep(0.25)


def _cheapest(session: Session) -> str:
    return next((model for model in session.models if "mini" in model or "flash" in model), session.models[0])


@check("virtual key: make, use, delete")
async def virtual_key(session: Session, _: str) -> None:
    async with _virtual_key(session) as key:
        expect_status(await session.request("GET", "/v1/models", key=key), 200)
        if session.mode == "double":
            await session.chat(_cheapest(session), key=key)
        expect_status(await session.request("POST", "/key/delete", body={"keys": [key]}), 200)

        async def refused() -> bool:
            return (await session.request("GET", "/v1/models", key=key)).status_code == 401

        await _until("a deleted key still works", refused)


@check("virtual key: budget stop", costs=PAID)
async def budget_stop(session: Session, _: str) -> None:
    model = _cheapest(session)
    async with _virtual_key(session, max_budget=1e-9) as key:
        await session.chat(model, key=key)

        async def stopped() -> bool:
            body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
            answer = await session.request("POST", "/v1/chat/completions", key=key, body=body)
            if answer.status_code == 200:
                return False
            expect("udget" in answer.text, f"refused, but not for its budget: {short(answer.text)}")
            return True

        await _until("a key over its budget still works", stopped)


@check("spend in /usage", costs=PAID)
async def spend(session: Session, _: str) -> None:
    """The spend that Postgres holds for a key is the sum of what its replies said they cost."""
    async with _virtual_key(session) as key:
        answers = [await session.chat(model, key=key) for model in session.models]
        costs = [answer.headers.get("x-litellm-response-cost") for answer in answers]
        expect(all(costs), f"a reply has no x-litellm-response-cost: {costs}")
        total = sum((Decimal(cost) for cost in costs if cost), Decimal(0))
        totals: dict[str, Any] = {}

        async def all_there() -> bool:
            nonlocal totals
            report = await session.request("GET", "/usage", key=key)
            expect_status(report, 200)
            totals = report.json()["totals"]
            return bool(totals["requests"] == len(answers))

        await _until(f"/usage does not count the key's {len(answers)} requests", all_there)
        found = Decimal(str(totals["spend"]))
        expect(abs(found - total) <= total * Decimal("1e-9"), f"/usage says {found} USD, the replies {total} USD")


@check("fallback", costs="it needs a failing provider", needs_control=True, alone=True)
async def fallback(session: Session, _: str) -> None:
    """A model whose provider refuses it is answered by the next in its chain."""
    model = session.models[0]
    control = f"{session.target.simulator_url}/_double/rules"
    auth = {"Authorization": f"Bearer {session.target.control_key}"}
    mark = f"smoke fallback {time.time_ns()}"
    rule = {"name": "smoke: fallback", "when": {"model": model, "text": mark}, "fault": 401}
    added = await session.client.post(control, params={"first": "true"}, json=rule, headers=auth)
    expect_status(added, 200)
    try:
        answer = await session.chat(model, text=mark)
    finally:
        for number in added.json()["ids"]:
            await session.client.delete(f"{control}/{number}", headers=auth)
    group = answer.headers.get("x-litellm-model-group")
    expect(group not in (None, model), f"{model} failed upstream, yet {group or 'no known model'} answered")

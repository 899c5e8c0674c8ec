"""With the levers of proxy/gateway/speed/ and without: the same replies, headers, upstream requests, spend, metrics.

Two gateways beside the shared stack, on its database and simulator, are asked the same; what differs between two runs
of one gateway, too (ids, times), is taken out.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from proxy.catalog import load_catalog
from proxy.simulator.client import DoubleClient
from tests.conftest import Stack, free_port, until
from tests.gateway.processes import hashed, running

MISSING = "missing"
ALIASES = list(load_catalog().models)
LIMITED = "claude-sonnet-4"  # has no chain
BROKEN, INSTEAD = "gpt-4o", "gpt-4o-mini"
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ROW_TIMES = {"startTime", "endTime", "completionStartTime", "request_duration_ms", "created_at", "updated_at"}
VARYING = re.compile(r"id$|_id$|created|_at$|[tT]ime|duration|ms$|hash$|token$|alias$|overhead|seconds")
HEADERS_VARYING = re.compile(
    r"date|request-id|retry-after|ratelimit|call-id|duration|overhead|time|spend|timing|content-length|llm_provider-"
)


@dataclass
class Gateway:
    """One of the two, and the virtual key with which it is asked."""

    url: str
    key: str
    scope: str
    stack: Stack
    limited: str = ""  # a key of few requests

    def ask(self, path: str, body: Any, **headers: str) -> httpx.Response:
        named = {"Authorization": f"Bearer {self.key}", "x-double-scope": self.scope, **headers}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **named}
        return httpx.post(f"{self.url}{path}", content=raw, headers=sent, timeout=60, trust_env=False)

    @property
    def hashed(self) -> str:
        return hashed(self.key)

    def rows(self, table: str, order: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.stack.database_url, row_factory=psycopg.rows.dict_row) as connection:
            sql = f'SELECT * FROM "{table}" WHERE api_key = %s ORDER BY {order}'
            return connection.execute(sql, [self.hashed]).fetchall()  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def gateways(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Gateway]]:
    """With the levers, and without."""
    with ExitStack() as exit_stack:
        yield [exit_stack.enter_context(a_gateway(stack, tmp_path_factory.mktemp("speed"), on)) for on in (True, False)]


class a_gateway:
    """A gateway of the stack's own environment, with another proxy.yaml: fewer retries, a limit of requests."""

    def __init__(self, stack: Stack, folder: Path, levers: bool) -> None:
        self.stack, self.folder, self.levers, self.stopped = stack, folder, levers, ExitStack()

    def __enter__(self) -> Gateway:
        environment = psutil.Process(self.stack.pid("gateway")).environ()
        catalog = yaml.safe_load(Path(environment["LITELLM_LOCAL_CONFIG"]).read_text(encoding="utf-8"))
        catalog["limits"] |= {"retries": 1, "retry_delay_seconds": 0.01}
        catalog["speed"] = (
            {"enabled": True, "without": self.levers.split(",")}
            if isinstance(self.levers, str) and self.levers
            else {"enabled": bool(self.levers) or self.levers == ""}
        )
        rendered = yaml.safe_load(Path(environment["CONFIG_FILE_PATH"]).read_text(encoding="utf-8"))
        rendered["router_settings"]["num_retries"] = 1
        for name, content in (("proxy.yaml", catalog), ("litellm.yaml", rendered)):
            (self.folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
        environment |= {
            "LITELLM_LOCAL_CONFIG": str(self.folder / "proxy.yaml"),
            "CONFIG_FILE_PATH": str(self.folder / "litellm.yaml"),
            "LITELLM_LOCAL_PORT": str(free_port()),
        }
        url = self.stopped.enter_context(running(environment, self.folder))
        master = {"Authorization": f"Bearer {self.stack.master_key}"}
        with httpx.Client(base_url=url, headers=master, timeout=60, trust_env=False) as client:
            until("the first probes", lambda: client.get("/health").json().get("healthy_endpoints"))
            key = client.post("/key/generate", json={}).raise_for_status().json()["key"]
        return Gateway(url, key, f"speed-{uuid.uuid4().hex}", self.stack)

    def __exit__(self, *error: Any) -> None:
        self.stopped.__exit__(*error)


def questions() -> dict[str, tuple[str, Any, dict[str, str]]]:
    """name -> path, body, headers."""
    asked: dict[str, tuple[str, Any, dict[str, str]]] = {}
    for alias in ALIASES:
        says = {"model": alias, "messages": [{"role": "user", "content": "Who are you, 1 + 1 = 2?"}]}
        for stream in (False, True):
            kind = f"{alias}, {'stream' if stream else 'whole'}"
            asked[f"chat, {kind}"] = ("/v1/chat/completions", {**says, "stream": stream}, {})
            asked[f"messages, {kind}"] = ("/v1/messages", {**says, "stream": stream, "max_tokens": 60}, {})
            answer = {"model": alias, "input": "Who are you?", "stream": stream}
            asked[f"responses, {kind}"] = ("/v1/responses", answer, {})
            tools = [{"type": "function", "function": {"name": "get_weather", "parameters": TOOL}}]
            asked[f"tools, {kind}"] = ("/v1/chat/completions", {**says, "stream": stream, "tools": tools}, {})
    chat, hello = "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    asked |= {
        "usage in a stream": (chat, {"model": INSTEAD, **hello, **usage}, {}),
        "several choices": (chat, {"model": INSTEAD, **hello, "n": 2, "temperature": 0.1, "max_tokens": 9}, {}),
        "turns, parts": (chat, {"model": INSTEAD, "messages": turns()}, {}),
        "a schema": (chat, {"model": INSTEAD, **hello, "response_format": {"type": "json_object"}}, {}),
        "the fallback": (chat, {"model": BROKEN, "messages": [{"role": "user", "content": "break: 500"}]}, {}),
        "the fallback of a stream": (
            chat,
            {"model": BROKEN, "stream": True, "messages": [{"role": "user", "content": "break: 401"}]},
            {},
        ),
        "no fallback": (chat, {"model": INSTEAD, "messages": [{"role": "user", "content": "fail: 500"}]}, {}),
        "an upstream's 400": (chat, {"model": INSTEAD, "messages": [{"role": "user", "content": "break: 400"}]}, {}),
        "an upstream's 429": (chat, {"model": INSTEAD, "messages": [{"role": "user", "content": "break: 429"}]}, {}),
        "a refusal": (chat, {"model": INSTEAD, "messages": [{"role": "user", "content": "Do refuse."}]}, {}),
        "no JSON": (chat, b"{", {}),
        "no messages": (chat, {"model": INSTEAD}, {}),
        "no such model": (chat, {"model": "gpt-none", **hello}, {}),
        "a wrong key": (chat, {"model": INSTEAD, **hello}, {"Authorization": "Bearer sk-none"}),
        "a prompt too long": (
            chat,
            {"model": INSTEAD, "messages": [{"role": "user", "content": "word " * 200_000}]},
            {},
        ),
    }
    return asked


def turns() -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "One?"}, {"type": "text", "text": "Two?"}]},
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": "And ünïcode \N{SNOWMAN}?"},
    ]


QUESTIONS = questions()
RULES: list[dict[str, Any]] = [
    *({"when": {"text": f"break: {status}"}, "fault": status} for status in (400, 429)),
    *({"when": {"text": f"break: {status}", "model": BROKEN}, "fault": status} for status in (401, 500)),
    {"when": {"text": "fail: 500"}, "fault": 500},
    {"when": {"text": "Do refuse."}, "reply": {"refusal": "I will not."}},
]


@pytest.fixture(scope="module")
def answers(gateways: list[Gateway]) -> list[dict[str, httpx.Response]]:
    """What each gateway answered to each question."""
    found = []
    for gateway in gateways:
        with DoubleClient(gateway.url, gateway.stack.master_key, gateway.scope) as double:
            double.add_rules(*RULES)
            found.append({name: gateway.ask(path, body, **more) for name, (path, body, more) in QUESTIONS.items()})
    return found


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_same_answer(answers: list[dict[str, httpx.Response]], name: str) -> None:
    with_levers, without = (shown(one[name]) for one in answers)
    assert with_levers == without


def test_the_answers_are_of_all_kinds(answers: list[dict[str, httpx.Response]]) -> None:
    statuses = {name: answer.status_code for name, answer in answers[1].items()}
    assert set(statuses.values()) == {200, 400, 401, 429, 500}, statuses


def test_the_same_upstream_requests(gateways: list[Gateway], answers: list[dict[str, httpx.Response]]) -> None:
    assert answers
    sent = []
    for gateway in gateways:
        with DoubleClient(gateway.url, gateway.stack.master_key, gateway.scope) as double:
            calls = list(double.calls())
            sent.append([(call.alias, call.api, call.status, call.stream, steady(call.request)) for call in calls])
    assert len(sent[1]) > len(QUESTIONS) / 2
    assert sent[0] == sent[1]


@pytest.mark.parametrize(
    ("table", "order"),
    [("LiteLLM_SpendLogs", '"startTime"'), ("LiteLLM_DailyUserSpend", "model, custom_llm_provider, endpoint")],
)
def test_the_same_spend(
    gateways: list[Gateway], answers: list[dict[str, httpx.Response]], table: str, order: str
) -> None:
    paid = sum(answer.status_code == 200 for answer in answers[0].values())

    def written() -> list[list[dict[str, Any]]]:
        return [[steady_row(row) for row in gateway.rows(table, order)] for gateway in gateways]

    def settled() -> bool:
        return all(daily(one, "api_requests") >= paid <= paid_rows(one) for one in gateways)

    until("all spend is written", settled)
    with suppress(AssertionError):  # failed requests are written later; a difference that stays is told below
        until("both have written the same", lambda: written()[0] == written()[1], 30)
    with_levers, without = written()
    assert with_levers == without
    assert daily(gateways[0], "spend") == pytest.approx(daily(gateways[1], "spend"), abs=1e-12)


def test_the_same_limit(gateways: list[Gateway]) -> None:
    """Of the key's requests a minute, by the headers that tell what is left, and beyond it."""
    for gateway in gateways:
        headers = {"Authorization": f"Bearer {gateway.stack.master_key}"}
        made = httpx.post(f"{gateway.url}/key/generate", json={"rpm_limit": 2}, headers=headers, trust_env=False)
        gateway.limited = made.raise_for_status().json()["key"]
    body = {"model": LIMITED, "messages": [{"role": "user", "content": "Hello"}]}
    found = []
    for gateway in gateways:
        own = {"Authorization": f"Bearer {gateway.limited}"}
        found.append([shown(gateway.ask("/v1/chat/completions", body, **own)) for _ in range(4)])
    assert [one["status"] for one in found[1]].count(429) == 2
    assert [one["status"] for one in found[0]] == [one["status"] for one in found[1]]
    assert [one["headers"].keys() for one in found[0]] == [one["headers"].keys() for one in found[1]]


def test_the_same_metrics(gateways: list[Gateway], answers: list[dict[str, httpx.Response]]) -> None:
    assert answers
    with suppress(AssertionError):  # what is counted after the last answers; a difference that stays is told below
        until("both have counted", lambda: samples(gateways[0]) == samples(gateways[1]), 30)
    with_levers, without = (samples(gateway) for gateway in gateways)
    names = with_levers.keys() | without.keys()
    assert len(names) > 100
    both = {name: (with_levers.get(name, MISSING), without.get(name, MISSING)) for name in names}
    assert {name: found for name, found in both.items() if found[0] != found[1]} == {}


def test_the_tier_that_answered_is_told(gateways: list[Gateway], answers: dict[str, httpx.Response]) -> None:
    """Of each request to OpenAI. Without the lever `sync_callbacks`, LiteLLM may count one of /v1/messages without: a
    thread that logs for no callback puts the translated reply, which has no tier, in the place of the provider's."""
    assert answers
    of_openai = {name for name, model in load_catalog().models.items() if model.provider == "openai"}
    tiers = {
        (labels["requested_model"], labels["service_tier"])
        for _, labels, _ in of_callers(gateways[0])
        if labels.get("requested_model") in of_openai and "service_tier" in labels
    }
    assert tiers == {(model, "default") for model in of_openai}


def samples(gateway: Gateway) -> dict[tuple[str, frozenset[tuple[str, str]]], float | None]:
    """Name and labels but for the tier (see above) -> value; None where that is a time. Costs are added up in the order
    in which they are logged, which shows in the last digit."""
    found: dict[Any, float | None] = {}
    for name, labels, value in of_callers(gateway):
        key = name, frozenset((label, of) for label, of in labels.items() if label != "service_tier")
        counts = name.endswith(("_total", "_count"))
        found[key] = round((found.get(key) or 0.0) + value, 12) if counts else None
    return found


def of_callers(gateway: Gateway) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of what is not of probes and the like, whose number is the clock's."""
    headers = {"Authorization": f"Bearer {gateway.stack.master_key}"}
    text = httpx.get(f"{gateway.url}/metrics", headers=headers, timeout=60, trust_env=False).raise_for_status().text
    for family in text_string_to_metric_families(text):
        if not family.name.startswith("litellm"):
            continue
        for sample in family.samples:
            labels = {name: value.replace(gateway.hashed, "KEY") for name, value in sample.labels.items()}
            labels = {name: value.replace(hashed(gateway.limited), "LIMITED") for name, value in labels.items()}
            if (
                sample.name.endswith(("_created", "_bucket"))
                or "health" in labels.get("hashed_api_key", "")
                or labels.get("route") in ("/metrics", "/health")
                or (labels.get("requested_model") == "" and "hashed_api_key" not in labels)  # no alias, no caller
            ):
                continue
            yield sample.name, labels, sample.value


def paid_rows(gateway: Gateway) -> int:
    return sum(bool(row["spend"]) for row in gateway.rows("LiteLLM_SpendLogs", "1"))


def daily(gateway: Gateway, column: str) -> float:
    return float(sum(row[column] for row in gateway.rows("LiteLLM_DailyUserSpend", "1")))


def shown(answer: httpx.Response) -> dict[str, Any]:
    """An answer without what differs from one run to the next."""
    headers = {name: None if HEADERS_VARYING.search(name) else value for name, value in sorted(answer.headers.items())}
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        body: Any = [event(line) for line in answer.text.splitlines() if line]
    else:
        body = steady(answer.json())
    return {"status": answer.status_code, "headers": headers, "body": body}


def event(line: str) -> Any:
    name, _, value = line.partition(": ")
    return name, steady(json.loads(value)) if value.startswith("{") else value


def steady(value: Any, name: str = "") -> Any:
    if VARYING.search(name) and not isinstance(value, (dict, list)):
        return type(value).__name__
    if isinstance(value, dict):
        return {key: steady(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [steady(one) for one in value]
    if isinstance(value, str):
        value = re.sub(r"[0-9a-f]{64}|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}", "ID", value)
        return re.sub(r"retry in \d+|\d+ seconds|:\d{4,5}\b|\d{4}-\d\d-\d\d[ T][\d:.+]+( UTC)?", "N", value)
    return value


def steady_row(row: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in row.items() if name not in ROW_TIMES}
    plain = {name: round(value, 12) if isinstance(value, float) else value for name, value in plain.items()}
    for name, value in plain.items():
        if isinstance(value, str) and value[:1] in ("{", "["):
            plain[name] = json.loads(value)
    return {name: steady(value, name) for name, value in plain.items()}

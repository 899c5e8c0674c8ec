"""The gateway as clients meet it: the real LiteLLM on real Postgres, the providers' double behind it."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from tests.conftest import until

CHAIN_LESS = "gpt-4o-mini"  # a model without a fallback, so that its errors are seen
BY_PROVIDER = ["gpt-4o", "claude-sonnet-4", "gemini-2.5-pro"]


@pytest.fixture(scope="module")
def client(stack):
    with httpx.Client(base_url=stack.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def master(stack):
    return {"Authorization": f"Bearer {stack.master_key}"}


@pytest.fixture
def upstream_calls(double):
    """Calls of this test that reached a provider, wherever in them its marker stands."""

    def calls() -> list[dict[str, Any]]:
        entries = double.client.get("/_double/journal").json()["entries"]
        return [entry for entry in entries if double.marker in json.dumps(entry)]

    return calls


def chat(model: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


# -- bad input -------------------------------------------------------------------------------------------


def bad_bodies(model: str, marker: str) -> dict[str, tuple[int, bytes]]:
    """The table of what LiteLLM alone answers with 500 or after 11 s, or takes into 789 MB of memory."""
    message = {"role": "user", "content": marker}
    bodies: dict[str, Any] = {
        "array": [chat(model, marker)],
        "string": marker,
        "null": None,
        "messages is a string": {"model": model, "messages": marker},
        "integer content": {"model": model, "messages": [message, {"role": "user", "content": 5}]},
        "unknown role": {"model": model, "messages": [{"role": marker, "content": "hi"}]},
        "max_tokens is a string": chat(model, marker, max_tokens="5"),
        "temperature is a string": chat(model, marker, temperature="hot"),
        "timeout is a string": chat(model, marker, timeout="60"),
    }
    table = {name: (400, json.dumps(body).encode()) for name, body in bodies.items()}
    deep = b"[" * 10_000 + b"]" * 10_000
    table["nested 10,000 deep"] = (400, b'{"model": "%s", "messages": %s}' % (model.encode(), deep))
    table["invalid UTF-8"] = (400, json.dumps(chat(model, marker)).encode().replace(b"hi", b"\xff") + b"\xff")
    table["50 MB"] = (413, json.dumps(chat(model, marker + "x" * 50_000_000)).encode())
    return table


@pytest.mark.parametrize("model", BY_PROVIDER)
def test_bad_input_is_refused_without_an_upstream_call(client, master, model, double, upstream_calls):
    for name, (status, body) in bad_bodies(model, double.marker).items():
        headers = {**master, "content-type": "application/json"}
        answer = client.post("/v1/chat/completions", content=body, headers=headers)
        assert answer.status_code == status, f"{name}: {answer.text}"
        assert answer.json()["error"]["type"] == "invalid_request_error", name
        assert answer.headers["x-litellm-call-id"], name
    assert upstream_calls() == []


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/v1beta/models/gpt-4o:generateContent"])
def test_bad_input_on_the_other_apis(client, master, path, double, upstream_calls):
    body = {"model": "gpt-4o", "max_tokens": 5, "messages": double.marker, "input": 5, "contents": double.marker}
    answer = client.post(path, json=body, headers=master)
    assert answer.status_code == 400
    assert "must be" in answer.json()["error"]["message"]
    assert upstream_calls() == []


@pytest.mark.parametrize(
    "override",
    [
        {"api_key": "sk-" + "mine"},
        {"api_base": "http://127.0.0.1:9"},
        {"base_url": "http://127.0.0.1:9"},
        {"fallbacks": ["gpt-4o"]},
        {"num_retries": 50},
        {"timeout": 100_000},
        {"mock_response": "made up"},
        {"extra_body": {"api_key": "mine"}},
        {"metadata": {"api_base": "http://127.0.0.1:9"}},
    ],
)
def test_a_client_cannot_override_the_operator(client, master, override, double, upstream_calls):
    answer = client.post("/v1/chat/completions", json=chat("gpt-4o", double.marker, **override), headers=master)
    assert answer.status_code == 400
    assert next(iter(override)) in answer.json()["error"]["param"]
    assert upstream_calls() == []


def test_what_passes_the_guards_arrives_as_it_was_sent(client, master, double, upstream_calls):
    body = chat("gpt-4o", double.marker, max_tokens=7, num_retries=0, timeout=30, metadata={"tags": ["a"]})
    answer = client.post("/v1/chat/completions", json=body, headers=master)
    assert answer.status_code == 200
    (call,) = upstream_calls()
    assert call["model"] == "gpt-4o"
    assert call["request"]["messages"] == body["messages"]
    assert call["request"]["max_tokens"] == 7


# -- replies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [{"kind": "malformed"}, {"kind": "drop"}, {"kind": "status", "status": 400}, {"kind": "status", "status": 500}],
    ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}",
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_errors_hold_neither_tracebacks_nor_paths(client, master, double, fault, stream):
    double.fail(fault)
    body = chat(CHAIN_LESS, double.marker, num_retries=0, stream=stream)
    answer = client.post("/v1/chat/completions", json=body, headers=master)
    assert answer.status_code >= 400
    assert answer.json()["error"]["message"]
    assert_clean(answer.text)
    assert answer.headers["x-litellm-call-id"]
    assert answer.headers["x-litellm-local-mode"] == "double"


def test_the_log_of_failed_requests_holds_no_tracebacks(client, master, double):
    # To what it takes for its own defect LiteLLM adds a link to report it, with the source's file in it.
    made = client.post("/v1/responses", json={"model": "claude-sonnet-4", "input": "hi"}, headers=master).json()
    assert client.get(f"/v1/responses/{made['id']}", headers=master).status_code == 500
    double.fail({"kind": "malformed"})
    body = chat(CHAIN_LESS, double.marker, num_retries=0)
    assert client.post("/v1/chat/completions", json=body, headers=master).status_code == 500
    client.get("/usage", headers=master).raise_for_status()  # writes the log
    today = datetime.now(timezone.utc).date()
    span = {"start_date": f"{today - timedelta(days=1)}", "end_date": f"{today + timedelta(days=1)}"}
    log = client.get("/spend/logs", params={**span, "summarize": "false"}, headers=master)
    assert "error_information" in log.text
    assert_clean(log.text)


def assert_clean(text: str) -> None:
    assert "Traceback" not in text
    assert not re.search(r"site-packages|\.py\b|File \\?\"", text), text


def test_every_kind_of_reply_tells_the_mode(client, master):
    for path in ("/health/readiness", "/docs", "/nowhere", "/ui/", "/metrics", "/v1/models", "/usage"):
        assert client.get(path, headers=master).headers["x-litellm-local-mode"] == "double", path
    assert client.post("/v1/chat/completions", content=b"[]").headers["x-litellm-local-mode"] == "double"


# -- routes ----------------------------------------------------------------------------------------------


def test_metrics_without_a_redirect(client, master):
    answer = client.get("/metrics", headers=master)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "litellm_" in answer.text


def test_where_an_ingress_sends_closed_paths_there_is_nothing(client):
    answer = client.post("/_closed", json={"model": "gpt-4o"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found_here")


def test_docs_need_nothing_from_elsewhere_and_know_usage(client):
    page = client.get("/docs").text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert assets
    for asset in assets:
        assert asset.startswith("/"), asset
        assert client.get(asset).status_code == 200, asset
    schema = client.get("/openapi.json").json()
    assert "/v1/chat/completions" in schema["paths"]
    parameters = {parameter["name"] for parameter in schema["paths"]["/usage"]["get"]["parameters"]}
    assert parameters == {"since", "until", "group_by"}


def test_health_answers_from_the_cache_while_a_provider_hangs(client, master, double, stack, upstream_calls):
    double.fail({"kind": "hang"})
    answer = client.get("/health", headers=master, timeout=30)
    assert answer.status_code == 200
    assert answer.json()["healthy_count"] + answer.json()["unhealthy_count"] == 8
    assert client.get("/health").status_code == 401
    assert client.get("/health/readiness").json()["db"] == "connected"


# -- usage -----------------------------------------------------------------------------------------------


@pytest.fixture
def make_key(client, master):
    """Makes virtual keys and deletes them in the end."""
    made: list[str] = []

    def make(**fields: Any) -> str:
        answer = client.post("/key/generate", json=fields, headers=master)
        assert answer.status_code == 200, answer.text
        made.append(answer.json()["key"])
        return made[-1]

    yield make
    client.post("/key/delete", json={"keys": made}, headers=master).raise_for_status()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def usage_of(client: httpx.Client, key: str, requests: int, **asked: str) -> dict[str, Any]:
    """Once so many are counted: at once, as what is pending is waited for, but for two seconds at most."""

    def usage() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get("/usage", params=asked, headers=bearer(key)).json()
        return found if found["totals"]["requests"] == requests else None

    counted: dict[str, Any] = until(f"{requests} requests are counted", usage)
    return counted


def test_usage_of_a_virtual_key_is_the_sum_of_its_replies(client, master, make_key, double):
    alias = f"usage-{double.marker}"
    key, other = make_key(key_alias=alias), make_key()
    asked = [*BY_PROVIDER, BY_PROVIDER[0]]  # the same thing twice: the double gives the same reply, id and all
    replies = [
        client.post("/v1/chat/completions", json=chat(model, double.marker), headers=bearer(key)) for model in asked
    ]
    assert [reply.status_code for reply in replies] == [200] * 4
    usage = usage_of(client, key, 4)
    assert sorted(usage) == ["as_of", "groups", "since", "totals", "until"]
    totals = usage["totals"]
    assert (totals["requests"], totals["failures"]) == (4, 0)
    assert totals["prompt_tokens"] == sum(reply.json()["usage"]["prompt_tokens"] for reply in replies)
    assert totals["completion_tokens"] == sum(reply.json()["usage"]["completion_tokens"] for reply in replies)
    costs = [float(reply.headers["x-litellm-response-cost"]) for reply in replies]
    assert totals["spend"] == pytest.approx(sum(costs), rel=1e-6)
    by_model = {group["model"]: group for group in usage["groups"]}
    assert sorted(by_model) == sorted(BY_PROVIDER)
    assert by_model[BY_PROVIDER[0]]["spend"] == pytest.approx(costs[0] * 2, rel=1e-6)
    assert by_model[BY_PROVIDER[1]]["spend"] == pytest.approx(costs[1], rel=1e-6)

    double.fail({"kind": "status", "status": 500})
    failed = chat(CHAIN_LESS, double.marker, num_retries=0)
    assert client.post("/v1/chat/completions", json=failed, headers=bearer(key)).status_code == 500
    by_provider = usage_of(client, key, 5, group_by="provider")
    figures = {group["provider"]: (group["requests"], group["failures"]) for group in by_provider["groups"]}
    assert figures == {"openai": (3, 1), "anthropic": (1, 0), "google": (1, 0)}

    assert client.get("/usage", headers=bearer(other)).json()["totals"]["requests"] == 0
    by_key = client.get("/usage", params={"group_by": "key"}, headers=master).json()["groups"]
    (mine,) = [group for group in by_key if group.get("key_alias") == alias]
    assert (mine["requests"], mine["failures"]) == (5, 1)
    by_day = client.get("/usage", params={"group_by": "day"}, headers=bearer(key)).json()
    assert [group["requests"] for group in by_day["groups"]] in ([5], [4, 1])  # midnight may pass


def test_usage_of_a_fallback_counts_for_the_model_that_answered(client, make_key, double):
    key = make_key()
    double.fail({"provider": "openai", "model": "gpt-4o", "kind": "status", "status": 400})
    answer = client.post("/v1/chat/completions", json=chat("gpt-4o", double.marker), headers=bearer(key))
    assert answer.status_code == 200
    assert answer.headers["x-litellm-model-group"] == "gpt-4o-mini"
    usage = usage_of(client, key, 1)
    figures = [(group["model"], group["requests"], group["failures"]) for group in usage["groups"]]
    assert figures == [("gpt-4o-mini", 1, 0)]


def test_usage_only_within_its_span(client, make_key, double):
    key = make_key()
    assert (
        client.post("/v1/chat/completions", json=chat(CHAIN_LESS, double.marker), headers=bearer(key)).status_code
        == 200
    )
    past = client.get("/usage", params={"until": "2020-12-31", "since": "2020-01-01"}, headers=bearer(key)).json()
    assert past["totals"]["requests"] == 0
    assert past["until"] == "2021-01-01T00:00:00Z"
    assert usage_of(client, key, 1, since="2020-01-01")


def test_usage_needs_a_key_and_a_question_it_understands(client, master):
    assert client.get("/usage").status_code == 401
    assert client.get("/usage", headers=bearer("sk-" + "wrong")).status_code == 401
    for query, field in [({"group_by": "team"}, "group_by"), ({"since": "soon"}, "since")]:
        answer = client.get("/usage", params=query, headers=master)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == field

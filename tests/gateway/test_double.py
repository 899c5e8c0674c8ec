"""The double behind the gateway: every upstream request in its scope, and the control calls under /_double/."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import psutil
import pytest

from proxy.gateway.scopes import own_scope
from tests.conftest import until

MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4", "google": "gemini-2.5-pro"}
SCOPES_AT_ONCE = 50
WATCHERS = 30


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def token_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def client(stack):
    with httpx.Client(base_url=stack.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def master(stack):
    return bearer(stack.master_key)


@pytest.fixture
def make_keys(client, master):
    """Makes virtual keys; deletes them, and what the double keeps of them, in the end."""
    made: list[str] = []

    def make(number: int = 1) -> list[str]:
        for _ in range(number):
            answer = client.post("/key/generate", json={}, headers=master)
            assert answer.status_code == 200, answer.text
            made.append(answer.json()["key"])
        return made[-number:]

    yield make
    for key in made:
        client.delete(f"/_double/scopes/{own_scope(token_of(key))}", headers=bearer(key)).raise_for_status()
    client.post("/key/delete", json={"keys": made}, headers=master).raise_for_status()


@pytest.fixture
def key(make_keys) -> str:
    return make_keys()[0]


def set_script(client: httpx.Client, key: str, *rules: dict[str, Any], **script: Any) -> None:
    answer = client.put("/_double/script", json={"rules": list(rules), **script}, headers=bearer(key))
    assert answer.status_code == 200, answer.text


def journal(client: httpx.Client, key: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/_double/journal", params=query, headers=bearer(key))
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()["entries"]
    return entries


# -- the scope of upstream requests ----------------------------------------------------------------------


def chat(model: str, text: str, stream: bool) -> tuple[str, dict[str, Any]]:
    return "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}


def completions(model: str, text: str, stream: bool) -> tuple[str, dict[str, Any]]:
    return "/v1/completions", {"model": model, "prompt": text, "stream": stream}


def messages(model: str, text: str, stream: bool) -> tuple[str, dict[str, Any]]:
    _, body = chat(model, text, stream)
    return "/v1/messages", {**body, "max_tokens": 50}


def responses(model: str, text: str, stream: bool) -> tuple[str, dict[str, Any]]:
    return "/v1/responses", {"model": model, "input": text, "stream": stream}


def generate_content(model: str, text: str, stream: bool) -> tuple[str, dict[str, Any]]:
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{model}:{method}", {"contents": [{"role": "user", "parts": [{"text": text}]}]}


DOORS = [chat, completions, messages, responses, generate_content]


def assert_all_in(scope: str, calls: list[dict[str, Any]], answer: httpx.Response) -> None:
    """These are all upstream calls of the request, each with its headers; nobody else's scope has one of them."""
    assert {(call["scope"], call["request_id"]) for call in calls} == {(scope, answer.headers["x-litellm-call-id"])}
    assert [call["attempt"] for call in calls] == list(range(1, len(calls) + 1))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("provider", MODELS)
@pytest.mark.parametrize("door", DOORS)
def test_every_front_door_carries_scope_and_request(client, master, key, door, provider, stream):
    marker = uuid.uuid4().hex
    path, body = door(MODELS[provider], marker, stream)
    answer = client.post(path, json=body, headers=bearer(key))
    assert answer.status_code == 200, answer.text
    everywhere = client.get("/_double/journal", params={"scope": "*", "text": marker}, headers=master).json()["entries"]
    assert [call["provider"] for call in everywhere] == [provider]
    assert_all_in(own_scope(token_of(key)), everywhere, answer)


@pytest.mark.parametrize("door", [chat, messages, responses, generate_content])
def test_every_retry_and_every_fallback_carries_them_too(client, master, key, door):
    """gemini-2.5-pro twice, gemini-2.0-flash twice, then another provider."""
    marker = uuid.uuid4().hex
    set_script(client, key, {"when": {"provider": "google"}, "fault": 503})
    path, body = door("gemini-2.5-pro", marker, False)
    answer = client.post(path, json={**body, "num_retries": 1}, headers=bearer(key))
    assert answer.status_code == 200, answer.text
    everywhere = client.get("/_double/journal", params={"scope": "*", "text": marker}, headers=master).json()["entries"]
    assert [call["outcome"] for call in everywhere] == ["fault:status"] * 4 + ["ok"]
    assert [call["alias"] for call in everywhere][:4] == ["gemini-2.5-pro"] * 2 + ["gemini-2.0-flash"] * 2
    assert_all_in(own_scope(token_of(key)), everywhere, answer)


def test_a_request_may_name_another_scope(client, master, key):
    scope = f"test-{uuid.uuid4().hex}"
    path, body = chat("gpt-4o-mini", scope, False)
    for headers in (bearer(key), master):
        answer = client.post(path, json=body, headers={**headers, "x-double-scope": scope})
        assert answer.status_code == 200
    assert len(journal(client, key)) == 0
    named = client.get("/_double/journal", headers={**bearer(key), "x-double-scope": scope}).json()["entries"]
    assert len(named) == 2
    assert client.delete(f"/_double/scopes/{scope}", headers=master).status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_scope_nobody_can_have_is_refused(client, master, path):
    body = {"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    answer = client.post(path, json=body, headers={**master, "x-double-scope": "not one"})
    assert answer.status_code == 400
    assert "x-double-scope" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/openai/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}),
        (
            "/anthropic/v1/messages",
            {"model": "claude-3-opus-20240229", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
        ),
        ("/gemini/v1beta/models/gemini-1.5-pro:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}),
    ],
)
def test_litellms_pass_through_routes_carry_the_scope(client, key, path, body):
    def headers(key: str) -> dict[str, str]:
        header = {"openai": "authorization", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}[path.split("/")[1]]
        return {header: f"Bearer {key}" if header == "authorization" else key, "anthropic-version": "2023-06-01"}

    answer = client.post(path, json=body, headers=headers(key))
    assert answer.status_code == 200, answer.text
    (call,) = journal(client, key)
    assert call["request"] == body
    assert client.post(path, json=body, headers=headers("sk-" + "nobody")).status_code == 401


def test_health_probes_have_a_scope_of_their_own(client, master):
    probes = client.get("/_double/journal", params={"scope": "probes"}, headers=master).json()["entries"]
    assert {call["provider"] for call in probes} == {"openai", "anthropic", "google"}
    everywhere = client.get("/_double/journal", params={"scope": "*"}, headers=master).json()["entries"]
    unscoped = [call for call in everywhere if call["headers"].get("x-double-scope") is None]
    assert unscoped == []


def test_fifty_keys_at_once_see_nothing_of_each_other(stack, client, master, make_keys):
    """Each with a script of its own, through the first two fallbacks, half of them streaming."""
    keys = make_keys(SCOPES_AT_ONCE)
    asked = {key: f"only-{uuid.uuid4().hex}" for key in keys}

    async def use(http: httpx.AsyncClient, key: str, stream: bool) -> tuple[httpx.Response, str]:
        rules = [
            {"when": {"provider": "openai"}, "fault": 400},
            {"when": {"provider": "anthropic"}, "reply": f"answer to {asked[key]}"},
        ]
        script = {"strict": True, "inherit": False, "rules": rules}
        (await http.put("/_double/script", json=script, headers=bearer(key))).raise_for_status()
        path, body = chat("gpt-5-mini", asked[key], stream)
        answer = await http.post(path, json=body, headers=bearer(key))
        text = answer.text
        if stream:
            events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
            text = "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"])
        else:
            text = answer.json()["choices"][0]["message"]["content"]
        return answer, text

    async def use_all() -> list[tuple[httpx.Response, str]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=stack.url, timeout=120, trust_env=False, limits=limits) as http:
            return await asyncio.gather(*(use(http, key, number % 2 == 0) for number, key in enumerate(keys)))

    for key, (answer, text) in zip(keys, asyncio.run(use_all()), strict=True):
        assert text == f"answer to {asked[key]}"
        calls = journal(client, key)
        assert [call["alias"] for call in calls] == ["gpt-5-mini", "gpt-4o", "claude-opus-4.1"]
        assert all(asked[key] in json.dumps(call["request"]) for call in calls)
        assert_all_in(own_scope(token_of(key)), calls, answer)


# -- control ---------------------------------------------------------------------------------------------

CONTROL = [
    ("GET", "/_double/script"),
    ("PUT", "/_double/script"),
    ("DELETE", "/_double/script"),
    ("POST", "/_double/rules"),
    ("GET", "/_double/journal"),
    ("DELETE", "/_double/journal"),
    ("GET", "/_double/events"),
    ("GET", "/_double/scopes"),
    ("DELETE", "/_double/scopes/default"),
    ("GET", "/_double/me"),
]


@pytest.mark.parametrize(("method", "path"), CONTROL)
def test_control_needs_a_key(client, stack, method, path):
    for headers in ({}, bearer("sk-" + "wrong"), bearer(stack.control_key)):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 401
        error = answer.json()["error"]
        assert error["type"] == "authentication_error"
        assert "Bearer" in error["message"]


@pytest.mark.parametrize(("method", "path"), [one for one in CONTROL if "scopes/" not in one[1]])
def test_a_virtual_key_is_told_that_other_scopes_are_not_its_own(client, key, method, path):
    for scope in ("default", "*"):
        answer = client.request(method, path, params={"scope": scope}, headers=bearer(key))
        assert answer.status_code == 403
        assert own_scope(token_of(key)) in answer.json()["error"]["message"]


def test_whose_scope_a_key_has(client, master, key):
    own = own_scope(token_of(key))
    assert client.get("/_double/me", headers=bearer(key)).json() == {"scope": own, "all": False}
    assert client.get("/_double/me", headers=master).json() == {"scope": "default", "all": True}
    named = client.get("/_double/me", headers={**bearer(key), "x-double-scope": "mine"})
    assert named.json() == {"scope": "mine", "all": False}


def test_a_script_set_with_a_key_is_in_force_for_that_key_alone(client, master, make_keys):
    mine, other = make_keys(2)
    set_script(client, mine, {"name": "greeting", "when": {"text": "hello"}, "reply": "from my script", "times": 1})
    path, body = chat("gpt-4o-mini", "hello", False)
    said = [
        client.post(path, json=body, headers=bearer(key)).json()["choices"][0]["message"]["content"]
        for key in (other, mine, mine)
    ]
    assert [text == "from my script" for text in said] == [False, True, False]
    (rule,) = client.get("/_double/script", headers=bearer(mine)).json()["rules"]
    assert (rule["used"], rule["left"]) == (1, 0)
    assert client.get("/_double/script", headers=bearer(other)).json()["rules"] == []
    assert [call["rule"] for call in journal(client, mine)] == ["greeting", None]
    by_master = client.get("/_double/script", params={"scope": own_scope(token_of(mine))}, headers=master).json()
    assert by_master["rules"] == [rule]


def test_a_script_in_yaml_and_what_is_wrong_with_it(client, key):
    headers = {**bearer(key), "content-type": "application/yaml"}
    good = client.put("/_double/script", content="strict: true\nrules:\n- reply: hi\n", headers=headers)
    assert good.status_code == 200, good.text
    assert good.json()["strict"] is True
    bad = client.put("/_double/script", content="rules:\n- reply: hi\n  tims: 2\n", headers=headers)
    assert bad.status_code == 400
    (problem,) = bad.json()["error"]["problems"]
    assert problem["line"] == 3
    assert "times" in problem["message"]


def test_a_script_as_curl_sends_it(client, key):
    headers = {**bearer(key), "content-type": "application/x-www-form-urlencoded"}
    answer = client.put("/_double/script", content='{"rules": [{"reply": "a=b&c"}]}', headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["rules"][0]["reply"] == {"text": "a=b&c"}


def test_the_simulators_own_errors_come_through_as_they_are(client, key, tmp_path):
    for method, path, status in [("GET", "/_double/nothing", 404), ("POST", "/_double/script", 405)]:
        answer = client.request(method, path, headers=bearer(key))
        assert answer.status_code == status
        assert sorted(answer.json()["error"]) == ["message", "type"]
    answer = client.get("/_double/journal", params={"since": "soon"}, headers=bearer(key))
    assert (answer.status_code, "since" in answer.json()["error"]["message"]) == (400, True)
    named = client.put("/_double/script", json={"rules": [{"reply": {"txt": f"{tmp_path}/a.py"}}]}, headers=bearer(key))
    assert named.status_code == 400


def test_what_clients_said_is_told_unchanged_tracebacks_and_paths_too(client, key, tmp_path):
    text = f'Traceback (most recent call last):\n  File "{tmp_path}/app.py", line 3, in main\nValueError: no'
    set_script(client, key, {"reply": text})
    path, body = chat("gpt-4o-mini", text, False)
    assert client.post(path, json=body, headers=bearer(key)).status_code == 200
    (call,) = journal(client, key)
    assert call["request"]["messages"][0]["content"] == text
    assert call["response"]["body"]["choices"][0]["message"]["content"] == text
    shown = client.get("/_double/script", headers=bearer(key)).json()
    assert shown["rules"][0]["reply"] == {"text": text}


def test_the_size_guard_holds_for_control_calls_too(client, key):
    answer = client.put("/_double/script", content=b" " * 11_000_000, headers=bearer(key))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"


def test_a_long_poll_waits_for_the_request(client, key):
    async def both() -> tuple[httpx.Response, httpx.Response]:
        async with httpx.AsyncClient(base_url=str(client.base_url), timeout=60, trust_env=False) as http:
            query = {"wait_for": 1, "timeout": 30}
            waiting = asyncio.ensure_future(http.get("/_double/journal", params=query, headers=bearer(key)))
            path, body = chat("gpt-4o-mini", "hi", False)
            answer = await http.post(path, json=body, headers=bearer(key))
            return await waiting, answer

    found, answer = asyncio.run(both())
    (call,) = found.json()["entries"]
    assert call["request_id"] == answer.headers["x-litellm-call-id"]
    assert call["ended_at"] is not None


def test_events_come_as_they_happen(client, key):
    """The beginning of a request is told while its answer is still to come."""
    set_script(client, key, {"reply": {"text": "late", "timing": {"first_token": 8}}})
    path, body = chat("gpt-4o-mini", "hi", False)
    with (
        ThreadPoolExecutor(1) as threads,
        client.stream("GET", "/_double/events", headers=bearer(key)) as told,
    ):
        assert told.status_code == 200
        assert told.headers["content-type"].startswith("text/event-stream")
        events = read_events(told)
        asking = threads.submit(client.post, path, json=body, headers=bearer(key))
        name, data = next(events)
        assert not asking.done()
        assert (name, data["scope"], data["entry"]["ended_at"]) == ("began", own_scope(token_of(key)), None)
        name, data = next(events)
        assert (name, data["entry"]["outcome"]) == ("ended", "ok")
        assert asking.result().status_code == 200
        client.delete("/_double/script", headers=bearer(key)).raise_for_status()
        name, data = next(events)
        assert (name, data["script"]["rules"]) == ("script", [])


def read_events(response: httpx.Response):
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


def test_the_list_of_scopes_is_a_virtual_keys_own(client, master, make_keys):
    mine, other = make_keys(2)
    for key in (mine, other):
        set_script(client, key, {"reply": "hi"})
    assert [one["name"] for one in client.get("/_double/scopes", headers=bearer(mine)).json()["scopes"]] == [
        own_scope(token_of(mine))
    ]
    everybody = {one["name"] for one in client.get("/_double/scopes", headers=master).json()["scopes"]}
    assert {own_scope(token_of(mine)), own_scope(token_of(other)), "default", "probes"} <= everybody
    stray = client.delete(f"/_double/scopes/{own_scope(token_of(other))}", headers=bearer(mine))
    assert stray.status_code == 403
    client.delete(f"/_double/scopes/{own_scope(token_of(mine))}", headers=bearer(mine)).raise_for_status()
    assert client.get("/_double/script", headers=bearer(mine)).json()["rules"] == []


def test_a_client_that_leaves_ends_the_simulators_stream(client, key, stack):
    """Else every page ever opened would be served for ever. (A few idle connections are kept for the next call.)"""
    gateway, port = psutil.Process(stack.pid("gateway")), int(stack.simulator_url.rpartition(":")[2])

    def connections() -> int:
        found = gateway.net_connections("tcp")
        return sum(one.status == "ESTABLISHED" and bool(one.raddr) and one.raddr.port == port for one in found)

    before = connections()
    with ExitStack() as streams:
        for _ in range(WATCHERS):
            told = streams.enter_context(client.stream("GET", "/_double/events", headers=bearer(key)))
            assert told.status_code == 200
        assert connections() >= WATCHERS
    until("the simulator's streams have ended", lambda: connections() <= before)


# -- the page's files ------------------------------------------------------------------------------------


def test_the_page_is_served_without_a_key_and_may_load_nothing_from_elsewhere(client):
    assert client.get("/_double").headers["location"] == "/_double/"
    for path, kind in [
        ("/_double/", "text/html"),
        ("/_double/page.css", "text/css"),
        ("/_double/page.js", "text/javascript"),
    ]:
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in answer.text
    assert "innerHTML" not in client.get("/_double/page.js").text
    assert client.post("/_double/").status_code == 405

"""The double's live page in a real Chromium: what it shows of requests made meanwhile, without a reload."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from proxy.gateway.scopes import own_scope
from tests.gateway.browser import Browser, find_chromium

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this machine")

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
MOST_REQUESTS = 500
LIVE = "document.querySelector('#connection')?.dataset.state === 'live'"
LAPTOP = (1366, 820)
PHONE = (390, 844)


@pytest.fixture
def browser(tmp_path):
    with Browser.start(tmp_path) as browser:
        yield browser


class Client:
    """An app under test with a virtual key of its own, and so a scope."""

    def __init__(self, http: httpx.Client, master_key: str) -> None:
        self.http = http
        made = http.post("/key/generate", json={}, headers={"Authorization": f"Bearer {master_key}"}).json()
        self.key, self.scope = made["key"], own_scope(made["token"])
        self.headers = {"Authorization": f"Bearer {self.key}"}

    def script(self, *rules: dict[str, Any], **script: Any) -> None:
        answer = self.http.put("/_double/script", json={"rules": list(rules), **script}, headers=self.headers)
        assert answer.status_code == 200, answer.text

    def ask(self, model: str, text: str, **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], "num_retries": 0, **fields}
        return self.http.post("/v1/chat/completions", json=body, headers=self.headers)


@contextmanager
def new_client(stack) -> Iterator[Client]:
    with httpx.Client(base_url=stack.url, timeout=60, trust_env=False) as http:
        client = Client(http, stack.master_key)
        yield client
        http.delete(f"/_double/scopes/{client.scope}", headers=client.headers).raise_for_status()


@pytest.fixture
def client(stack):
    with new_client(stack) as client:
        yield client


@pytest.fixture
def other_client(stack):
    with new_client(stack) as client:
        yield client


def size(browser: Browser, size: tuple[int, int]) -> None:
    width, height = size
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)


def watch(browser: Browser, stack, key: str) -> None:
    """Opens the page with a key, and leaves a mark that a reload would wipe out."""
    size(browser, LAPTOP)
    browser.open(f"{stack.url}/_double/#key={key}")
    browser.wait_for(LIVE)
    browser.evaluate("window.neverReloaded = true")


def row(text: str) -> str:
    """JavaScript: the row of the request with a text."""
    return f"[...document.querySelectorAll('.request')].find(row => row.textContent.includes({json.dumps(text)}))"


def lines(browser: Browser, text: str) -> list[list[str]]:
    """The attempts of the request with a text: provider, model, tags, status."""
    parts = "['.provider', '.name', '.tags', '.status'].map(part => line.querySelector(part).innerText.trim())"
    found = browser.evaluate(f"[...{row(text)}.querySelectorAll('.attempt')].map(line => {parts})")
    return [[" ".join(part.split()) for part in line] for line in found]


def press(browser: Browser, key: str, code: int) -> None:
    text = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)


def test_it_asks_for_a_key_and_keeps_it_in_the_tab_alone(browser, stack, client, tmp_path):
    browser.open(f"{stack.url}/_double/")
    browser.wait_for("document.activeElement?.id === 'key'")
    browser.type_into("#key", "sk-" + "wrong")
    browser.evaluate("document.querySelector('#login button').click()")
    browser.wait_for("document.querySelector('#login-error').textContent.includes('does not know this key')")
    browser.screenshot(tmp_path / "login.png")
    browser.type_into("#key", client.key)
    browser.evaluate("document.querySelector('#login button').click()")
    browser.wait_for(LIVE)
    assert browser.evaluate("document.querySelector('#login').hidden")
    client.ask("gpt-4o-mini", "nobody's any more")
    browser.wait_for(row("nobody's any more"))
    browser.evaluate("window.neverReloaded = true")
    browser.call("Page.reload")
    browser.wait_for(f"!window.neverReloaded && {LIVE}")
    assert browser.evaluate("!!" + row("nobody's any more"))
    browser.evaluate("document.querySelector('#leave').click()")
    browser.wait_for("!document.querySelector('#login').hidden")
    assert "nobody's any more" not in browser.evaluate("document.body.textContent")
    assert browser.evaluate("sessionStorage.length + localStorage.length") == 0
    assert {urlsplit(url).netloc for url in browser.requests if url.startswith("http")} == {urlsplit(stack.url).netloc}
    assert browser.failures == [f"401 {stack.url}/_double/me"]


def test_a_key_in_the_address_is_taken_out_of_it(browser, stack, client):
    watch(browser, stack, client.key)
    assert browser.evaluate("location.href") == f"{stack.url}/_double/"
    entries = browser.call("Page.getNavigationHistory")["entries"]
    assert not any(client.key in entry["url"] for entry in entries)
    assert browser.failures == []


def test_requests_attempts_fallbacks_and_counters_appear_as_they_happen(browser, stack, client, tmp_path):
    rule = {"name": "google is down", "when": {"provider": "google"}, "fault": 503, "times": 5}
    client.script(rule, strict=False)
    watch(browser, stack, client.key)
    browser.wait_for("document.querySelector('.rules .rule')?.innerText.includes('used 0 of 5')")
    assert not browser.evaluate("document.querySelector('#empty').hidden")

    answer = client.ask("gemini-2.5-pro", "who is there?")
    assert answer.headers["x-litellm-model-group"] == "gpt-4o"
    browser.wait_for(f"({row('who is there?')})?.innerText.includes('answered by gpt-4o')")
    assert lines(browser, "who is there?") == [
        ["google", "gemini-2.5-pro", "fault google is down", "503"],
        ["google", "gemini-2.0-flash", "fallback fault google is down", "503"],
        ["openai", "gpt-4o", "fallback", "200"],
    ]
    browser.wait_for("document.querySelector('.rules .rule').innerText.includes('used 2 of 5')")
    assert browser.evaluate("document.querySelector('.rules .rule').innerText.includes('3 left')")

    client.script(rule, {"reply": "hi", "for": "5m"}, strict=True)
    browser.wait_for("document.querySelectorAll('.rules .rule').length === 2")
    assert browser.evaluate("!!document.querySelector('.one-script .tag.strict')")
    assert browser.evaluate("/expires in \\d+ s/.test(document.querySelectorAll('.rules .rule')[1].innerText)")

    browser.evaluate(f"({row('who is there?')}).querySelectorAll('.attempt')[2].click()")
    panel = browser.evaluate(f"({row('who is there?')}).querySelector('.panel:not([hidden])').innerText")
    assert answer.headers["x-litellm-call-id"] in panel.replace("\n", "")
    assert '"content": "who is there?"' in panel
    assert answer.json()["choices"][0]["message"]["content"][:20] in panel
    assert browser.evaluate("window.neverReloaded")
    browser.screenshot(tmp_path / "light.png")


def test_a_request_is_there_while_it_runs(browser, stack, client):
    client.script({"reply": {"text": "late", "timing": {"first_token": 8}}})
    watch(browser, stack, client.key)
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(client.ask, "gpt-4o-mini", "take your time")
        browser.wait_for(f"({row('take your time')})?.dataset.kind === 'running'")
        assert not asking.done()
        browser.wait_for(f"({row('take your time')}).dataset.kind === 'good'")
        assert asking.result().status_code == 200


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4", "gemini-2.5-pro"])
def test_what_clients_write_stays_text(browser, stack, client, model):
    client.script({"name": HOSTILE, "when": {"text": HOSTILE}, "reply": HOSTILE})
    watch(browser, stack, client.key)
    assert client.ask(model, HOSTILE).status_code == 200
    browser.wait_for(f"({row(HOSTILE)})?.dataset.kind === 'good'")
    browser.evaluate(f"({row(HOSTILE)}).querySelector('.attempt').click()")
    browser.wait_for("document.querySelector('.panel:not([hidden]) pre')")
    shown = ("'.text'", "'.tag.rule'", "'.rule .title'", "'.rule .when'", "'.rule .then'")
    for part in shown:
        assert HOSTILE in browser.evaluate(f"document.querySelector({part}).textContent"), part
    assert browser.evaluate("document.querySelectorAll('#app img, #app script').length") == 0
    assert browser.evaluate("document.title") == "Double · litellm-local"


def test_filters_pause_and_clear(browser, stack, client):
    watch(browser, stack, client.key)
    client.ask("gpt-4o-mini", "first apple")
    client.ask("claude-sonnet-4", "second pear")
    browser.wait_for("document.querySelectorAll('.request').length === 2")

    def visible() -> int:
        return browser.evaluate("document.querySelectorAll('.request:not([hidden])').length")

    browser.type_into("#filter", "PEAR")
    browser.wait_for("document.querySelectorAll('.request:not([hidden])').length === 1")
    assert browser.evaluate("document.querySelector('#count').textContent") == "1 of 2"
    browser.evaluate("document.querySelector('#filter').value = '', document.querySelector('#filter').select()")
    browser.type_into("#filter", "nothing of the kind")
    browser.wait_for("document.querySelector('#empty').textContent.includes('fits the filter')")
    browser.evaluate(
        "document.querySelector('#filter').value = '',"
        "document.querySelector('#filter').dispatchEvent(new Event('input')),"
        "document.querySelector('#model').value = 'gpt-4o-mini',"
        "document.querySelector('#model').dispatchEvent(new Event('change'))"
    )
    assert visible() == 1
    assert browser.evaluate(f"!({row('first apple')}).hidden")
    browser.evaluate("document.querySelector('#model').value = '', document.querySelector('#pause').click()")
    assert browser.evaluate("document.querySelector('#pause').getAttribute('aria-pressed')") == "true"
    client.ask("gpt-4o-mini", "third plum")
    browser.wait_for("document.querySelector('#held').textContent.includes('1 new')")
    assert browser.evaluate("document.querySelectorAll('.request').length") == 2
    browser.evaluate("document.querySelector('#pause').click()")
    browser.wait_for(row("third plum"))
    browser.evaluate("document.querySelector('#clear').click()")
    browser.wait_for("document.querySelectorAll('.request').length === 0")
    assert client.http.get("/_double/journal", headers=client.headers).json()["entries"] == []


def test_what_is_being_read_does_not_move(browser, stack, client):
    watch(browser, stack, client.key)
    client.ask("gpt-4o-mini", "read me")
    browser.wait_for(row("read me"))
    browser.evaluate(f"({row('read me')}).querySelector('.attempt').click()")
    place = f"({row('read me')}).getBoundingClientRect().top"
    before = browser.evaluate(place)
    client.ask("gpt-4o-mini", "do not disturb")
    browser.wait_for("!document.querySelector('#held').hidden")
    assert browser.evaluate(place) == before
    assert browser.evaluate(f"!({row('do not disturb')})")
    browser.evaluate("document.querySelector('#held').click()")
    browser.wait_for(row("do not disturb"))
    assert browser.evaluate("document.querySelector('#held').hidden")
    assert browser.evaluate(f"!!({row('read me')}).querySelector('.panel:not([hidden])')")


def test_the_master_key_sees_all_scopes_and_may_look_at_one(browser, stack, client, other_client):
    for one, name in ((client, "mine"), (other_client, "of the other")):
        one.script({"name": name, "reply": "hello"})
        one.ask("gpt-4o-mini", name)
    watch(browser, stack, stack.master_key)
    for one, name in ((client, "mine"), (other_client, "of the other")):
        browser.wait_for(row(name))
        assert browser.evaluate(f"({row(name)}).querySelector('.scope').textContent") == one.scope
    assert browser.evaluate("document.querySelectorAll('.one-script').length") > 1
    assert browser.evaluate("[...document.querySelectorAll('.scope')].every(one => one.textContent !== 'probes')")
    browser.evaluate(f"({row('mine')}).querySelector('.attempt').click()")
    left = browser.evaluate(
        f"document.querySelector('#scope').value = '{client.scope}',"
        "document.querySelector('#scope').dispatchEvent(new Event('change')),"
        "document.querySelectorAll('.request, .one-script').length"
    )
    assert left == 0, "what is of another scope is shown under the new one's name"
    browser.wait_for(LIVE)
    assert browser.evaluate("[...document.querySelectorAll('.request .text')].map(one => one.textContent)") == ["mine"]
    assert browser.evaluate("[...document.querySelectorAll('.rules .title')].map(one => one.textContent)") == ["mine"]
    assert browser.evaluate(f"!!({row('mine')}).querySelector('.panel:not([hidden])')")


def test_a_virtual_key_sees_its_own_scope_alone(browser, stack, client):
    watch(browser, stack, client.key)
    options = browser.evaluate("[...document.querySelector('#scope').options].map(option => option.value)")
    assert options == [client.scope]


def test_the_keyboard_reaches_everything(browser, stack, client):
    watch(browser, stack, client.key)
    client.ask("gpt-4o-mini", "by hand")
    browser.wait_for(row("by hand"))
    browser.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(20):
        press(browser, "Tab", 9)
        reached.append(browser.evaluate("document.activeElement.id || document.activeElement.className"))
        if reached[-1] == "attempt":
            break
    assert reached == ["scope", "model", "filter", "pause", "clear", "leave", "attempt"]
    assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press(browser, "Enter", 13)
    browser.wait_for("document.activeElement.getAttribute('aria-expanded') === 'true'")
    press(browser, "Enter", 13)
    browser.wait_for("document.querySelectorAll('.panel:not([hidden])').length === 0")


def test_a_long_run_does_not_fill_the_page(browser, stack, client):
    watch(browser, stack, client.key)
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one of many"}]}
    with httpx.Client(base_url=stack.simulator_url, timeout=30, trust_env=False) as provider:
        for number in range(MOST_REQUESTS + 20):
            headers = {"Authorization": "Bearer any", "x-double-scope": client.scope, "x-double-request": f"r{number}"}
            provider.post("/openai/v1/chat/completions", json=body, headers=headers).raise_for_status()
    client.ask("gpt-4o-mini", "the last one")
    browser.wait_for(row("the last one"))
    assert browser.evaluate("document.querySelectorAll('.request').length") == MOST_REQUESTS
    assert browser.evaluate(f"document.querySelector('.request') === ({row('the last one')})")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_follows_the_systems_colours(browser, stack, client, scheme, tmp_path):
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    client.script({"when": {"model": "gemini-2.5-pro"}, "fault": 503}, {"reply": "word " * 50, "times": 9})
    watch(browser, stack, client.key)
    client.ask("gemini-2.5-pro", "a rather long question, longer than a phone is wide: what does it look like there?")
    browser.wait_for(f"({row('a rather long')})?.dataset.kind === 'fallback'")
    light = browser.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] > 128")
    assert light == (scheme == "light")
    browser.screenshot(tmp_path / f"laptop-{scheme}.png")
    for dimensions in (PHONE, LAPTOP):
        size(browser, dimensions)
        browser.evaluate(f"({row('a rather long')}).querySelector('.attempt').click()")
        assert browser.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        browser.screenshot(tmp_path / f"{dimensions[0]}-{scheme}.png")


def test_it_comes_back_by_itself_when_the_simulator_does(browser, stack, client):
    watch(browser, stack, client.key)
    client.ask("gpt-4o-mini", "before")
    browser.wait_for(row("before"))
    os.kill(stack.pid("simulator"), signal.SIGKILL)
    browser.wait_for("document.querySelector('#connection').dataset.state === 'reconnecting'")
    browser.wait_for(LIVE, seconds=60)
    assert browser.evaluate("document.querySelectorAll('.request').length") == 0  # the journal went with it
    assert client.ask("gpt-4o-mini", "after").status_code == 200
    browser.wait_for(row("after"))
    assert browser.evaluate("window.neverReloaded")

"""What a person sees: Swagger at /docs, and the admin UI with its login, in a real Chromium."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.gateway.browser import Browser, find_chromium

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this machine")


@pytest.fixture
def browser(tmp_path):
    with Browser.start(tmp_path) as browser:
        yield browser


def assert_nothing_from_elsewhere(browser: Browser, stack) -> None:
    hosts = {urlsplit(url).netloc for url in browser.requests if url.startswith("http")}
    assert hosts == {urlsplit(stack.url).netloc}


def test_docs_show_every_api(browser, stack, tmp_path):
    browser.open(f"{stack.url}/docs")
    browser.wait_for("document.querySelector('#operations-tag-usage')")
    assert browser.evaluate("document.querySelectorAll('.opblock-tag').length") > 20
    assert browser.failures == []
    assert_nothing_from_elsewhere(browser, stack)
    browser.screenshot(tmp_path / "docs.png")


def test_admin_ui_logs_in_with_admin_and_the_master_key(browser, stack, tmp_path):
    browser.open(f"{stack.url}/ui")
    browser.wait_for("document.querySelector('input[type=password]')")
    browser.type_into("input:not([type=password])", "admin")
    browser.type_into("input[type=password]", stack.master_key)
    browser.screenshot(tmp_path / "login.png")
    browser.evaluate("document.querySelector('button[type=submit]').click()")
    browser.wait_for("!location.pathname.includes('login') && document.body.innerText.includes('Virtual Keys')")
    browser.screenshot(tmp_path / "ui.png")
    assert browser.failures == []
    assert_nothing_from_elsewhere(browser, stack)


def test_admin_ui_refuses_a_wrong_password(browser, stack):
    browser.open(f"{stack.url}/ui")
    browser.wait_for("document.querySelector('input[type=password]')")
    browser.type_into("input:not([type=password])", "admin")
    browser.type_into("input[type=password]", "wrong")
    browser.evaluate("document.querySelector('button[type=submit]').click()")
    browser.wait_for("/invalid|incorrect|failed|wrong/i.test(document.body.innerText)")
    assert "login" in browser.evaluate("location.pathname")

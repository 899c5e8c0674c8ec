"""A real browser for a test: headless Chromium, driven through its DevTools protocol. Nothing to install.

with Browser.start(tmp_path) as browser:
    browser.open("http://127.0.0.1:4000/docs")
    browser.wait_for("document.querySelectorAll('.opblock').length > 10")
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
WENT_ON = ("Inspected target navigated or closed", "Not attached to an active page", "Unable to capture screenshot")
"""What Chromium says where the page goes on to another one during a command."""


def find_chromium() -> str | None:
    """The path of a Chromium on PATH, or of the one named by CHROMIUM."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page. `requests` holds the address of all it asked for, `failures` of those it did not get."""

    def __init__(self, page: ClientConnection) -> None:
        self.requests: list[str] = []
        self.failures: list[str] = []
        self._page = page
        self._last_id = 0
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    @classmethod
    @contextmanager
    def start(cls, profile: Path, seconds: float = 30):
        """Starts Chromium with a profile of its own; no name but this machine's resolves in it."""
        command = [
            *(find_chromium() or "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-dev-shm-usage", "--disable-background-networking", "--window-size=1400,1000"),
            *("--remote-debugging-port=0", f"--user-data-dir={profile}"),
            *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "about:blank"),
        ]
        log = (profile / "chromium.log").open("wb")
        with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                with connect(_page_address(profile, process, seconds), max_size=None) as page:
                    yield cls(page)
            finally:
                process.terminate()
                process.wait(seconds)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return answer.get("result", {}).get("value")

    def wait_for(self, expression: str, seconds: float = 120) -> None:
        """Returns as soon as the expression is true; AssertionError with the page's text when it never is."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"!!({expression})"):
            if time.monotonic() > deadline:
                where, text = self.evaluate("location.href"), self.evaluate("document.body.innerText")
                raise AssertionError(f"never true: {expression}\nat {where}\nfailed: {self.failures}\n{text}")
            time.sleep(0.1)

    def type_into(self, selector: str, text: str) -> None:
        """Clicks into a field and types as a user would."""
        found = self.evaluate(f"(document.querySelector({json.dumps(selector)}) || {{focus() {{}}}}).focus(), 1")
        assert found, selector
        self.call("Input.insertText", text=text)

    def screenshot(self, file: Path) -> None:
        deadline = time.monotonic() + 60
        while not (taken := self.call("Page.captureScreenshot")):
            assert time.monotonic() < deadline, "the page never stays"
        file.write_bytes(base64.b64decode(taken["data"]))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One DevTools command; nothing where the page went on to another one meanwhile. What happens is noted."""
        self._last_id += 1
        self._page.send(json.dumps({"id": self._last_id, "method": method, "params": params}))
        while True:
            message = json.loads(self._page.recv(timeout=60))
            if message.get("id") == self._last_id:
                if message.get("error", {}).get("message") in WENT_ON:
                    return {}
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(event["params"]["request"]["url"])
        elif event["method"] == "Network.responseReceived":
            response = event["params"]["response"]
            if response["status"] >= 400:
                self.failures.append(f"{response['status']} {response['url']}")


def _page_address(profile: Path, process: subprocess.Popen[bytes], seconds: float) -> str:
    """The address of the first page's DevTools, once Chromium has written down its port."""
    port_file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if port_file.exists() and port_file.read_text().strip():
            port = port_file.read_text().splitlines()[0]
            pages = httpx.get(f"http://127.0.0.1:{port}/json", timeout=30, trust_env=False).json()
            for page in pages:
                if page["type"] == "page":
                    return str(page["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise AssertionError(f"Chromium did not start: {(profile / 'chromium.log').read_text()[-2000:]}")

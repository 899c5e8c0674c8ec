"""A simulator as a process of its own, and how tests talk to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpx
from google import genai
from google.genai import types

from proxy.simulator import api_bases
from tests.conftest import failing

CONTROL_KEY = "control-" + "key-for-tests"


class Double:
    """The running simulator, as a test drives it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.bases = api_bases(self.url)
        self.http = httpx.Client(base_url=self.url, timeout=10)
        self.control = httpx.Client(
            base_url=f"{self.url}/_double", headers={"Authorization": f"Bearer {CONTROL_KEY}"}, timeout=10
        )

    def rules(self, *rules: dict[str, Any], scope: str = "default", **script: Any) -> None:
        """Sets the script of a scope."""
        answer = self.control.put("/script", params={"scope": scope}, json={"rules": list(rules), **script})
        assert answer.status_code == 200, answer.text

    def faults(self, *faults: dict[str, Any]) -> None:
        self.rules(*map(failing, faults))

    def script(self, scope: str = "default") -> dict[str, Any]:
        shown: dict[str, Any] = self.control.get("/script", params={"scope": scope}).json()
        return shown

    def journal(self, **query: Any) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.control.get("/journal", params=query).json()["entries"]
        return entries

    def wait_for(self, found: Callable[[list[dict[str, Any]]], Any]) -> list[dict[str, Any]]:
        """The journal as soon as `found` says yes to it."""
        deadline = time.monotonic() + 10
        while not found(entries := self.journal()):
            assert time.monotonic() < deadline, f"the journal never became so: {entries}"
            time.sleep(0.01)
        return entries

    def reset(self) -> None:
        for scope in self.control.get("/scopes").json()["scopes"]:
            self.control.delete(f"/scopes/{scope['name']}")


def start(
    *arguments: str, key: str | None = CONTROL_KEY, aliases: dict[str, tuple[str, str]] | str | None = None
) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LITELLM_LOCAL_")}
    if key is not None:
        environment["LITELLM_LOCAL_CONTROL_KEY"] = key
    if aliases is not None:
        environment["LITELLM_LOCAL_ALIASES"] = aliases if isinstance(aliases, str) else json.dumps(aliases)
    return subprocess.Popen(
        [sys.executable, "-m", "proxy.simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    port: int = json.loads(process.stdout.readline())["port"]
    return port


def drain(items: Iterable[Any], into: list[Any]) -> None:
    """Keeps what comes before an exception does."""
    for item in items:
        into.append(item)


def make_gemini_client(double: Double, timeout_ms: int = 10_000) -> genai.Client:
    options = types.HttpOptions(
        base_url=double.bases["google"].removesuffix("/v1beta"),
        timeout=timeout_ms,
        retry_options=types.HttpRetryOptions(attempts=1),
    )
    return genai.Client(api_key="any", http_options=options)

"""The deployment under check, and how a check talks to it."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

TIMEOUT = 90.0  # seconds; a first request on a busy machine, with retries behind it


class CheckFailed(Exception):
    """What a check found wrong, in words for the report."""


@dataclass(frozen=True)
class Target:
    """Where the deployment is, and its master key.

    `simulator_url` and `control_key` are known for a double on this machine only; with them faults can be scripted.
    `address` is where connections go instead of the URL's host, whose name they keep; `authority` the file of the
    certificates to trust instead of the system's.
    """

    url: str
    key: str = field(repr=False)
    simulator_url: str | None = None
    control_key: str | None = field(default=None, repr=False)
    address: str | None = None
    authority: Path | None = None


class Transport(httpx.AsyncHTTPTransport):
    """Connects to the target's `address` and trusts its `authority`, where it has them."""

    def __init__(self, target: Target, **options: Any) -> None:
        verify = ssl.create_default_context(cafile=str(target.authority)) if target.authority else True
        super().__init__(verify=verify, **options)
        self._address = target.address

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._address is not None:
            request = httpx.Request(
                request.method,
                request.url.copy_with(host=self._address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": request.url.host},
            )
        return await super().handle_async_request(request)


class Session:
    """One check run's connection: requests with the master key unless told otherwise."""

    def __init__(self, target: Target, client: httpx.AsyncClient, models: list[str], mode: str) -> None:
        self.target = target
        self.models = models
        self.mode = mode
        self.client = client

    async def request(
        self, method: str, path: str, *, key: str | None = "", body: Any = None, **options: Any
    ) -> httpx.Response:
        """Sends a request; `key` "" is the master key, None no key at all. Raises CheckFailed where none answers."""
        token = self.target.key if key == "" else key
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            return await self.client.request(method, self.target.url + path, headers=headers, json=body, **options)
        except httpx.HTTPError as error:
            raise CheckFailed(f"{method} {path}: no answer ({type(error).__name__} {error})") from None

    async def chat(
        self, model: str, *, key: str | None = "", text: str = "Say hello.", **fields: Any
    ) -> httpx.Response:
        """A completion that must succeed."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        answer = await self.request("POST", "/v1/chat/completions", key=key, body=body)
        expect_status(answer, 200)
        return answer


def expect(condition: object, what: str) -> None:
    """Raises CheckFailed with `what` where the condition does not hold."""
    if not condition:
        raise CheckFailed(what)


def expect_status(answer: httpx.Response, *statuses: int) -> None:
    wanted = " or ".join(map(str, statuses))
    request = answer.request
    expect(
        answer.status_code in statuses,
        f"{request.method} {request.url.path}: {answer.status_code} instead of {wanted}: {short(answer.text)}",
    )


def short(text: str, length: int = 200) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def events(text: str) -> list[dict[str, Any]]:
    """The JSON events of an OpenAI stream; raises CheckFailed where it is not one, complete with its [DONE]."""
    lines = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    expect(lines and lines[-1] == "[DONE]", f"the stream does not end with [DONE]: {short(text)}")
    try:
        return [json.loads(line) for line in lines[:-1]]
    except ValueError:
        raise CheckFailed(f"the stream holds something that is not JSON: {short(text)}") from None

"""What the load needs of a deployment: its mode, its models, and a virtual key for as long as it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from proxy.checks import Target
from proxy.checks.target import Transport

KEY_LIFE = "15m"  # should this command be killed before it deletes the key


class BenchError(Exception):
    """The deployment cannot be measured. The message says why and what to do next."""


@asynccontextmanager
async def client_of(target: Target) -> AsyncIterator[httpx.AsyncClient]:
    """Asks the deployment with its master key, by its name wherever its address is."""
    own = Transport(target) if target.address or target.authority else None
    headers = {"Authorization": f"Bearer {target.key}"}
    async with httpx.AsyncClient(base_url=target.url, headers=headers, timeout=60, transport=own) as client:
        yield client


def tls_of(target: Target) -> Any:
    """What TLS trusts: the target's own authority, else the system's."""
    import ssl

    return ssl.create_default_context(cafile=str(target.authority) if target.authority else None)


async def mode_of(client: httpx.AsyncClient) -> str | None:
    """double or live, as the gateway says with each answer; None where it says neither."""
    mode: str | None = (await _ask(client, "GET", "/health/liveliness")).headers.get("x-litellm-local-mode")
    return mode


async def models_of(client: httpx.AsyncClient) -> list[str]:
    return [model["id"] for model in (await _ask(client, "GET", "/v1/models")).json()["data"]]


@asynccontextmanager
async def a_key(client: httpx.AsyncClient) -> AsyncIterator[str]:
    """A virtual key, deleted afterwards however the load ends."""
    body = {"duration": KEY_LIFE, "metadata": {"made_by": "litellm-local bench"}}
    # To its end also where Ctrl-C comes meanwhile: else nobody would know which one to delete.
    making = asyncio.ensure_future(_ask(client, "POST", "/key/generate", body))
    try:
        yield (await asyncio.shield(making)).json()["key"]
    finally:
        with suppress(BenchError, httpx.HTTPError):  # it runs out by itself
            await client.post("/key/delete", json={"keys": [(await making).json()["key"]]})


async def _ask(client: httpx.AsyncClient, method: str, path: str, body: Any = None) -> httpx.Response:
    try:
        answer = await client.request(method, path, json=body)
    except httpx.HTTPError as error:
        why = f"{type(error).__name__} {error}"
        raise BenchError(
            f"{client.base_url} does not answer ({why}). Is it up? See: litellm-local status, or mend --url."
        ) from None
    if answer.status_code in (401, 403):
        raise BenchError(
            f"{client.base_url} does not take this master key ({answer.status_code}). "
            "Give its own in LITELLM_MASTER_KEY, or with --key."
        )
    if answer.status_code != 200:
        raise BenchError(
            f"{method} {path} at {client.base_url}: {answer.status_code} {answer.text[:200]}. See: litellm-local smoke"
        )
    return answer

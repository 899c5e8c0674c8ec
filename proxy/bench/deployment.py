"""What the load needs of a deployment: its mode, its models, and a virtual key for as long as it lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from proxy.checks import Target

KEY_LIFE = "15m"  # should this command be killed before it deletes the key


class BenchError(Exception):
    """The deployment cannot be measured. The message says why and what to do next."""


@contextmanager
def client_of(target: Target) -> Iterator[httpx.Client]:
    """Asks the deployment with its master key, by its name wherever its address is."""
    url = httpx.URL(target.url)
    headers = {"Authorization": f"Bearer {target.key}"}
    extensions: dict[str, Any] = {}
    if target.address is not None:
        headers["Host"] = url.netloc.decode()
        extensions["sni_hostname"] = url.host
        url = url.copy_with(host=target.address)

    def name_host(request: httpx.Request) -> None:
        request.extensions = {**request.extensions, **extensions}

    with httpx.Client(
        base_url=url, headers=headers, timeout=60, verify=tls_of(target), event_hooks={"request": [name_host]}
    ) as client:
        yield client


def tls_of(target: Target) -> Any:
    """What TLS trusts: the target's own authority, else the system's."""
    import ssl

    return ssl.create_default_context(cafile=str(target.authority) if target.authority else None)


def mode_of(client: httpx.Client) -> str | None:
    """double or live, as the gateway says with each answer; None where it says neither."""
    mode: str | None = _ask(client, "GET", "/health/liveliness").headers.get("x-litellm-local-mode")
    return mode


def models_of(client: httpx.Client) -> list[str]:
    return [model["id"] for model in _ask(client, "GET", "/v1/models").json()["data"]]


@contextmanager
def a_key(client: httpx.Client) -> Iterator[str]:
    """A virtual key, deleted afterwards however the load ends."""
    body = {"duration": KEY_LIFE, "metadata": {"made_by": "litellm-local bench"}}
    key: str = _ask(client, "POST", "/key/generate", body).json()["key"]
    try:
        yield key
    finally:
        with suppress(httpx.HTTPError):  # it runs out by itself
            client.post("/key/delete", json={"keys": [key]})


def _ask(client: httpx.Client, method: str, path: str, body: Any = None) -> httpx.Response:
    try:
        answer = client.request(method, path, json=body)
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

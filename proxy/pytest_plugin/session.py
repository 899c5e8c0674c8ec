"""One process's test run: the gateway it uses, and a virtual key for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from proxy.pytest_plugin.double import LlmDouble
from proxy.pytest_plugin.target import Gateway, Lease, NoGateway
from proxy.simulator.client import DoubleClient

KEY_DURATION = "1h"  # were it ever left behind


class Session:
    """`double` for each test; `end` once."""

    def __init__(self, url: str | None, *, start: bool, is_worker: bool, say: Callable[[str], None]) -> None:
        # The environment as it is when the run begins: the fixture changes it for each test.
        self._lease = Lease(url, start=start, environment=dict(os.environ), say=say)
        self._is_worker = is_worker
        self._gateway: Gateway | None = None
        self._why_not = ""
        self._keys: httpx.Client | None = None

    @contextmanager
    def double(self, folders: list[Path]) -> Iterator[LlmDouble]:
        """A virtual key with a scope of its own, both gone afterwards. Fails the test where there is no gateway."""
        gateway = self._taken()
        key = self._make_key()
        try:
            with DoubleClient(gateway.url, key) as client:
                double = LlmDouble(client, url=gateway.url, key=key, folders=folders)
                try:
                    yield double
                finally:
                    double.close()
        finally:
            with suppress(httpx.HTTPError):  # it expires
                self._master().post("/key/delete", json={"keys": [key]})

    def end(self) -> None:
        """A worker only lets go of the gateway; the main process, whose workers have ended, may stop it."""
        if self._keys is not None:
            self._keys.close()
        self._lease.release(last=not self._is_worker)

    def _taken(self) -> Gateway:
        if self._gateway is None and not self._why_not:
            try:
                self._gateway = self._lease.take()
            except NoGateway as error:
                self._why_not = f"llm_double: {error}"
        if self._gateway is None:
            pytest.fail(self._why_not, pytrace=False)
        return self._gateway

    def _master(self) -> httpx.Client:
        if self._keys is None:
            gateway = self._taken()
            headers = {"Authorization": f"Bearer {gateway.master_key}"}
            self._keys = httpx.Client(base_url=gateway.url, headers=headers, timeout=60, trust_env=False)
        return self._keys

    def _make_key(self) -> str:
        body = {"duration": KEY_DURATION, "metadata": {"made_by": "llm_double"}}
        try:
            answer = self._master().post("/key/generate", json=body)
        except httpx.HTTPError as error:
            pytest.fail(f"llm_double: the gateway does not answer: {type(error).__name__} {error}", pytrace=False)
        if answer.status_code != 200:
            said = f"{answer.status_code} {answer.text[:500]}"
            pytest.fail(f"llm_double: the gateway made no virtual key with LITELLM_MASTER_KEY: {said}", pytrace=False)
        return str(answer.json()["key"])

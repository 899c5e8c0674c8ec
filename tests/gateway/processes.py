"""A gateway of a test's own, where the shared stack's limits are too wide: started, waited for, stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import yaml

from proxy.catalog import load_catalog, project_root
from proxy.database.engine import engine_environment, prepare_engine
from proxy.render.litellm import litellm_config, litellm_yaml
from tests.conftest import Stack, free_port

START_SECONDS = 120


def write_catalog(file: Path, breaker: Mapping[str, object] | None = None, **limits: object) -> Path:
    """The project's proxy.yaml with other limits, or another breaker."""
    content = yaml.safe_load((project_root() / "config" / "proxy.yaml").read_text(encoding="utf-8"))
    content["limits"].update(limits)
    content["breaker"].update(breaker or {})
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def gateway_environment(
    folder: Path, catalog_file: Path, database_url: str, master_key: str, api_bases: Mapping[str, str]
) -> dict[str, str]:
    """All `python -m proxy.gateway` needs; writes the rendered configuration into `folder`."""
    catalog = load_catalog(catalog_file)
    rendered = folder / "litellm.yaml"
    rendered.write_text(litellm_yaml(litellm_config(catalog, api_bases=api_bases)), encoding="utf-8")
    home = folder / "engine-home"
    prepare_engine(home, lambda _step: None)
    return {
        **{name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "TMPDIR")},
        **engine_environment(home, database_url),
        **{provider.key_env: "none" for provider in catalog.providers.values()},
        "LITELLM_LOCAL_CONFIG": str(catalog_file),
        "CONFIG_FILE_PATH": str(rendered),
        "LITELLM_LOCAL_MODE": "double",
        "LITELLM_LOCAL_HOST": "127.0.0.1",
        "LITELLM_LOCAL_PORT": str(free_port()),
        "LITELLM_MASTER_KEY": master_key,
        "LITELLM_SALT_KEY": "sk-" + "salt-of-a-test",
        "PYTHONPATH": str(project_root()),
    }


def beside(stack: Stack) -> dict[str, str]:
    """What a gateway needs beside that of a stack: on its database and simulator, on a port of its own."""
    return psutil.Process(stack.pid("gateway")).environ() | {"LITELLM_LOCAL_PORT": str(free_port())}


def hashed(key: str) -> str:
    """A virtual key as LiteLLM keeps it."""
    return sha256(key.encode()).hexdigest()


def spend_of(stack: Stack, key: str) -> list[float]:
    """In USD, request by request, as the database has it."""
    with psycopg.connect(stack.database_url) as connection:
        found = connection.execute('SELECT spend FROM "LiteLLM_SpendLogs" WHERE api_key = %s', [hashed(key)]).fetchall()
    return [spend for (spend,) in found]


class Asked:
    """A gateway, asked with the master key, or for keys of its own."""

    def __init__(self, client: httpx.Client, master_key: str) -> None:
        self._client = client
        self._master = {"Authorization": f"Bearer {master_key}"}

    def admin(self, path: str, **body: Any) -> dict[str, Any]:
        made: dict[str, Any] = self._client.post(path, json=body, headers=self._master).raise_for_status().json()
        return made

    def key(self, **settings: Any) -> str:
        return str(self.admin("/key/generate", **settings)["key"])


@contextmanager
def running(environment: Mapping[str, str], folder: Path, program: Sequence[str] = ("-m", "proxy.gateway")):
    """The URL of a gateway that is ready; stopped in the end. `program`: what Python is given."""
    url = f"http://127.0.0.1:{environment['LITELLM_LOCAL_PORT']}"
    log = folder / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, *program], env=dict(environment), stdout=output, stderr=output)
        try:
            _wait_until_ready(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(60)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the gateway ended: {log.read_text()[-3000:]}"
        try:
            if httpx.get(f"{url}/health/readiness", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the gateway is not ready: {log.read_text()[-3000:]}")

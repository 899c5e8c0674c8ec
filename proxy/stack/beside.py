"""A second, short-lived gateway beside the running one: same secrets, database and simulator, another catalogue.

For what the real limits are too wide to show, such as a 10-minute timeout. Called by `litellm-local drill`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import yaml

from proxy.catalog import Catalog
from proxy.render.litellm import litellm_config, litellm_yaml
from proxy.simulator import api_bases
from proxy.stack import ports
from proxy.stack.service import Event, Service, ServiceError, ServiceSpec
from proxy.stack.state import Run, StateDir

READY_SECONDS = 180.0
NAME = "gateway-beside"  # of its log


@asynccontextmanager
async def gateway_beside(
    run: Run, state: StateDir, catalog: Catalog, on_event: Callable[[Event], None] = lambda _: None
) -> AsyncIterator[str]:
    """The URL of a gateway that serves `catalog`, ready; stopped in the end.

    Raises ServiceError where the running gateway cannot be looked at or the second one does not come up.
    """
    port = ports.free_port()
    url = f"http://127.0.0.1:{port}"
    folder = state.root / NAME  # kept: LiteLLM's API description is made there once
    folder.mkdir(exist_ok=True)
    environment = {
        **_environment(run),
        **_write_configuration(folder, run, catalog),
        "LITELLM_LOCAL_HOST": "127.0.0.1",
        "LITELLM_LOCAL_PORT": str(port),
    }
    service = Service(
        ServiceSpec(
            name=NAME,
            command=_command(run),
            environment=environment,
            is_ready=lambda: _is_ready(url),
            stop_seconds=20,
        ),
        open_log=lambda: state.open_log(NAME),
        last_lines=lambda: state.last_lines(NAME),
        on_event=on_event,
        on_start=lambda _name, _pid, _restarts: None,
    )
    service.start()
    try:
        await service.wait_ready(READY_SECONDS)
        yield url
    finally:
        await service.stop()


def _write_configuration(folder: Path, run: Run, catalog: Catalog) -> dict[str, str]:
    """Both files of the gateway, and the variables that name them."""
    config, rendered = folder / "proxy.yaml", folder / "litellm.yaml"
    config.write_text(yaml.safe_dump(catalog.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    bases = api_bases(run.simulator_url) if run.simulator_url else None
    rendered.write_text(litellm_yaml(litellm_config(catalog, api_bases=bases)), encoding="utf-8")
    return {"LITELLM_LOCAL_CONFIG": str(config), "CONFIG_FILE_PATH": str(rendered)}


def _gateway(run: Run) -> psutil.Process:
    try:
        return psutil.Process(int(run.services["gateway"]["pid"]))
    except (KeyError, psutil.Error):
        raise ServiceError("the gateway is not running just now; look at: litellm-local status") from None


def _environment(run: Run) -> dict[str, str]:
    """What the running gateway was started with: its secrets and its database stand nowhere else in one place."""
    try:
        return dict(_gateway(run).environ())
    except psutil.Error as error:
        raise ServiceError(f"the running gateway is another user's ({error})") from None


def _command(run: Run) -> list[str]:
    try:
        return _gateway(run).cmdline()
    except psutil.Error as error:
        raise ServiceError(f"the running gateway is another user's ({error})") from None


async def _is_ready(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            return (await client.get(f"{url}/health/readiness")).status_code == 200
    except httpx.HTTPError:
        return False

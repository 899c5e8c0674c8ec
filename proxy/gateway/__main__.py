"""`python -m proxy.gateway`: reads the environment, imports LiteLLM, waits for the database, serves.

Started by the launcher, the container and Kubernetes. Exit codes: 2 when the environment or the configuration
is wrong (starting again cannot help), 1 when the database does not come or LiteLLM does not start (it can).
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys

from starlette.types import ASGIApp

from proxy.catalog import CatalogError, load_catalog
from proxy.database.errors import DatabaseError
from proxy.gateway import collecting, lazy
from proxy.gateway.settings import SettingsError, read_settings
from proxy.gateway.waiting import Waiting
from proxy.memory import give_back, keep_one_heap

WRONG_SETTINGS = 2
NOT_STARTED = 1

END_SECONDS = 15  # beyond the longest that a request may take, for its last bytes
KEEP_ALIVE_SECONDS = 75  # above what clients and nginx keep a connection for, so that they close it, not we

log = logging.getLogger("proxy.gateway")


def main() -> int:
    """Runs the gateway until it is told to stop; returns the exit code."""
    keep_one_heap()
    faulthandler.enable()  # a crash of Python itself leaves in the log what was running
    try:
        settings = read_settings(os.environ)
        catalog = load_catalog(settings.config)
    except (SettingsError, CatalogError) as error:
        return _fail(WRONG_SETTINGS, str(error))
    host = settings.host or catalog.gateway.host
    port = catalog.gateway.port if settings.port is None else settings.port
    try:
        listener = _bind(host, port)  # before the long import: a taken port is told at once
    except OSError as error:
        return _fail(NOT_STARTED, f"cannot listen on {host}:{port}: {error.strerror or error}")
    _log_to_stdout()
    database = Waiting(settings.database_url, settings.database_wait, lambda why: log.info("%s", why))
    database.begin()

    from proxy.render.litellm import litellm_environment

    os.environ.update(litellm_environment(catalog))
    os.environ.setdefault("LITELLM_LOG", "WARNING")
    if settings.simulator:
        os.environ.update(pass_through_bases(settings.simulator))
    # LiteLLM makes millions of objects that stay: collecting them while they are made doubles the import.
    gc.disable()
    lazy.before_import()
    from proxy.gateway.app import build_app
    from proxy.gateway.simulator import Simulator

    stopping = asyncio.Event()
    app = build_app(
        catalog,
        mode=settings.mode,
        cache=settings.cache or settings.litellm_config.parent,
        simulator=Simulator(settings.simulator, settings.control_key),
        stopping=stopping,
    )
    give_back()
    gc.freeze()
    if not collecting.by_hand():
        gc.enable()

    try:
        database.until_migrated()
    except DatabaseError as error:
        return _fail(NOT_STARTED, str(error))
    patience = catalog.limits.request_timeout_seconds + END_SECONDS
    return _serve(app, listener, stopping, settings.drain, max(settings.drain, patience))


def pass_through_bases(simulator: str) -> dict[str, str]:
    """Where LiteLLM's pass-through routes (/openai/..., /anthropic/..., /gemini/...) go in double mode.

    They take no model of the catalogue and know nothing of its base URLs: left alone they would send what a
    client wrote to the real providers.
    """
    return {
        "OPENAI_API_BASE": f"{simulator}/openai/",
        "ANTHROPIC_API_BASE": f"{simulator}/anthropic",
        "GEMINI_API_BASE": f"{simulator}/gemini",
    }


def _bind(host: str, port: int) -> socket.socket:
    """A socket that holds the port but does not listen yet: connections are refused until the gateway serves."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def _log_to_stdout() -> None:
    """Our lines and uvicorn's; LiteLLM brings a handler of its own, so the root logger stays without one."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name, level in (("proxy", logging.INFO), ("uvicorn", logging.WARNING)):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).propagate = False


def _serve(app: ASGIApp, listener: socket.socket, stopping: asyncio.Event, drain: float, patience: float) -> int:
    """Serves until SIGTERM or SIGINT. Requests under way then have `drain` seconds to end; after a SIGUSR1, which an
    upgrade sends before, `patience` seconds."""
    import uvicorn

    from proxy.gateway import ending
    from proxy.gateway.writes import GatheringProtocol

    class Server(ending.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.collecting = [asyncio.create_task(collecting.at_rest())]
            if collecting.by_hand():
                self.collecting.append(asyncio.create_task(collecting.between_callbacks()))

    config = uvicorn.Config(
        app,
        http=GatheringProtocol,
        lifespan="on",
        log_config=None,
        access_log=False,  # replies.py has its own, without queries
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=round(drain),
    )
    server = Server(config, stopping)

    def take_time() -> None:
        config.timeout_graceful_shutdown = round(patience)

    signal.signal(signal.SIGUSR1, lambda *_: take_time())
    try:
        server.run(sockets=[listener])
    except SystemExit:  # uvicorn's way to say that the app did not start
        return _fail(NOT_STARTED, "LiteLLM did not start; the cause is in the lines above")
    return 0


def _fail(code: int, message: str) -> int:
    sys.stderr.write(f"gateway: {' '.join(message.split())}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

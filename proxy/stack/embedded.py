"""The whole service on one machine with nothing but Python: Postgres, simulator and gateway as child processes.

`EmbeddedStack.start` brings them up side by side: LiteLLM's import is the long step, so the gateway starts
as soon as the engine is installed and waits for the database only once it has imported. Called by `up`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from proxy import secrets
from proxy.catalog import Catalog, load_catalog
from proxy.database.embedded import EmbeddedPostgres
from proxy.database.engine import engine_environment, prepare_engine
from proxy.database.migrations import Progress, masked_url, migrate
from proxy.render.litellm import litellm_config, litellm_yaml, live_base
from proxy.simulator import aliases, api_bases
from proxy.simulator.cassettes.load import read_file
from proxy.stack import ports
from proxy.stack.mode import (
    Asked,
    ModeChoice,
    asked_for_cassettes,
    check_master_key,
    choose_mode,
    without_providers,
)
from proxy.stack.service import Event, Service, ServiceSpec
from proxy.stack.state import MARKER, Run, StateDir
from proxy.stack.steps import Steps

if TYPE_CHECKING:
    from proxy.stack.container_database import ContainerPostgres

IN_CONTAINER = "compose"
READY_SECONDS = 180.0  # a gateway on a slow, shared machine; a quiet one takes a tenth


@dataclass(frozen=True)
class UpOptions:
    """What `litellm-local up` was asked for; None means as proxy.yaml says."""

    config: Path
    state: Path
    env_file: Path
    host: str | None = None
    port: int | None = None
    mode: Asked = "auto"
    without: tuple[str, ...] = ()
    database: str | None = None  # a postgresql:// URL; None: embedded; "compose": a container
    record: Path | None = None  # the cassette to record what the providers answer
    replay: Path | None = None  # the cassette that the double answers from


@dataclass
class Plan:
    """All that is decided before anything starts."""

    catalog: Catalog
    secrets: Mapping[str, str] = field(repr=False)
    choice: ModeChoice = field(repr=False)
    host: str
    port: int
    postgres_port: int
    simulator_port: int
    recorder_port: int
    database_url: str | None = field(repr=False)  # None: one that the launcher starts

    @property
    def url(self) -> str:
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{shown}:{self.port}"

    @property
    def simulator_url(self) -> str:
        return f"http://127.0.0.1:{self.simulator_port}"

    @property
    def recorder_url(self) -> str:
        return f"http://127.0.0.1:{self.recorder_port}"


def make_plan(options: UpOptions, state: StateDir) -> Plan:
    """Reads the configuration and the secrets, settles mode and ports.

    Raises CatalogError, SecretsError, ModeError, PortError or CassetteError; nothing has been started by then.
    """
    catalog = load_catalog(options.config)
    if options.without:
        catalog = without_providers(catalog, options.without)
    asked = asked_for_cassettes(options.mode, catalog, record=options.record, replay=options.replay)
    for cassette in (options.replay, options.record if options.record and options.record.exists() else None):
        if cassette:
            read_file(cassette)  # better told now than in the simulator's log
    host, port = options.host or catalog.gateway.host, options.port or catalog.gateway.port
    ports.require_free(host, port)
    values = secrets.ensure_secrets(options.env_file)
    choice = choose_mode(asked, catalog, {**values, **os.environ})
    check_master_key(choice.mode, values[secrets.MASTER_KEY], str(options.env_file))
    before = state.remembered_ports()
    postgres_port = ports.free_port(preferred=before.get("postgres"), avoid={port})
    simulator_port = ports.free_port(preferred=before.get("simulator"), avoid={port, postgres_port})
    recorder_port = ports.free_port(preferred=before.get("recorder"), avoid={port, postgres_port, simulator_port})
    state.remember_ports({"postgres": postgres_port, "simulator": simulator_port, "recorder": recorder_port})
    database_url = None if options.database == IN_CONTAINER else options.database or catalog.database.url
    return Plan(catalog, values, choice, host, port, postgres_port, simulator_port, recorder_port, database_url)


class EmbeddedStack:
    """The running stack. `start` it, then `run_until_stopped`, and always `stop` it."""

    def __init__(self, options: UpOptions, state: StateDir, steps: Steps, on_event: Callable[[Event], None]) -> None:
        self._options = options
        self._state = state
        self._steps = steps
        self._on_event = on_event
        self._services: list[Service] = []  # in the order of stopping
        self._begun: ContainerPostgres | None = None  # which is to be removed in the end
        self.plan = make_plan(options, state)
        self._database_url = self.plan.database_url or ""
        self._container: ContainerPostgres | None = None
        self._postgres = self._own_postgres()
        if self._postgres:
            self._database_url = self._postgres.url()
        double = self.plan.choice.mode == "double"
        self.run = Run(
            launcher_pid=os.getpid(),
            url=self.plan.url,
            mode=self.plan.choice.mode,
            config=str(options.config),
            env_file=str(options.env_file),
            database=(options.database or "embedded") if self._postgres else masked_url(self._database_url),
            simulator_url=self.plan.simulator_url if double else None,
            recorder_url=self.plan.recorder_url if options.record else None,
            recording=str(options.record) if options.record else None,
            replaying=str(options.replay) if options.replay else None,
            project=self._container.project if self._container else None,
            compose_files=[str(file) for file in self._container.files] if self._container else [],
        )
        state.write_run(self.run)

    def _own_postgres(self) -> EmbeddedPostgres | ContainerPostgres | None:
        if self.plan.database_url is not None:
            return None
        port, password = self.plan.postgres_port, self.plan.secrets[secrets.POSTGRES_PASSWORD]
        if self._options.database == IN_CONTAINER:
            from proxy.stack.container_database import ContainerPostgres  # with Docker's SDK: 8 MB

            self._container = ContainerPostgres(self._state, port, password, self._options.env_file)
            return self._container
        return EmbeddedPostgres(self._state.postgres, self._state.log("postgres"), port, password)

    async def start(self) -> None:
        """Brings everything up. Raises ServiceError, DatabaseError or EngineSetupError; call `stop` even then."""
        self._write_rendered()
        jobs = [self._bring_up_database(), self._bring_up_gateway()]
        if self.run.simulator_url:
            jobs.append(self._bring_up_simulator())
        if self.run.recorder_url:
            jobs.append(self._bring_up_recorder())
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def mark_ready(self, *, proven: bool | None) -> None:
        """Tells other commands that the service is up, and what the smoke checks said of it (None: not run)."""
        self.run.ready, self.run.proven = True, proven
        self._state.write_run(self.run)

    async def stop(self) -> None:
        """Stops the services in order: no request is cut off by its database going first."""
        order = {"gateway": 0, "simulator": 1, "recorder": 1, "postgres": 2}
        for service in sorted(self._services, key=lambda service: order[service.spec.name]):
            await service.stop()
        self._services.clear()
        if self._begun:
            await asyncio.to_thread(self._begun.remove)
        await asyncio.to_thread(self._state.stop_leftovers)
        self._state.clear_run()

    def kill(self) -> None:
        """Kills everything at once; what a second Ctrl-C asks for."""
        for service in self._services:
            service.kill()

    # -- steps -------------------------------------------------------------------------------------------

    def _write_rendered(self) -> None:
        upstream = self.run.simulator_url or self.run.recorder_url
        bases = api_bases(upstream) if upstream else None
        text = litellm_yaml(litellm_config(self.plan.catalog, api_bases=bases))
        (self._state.rendered / "litellm.yaml").write_text(text, encoding="utf-8")

    async def _bring_up_database(self) -> None:
        if self._postgres:
            postgres = self._postgres
            with self._steps.step("Postgres") as step:
                self._begun = self._container
                await asyncio.to_thread(postgres.prepare)
                environment = self._environment(postgres.environment())
                if self._begun:
                    del environment[MARKER]  # as a leftover it ends with its container, which is taken down in order
                service = self._service(
                    ServiceSpec(
                        name="postgres",
                        command=postgres.command(),
                        environment=environment,
                        is_ready=lambda: asyncio.to_thread(postgres.is_ready),
                        stop_signal=signal.SIGINT,  # fast shutdown; SIGTERM would wait for clients
                        user=postgres.user,
                        stop_seconds=60 if self._begun else 10,
                        cwd=str(postgres.folder),
                        before_start=postgres.stop_leftover,
                    )
                )
                await service.wait_ready(60)
                step.note(postgres.where)
        with self._steps.step("Migrations") as step:

            def tell(progress: Progress) -> None:
                step.say(f"{progress.done}/{progress.total} {progress.name}")

            if self._postgres:
                await asyncio.to_thread(self._postgres.create_database)
            report = await asyncio.to_thread(migrate, self._database_url, tell)
            step.note(f"{len(report.applied)} applied" if report.applied else "up to date")
        for warning in report.warnings:
            self._steps.say(f"! {warning}")

    async def _bring_up_simulator(self) -> None:
        with self._steps.step("Simulator") as step:
            service = self._service(
                ServiceSpec(
                    name="simulator",
                    command=[
                        sys.executable,
                        "-m",
                        "proxy.simulator",
                        "--port",
                        str(self.plan.simulator_port),
                        *(("--cassette", str(self._options.replay)) if self._options.replay else ()),
                    ],
                    environment=self._environment(self._simulator_environment()),
                    is_ready=lambda: _answers(f"{self.plan.simulator_url}/healthz"),
                    stop_seconds=5,
                )
            )
            await service.wait_ready(60)
            step.note(f"stands in for {', '.join(self.plan.catalog.providers)} on {self.plan.simulator_url}")

    async def _bring_up_recorder(self) -> None:
        bases = {name: live_base(provider) for name, provider in self.plan.catalog.providers.items()}
        with self._steps.step("Recorder") as step:
            service = self._service(
                ServiceSpec(
                    name="recorder",
                    command=[
                        sys.executable,
                        "-m",
                        "proxy.simulator.cassettes",
                        str(self._options.record),
                        "--port",
                        str(self.plan.recorder_port),
                        *(word for name, base in bases.items() for word in ("--base", f"{name}={base}")),
                    ],
                    environment=self._environment({}),
                    is_ready=lambda: _answers(f"{self.plan.recorder_url}/healthz"),
                    stop_seconds=5,
                )
            )
            await service.wait_ready(60)
            step.note(f"records what {', '.join(bases)} answer into {self._options.record}")

    async def _bring_up_gateway(self) -> None:
        with self._steps.step("Engine") as step:
            await asyncio.to_thread(prepare_engine, self._state.engine_home, step.say)
        with self._steps.step("Gateway") as step:
            step.say("importing LiteLLM")
            service = self._service(
                ServiceSpec(
                    name="gateway",
                    command=[sys.executable, "-m", "proxy.gateway"],
                    environment=self._gateway_environment(),
                    is_ready=self._gateway_is_ready,
                    stop_seconds=20,
                )
            )
            await service.wait_ready(READY_SECONDS)
            step.note(f"LiteLLM with {len(self.plan.catalog.models)} models on {self.plan.url}")

    async def _gateway_is_ready(self) -> bool:
        key = self.plan.secrets[secrets.MASTER_KEY]
        return await _answers(f"{self.plan.url}/health/readiness") and await _has_probed(self.plan.url, key)

    # -- children ----------------------------------------------------------------------------------------

    def _service(self, spec: ServiceSpec) -> Service:
        service = Service(
            spec,
            open_log=lambda: self._state.open_log(spec.name),
            last_lines=lambda: self._state.last_lines(spec.name),
            on_event=self._on_event,
            on_start=self._note_start,
        )
        self._services.append(service)
        service.start()
        return service

    def _note_start(self, name: str, pid: int, restarts: int) -> None:
        self.run.services[name] = {"pid": pid, "restarts": restarts, "started_at": time.time()}
        self._state.write_run(self.run)

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """What a child sees: this environment less every secret, plus what is meant for it, plus the marker."""
        hidden = {provider.key_env for provider in load_catalog(self._options.config).providers.values()}
        hidden |= set(self.plan.secrets)
        base = {name: value for name, value in os.environ.items() if name not in hidden}
        return {**base, "PYTHONUNBUFFERED": "1", **extra, MARKER: str(self._state.root)}

    def _simulator_environment(self) -> dict[str, str]:
        names = {alias: (model.provider, model.upstream) for alias, model in self.plan.catalog.models.items()}
        return {secrets.CONTROL_KEY: self.plan.secrets[secrets.CONTROL_KEY], aliases.VARIABLE: json.dumps(names)}

    def _gateway_environment(self) -> dict[str, str]:
        plan = self.plan
        extra: dict[str, Any] = {
            **engine_environment(self._state.engine_home, self._database_url),
            **plan.choice.keys,
            "LITELLM_LOCAL_CONFIG": str(self._options.config),
            "CONFIG_FILE_PATH": str(self._state.rendered / "litellm.yaml"),
            "LITELLM_LOCAL_MODE": plan.choice.mode,
            "LITELLM_LOCAL_HOST": plan.host,
            "LITELLM_LOCAL_PORT": str(plan.port),
            "LITELLM_LOCAL_DATABASE_WAIT": str(READY_SECONDS),
            secrets.MASTER_KEY: plan.secrets[secrets.MASTER_KEY],
            secrets.SALT_KEY: plan.secrets[secrets.SALT_KEY],
        }
        if plan.choice.mode == "double":
            extra[secrets.CONTROL_KEY] = plan.secrets[secrets.CONTROL_KEY]
            extra["LITELLM_LOCAL_SIMULATOR"] = plan.simulator_url
        return self._environment(extra)


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False


async def _has_probed(url: str, key: str) -> bool:
    """Whether /health has the result of a first probe cycle."""
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            answer = await client.get(f"{url}/health", headers={"Authorization": f"Bearer {key}"})
            return answer.status_code == 200 and "healthy_count" in answer.json()
    except (httpx.HTTPError, ValueError):
        return False

"""The service in containers of this machine, by docker-compose.yml: the same verbs as the embedded stack's.

`ComposeStack.start` brings it up or up to date; there is no process of ours afterwards, Docker keeps it up. What is
up stands in the state folder's run file, from which `compose_of` finds the project again. Called by `up` and `down`.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from proxy.catalog import project_root
from proxy.database.errors import masked_url
from proxy.render.compose import needs_certbot
from proxy.stack import ports, reach
from proxy.stack.compose_plan import COMPOSE_ENV, DATABASE_ENV, ComposePlan
from proxy.stack.docker import Compose, ComposeError, Container, DockerError, Engine
from proxy.stack.state import Run, StateDir
from proxy.stack.steps import Step, Steps

Pull = Literal["always", "missing", "never"]

READY_SECONDS = 300.0  # all containers, the first start of a database included
CERTIFICATE_SECONDS = 60.0
HOPELESS_RESTARTS = 3
MEMORY_NEEDED = 1_500_000_000  # bytes, as the doctor has it
DISK_NEEDED, DISK_NEEDED_FOR_IMAGES = 500_000_000, 4_000_000_000
SOURCE_LABEL = "litellm-local.source"
# What only some starts want: taken away where this one does not. Others' profiles are their own.
BY_PROFILE = {"simulator": "double", "edge": "edge", "certbot": "tls", "valkey": "scale"}
READ_AT_START = {"postgres", "simulator", "gateway", "valkey"}  # their files; the edge looks at its own all the time
# What the gateway's image is made from, but for config/proxy.yaml: the rendered one takes its place.
IMAGE_SOURCES = ("Dockerfile", "requirements.lock", "scripts/image_lock.py", "proxy")


class StackError(DockerError):
    """A container does not come up. The message names it; `log` has its last lines."""

    def __init__(self, message: str, log: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.log = list(log)


@dataclass(frozen=True)
class Images:
    """What is to be done about images. `build` None: where the gateway's is missing or of another checkout's state."""

    build: bool | None = None
    pull: Pull = "missing"


def compose_of(run: Run, state: StateDir) -> Compose:
    """The project that the run file tells of."""
    files = tuple(map(Path, run.compose_files))
    env_file = state.root / (COMPOSE_ENV if run.stack == "compose" else DATABASE_ENV)
    return Compose(run.project or "", project_root(), files, env_file if env_file.exists() else None)


class ComposeStack:
    """The containers of a plan. Whatever `start` raises, they stay as they are then: `stop` is the caller's."""

    def __init__(self, plan: ComposePlan, state: StateDir, steps: Steps, images: Images) -> None:
        self.plan = plan
        self._state = state
        self._steps = steps
        self._images = images
        self._engine: Engine | None = None
        self.restarts: dict[str, int] = {}  # before this start
        for file in plan.compose_files:
            if not file.exists():
                raise DockerError(f"{file} is missing. The containers are started from a checkout of litellm-local.")
        own = plan.options.database or plan.catalog.database.url
        self.run = Run(
            launcher_pid=os.getpid(),
            url=plan.url,
            mode=plan.choice.mode,
            config=str(plan.options.config),
            env_file=str(plan.options.env_file),
            database=masked_url(own) if own else "compose",
            stack="compose",
            project=plan.project,
            compose_files=[str(file) for file in plan.compose_files],
            layout=plan.options.layout,
            address=_reached_at(plan) if plan.options.edge else None,
        )
        self.compose = compose_of(self.run, state)
        self.was_up = False  # before this start
        self.has_begun = False

    @property
    def engine(self) -> Engine:
        assert self._engine is not None  # noqa: S101 - start() begins with it
        return self._engine

    def start(self) -> None:
        """Brings everything up, or up to date. Raises DockerError, or what it was interrupted by."""
        with self._steps.step("Docker") as step:
            self.look_around()
            step.note(f"engine {self.engine.version}, project {self.plan.project}")
        changed = self.plan.changed()
        self.plan.write()
        self.compose = compose_of(self.run, self._state)  # now there is a compose.env
        with self._steps.step("Images") as step:
            self.prepare_images(step)
        self._state.write_run(self.run)
        self.has_begun = True
        with self._steps.step("Containers") as step:
            self.bring_up(step, changed)
        if self.plan.https:
            reach.keep_certificate(self._state)
            with self._steps.step("Certificate") as step:
                self._wait_certified(step)

    def mark_ready(self, *, proven: bool | None) -> None:
        """Tells other commands that the service is up, and what the smoke checks said of it (None: not run)."""
        self.run.ready, self.run.proven = True, proven
        self._state.write_run(self.run)

    def stop(self) -> None:
        """Stops and removes the containers, in order. The data stays."""
        take_down(self.compose, self._state)

    # -- before anything starts ----------------------------------------------------------------------------

    def look_around(self) -> None:
        self._engine = Engine.connect()
        there = self.engine.containers(self.plan.project)
        self._check_owner(there)
        self.was_up = any(one.state == "running" for one in there)
        self.restarts = {one.id: one.restarts for one in there}
        lacking = not self.engine.image_exists(gateway_image(self.plan))
        self.engine.require_room(disk=DISK_NEEDED_FOR_IMAGES if lacking else DISK_NEEDED, memory=MEMORY_NEEDED)
        published = {port for one in there if one.state == "running" for port in one.published}
        for host, port, option in self._ports():
            if port not in published:
                ports.require_free_for_docker(host, port, option)

    def _check_owner(self, there: Sequence[Container]) -> None:
        """Raises DockerError where the project's containers read another state folder."""
        if other := other_folder(there, self._state):
            raise DockerError(
                f"the Compose project {self.plan.project} runs from another state folder ({other}). "
                "Stop it there, or give this one a name of its own: LITELLM_LOCAL_PROJECT=name"
            )

    def _ports(self) -> list[tuple[str, int, str]]:
        options = self.plan.options
        if not options.edge:
            return [("127.0.0.1", int(str(self.plan.variables["LITELLM_LOCAL_PORT"])), "--port")]
        host = str(self.plan.variables.get("LITELLM_LOCAL_EDGE_HOST", "0.0.0.0"))  # noqa: S104 - the edge's default
        return [(host, options.http_port, "--http-port"), (host, options.https_port, "--https-port")]

    # -- images --------------------------------------------------------------------------------------------

    def prepare_images(self, step: Step) -> None:
        images = self._service_images()
        own = images["gateway"]
        done = []
        if self._wants_build(own):
            policy = ["--pull"] if self._images.pull == "always" else []
            self._compose({"LITELLM_LOCAL_SOURCE": source_of(self.plan.variables)}).run(
                "build", *policy, "gateway", on_line=lambda line: step.say(line.strip())
            )
            done.append("gateway built")
        others = [service for service, image in images.items() if image != own or not self._builds()]
        lacking = [one for one in others if not self.engine.image_exists(images[one])]
        if self._images.pull == "always" or (self._images.pull == "missing" and lacking):
            asked = others if self._images.pull == "always" else lacking
            self.compose.run("pull", *asked, on_line=lambda line: step.say(line.strip()))
            done.append(f"pulled for {', '.join(asked)}")
        step.note(", ".join(done) or "all there")

    def _compose(self, variables: Mapping[str, str]) -> Compose:
        return replace(self.compose, variables=variables)

    def _service_images(self) -> dict[str, str]:
        """Service -> image, of the services wanted."""
        services = json.loads(self.compose.output("config", "--format", "json"))["services"]
        return {name: str(service["image"]) for name, service in services.items()}

    def _builds(self) -> bool:
        """Whether the gateway's image is made here, and not one of somebody's that is named by the variable."""
        if self._images.build is not None:
            return self._images.build
        return "LITELLM_LOCAL_GATEWAY_IMAGE" not in self.plan.variables

    def _wants_build(self, own: str) -> bool:
        if self._images.build or not self._builds():
            return bool(self._images.build)
        return self.engine.image_label(own, SOURCE_LABEL) != source_of(self.plan.variables)

    # -- containers ----------------------------------------------------------------------------------------

    def bring_up(self, step: Step, changed: set[str]) -> None:
        here = {one.service for one in self.engine.containers(self.plan.project) if one.state == "running"}
        profiles = str(self.plan.variables.get("COMPOSE_PROFILES") or "").split(",")
        unwanted = sorted(here & {name for name, profile in BY_PROFILE.items() if profile not in profiles})
        if unwanted:
            self._compose_all().run("rm", "--stop", "--force", *unwanted)
        if stale := sorted(changed & here & READ_AT_START):
            step.say(f"restarting {', '.join(stale)}: what they read has changed")
            self.compose.run("stop", *stale)

        def watch() -> None:
            containers = self.engine.containers(self.plan.project)
            step.say(summary(containers))
            self.fail_on(hopeless(containers, self.restarts))

        try:
            self.compose.run("up", "--detach", "--no-build", "--pull", "never", watch=watch)
        except ComposeError:
            self.fail_on(failed(self.engine.containers(self.plan.project)))
            raise
        self._wait_up(watch)
        step.note(summary(self.engine.containers(self.plan.project)))

    def _compose_all(self) -> Compose:
        return replace(self.compose, profiles=("*",))

    def _wait_up(self, watch: Callable[[], None]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            containers = self.engine.containers(self.plan.project)
            waiting = [one for one in containers if not one.is_up and one.exit_code != 0]
            if not waiting:
                return
            self.fail_on(next((one for one in waiting if one.health == "unhealthy"), None))
            if time.monotonic() > deadline:
                self.fail_on(waiting[0])
            watch()
            time.sleep(0.3)

    def fail_on(self, container: Container | None) -> None:
        if container is not None:
            raise StackError(told(container), self.engine.last_lines(container))

    # -- certificate ---------------------------------------------------------------------------------------

    def _wait_certified(self, step: Step) -> None:
        """Gives the authority a minute for the first certificate. Without one the service is up all the same."""
        own = reach.own_certificate(self._state)
        certified = needs_certbot(self.plan.catalog)
        deadline = time.monotonic() + (CERTIFICATE_SECONDS if certified else 0)
        while (shown := reach.certificate_shown(self.run)) in (None, own):
            certbot = [one for one in self.engine.containers(self.plan.project) if one.service == "certbot"]
            lines = self.engine.last_lines(certbot[0], 5) if certbot else []
            if time.monotonic() >= deadline or any("no certificate" in line for line in lines):
                step.note(f"self-signed, for clients to trust: {self._state.certificate}")
                if certified and shown is not None:
                    self._warn_uncertified(lines)
                return
            step.say(f"waiting for one for {self.plan.catalog.edge.domain}")
            time.sleep(0.5)
        step.note(f"issued for {self.plan.catalog.edge.domain}, renewed by itself")

    def _warn_uncertified(self, lines: Sequence[str]) -> None:
        name = self.plan.catalog.edge.domain
        self._steps.say(
            f"! No certificate for {name} yet; certbot goes on trying. Does that name lead to this machine, and are "
            "its ports 80 and 443 open to the outside? See: litellm-local logs certbot"
        )
        for line in lines:
            self._steps.say(f"    {line}")


def other_folder(there: Sequence[Container], state: StateDir) -> Path | None:
    """The state folder that containers of a project were started from, where it is not this one."""
    folders = {Path(one.env_file).parent for one in there if one.env_file}
    return next(iter(sorted(folders - {state.root})), None)


def take_down(compose: Compose, state: StateDir, *, volumes: bool = False) -> None:
    """Stops and removes a project's containers and networks; its volumes, which hold the data, only if asked."""
    every = replace(compose, profiles=("*",))
    every.run("down", "--remove-orphans", *(["--volumes"] if volumes else []))
    state.clear_run()


def source_of(variables: Mapping[str, object]) -> str:
    """A digest of all that the gateway's image is made from, but for what its base has inside."""
    digest = hashlib.sha256()
    for name in ("LITELLM_LOCAL_TARGET", "LITELLM_LOCAL_PYTHON_IMAGE", "LITELLM_LOCAL_LITELLM_IMAGE"):
        digest.update(f"{name}={variables.get(name)}\n".encode())
    root = project_root()
    for source in IMAGE_SOURCES:
        path = root / source
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in files:
            if file.is_file() and not {"__pycache__", "node_modules"} & set(file.parts):
                digest.update(f"{file.relative_to(root)} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def gateway_image(plan: ComposePlan) -> str:
    return str(plan.variables.get("LITELLM_LOCAL_GATEWAY_IMAGE", "litellm-local:latest"))


def _reached_at(plan: ComposePlan) -> str:
    host = str(plan.variables.get("LITELLM_LOCAL_EDGE_HOST", "0.0.0.0"))  # noqa: S104 - compared, not bound
    return "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104


# -- what containers tell ----------------------------------------------------------------------------------


def summary(containers: Sequence[Container]) -> str:
    """All of them in a line: who is up, and who is at what."""
    return ", ".join(f"{one.label} {_condition(one)}" for one in containers)


def _condition(one: Container) -> str:
    if one.state == "exited" and one.exit_code == 0:
        return "done"
    if one.state == "running":
        return one.health or "running"
    return one.state


def hopeless(containers: Sequence[Container], before: Mapping[str, int]) -> Container | None:
    """One that Docker starts again and again, seen while it is down, so that it tells how it ended.

    `before` has each one's restarts at the beginning, by id.
    """
    ended = (one for one in containers if one.exit_code is not None)
    return next((one for one in ended if one.restarts - before.get(one.id, 0) >= HOPELESS_RESTARTS), None)


def failed(containers: Sequence[Container]) -> Container | None:
    """The one to blame where Compose gave up: what ended or could not begin, before what is only unhealthy."""
    blamed = (
        lambda one: bool(one.error),
        lambda one: one.exit_code not in (None, 0),
        lambda one: one.health == "unhealthy",
    )
    return next((one for is_blamed in blamed for one in containers if is_blamed(one)), None)


def told(one: Container) -> str:
    """What is wrong with a container, for the user."""
    if one.error:
        what = f"cannot be started: {one.error}"
    elif one.out_of_memory:
        what = "was killed: it needs more memory than it may have"
    elif one.exit_code is not None:
        again = f", {one.restarts} times over" if one.restarts else ""
        what = f"ends with exit code {one.exit_code}{again}"
    elif one.health in ("unhealthy", "starting"):
        probe = f"; its health check says: {' '.join(one.probe.split())[-300:]}" if one.probe else ""
        what = f"is {'unhealthy' if one.health == 'unhealthy' else 'not healthy in time'}{probe}"
    else:
        what = f"is {one.state}"
    return f"the container {one.name} ({one.image}) {what}.\nLook at: litellm-local logs {one.service}"

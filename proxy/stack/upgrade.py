"""Running containers brought to a new image: migrations first, then one gateway after the other, back where it fails.

Behind the edge no request fails meanwhile: a new gateway is up and asked before an old one ends, and that one ends
when its last request has. Called by `upgrade`.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from proxy.stack.compose import READY_SECONDS, ComposeStack, StackError, gateway_image, hopeless
from proxy.stack.compose_plan import COMPOSE_ENV
from proxy.stack.docker import Container, DockerError
from proxy.stack.files import write_files
from proxy.stack.state import StateDir
from proxy.stack.steps import Step, Steps

KEPT = "litellm-local:before-upgrade"
KNOWN_SECONDS = 30.0  # for the edge to ask a new gateway; it looks for them every 5 seconds
MOST_PROBES = 4  # a second, to see which gateways the edge asks
TAKE_TIME = "SIGUSR1"  # to a gateway: its requests may take as long as requests may


class Upgrade:
    """One upgrade of the stack that runs. Whatever `run` raises, `roll_back` goes back to what was there before."""

    def __init__(self, stack: ComposeStack, state: StateDir, steps: Steps) -> None:
        self.stack = stack
        self._state = state
        self._steps = steps
        self._files: dict[str, str] = {}  # as they were
        self._old: set[str] = set()  # the gateways' containers
        self._image = self._name = ""  # of the gateways: the old image's id and the name that it had
        self._changed: set[str] = set()  # services that read a file which was not as it is to be
        self.has_begun = False  # whether there is anything to go back from

    @property
    def _gateways(self) -> list[Container]:
        return [one for one in self.stack.engine.containers(self.stack.plan.project) if one.service == "gateway"]

    @property
    def _drain_seconds(self) -> int:
        return round(self.stack.plan.catalog.limits.request_timeout_seconds) + 20

    def run(self, before_migrations: Callable[[Step], None]) -> bool:
        """Upgrades; whether there was anything to do. Raises DockerError, or what it was interrupted by."""
        stack = self.stack
        with self._steps.step("Docker") as step:
            stack.look_around()
            there = self._gateways
            if not there:
                raise DockerError("no gateway is there to upgrade. Start the service: litellm-local up --stack compose")
            self._remember(there)
            step.note(f"engine {stack.engine.version}, project {stack.plan.project}")
        self._changed = stack.plan.changed()
        self.has_begun = True
        stack.plan.write()
        with self._steps.step("Images") as step:
            stack.prepare_images(step)
        if self._is_current(there) and not self._changed:
            self.has_begun = False
            return False
        with self._steps.step("Backup") as step:
            before_migrations(step)
        with self._steps.step("Migrations") as step:
            self._migrate(step)
        with self._steps.step("Gateways") as step:
            self._replace(there, step)
        with self._steps.step("Containers") as step:
            self._renew_the_rest(step)
        return True

    def roll_back(self) -> None:
        """Back to the image and the files of before. The database keeps its migrations: they only add to it."""
        stack = self.stack
        with self._steps.step("Back to before") as step:
            write_files(self._state.root, self._files)
            repository, _, tag = self._name.rpartition(":")
            stack.engine.client.images.get(self._image).tag(repository or self._name, tag=tag if repository else None)
            new = [one for one in self._gateways if one.id not in self._old]
            for one in [one for one in new if not one.is_up]:
                stack.engine.client.containers.get(one.id).remove(force=True)
            self._migrate(step)
            self._replace([one for one in new if one.is_up], step)
            self._renew_the_rest(step)

    # -- before --------------------------------------------------------------------------------------------

    def _remember(self, gateways: list[Container]) -> None:
        """Keeps what a way back needs. The image has a second name, lest a prune takes it."""
        self._old = {one.id for one in gateways}
        self._name, self._image = gateways[0].image, self._image_id(gateways[0])
        repository, _, tag = KEPT.partition(":")
        self.stack.engine.client.images.get(self._image).tag(repository, tag=tag)
        for name in (*self.stack.plan.files, COMPOSE_ENV):
            path = self._state.root / name
            if path.exists():
                self._files[name] = path.read_text(encoding="utf-8")

    def _image_id(self, container: Container) -> str:
        return str(self.stack.engine.client.containers.get(container.id).attrs["Image"])

    def _is_current(self, gateways: list[Container]) -> bool:
        wanted = self.stack.engine.client.images.get(gateway_image(self.stack.plan)).id
        return all(self._image_id(one) == wanted for one in gateways)

    def _migrate(self, step: Step) -> None:
        """By the image that is current now, while the gateways serve."""
        self._up("migrate")
        while (one := self._one("migrate")) is not None and one.exit_code is None:
            step.say((self.stack.engine.last_lines(one, 1) or [""])[-1].strip())
            time.sleep(0.3)
        if one is None or one.exit_code:
            self.stack.fail_on(one)
            raise StackError("the migrations' container is gone")
        step.note("as the new image has them")

    def _one(self, service: str) -> Container | None:
        there = self.stack.engine.containers(self.stack.plan.project)
        return next((one for one in there if one.service == service), None)

    def _up(self, *arguments: str) -> None:
        """`docker compose up` of some services and what they need. Of all at once, Compose would stop the gateways as
        soon as it renews what they need, and the edge with them."""
        self.stack.compose.run("up", "--detach", "--no-build", "--pull", "never", *arguments)

    def _renew_the_rest(self, step: Step) -> None:
        """What is not yet of the image and the files that are current now. The gateways are."""
        if self._one("simulator") is not None:
            step.say("the simulator, which begins with the scripts of its start")
            self._up("simulator")
        self.stack.bring_up(step, self._changed - {"gateway", "edge", "migrate"})

    # -- one after the other -------------------------------------------------------------------------------

    def _replace(self, old: list[Container], step: Step) -> None:
        """A gateway of the image that is current now for each of `old`."""
        if not self.stack.plan.options.edge:
            if old:
                step.say("without the edge, requests fail until the new gateway is up")
                self._up("gateway")
                self._wait_up({one.id for one in self._gateways}, step)
            step.note("replaced")
            return
        for number, one in enumerate(old, 1):
            which = f"{number} of {len(old)}"
            known = {other.id for other in self._gateways}
            self._up("--no-recreate", "--scale", f"gateway={len(known) + 1}", "gateway")
            new = {other.id for other in self._gateways} - known
            self._wait_up(new, step, f"{which}: ")
            step.say(f"{which}: waiting for the edge to ask it")
            self._wait_asked(new)
            step.say(f"{which}: the old one ends when its last request has")
            self._retire(one)
        step.note(f"{len(old)} replaced, one after the other")

    def _wait_up(self, ids: set[str], step: Step, which: str = "") -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            ours = [one for one in self._gateways if one.id in ids]
            if ours and all(one.is_up for one in ours):
                return
            wrong = hopeless(ours, {}) or next((one for one in ours if one.health == "unhealthy"), None)
            if wrong is None and time.monotonic() > deadline:
                wrong = next((one for one in ours if not one.is_up), None)
            if wrong is not None or not ours:
                self.stack.fail_on(wrong)
                raise StackError("the new gateway is gone")
            step.say(f"{which}the new one is {ours[0].health or ours[0].state}")
            time.sleep(0.3)

    def _wait_asked(self, ids: set[str]) -> None:
        """Asks through the edge until each of these has answered. The edge's log tells who did."""
        client = self.stack.engine.client
        edges = [one for one in self.stack.engine.containers(self.stack.plan.project) if one.service == "edge"]
        if not edges:
            raise DockerError("the edge does not run. Bring it up: litellm-local up --stack compose --edge")
        wanted = {_address(client.containers.get(one).attrs["NetworkSettings"]["Networks"]) for one in ids}
        deadline = time.monotonic() + KNOWN_SECONDS
        while wanted:
            _ask(self.stack.run.url, self.stack.run.address)
            wanted -= _answered(self.stack.engine.last_lines(edges[0], 200))
            if wanted and time.monotonic() > deadline:
                raise StackError("the edge does not ask the new gateway", self.stack.engine.last_lines(edges[0]))
            time.sleep(1 / MOST_PROBES)

    def _retire(self, one: Container) -> None:
        container = self.stack.engine.client.containers.get(one.id)
        container.kill(TAKE_TIME)
        container.client.api.stop(one.id, timeout=self._drain_seconds)
        container.remove(force=True)


def _address(networks: Mapping[str, Mapping[str, object]]) -> str:
    """On the network that the edge is on."""
    return next(str(of["IPAddress"]) for name, of in networks.items() if name.endswith("_front"))


def _answered(lines: list[str]) -> set[str]:
    """Addresses of the gateways that the edge's log has as having answered."""
    found = set()
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and str(entry.get("status")) == "200":
            found.add(str(entry.get("gateway")).split(", ")[-1].rpartition(":")[0])
    return found


def _ask(url: str, address: str | None) -> None:
    """One request for what every gateway answers, to the edge on this machine, whatever certificate it shows."""
    parts = urlsplit(url)
    host = address or parts.hostname or "127.0.0.1"
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, parts.port or 443, timeout=10, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port or 80, timeout=10)
    try:
        connection.request("GET", "/health/liveliness", headers={"Host": parts.netloc})
        connection.getresponse().read()
    except OSError:
        pass
    finally:
        connection.close()

"""`litellm-local upgrade` of two gateways behind the edge while clients ask: to a new image, and back from bad ones."""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.containers.edge import Edge
from tests.containers.engine import GATEWAY_IMAGE, STAND_IN, TAG, build_stand_ins, docker, run_docker
from tests.containers.launcher import Foreground, Launcher

IMAGE = f"{STAND_IN}/upgraded:{TAG}"
WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
SLOW = {
    "when": {"text": {"equals": "slowly"}},
    "reply": {"text": WORDS, "timing": {"tokens_per_second": 2}},
}
ENTRYPOINT = 'ENTRYPOINT ["sh", "-c", "%s; exec python -m proxy.container \\"$@\\"", "-"]'
BROKEN_GATEWAY = ENTRYPOINT % '[ \\"$1\\" != gateway ] || { echo it does not even begin; exit 7; }'
BROKEN_MIGRATION = ENTRYPOINT % '[ \\"$1\\" != migrate ] || { echo this migration is no good; exit 8; }'


def make_image(*lines: str) -> str:
    """IMAGE anew: the project's own, with these lines of a Dockerfile on top; its id."""
    dockerfile = "\n".join([f"FROM {GATEWAY_IMAGE}", f'LABEL made="{time.time()}"', *lines])
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = run_docker("build", "--tag", IMAGE, "-", input=dockerfile, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return docker("image", "inspect", "--format", "{{.Id}}", IMAGE).strip()


@pytest.fixture(scope="module")
def launcher(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    build_stand_ins("nginx", "valkey")
    variables = {"LITELLM_LOCAL_GATEWAY_IMAGE": IMAGE}
    launcher = Launcher(tmp_path_factory.mktemp("upgrade"), variables=variables)
    make_image()
    try:
        launcher.up("--mode", "double", "--replicas", "2", "--no-smoke", *launcher.edge)
        script(launcher)
        yield launcher
    finally:
        launcher.clean()
        docker("rmi", "--force", IMAGE, "litellm-local:before-upgrade")


def edge_of(launcher: Launcher) -> Edge:
    return Edge(launcher.project, launcher.http_port, launcher.https_port)


def script(launcher: Launcher) -> None:
    """What the simulator is to say slowly."""
    edge_of(launcher).control("PUT", "/script", {"rules": [SLOW]})


def gateways(launcher: Launcher) -> dict[str, str]:
    """Container -> id of its image."""
    ids = edge_of(launcher).gateways().values()
    return {one["Id"]: one["Image"] for one in json.loads(docker("inspect", *ids))}


class Clients:
    """Some that ask again and again, and some that listen to slow streams, until the end."""

    def __init__(self, launcher: Launcher) -> None:
        self.served = self.streams = 0
        self.failures: list[str] = []
        self._ignored = False
        self._edge = edge_of(launcher)
        self._stop = threading.Event()
        jobs = (self._ask, self._ask, self._ask, self._listen, self._listen)
        self._threads = [threading.Thread(target=self._run, args=(job,)) for job in jobs]

    def _run(self, job: Any) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        headers = {"Authorization": f"Bearer {self._edge.key}"}
        base = f"https://127.0.0.1:{self._edge.https_port}"
        while not self._stop.is_set():
            try:
                with httpx.Client(
                    base_url=base, headers=headers, verify=context, timeout=60, trust_env=False
                ) as client:
                    while not self._stop.is_set():
                        job(client)
            except (httpx.HTTPError, AssertionError) as error:
                if self._ignored:
                    return
                self.failures.append(f"{time.strftime('%X')} {job.__name__}: {error!r}")

    def _ask(self, client: httpx.Client) -> None:
        answer = client.post("/v1/chat/completions", json=body("quickly"))
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        self.served += 1
        self._stop.wait(0.1)

    def _listen(self, client: httpx.Client) -> None:
        said = ""
        with client.stream("POST", "/v1/chat/completions", json={**body("slowly"), "stream": True}) as answer:
            assert answer.status_code == 200, answer.read()
            lines = [line for line in answer.iter_lines() if line.startswith("data: {")]
        for line in lines:
            event = json.loads(line[6:])
            assert "choices" in event, line
            said += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
        assert said == WORDS, said
        self.streams += 1

    def ignore_the_rest(self) -> None:
        """What fails from now on does not count; nothing new is asked."""
        self._ignored = True
        self._stop.set()

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def body(text: str) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}


@contextmanager
def asked_all_along(launcher: Launcher) -> Iterator[Clients]:
    """Clients that see no request fail."""
    with Clients(launcher) as clients:
        yield clients
    assert clients.failures == []
    assert clients.served > 20
    assert clients.streams >= 2


def test_an_upgrade_under_load_fails_no_request(launcher: Launcher) -> None:
    before = gateways(launcher)
    new = make_image()
    with asked_all_along(launcher) as clients:
        upgrade = Foreground(launcher, command="upgrade")
        upgrade.until("✓ Gateways", 600)
        clients.ignore_the_rest()  # now the simulator is renewed, too, which breaks the streams off that it is at
    assert upgrade.process.wait(300) == 0, upgrade.text
    print(f"{clients.served} requests and {clients.streams} streams were served during an upgrade\n{upgrade.text}")
    assert "2 replaced, one after the other" in upgrade.text
    after = gateways(launcher)
    assert set(after.values()) == {new}
    assert len(after) == 2
    assert not set(after) & set(before)
    assert [path.stat().st_mode & 0o77 for path in (launcher.folder / "state" / "backups").iterdir()] == [0]
    assert "nothing to upgrade" in launcher.succeed("upgrade")
    assert gateways(launcher) == after
    script(launcher)


def test_a_gateway_that_does_not_begin_is_taken_back(launcher: Launcher) -> None:
    before = gateways(launcher)
    make_image(BROKEN_GATEWAY)
    with asked_all_along(launcher):
        said = launcher.fail("upgrade")
    assert "    it does not even begin" in said
    assert "ends with exit code 7" in said
    assert "All is as it was" in said
    assert gateways(launcher) == before
    assert docker("image", "inspect", "--format", "{{.Id}}", IMAGE).strip() in before.values()
    assert "nothing to upgrade" in launcher.succeed("upgrade")


def test_a_migration_that_fails_changes_no_gateway(launcher: Launcher) -> None:
    before = gateways(launcher)
    make_image(BROKEN_MIGRATION)
    with asked_all_along(launcher):
        said = launcher.fail("upgrade")
    assert "    this migration is no good" in said
    assert gateways(launcher) == before


def test_only_what_runs_in_containers_is_upgraded(tmp_path_factory: pytest.TempPathFactory) -> None:
    nowhere = Launcher(tmp_path_factory.mktemp("nowhere"))
    assert "not running here" in nowhere.fail("upgrade", code=3)

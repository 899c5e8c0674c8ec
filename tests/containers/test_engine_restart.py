"""The engine itself goes: in order, as when a machine is rebooted, and without a word. On an engine of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.conftest import until
from tests.containers.engine import GATEWAY_IMAGE, STAND_INS, build_stand_ins, run_docker
from tests.containers.launcher import Launcher

IMAGES = (GATEWAY_IMAGE, *(STAND_INS[f"LITELLM_LOCAL_{name}_IMAGE"] for name in ("POSTGRES", "NGINX")))
BACK_SECONDS = 300


@dataclass
class OwnEngine:
    """A dockerd beside the machine's, with its own data and a network of its own, where no rule of the other's is."""

    folder: Path
    keeper: subprocess.Popen[bytes]  # holds the network
    dockerd: subprocess.Popen[bytes] | None = None

    @classmethod
    def make(cls, folder: Path) -> OwnEngine:
        command = ["unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep infinity"]
        engine = cls(folder, subprocess.Popen(command))
        until("the network is up", lambda: engine.inside("ip", "link", "show", "lo").stdout.count("LOWER_UP"), 10)
        return engine

    @property
    def host(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    def words(self, *command: str) -> list[str]:
        """A command in the engine's network."""
        return ["nsenter", f"--net=/proc/{self.keeper.pid}/ns/net", *command]

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.words(*command), capture_output=True, text=True, check=False, timeout=60)

    def docker(self, *arguments: str) -> str:
        done = run_docker("--host", self.host, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        root = ["--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")]
        rest = ["--pidfile", str(self.folder / "pid"), "--host", self.host, "--bridge", "none"]
        with (self.folder / "log").open("ab") as log:
            self.dockerd = subprocess.Popen(
                self.words("dockerd", *root, *rest), stdout=log, stderr=log, start_new_session=True
            )
        until("the engine answers", lambda: run_docker("--host", self.host, "version").returncode == 0, 60)

    def end(self, number: int) -> None:
        assert self.dockerd is not None
        containerd = int((self.folder / "exec/containerd/containerd.pid").read_text())
        self.dockerd.send_signal(number)
        self.dockerd.wait(120)
        # It goes down with dockerd, a moment later; a dockerd started before that takes it for alive.
        until("containerd is gone", lambda: not Path(f"/proc/{containerd}").exists(), 30)

    def load(self, images: tuple[str, ...]) -> None:
        """Images of the machine's engine."""
        save = ["docker", "save", *images]
        with subprocess.Popen(save, stdout=subprocess.PIPE) as saved:
            done = run_docker("--host", self.host, "load", "--quiet", stdin=saved.stdout, timeout=300)
        assert done.returncode == 0, done.stderr

    def clean(self) -> None:
        with suppress(Exception):
            self.end(signal.SIGTERM)
        for pid in self._left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.keeper.kill()
        self.keeper.wait()
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if (point := line.split()[1]).startswith(f"{self.folder}/"):
                umount = ["umount", "--lazy", point]
                subprocess.run(umount, check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _left(self) -> list[int]:
        """Processes of its containers, and those that name its folder: containerd and what it has started."""
        containers = [one.name.encode() for one in (self.folder / "data/containers").glob("*")]
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                groups, command = (entry / "cgroup").read_bytes(), (entry / "cmdline").read_bytes()
                if f"{self.folder}/".encode() in command or any(one in groups for one in containers):
                    found.append(int(entry.name))
        return found


@dataclass
class Inside(Launcher):
    """The launcher, run in the engine's network."""

    engine: OwnEngine = field(kw_only=True)

    def words(self, command: str, *arguments: str) -> list[str]:
        return self.engine.words(*super().words(command, *arguments))

    def models(self, key: str) -> int:
        """The status of a call with this key through the edge; 0 where there is none."""
        url, head = f"https://127.0.0.1:{self.https_port}/v1/models", f"Authorization: Bearer {key}"
        quiet = ["--silent", "--insecure", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}"]
        return int(self.engine.inside("curl", *quiet, "--header", head, url).stdout or 0)

    def new_key(self) -> str:
        url, master = f"https://127.0.0.1:{self.https_port}/key/generate", self.secrets["LITELLM_MASTER_KEY"]
        call = ["curl", "--silent", "--insecure", "--header", f"Authorization: Bearer {master}", "--json", "{}", url]
        key: str = json.loads(self.engine.inside(*call).stdout)["key"]
        return key

    def wait_served(self, key: str) -> None:
        """Until the key works through the edge; fails with what the containers have to say."""
        deadline = time.monotonic() + BACK_SECONDS
        while self.models(key) != 200:
            if time.monotonic() > deadline:
                pytest.fail(f"not back:\n{self.engine.docker('ps', '--all')}\n{self.run('logs').stdout[-6000:]}")
            time.sleep(0.2)


@pytest.fixture(scope="module")
def own_engine(images: None) -> Iterator[OwnEngine]:
    if os.geteuid() != 0 or any(shutil.which(tool) is None for tool in ("dockerd", "nsenter", "unshare", "ip", "curl")):
        pytest.skip("a second engine needs root, dockerd, nsenter, unshare, ip and curl")
    build_stand_ins("nginx")
    engine = OwnEngine.make(Path(mkdtemp(prefix="engine-")))  # a short path: sockets are in it
    try:
        engine.start()
        engine.load(IMAGES)
        yield engine
    finally:
        engine.clean()


@pytest.fixture(scope="module")
def inside(own_engine: OwnEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    own = {"DOCKER_HOST": own_engine.host, "LITELLM_LOCAL_GATEWAY_IMAGE": GATEWAY_IMAGE}
    launcher = Inside(tmp_path_factory.mktemp("inside"), variables=own, engine=own_engine)
    launcher.up(*launcher.edge, "--no-build", "--pull", "never", "--no-smoke")
    yield launcher
    launcher.succeed("down", "--wipe", "--yes")


def test_after_a_restart_of_the_engine_all_is_back_by_itself(
    inside: Inside, own_engine: OwnEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    key = inside.new_key()
    assert inside.models(key) == 200
    own_engine.end(signal.SIGTERM)
    assert inside.models(key) == 0
    began = time.monotonic()
    own_engine.start()
    inside.wait_served(key)
    with capsys.disabled():
        print(f"\nengine restarted: served again {time.monotonic() - began:.1f} s after its start")
    inside.succeed("smoke")


def test_after_a_crash_of_the_engine_up_brings_it_back(
    inside: Inside, own_engine: OwnEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    key = inside.new_key()
    own_engine.end(signal.SIGKILL)
    began = time.monotonic()
    own_engine.start()
    inside.up(*inside.edge, "--no-build", "--pull", "never", "--no-smoke")
    inside.wait_served(key)
    with capsys.disabled():
        print(f"\nengine killed: served again {time.monotonic() - began:.1f} s after its start and `up`")

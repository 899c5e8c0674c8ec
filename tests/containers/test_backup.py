"""Day two in containers: backup, restore onto a fresh machine, to and from the embedded database; new keys."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from nacl.secret import SecretBox

from proxy.database.backup import Manifest, Table, read_manifest
from proxy.database.servers import opened
from proxy.stack.containers_postgres import served
from proxy.stack.state import StateDir
from tests.conftest import Stack, free_port, until
from tests.containers.engine import GATEWAY_IMAGE, Project, build_stand_ins, docker, run_docker
from tests.containers.launcher import Launcher

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
CREDENTIAL = "sk-of-a-provider-kept-in-the-database"
YEARS = {"since": "2020-01-01", "group_by": "model"}


@dataclass
class Service:
    """A service in containers, its keys and its file."""

    launcher: Launcher
    rich: str  # a virtual key with money left
    poor: str  # and one without
    usage: dict
    file: Path
    seen: set[str]  # command lines while the file was written
    began: float
    tables: dict[str, Table]  # once it was down: LiteLLM writes on until the end

    @property
    def where(self) -> list[str]:
        return ["--env-file", str(self.launcher.folder / ".env")]

    def succeed(self, command: str, *arguments: str) -> str:
        return self.launcher.succeed(command, *arguments, *self.where)

    def fail(self, command: str, *arguments: str) -> str:
        return self.launcher.fail(command, *arguments, *self.where)

    def manifest(self, name: str) -> Manifest:
        """What the database holds now."""
        file = self.launcher.folder / name
        self.succeed("backup", str(file), "--force")
        return read_manifest(file)


def client(launcher: Launcher, key: str | None = None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key or launcher.secrets['LITELLM_MASTER_KEY']}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{launcher.port}", headers=headers, timeout=60, trust_env=False)


def ask(launcher: Launcher, key: str) -> httpx.Response:
    with client(launcher, key) as asking:
        return asking.post("/v1/chat/completions", json=ASK)


def usage(launcher: Launcher, key: str) -> dict:
    """What `/usage` says of a key's requests. (The master key sees the gateway's own health probes, too.)"""
    with client(launcher, key) as asking:
        report = asking.get("/usage", params=YEARS).raise_for_status().json()
    return {name: report[name] for name in ("totals", "groups")}


def with_traffic(launcher: Launcher) -> tuple[str, str]:
    """Two keys, the second one without money left, all of their spend in the database."""
    with client(launcher) as master:
        made = [master.post("/key/generate", json={"max_budget": budget}).json()["key"] for budget in (1, 1e-9)]
        rich, poor = map(str, made)
        assert [ask(launcher, key).status_code for key in (rich, poor)] == [200, 200]
        until("the budget is spent", lambda: "udget" in ask(launcher, poor).text)
        for key in (rich, poor):
            query = {"key": key}
            until("its spend", lambda query=query: master.get("/key/info", params=query).json()["info"]["spend"] > 0)
        until("its request", lambda: usage(launcher, rich)["totals"]["requests"] == 1)
    return rich, poor


class CommandLines:
    """All command lines of the machine, looked at over and over for as long as the context lasts."""

    def __enter__(self) -> set[str]:
        self.seen: set[str] = set()
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look)
        self._looking.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._over.is_set():
            for process in psutil.process_iter(["cmdline"]):
                self.seen.add(" ".join(process.info["cmdline"] or ()))
            time.sleep(0.02)


@pytest.fixture(scope="module")
def service(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Taken down after its file was written with it up."""
    launcher = Launcher(tmp_path_factory.mktemp("service"), variables={"LITELLM_LOCAL_GATEWAY_IMAGE": GATEWAY_IMAGE})
    began = time.time()
    try:
        launcher.up("--no-smoke", "--port", str(launcher.port))
        rich, poor = with_traffic(launcher)
        file = launcher.folder / "backup.zip"
        with CommandLines() as seen:
            launcher.succeed("backup", str(file))
        one = Service(launcher, rich, poor, usage(launcher, rich), file, seen, began, {})
        refused = one.fail("restore", str(file), "--yes")
        assert "litellm-local is up. Stop it first: litellm-local down" in refused
        launcher.succeed("down")
        one.tables = one.manifest("down.zip").tables
        yield one
    finally:
        launcher.clean()


def test_no_password_is_on_a_command_line(service: Service) -> None:
    dumps = [line for line in service.seen if "pg_dump" in line]
    assert any("docker exec" in line for line in dumps), "nobody looked in time"
    for name, value in service.launcher.secrets.items():
        assert not any(value in line for line in service.seen), name


def test_a_backup_of_what_is_down_leaves_it_down(service: Service) -> None:
    keys = "LiteLLM_VerificationToken"
    assert service.tables[keys] == read_manifest(service.file).tables[keys]
    assert service.launcher.project.inspect() == {}


def cut_short(data: bytes) -> bytes:
    return data[:-100]


def flip_a_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def cut_inside(data: bytes) -> bytes:
    return data[: len(data) // 2]


def test_a_damaged_file_is_refused(service: Service, tmp_path: Path) -> None:
    bad = tmp_path / "bad.zip"
    for damage in (cut_short, flip_a_bit, cut_inside):
        bad.write_bytes(damage(service.file.read_bytes()))
        assert "Nothing was changed" in service.fail("restore", str(bad), "--yes")
    assert service.manifest("after.zip").tables == service.tables


UNTIL_IT_RUNS = """
    DO $$ BEGIN
        FOR look IN 1..6000 LOOP
            PERFORM pg_stat_clear_snapshot();
            IF EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '{}' AND state = 'active') THEN
                RETURN;
            END IF;
            PERFORM pg_sleep(0.01);
        END LOOP;
        RAISE 'it never ran';
    END $$
"""  # within the server, as it may be over in a second


def test_a_restore_that_is_killed_is_taken_back(service: Service) -> None:
    """Postgres runs on meanwhile, and notices by itself."""
    launcher = service.launcher
    environment = launcher.environment()

    def psql(*statements: str) -> str:
        where = ["-h", "/var/run/postgresql", "-d", "litellm", "-qAt"]
        asked = [part for statement in statements for part in ("-c", statement)]
        return launcher.project.exec("postgres", "psql", *where, *asked).strip()

    launcher.project.compose("up", "--detach", "--wait", "--no-build", "--no-deps", "postgres")
    try:
        many = "SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, 150000) n"
        psql("SET role litellm", f"CREATE TABLE many AS {many}")
        big = launcher.folder / "big.zip"
        service.succeed("backup", str(big))
        psql("DROP TABLE many")
        words = [*launcher.words("restore", str(big), "--yes"), *service.where]
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        psql(UNTIL_IT_RUNS.format("COPY public.many %"))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        left = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'litellm' AND pid <> pg_backend_pid()"
        until("nobody goes on without it", lambda: psql(left) == "0")
        assert service.manifest("after.zip").tables == service.tables
    finally:
        launcher.project.compose("stop", "postgres")
        launcher.project.compose("down")


@dataclass
class Restored:
    """A service in containers that has the data from the other one's file, by way of an embedded database."""

    launcher: Launcher
    said: str
    embedded: Manifest  # as the embedded database had it
    past: dict[str, str]  # secrets that are no longer in use

    @property
    def secrets(self) -> dict[str, str]:
        return self.launcher.secrets


@pytest.fixture(scope="module")
def restored(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    embedded = Stack(tmp_path_factory.mktemp("embedded"), free_port())
    env_file = ["--env-file", str(embedded.env_file)]
    embedded.command("restore", str(service.file), "--yes", *env_file)
    file = embedded.folder / "backup.zip"
    embedded.command("backup", str(file), *env_file)

    launcher = Launcher(tmp_path_factory.mktemp("restored"), variables=service.launcher.variables)
    own = launcher.folder / ".env"
    own.write_bytes((service.launcher.folder / ".env").read_bytes())
    try:
        said = launcher.succeed("restore", str(file), "--yes", "--database", "compose", "--env-file", str(own))
        assert launcher.project.inspect() == {}
        launcher.up("--no-smoke", "--port", str(launcher.port))
        yield Restored(launcher, said, read_manifest(file), {})
    finally:
        launcher.clean()


def test_on_fresh_containers_keys_budgets_and_usage_are_as_they_were(service: Service, restored: Restored) -> None:
    assert restored.embedded.tables == read_manifest(service.file).tables
    assert "every table has its rows and its checksum" in restored.said
    assert usage(restored.launcher, service.rich) == service.usage
    assert ask(restored.launcher, service.rich).status_code == 200
    assert "udget" in ask(restored.launcher, service.poor).text


def rotate(restored: Restored, *names: str) -> str:
    before = restored.secrets
    said = restored.launcher.succeed("keys", "rotate", *names, "--env-file", str(restored.launcher.folder / ".env"))
    changed = {name: value for name, value in before.items() if value != restored.secrets[name]}
    assert len(changed) == len(names)
    restored.past.update({f"an earlier {name}": value for name, value in changed.items()})
    return said


def test_new_keys_take_effect_with_another_up(service: Service, restored: Restored) -> None:
    launcher, old = restored.launcher, restored.secrets
    rotate(restored, "master", "control", "database")
    launcher.up("--no-smoke", "--port", str(launcher.port))
    new = restored.secrets
    keys = (old["LITELLM_MASTER_KEY"], new["LITELLM_MASTER_KEY"], service.rich)
    assert [ask(launcher, key).status_code for key in keys] == [401, 200, 200]
    with client(launcher) as master:
        assert master.get("/_double/script").status_code == 200  # asks the simulator with the new control key
        given = {"credential_name": "mine", "credential_values": {"api_key": CREDENTIAL}, "credential_info": {}}
        master.post("/credentials", json=given).raise_for_status()
    entered = [enters_database(launcher, values["POSTGRES_PASSWORD"]) for values in (old, new)]
    assert entered == [False, True]


def enters_database(launcher: Launcher, password: str) -> bool:
    address = "postgresql://litellm@127.0.0.1/litellm"
    command = (
        "-e",
        f"PGPASSWORD={password}",
        launcher.project.inspect()["postgres"]["Id"],
        "psql",
        address,
        "-c",
        "SELECT 1",
    )
    return run_docker("exec", *command).returncode == 0


def test_no_secret_is_shown_anywhere(service: Service, restored: Restored) -> None:
    """After a backup, a restore and new keys; with the edge, certbot and Prometheus beside the others."""
    launcher = restored.launcher
    ports = {f"LITELLM_LOCAL_{name}_PORT": str(free_port()) for name in ("HTTP", "HTTPS", "PROMETHEUS")}
    variables = {**launcher.variables, **ports, "LITELLM_LOCAL_EDGE_HOST": "127.0.0.1"}
    project = Project(launcher.folder, name=launcher.project.name, variables=variables)
    project.began = service.began
    build_stand_ins("nginx", "certbot", "prometheus")
    profiles = [f"--profile={name}" for name in ("edge", "tls", "monitoring")]
    project.compose(*profiles, "up", "--detach", "--no-deps", "--no-build", "edge", "certbot", "prometheus")
    launcher.succeed("backup", str(launcher.folder / "again.zip"))
    asked = httpx.get(f"https://127.0.0.1:{ports['LITELLM_LOCAL_HTTPS_PORT']}/models", verify=False, trust_env=False)  # noqa: S501
    assert asked.status_code == 401
    assert {"edge", "certbot", "prometheus", "gateway", "postgres", "simulator"} <= set(project.inspect())
    pem = (project.state / "secrets" / "edge" / "self-signed.pem").read_text().splitlines()
    values = {
        **restored.secrets,
        **restored.past,
        "a virtual key": service.rich,
        "a credential": CREDENTIAL,
        "the certificate's key": pem[pem.index("-----BEGIN PRIVATE KEY-----") + 1],
    }
    assert len(values) == 11
    project.assert_hidden(values)


def test_a_new_salt_key_with_the_containers_down(restored: Restored) -> None:
    launcher, old = restored.launcher, restored.secrets["LITELLM_SALT_KEY"]
    env_file = ["--env-file", str(launcher.folder / ".env")]
    assert "litellm-local down" in launcher.fail("keys", "rotate", "salt", *env_file)
    assert restored.secrets["LITELLM_SALT_KEY"] == old
    launcher.succeed("down")
    assert "1 values in the database encrypted anew" in rotate(restored, "salt")
    assert launcher.project.inspect() == {}
    with served(StateDir(launcher.folder / "state"), launcher.folder / ".env") as place, opened(place) as server:
        (row,) = server.rows("""SELECT credential_values->>'api_key' AS kept FROM "LiteLLM_CredentialsTable" """)
    key = hashlib.sha256(restored.secrets["LITELLM_SALT_KEY"].encode()).digest()
    assert SecretBox(key).decrypt(base64.urlsafe_b64decode(row["kept"])).decode() == CREDENTIAL


def test_nothing_to_back_up(service: Service, tmp_path: Path) -> None:
    nowhere = Launcher(tmp_path, variables=service.launcher.variables)
    said = nowhere.fail(
        "backup", str(tmp_path / "b.zip"), "--database", "compose", "--env-file", str(tmp_path / ".env")
    )
    assert "never up there" in said
    assert docker("volume", "ls", "--quiet", "--filter", f"name={nowhere.project.name}") == ""

"""`keys rotate` on a stack that has served: the new secrets work, the old ones do not, nothing else has changed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from proxy import secrets
from proxy.cli.database import Place
from proxy.cli.keys import BEFORE
from tests.conftest import Stack, free_port

CREDENTIAL = "sk-of-a-provider-kept-in-the-database"
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


def client(stack: Stack, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False)


def status(stack: Stack, key: str) -> int:
    with client(stack, key) as asking:
        return asking.post("/v1/chat/completions", json=ASK).status_code


def may_log_in(stack: Stack, password: str) -> bool:
    form = {"username": "admin", "password": password}
    answer = httpx.post(f"{stack.url}/login", data=form, timeout=60, trust_env=False)
    return answer.status_code == 303 and "token" in answer.cookies


def kept(stack: Stack) -> str:
    """The credential as the database has it, whether that is up or not."""
    with Place(stack.state, stack.env_file, "embedded").opened() as url, psycopg.connect(str(url)) as connection:
        row = connection.execute("""SELECT credential_values->>'api_key' FROM "LiteLLM_CredentialsTable" """).fetchone()
    assert row is not None
    return str(row[0])


def read_with(salt: str, value: str) -> str | None:
    """As LiteLLM does; not by its own function: importing that reads an `.env` into this process."""
    try:
        return SecretBox(hashlib.sha256(salt.encode()).digest()).decrypt(base64.urlsafe_b64decode(value)).decode()
    except CryptoError:
        return None


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own: it is stopped and started again."""
    stack = Stack(tmp_path_factory.mktemp("keys"), free_port())
    stack.up()
    yield stack
    stack.down()


def rotate(stack: Stack, *names: str, check: bool = True) -> str:
    done = stack.command("keys", "rotate", *names, "--env-file", str(stack.env_file), check=check)
    assert check or done.returncode == 1
    return done.stdout + done.stderr


def test_all_of_them_at_once(own: Stack) -> None:
    old = secrets.read_env_file(own.env_file)
    with client(own, own.master_key) as master:
        virtual = master.post("/key/generate", json={"max_budget": 5}).json()["key"]
        given = {"credential_name": "mine", "credential_values": {"api_key": CREDENTIAL}, "credential_info": {}}
        master.post("/credentials", json=given).raise_for_status()
    assert read_with(old[secrets.SALT_KEY], kept(own)) == CREDENTIAL
    assert may_log_in(own, own.master_key)

    refused = rotate(own, "master", check=False)
    assert "litellm-local down" in refused
    assert secrets.read_env_file(own.env_file) == old

    own.down()
    said = rotate(own, "master", "salt", "database", "control", "valkey")
    new = secrets.read_env_file(own.env_file)
    assert "1 values in the database encrypted anew" in said
    assert set(new) == set(old)
    assert not set(new.values()) & set(old.values())
    assert own.env_file.stat().st_mode & 0o777 == 0o600
    left = [file for file in own.folder.rglob("*") if file.is_file() and "postgres" not in file.parts]
    text = b"".join(file.read_bytes() for file in left)
    assert not [name for name, value in old.items() if value.encode() in text]
    assert not [name for name, value in {**old, **new}.items() if value in said]

    own.up()
    assert [status(own, key) for key in (old[secrets.MASTER_KEY], own.master_key, virtual)] == [401, 200, 200]
    assert not may_log_in(own, old[secrets.MASTER_KEY])
    assert may_log_in(own, own.master_key)
    assert read_with(new[secrets.SALT_KEY], kept(own)) == CREDENTIAL
    assert read_with(old[secrets.SALT_KEY], kept(own)) is None
    assert [controls(own, values[secrets.CONTROL_KEY]) for values in (old, new)] == [401, 200]
    port = own.state.remembered_ports()["postgres"]
    for values, enters in ((old, False), (new, True)):
        assert enters_database(values[secrets.POSTGRES_PASSWORD], port) is enters


def controls(stack: Stack, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{stack.simulator_url}/_double/script", headers=headers, timeout=60, trust_env=False).status_code


def enters_database(password: str, port: int) -> bool:
    try:
        psycopg.connect(f"postgresql://litellm:{password}@127.0.0.1:{port}/litellm").close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_change_of_the_salt_key_that_broke_off_is_finished(own: Stack) -> None:
    """As it is left where the power fails between `.env` and the database."""
    own.down()
    before = kept(own)
    old = secrets.read_env_file(own.env_file)[secrets.SALT_KEY]
    secrets.rotate(own.env_file, [secrets.SALT_KEY], keep={BEFORE: old})
    new = secrets.read_env_file(own.env_file)[secrets.SALT_KEY]
    assert "1 values" in rotate(own, "salt")
    values = secrets.read_env_file(own.env_file)
    assert BEFORE not in values
    assert values[secrets.SALT_KEY] == new
    assert kept(own) != before
    assert read_with(new, kept(own)) == CREDENTIAL


def test_a_password_of_ones_own_server_is_not_ours(own: Stack, tmp_path: Path) -> None:
    nowhere = Stack(tmp_path, free_port())
    url = "postgresql://me:secret-of-mine@127.0.0.1:1/litellm"
    where = ["--database", url, "--env-file", str(own.env_file)]
    said = nowhere.command("keys", "rotate", "database", *where, check=False)
    assert said.returncode == 1
    assert "change it there" in said.stderr
    assert "secret-of-mine" not in said.stderr
    assert list(tmp_path.iterdir()) == []

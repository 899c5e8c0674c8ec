"""What `doctor` looks at: this machine, the checkout and the configuration, before anything is started.

Each check returns a Finding; a failed one says what to do next. None changes anything.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from proxy import secrets
from proxy.catalog import Catalog, CatalogError, load_catalog, project_root
from proxy.stack import ports
from proxy.stack.mode import ModeError, check_master_key, choose_mode
from proxy.stack.state import StateDir

DISK_NEEDED = 1_500_000_000  # bytes: database, logs and the engine's packages, with room to grow
MEMORY_NEEDED = 1_500_000_000  # bytes: LiteLLM alone takes up to half of it


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    level: Literal["ok", "warning", "failed"]
    text: str


@dataclass(frozen=True)
class Machine:
    """What is to be looked at."""

    config: Path
    state: StateDir
    env_file: Path


def examine(machine: Machine) -> list[Finding]:
    """All findings, in the order a person would mend them."""
    return [check(machine) for check in CHECKS]


def _python(_: Machine) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", "failed", f"{version}; 3.10 to 3.13 is needed. Run scripts/up with another PYTHON.")
    return Finding("python", "ok", f"{version}, {sys.executable}")


def _packages(_: Machine) -> Finding:
    lock = project_root() / "requirements.lock"
    if not lock.exists():
        return Finding("packages", "warning", "no requirements.lock beside the package to compare with")
    wrong = []
    for name, wanted in re.findall(
        r"^(litellm|prisma|uvicorn|psycopg|litellm-proxy-extras)==(\S+)", lock.read_text(), re.M
    ):
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found != wanted:
            wrong.append(f"{name} {found} (the lock has {wanted})")
    if wrong:
        return Finding("packages", "failed", f"{', '.join(wrong)}. Run scripts/up, which installs the lock.")
    return Finding("packages", "ok", f"as locked, LiteLLM {importlib.metadata.version('litellm')}")


def _configuration(machine: Machine) -> Finding:
    try:
        catalog = load_catalog(machine.config)
    except CatalogError as error:
        return Finding("configuration", "failed", str(error))
    return Finding("configuration", "ok", f"{machine.config}: {len(catalog.models)} models")


def _catalog(machine: Machine) -> Catalog | None:
    try:
        return load_catalog(machine.config)
    except CatalogError:
        return None


def _secrets(machine: Machine) -> Finding:
    path = machine.env_file
    if not path.exists():
        return Finding("secrets", "ok", f"{path} will be made at the first start")
    try:
        values = secrets.merge_environment(secrets.read_env_file(path))
    except secrets.SecretsError as error:
        return Finding("secrets", "failed", str(error))
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding("secrets", "failed", f"others can read {path} (mode {mode:o}). Run: chmod 600 {path}")
    if why := secrets.weakness(values.get(secrets.MASTER_KEY, "")):
        return Finding("secrets", "warning", f"{secrets.MASTER_KEY} {why}; live mode would refuse it")
    return Finding("secrets", "ok", f"{path}, readable by you alone")


def _mode(machine: Machine) -> Finding:
    catalog = _catalog(machine)
    if catalog is None:
        return Finding("mode", "warning", "not looked at: the configuration has to be mended first")
    try:
        values = {**secrets.read_env_file(machine.env_file), **os.environ}
        choice = choose_mode("auto", catalog, values)
        if secrets.MASTER_KEY in values:
            check_master_key(choice.mode, values[secrets.MASTER_KEY], str(machine.env_file))
    except (secrets.SecretsError, ModeError) as error:
        return Finding("mode", "failed", str(error))
    return Finding("mode", "ok", f"{choice.mode} ({choice.reason})")


def _port(machine: Machine) -> Finding:
    run = machine.state.read_run()
    if run:
        return Finding("port", "ok", f"{run.url} is this service, running")
    catalog = _catalog(machine)
    host, port = (catalog.gateway.host, catalog.gateway.port) if catalog else ("127.0.0.1", 4000)
    try:
        ports.require_free(host, port)
    except ports.PortError as error:
        return Finding("port", "failed", str(error))
    return Finding("port", "ok", f"{host}:{port} is free")


def _state_folder(machine: Machine) -> Finding:
    folder = machine.state.root
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return Finding("state folder", "failed", f"{existing} is not writable. Name another one with --state DIR.")
    free = shutil.disk_usage(existing).free
    if free < DISK_NEEDED:
        return Finding("state folder", "failed", f"only {free / 1e9:.1f} GB free at {existing}; 1.5 GB are needed.")
    return Finding("state folder", "ok", f"{folder}, {free / 1e9:.0f} GB free")


def _memory(_: Machine) -> Finding:
    import psutil

    available = psutil.virtual_memory().available
    if available < MEMORY_NEEDED:
        text = f"{available / 1e9:.1f} GB available; under 1.5 GB the gateway may be killed while it imports LiteLLM."
        return Finding("memory", "warning", text)
    return Finding("memory", "ok", f"{available / 1e9:.1f} GB available")


def _leftovers(machine: Machine) -> Finding:
    if machine.state.is_held():
        return Finding("processes", "ok", "the service is running")
    left = machine.state.leftovers()
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        return Finding("processes", "warning", f"an earlier launcher left pids {pids} running; up or down stops them")
    return Finding("processes", "ok", "nothing left over from an earlier start")


def _docker(_: Machine) -> Finding:
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=3)
        version = client.version()["Version"]
    except DockerException:
        return Finding("docker", "ok", "no engine reachable; nothing here needs one")
    return Finding("docker", "ok", f"engine {version} (not needed here)")


CHECKS: tuple[Callable[[Machine], Finding], ...] = (
    _python,
    _packages,
    _configuration,
    _secrets,
    _mode,
    _port,
    _state_folder,
    _memory,
    _leftovers,
    _docker,
)

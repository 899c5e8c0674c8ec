"""The stack's secrets: made once in `.env` (mode 0600), read, masked. Called by the launcher and the CLI.

`.env` holds `NAME=value` lines: our secrets, and the provider keys the operator adds. A value in the
process environment wins over the file, as with docker-compose.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

MASTER_KEY = "LITELLM_MASTER_KEY"
SALT_KEY = "LITELLM_SALT_KEY"
POSTGRES_PASSWORD = "POSTGRES_PASSWORD"  # noqa: S105 - the name of a variable, not a password
CONTROL_KEY = "LITELLM_LOCAL_CONTROL_KEY"
VALKEY_PASSWORD = "VALKEY_PASSWORD"  # noqa: S105 - likewise

_MAKERS: dict[str, Callable[[], str]] = {
    MASTER_KEY: lambda: "sk-" + secrets.token_urlsafe(32),
    SALT_KEY: lambda: "salt-" + secrets.token_urlsafe(32),
    POSTGRES_PASSWORD: lambda: secrets.token_urlsafe(24),
    CONTROL_KEY: lambda: "double-" + secrets.token_urlsafe(24),
    VALKEY_PASSWORD: lambda: secrets.token_urlsafe(24),
}

_COMMENTS = {
    MASTER_KEY: "The admin key: full access to the gateway, and the password of `admin` at /ui.",
    SALT_KEY: "Encrypts credentials stored in the database. Change it by `litellm-local keys rotate salt` only.",
    POSTGRES_PASSWORD: "Password of our Postgres, embedded or in a container.",
    CONTROL_KEY: "Key of the double's control calls (double mode).",
    VALKEY_PASSWORD: "Password of Valkey, through which several gateways share their limits.",
}

_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")

_HEADER = "# Made by litellm-local. Keep it private; add provider keys here (OPENAI_API_KEY=…).\n"


class SecretsError(Exception):
    """`.env` cannot be read, written or trusted. The message says where and what to do next."""


def read_env_file(path: Path) -> dict[str, str]:
    """Name → value of every `NAME=value` line; a missing file is empty. Quotes round a value are taken off.

    Raises SecretsError naming the line that is not an assignment.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SecretsError(
            f"{path}: cannot be read ({error}). Mend or remove it, then run the command again."
        ) from None
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise SecretsError(f"{path}, line {number}: not a NAME=value line. Mend or remove that line.")
        name, value = match.groups()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        values[name] = value
    return values


def ensure_secrets(path: Path) -> dict[str, str]:
    """The values of `.env`, after adding those of our secrets that neither it nor the environment has.

    Existing lines stay as they are. The file is replaced atomically and has mode 0600 afterwards.
    """
    values = read_env_file(path)
    missing = [name for name in _MAKERS if not values.get(name) and not os.environ.get(name)]
    if missing:
        made = {name: _MAKERS[name]() for name in missing}
        _append(path, made)
        values.update(made)
    elif path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o600)
    return merge_environment(values)


def merge_environment(values: Mapping[str, str]) -> dict[str, str]:
    """`values` overlaid with our secrets as the process environment sets them."""
    return {**values, **{name: os.environ[name] for name in _MAKERS if os.environ.get(name)}}


def check_rotatable(path: Path, names: Iterable[str]) -> None:
    """Raises SecretsError for a name that `.env` lacks, or that the environment overrides."""
    values = read_env_file(path)
    for name in names:
        if os.environ.get(name):
            raise SecretsError(f"{name} is set in the environment, which wins over {path}. Change it there.")
        if not values.get(name):
            raise SecretsError(f"{path} has no {name} yet; it is made at the first start. Nothing was changed.")


def rotate(path: Path, names: Iterable[str], *, keep: Mapping[str, str] | None = None) -> dict[str, str]:
    """Makes new values for `names` in `.env`, each in its line; returns them. The old ones are gone from the file.

    `keep` are lines to add, by name. Raises SecretsError as check_rotatable does.
    """
    names = list(names)
    check_rotatable(path, names)
    made = {name: _MAKERS[name]() for name in names}
    lines = [line for line in _lines(path) if _name(line) not in (keep or {})]
    last = {name: max(at for at, line in enumerate(lines) if _name(line) == name) for name in made}
    kept = [
        f"{name}={made[name]}" if name in made else line
        for at, line in enumerate(lines)
        if (name := _name(line)) not in made or at == last[str(name)]
    ]
    _write(path, kept + [f"{name}={value}" for name, value in (keep or {}).items()])
    return made


def forget(path: Path, name: str) -> None:
    """Takes a name's lines out of `.env`."""
    _write(path, [line for line in _lines(path) if _name(line) != name])


def _append(path: Path, made: Mapping[str, str]) -> None:
    # An empty `NAME=` line of ours would shadow nothing, but reads as if it were set twice: drop it.
    kept = [line for line in _lines(path) if _name(line) not in made]
    for name, value in made.items():
        kept += [f"# {_COMMENTS[name]}", f"{name}={value}"]
    _write(path, kept)


def _lines(path: Path) -> list[str]:
    return (path.read_text(encoding="utf-8") if path.exists() else _HEADER).splitlines()


def _name(line: str) -> str | None:
    return found[1] if (found := _LINE.match(line)) else None


def _write(path: Path, lines: list[str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".env.", dir=path.parent)  # mkstemp makes it 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SecretsError(
            f"{path}: cannot be written ({error.strerror}). "
            "Make the folder writable, or name another file with --env-file."
        ) from None


def mask(secret: str) -> str:
    """A secret as it may be shown: its first characters only, fewer the shorter it is."""
    shown = min(6, len(secret) // 4)
    return secret[:shown] + "…"


def weakness(key: str) -> str | None:
    """Why `key` is no master key for real traffic, or None where it is a strong one.

    LiteLLM's documentation and countless tutorials publish short keys such as "sk-" + "1234"; scanners try them first.
    """
    body = key.removeprefix("sk-")
    if not key.startswith("sk-"):
        return "does not begin with sk-, which LiteLLM asks of a master key"
    if len(body) < 20:
        return f"has only {len(body)} characters after sk-, at least 20 are needed"
    if len(set(body)) < 10:
        return "repeats a few characters"
    if re.search(r"1234|abcd|example|changeme|change-me|secret|password|your[-_]?key|master[-_]?key", body, re.I):
        return "looks like one from a tutorial"
    return None

"""What the gateway process is told, all of it through the environment, the same on a laptop, a VM, Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_DATABASE_WAIT = 120.0
DEFAULT_DRAIN = 15.0


class SettingsError(Exception):
    """One or more variables are missing or wrong; the message names each."""


@dataclass(frozen=True)
class Settings:
    """`config` is proxy.yaml, `litellm_config` LiteLLM's rendered from it. `host` and `port` None: as proxy.yaml
    says. `database_wait` is how many seconds to wait for a migrated database, `drain` how many requests under way are
    given to end when the gateway is told to stop. `simulator` is the base URL of
    the providers' double, in double mode, and `control_key` what its control calls want. `cache` is a folder for
    what a next start need not compute again, by default beside the rendered config."""

    config: Path
    litellm_config: Path
    mode: str
    database_url: str = field(repr=False)
    host: str | None = None
    port: int | None = None
    database_wait: float = DEFAULT_DATABASE_WAIT
    drain: float = DEFAULT_DRAIN
    simulator: str | None = None
    control_key: str | None = field(default=None, repr=False)
    cache: Path | None = None


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises SettingsError naming every variable that is missing or wrong."""
    problems: list[str] = []

    def need(name: str, what: str) -> str:
        value = environment.get(name, "").strip()
        if not value:
            problems.append(f"{name} is not set ({what})")
        return value

    def number(name: str, default: float | None) -> float | None:
        text = environment.get(name, "").strip()
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1
        if not 0 <= value < 1_000_000:
            problems.append(f"{name} is {text!r}, not a number")
        return value

    def file(name: str, what: str) -> Path:
        path = Path(need(name, what))
        if path.name and not path.is_file():
            problems.append(f"{name} names {path}, which is no file")
        return path

    config = file("LITELLM_LOCAL_CONFIG", "the path of proxy.yaml")
    litellm_config = file("CONFIG_FILE_PATH", "the path of the LiteLLM config rendered from it")
    mode = need("LITELLM_LOCAL_MODE", "double or live")
    if mode and mode not in ("double", "live"):
        problems.append(f"LITELLM_LOCAL_MODE is {mode!r}, neither double nor live")
    need("LITELLM_MASTER_KEY", "the key that may do everything; starts with sk-")
    need("LITELLM_SALT_KEY", "what secrets in the database are encrypted with")
    simulator = environment.get("LITELLM_LOCAL_SIMULATOR", "").strip() if mode == "double" else ""
    control_key = environment.get("LITELLM_LOCAL_CONTROL_KEY", "").strip() if mode == "double" else ""
    database_url = need("DATABASE_URL", "postgresql://...")
    port = number("LITELLM_LOCAL_PORT", None)
    wait = number("LITELLM_LOCAL_DATABASE_WAIT", DEFAULT_DATABASE_WAIT)
    drain = number("LITELLM_LOCAL_DRAIN", DEFAULT_DRAIN)
    if problems:
        raise SettingsError("; ".join(problems))
    return Settings(
        config=config,
        litellm_config=litellm_config,
        mode=mode,
        database_url=database_url,
        host=environment.get("LITELLM_LOCAL_HOST", "").strip() or None,
        port=None if port is None else int(port),
        database_wait=wait if wait is not None else DEFAULT_DATABASE_WAIT,
        drain=drain if drain is not None else DEFAULT_DRAIN,
        simulator=simulator.rstrip("/") or None,
        control_key=control_key or None,
        cache=Path(environment.get("LITELLM_LOCAL_CACHE", "").strip() or litellm_config.parent),
    )

"""Double or live: which upstreams the gateway talks to, and what that asks of keys. Pure; called by the launcher."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from proxy import secrets
from proxy.catalog import Catalog

Mode = Literal["double", "live"]
Asked = Literal["auto", "double", "live"]

RECORDED = ("openai", "anthropic", "google")
"""The providers that cassettes are recorded of: those the simulator stands in for."""


class ModeError(Exception):
    """The mode asked for cannot be had with these keys. The message names them and what to do next."""


@dataclass(frozen=True)
class ModeChoice:
    """`keys` is what the gateway gets as provider keys: the real ones when live, placeholders in the double."""

    mode: Mode
    keys: dict[str, str] = field(repr=False)
    reason: str


def choose_mode(asked: Asked, catalog: Catalog, environment: Mapping[str, str]) -> ModeChoice:
    """`auto` is double where no provider key is set at all, else live; live needs every provider's key.

    Raises ModeError naming each provider whose key is missing.
    """
    found = {
        name: environment[p.key_env] for name, p in catalog.providers.items() if environment.get(p.key_env, "").strip()
    }
    if asked == "double" or (asked == "auto" and not found):
        reason = "asked for" if asked == "double" else "no provider key is set"
        # The simulator takes any key; a real one is never handed to it.
        return ModeChoice("double", {p.key_env: f"double-{name}" for name, p in catalog.providers.items()}, reason)
    missing = [name for name in catalog.providers if name not in found]
    if missing:
        lines = [f"{name}: {catalog.providers[name].key_env} is not set" for name in missing]
        why = (
            "live mode needs every provider's key"
            if asked == "live"
            else "some provider keys are set, so this is live mode"
        )
        raise ModeError(
            f"{why}.\n  " + "\n  ".join(lines) + "\n"
            "Add the keys to .env, take providers out with "
            + " ".join(f"--without {name}" for name in missing)
            + ", or run the test double with --mode double."
        )
    keys = {catalog.providers[name].key_env: key for name, key in found.items()}
    return ModeChoice("live", keys, "asked for" if asked == "live" else "provider keys are set")


def asked_for_cassettes(asked: Asked, catalog: Catalog, *, record: object, replay: object) -> Asked:
    """The mode that recording (live) or replaying a cassette (double) asks for, where `auto` leaves it open.

    `record` and `replay` are the files, or None. Raises ModeError where it cannot be.
    """
    if record and replay:
        raise ModeError("--record and --replay exclude each other: a replayed answer is not one to record.")
    if record and asked == "double":
        raise ModeError("--record keeps what the real providers answer: it goes with --mode live, not with the double.")
    if replay and asked == "live":
        raise ModeError("--replay answers from a file in the providers' place: it goes with --mode double.")
    if record and (others := [name for name in catalog.providers if name not in RECORDED]):
        raise ModeError(
            f"the recorder knows {', '.join(RECORDED)}, and the catalogue has '{others[0]}' besides. "
            f"Take it out with --without {others[0]}."
        )
    return "live" if record else "double" if replay else asked


def without_providers(catalog: Catalog, names: Collection[str]) -> Catalog:
    """The catalogue less these providers, their models, and those models' places in the chains.

    Raises ModeError for a name that is no provider, and where no model would be left.
    """
    unknown = [name for name in names if name not in catalog.providers]
    if unknown:
        raise ModeError(f"--without {unknown[0]}: no such provider. Known: {', '.join(catalog.providers)}.")
    models = {alias: model for alias, model in catalog.models.items() if model.provider not in names}
    if not models:
        raise ModeError("--without leaves no model to serve. Leave at least one provider in.")
    chains = {
        alias: kept
        for alias, chain in catalog.fallbacks.items()
        if alias in models and (kept := [target for target in chain if target in models])
    }
    providers = {name: provider for name, provider in catalog.providers.items() if name not in names}
    return catalog.model_copy(update={"providers": providers, "models": models, "fallbacks": chains})


def check_master_key(mode: Mode, key: str, env_file: str) -> None:
    """Raises ModeError where a live gateway would be guarded by a weak master key."""
    if mode == "live" and (why := secrets.weakness(key)):
        raise ModeError(
            f"{secrets.MASTER_KEY} {why}; live mode spends real money, so it is refused.\n"
            f"Take the line out of {env_file} (a strong one is made at the next start) or set a long random one."
        )

"""`keys rotate`: new secrets of ours in place of the old ones, in `.env` and where they are bound to data."""

from __future__ import annotations

import os
import sys

import click

from proxy import secrets
from proxy.cli.database import EMBEDDED, Place, database_options
from proxy.cli.progress import steps_for
from proxy.stack.state import StateError

NAMES = {
    "master": secrets.MASTER_KEY,
    "salt": secrets.SALT_KEY,
    "database": secrets.POSTGRES_PASSWORD,
    "control": secrets.CONTROL_KEY,
    "valkey": secrets.VALKEY_PASSWORD,
}
BEFORE = "LITELLM_SALT_KEY_BEFORE"  # the old salt key, in .env for as long as it takes
NEXT = {
    "master": "Give the new master key to whoever has the old one; log in to /ui anew. Virtual keys stay as they are.",
    "control": "Whoever asks the simulator itself needs the new control key; through the gateway nothing changes.",
}


@click.group()
def keys() -> None:
    """New keys and passwords in place of the old ones."""


@keys.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice(list(NAMES)), metavar="NAME...")
@database_options
def rotate(names: tuple[str, ...], place: Place) -> None:
    """Make new secrets in .env: master, salt, database (the password of our Postgres), control (of the double), valkey.

    They take effect at the next start. The service must be down; in containers only for `salt`, for the others
    another `up` is enough. The old values are kept nowhere. Providers' keys come from the providers: put the new one
    into .env and start again.
    """
    chosen = dict.fromkeys(names)
    if place.kind == EMBEDDED or "salt" in chosen:
        place.check_idle()
    if "database" in chosen and place.is_own:
        raise StateError(f"the password of {place.told} is its own server's: change it there, then in its URL.")
    others = [name for name in chosen if name != "salt"]
    secrets.check_rotatable(place.env_file, [NAMES[name] for name in chosen])
    if "salt" in chosen:
        _rotate_salt(place)
    secrets.rotate(place.env_file, [NAMES[name] for name in others])
    click.echo(f"{', '.join(chosen)}: new in {place.env_file}; a copy that you keep of it is old now.")
    for name in others:
        if name in NEXT:
            click.echo(NEXT[name])
    click.echo("In effect at the next start: litellm-local up, with the options that it had.")


def _rotate_salt(place: Place) -> None:
    """The old salt key stays in `.env` until nothing in the database needs it, so that it can be run again."""
    steps = steps_for(sys.stdout)
    values = secrets.read_env_file(place.env_file)
    with place.state.hold(), steps.live(), steps.step("Salt key") as step:
        old = values.get(BEFORE)
        if old is None:
            old = values.get(secrets.SALT_KEY, "")
            secrets.rotate(place.env_file, [secrets.SALT_KEY], keep={BEFORE: old})
        else:
            step.say("finishing what was interrupted")
        new = secrets.read_env_file(place.env_file)[secrets.SALT_KEY]
        count = _encrypt_anew(place, old, new) if place.exists() else 0
        secrets.forget(place.env_file, BEFORE)
        step.note(f"{count} values in the database encrypted anew")


def _encrypt_anew(place: Place, old: str, new: str) -> int:
    from proxy.catalog import load_catalog
    from proxy.database.salt import encrypt_anew
    from proxy.render.litellm import litellm_environment

    os.environ.update(litellm_environment(load_catalog()))  # or else it looks for its prices in the internet
    with place.opened() as database:
        return encrypt_anew(database, old, new)

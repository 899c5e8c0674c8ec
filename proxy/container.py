"""`python -m proxy.container [gateway | simulator | COMMAND ...]`: the entry point of the image.

Values of the environment that are secret come as files, one a variable and named as it is, in the folder
LITELLM_LOCAL_SECRETS (where docker-compose puts `secrets:`): what is in the environment of a container is shown by
`docker inspect`. LITELLM_LOCAL_DATABASE_POOL bounds the gateway's connections to the database. `gateway` and
`simulator` become those programs; whatever else is a command of `litellm-local`.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import MutableMapping
from pathlib import Path

FOLDER = "LITELLM_LOCAL_SECRETS"
ENGINE = "LITELLM_LOCAL_ENGINE"  # where the image keeps the query engine of ours; unset where Prisma's own is used
POOL = "LITELLM_LOCAL_DATABASE_POOL"
PROGRAMS = {"gateway": "proxy.gateway", "simulator": "proxy.simulator"}


def read_secrets(environment: MutableMapping[str, str]) -> None:
    """Adds a variable for each file of the folder; what is set already wins. An empty file is no value.

    Raises OSError where the folder or a file in it cannot be read.
    """
    folder = environment.get(FOLDER, "").strip()
    if not folder:
        return
    for file in sorted(Path(folder).iterdir()):
        if file.is_file() and file.name.isidentifier():
            value = file.read_text(encoding="utf-8").strip()
            if value:
                environment.setdefault(file.name, value)


def use_engine(environment: MutableMapping[str, str]) -> None:
    """Has LiteLLM take the query engine that the image was built with."""
    home = environment.get(ENGINE, "").strip()
    if home:
        from proxy.database.engine import engine_environment

        environment.update(engine_environment(Path(home), environment.get("DATABASE_URL", "")))


def bound_pool(environment: MutableMapping[str, str]) -> None:
    """Puts the size of the pool into DATABASE_URL, where the query engine looks for it. A URL that says it wins.

    Without one the engine goes by the processors of the machine, of which a container has only a share.
    """
    size, url = environment.get(POOL, "").strip(), environment.get("DATABASE_URL", "")
    if size and url and "connection_limit=" not in url:
        environment["DATABASE_URL"] = f"{url}{'&' if '?' in url else '?'}connection_limit={size}"


def stop_when_told() -> None:
    """Has SIGTERM end a container that is still starting: the first process of one ignores it unless it says otherwise,
    and would be waited for until it is killed. A program that serves has a handler of its own in time."""

    def stop(_signal: int, _frame: object) -> None:
        sys.stdout.flush()
        os._exit(128 + signal.SIGTERM)

    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, stop)


def main() -> None:
    stop_when_told()
    try:
        read_secrets(os.environ)
    except OSError as error:
        sys.stderr.write(
            f"container: the secret {error.filename} cannot be read: {error.strerror}. "
            "Its file must be readable by everybody; the folder it is in, by its owner alone.\n"
        )
        sys.exit(2)
    program, *arguments = sys.argv[1:] or ["gateway"]
    if program == "gateway":
        bound_pool(os.environ)
        use_engine(os.environ)
    if program in PROGRAMS:
        sys.argv = [program, *arguments]
        runpy.run_module(PROGRAMS[program], run_name="__main__", alter_sys=True)
        return
    from proxy.cli import main as command

    sys.argv = ["litellm-local", program, *arguments]
    command()


if __name__ == "__main__":
    main()

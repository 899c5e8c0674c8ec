"""Which database `backup`, `restore` and `keys` are about, and how they reach it: options and a context."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy import secrets
from proxy.cli.options import config_option, env_file_option, state_option
from proxy.stack.state import StateDir, StateError

if TYPE_CHECKING:
    from proxy.database.servers import Database

EMBEDDED, COMPOSE = "embedded", "compose"


@dataclass(frozen=True)
class Place:
    """Where the service keeps its data. `kind`: `embedded`, `compose` or a URL."""

    state: StateDir
    env_file: Path
    kind: str

    @property
    def told(self) -> str:
        from proxy.database.errors import masked_url
        from proxy.stack.containers_postgres import project_name

        if self.kind == EMBEDDED:
            return f"the embedded database in {self.state.postgres}"
        if self.kind == COMPOSE:
            return f"the database of the containers of {project_name(self.state, self.env_file)}"
        return masked_url(self.kind)

    @property
    def is_own(self) -> bool:
        """Whether it is one of the user's own, that is none of ours."""
        return self.kind not in (EMBEDDED, COMPOSE)

    def exists(self) -> bool:
        """Whether there is anything in it; of a database of one's own, that is taken for granted."""
        from proxy.stack import containers_postgres

        if self.kind == EMBEDDED:
            return self.state.postgres.exists()
        return self.kind != COMPOSE or containers_postgres.has_data(self.state, self.env_file)

    def check_idle(self) -> None:
        """Raises StateError where the service is up."""
        from proxy.stack import containers_postgres

        up = self.state.is_held() or self.state.read_run() is not None
        if up or (self.kind == COMPOSE and containers_postgres.gateways(self.state, self.env_file)):
            raise StateError("litellm-local is up. Stop it first: litellm-local down. Nothing was changed.")

    @contextmanager
    def opened(self) -> Iterator[Database]:
        """As the service reaches it where it is up; else it is started, and stopped in the end."""
        from proxy.stack import containers_postgres

        if self.kind == EMBEDDED:
            with self._embedded() as url:
                yield url
        elif self.kind == COMPOSE:
            with containers_postgres.served(self.state, self.env_file) as inside:
                yield inside
        else:
            yield self.kind

    @contextmanager
    def _embedded(self) -> Iterator[str]:
        from proxy.database.embedded import EmbeddedPostgres
        from proxy.stack.ports import free_port

        run = self.state.read_run()
        values = secrets.ensure_secrets(self.env_file)
        self.state.prepare()
        port = self.state.remembered_ports().get("postgres")
        up = run is not None and port is not None
        postgres = EmbeddedPostgres(
            data_dir=self.state.postgres,
            log_file=self.state.log("postgres"),
            port=port if up and port is not None else free_port(),
            password=values[secrets.POSTGRES_PASSWORD],
        )
        if up:
            yield postgres.url()
        else:
            with postgres.served() as url:
                yield url


def database_options(command: Callable[..., None]) -> Callable[..., Any]:
    """Options that say which database; the command is given them as one, `place`."""

    @wraps(command)
    def with_place(
        config: Path, state_dir: Path, env_file: Path, database: str | None, *arguments: Any, **given: Any
    ) -> None:
        state = StateDir(state_dir)
        run = state.read_run()
        env_file = Path(run.env_file) if run else env_file  # what is up has its secrets from there
        command(*arguments, place=Place(state, env_file, _kind(database, config, state, env_file)), **given)

    option = click.option(
        "--database",
        metavar="WHICH",
        envvar="LITELLM_LOCAL_DATABASE_URL",
        help="embedded, compose (that of the containers), or the postgresql:// URL of one of your own.  "
        "[default: the one that is in use here]",
    )
    return config_option(state_option(env_file_option(option(with_place))))


def _kind(database: str | None, config: Path, state: StateDir, env_file: Path) -> str:
    from proxy.catalog import load_catalog

    if database:
        if database not in (EMBEDDED, COMPOSE) and not database.startswith(("postgresql://", "postgres://")):
            raise click.BadParameter(
                "it is embedded, compose, or a URL like postgresql://user:password@host:5432/name",
                param_hint="--database",
            )
        return database
    run = state.read_run()
    if run is not None and run.database in (EMBEDDED, COMPOSE):
        return run.database
    if own := load_catalog(config).database.url:
        return own
    if run is not None:
        raise StateError(f"litellm-local was started with the database {run.database}. Give its URL with --database.")
    return _found(state, env_file)


def _found(state: StateDir, env_file: Path) -> str:
    """The one that has data here; where neither has, the one that was rendered for."""
    from proxy.stack import containers_postgres
    from proxy.stack.compose_plan import COMPOSE_ENV, DATABASE_ENV
    from proxy.stack.docker import DockerError

    if not any((state.root / name).exists() for name in (COMPOSE_ENV, DATABASE_ENV)):
        return EMBEDDED
    if not state.postgres.exists():
        return COMPOSE
    try:
        both = containers_postgres.has_data(state, env_file)
    except DockerError:
        return EMBEDDED
    if both:
        raise StateError(
            f"there are two databases here: one in {state.postgres}, and one in a container. "
            "Say which: --database embedded, or --database compose."
        )
    return EMBEDDED

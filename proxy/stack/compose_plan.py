"""What the service in containers is to be, before anything starts: options and catalogue -> files and variables.

`config render compose` writes them, `up --stack compose` starts what they say. Pure but for the secrets, which are
made where they are missing, and the catalogue's file.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from proxy import secrets
from proxy.catalog import Catalog, load_catalog, project_root
from proxy.catalog.models import Edge
from proxy.render.compose import compose_env, compose_files, edge_variables, needs_certbot
from proxy.stack.files import write_files
from proxy.stack.mode import Asked, ModeChoice, check_master_key, choose_mode, without_providers

PROJECT = "LITELLM_LOCAL_PROJECT"
COMPOSE_ENV, DATABASE_ENV = "compose.env", "database.env"
# Variables of docker-compose.yml that an operator sets: kept in compose.env, so that later commands find the same.
OPERATORS = re.compile(r"LITELLM_LOCAL_([A-Z]+_IMAGE|TARGET|EDGE_HOST|ACME_SERVER|CERTBOT_SECONDS|PROMETHEUS_PORT)")


LAYOUT = ("edge", "domain", "email", "replicas", "http_port", "https_port", "mode", "without", "port")


class OptionsError(Exception):
    """Options that cannot be had together, or a value that cannot be. The message says which and what instead."""


@dataclass(frozen=True)
class ComposeOptions:
    """What was asked for; None means as proxy.yaml says."""

    config: Path
    state: Path
    env_file: Path
    mode: Asked = "auto"
    without: tuple[str, ...] = ()
    port: int | None = None
    database: str | None = None  # a postgresql:// URL; None: the container
    edge: bool = False
    domain: str | None = None
    email: str | None = None
    replicas: int = 1  # gateways
    http_port: int = 80
    https_port: int = 443

    @property
    def layout(self) -> dict[str, Any]:
        """What is kept of it, for a later command to ask for the same. A database's URL, a secret, is not."""
        return {name: getattr(self, name) for name in LAYOUT}


@dataclass(frozen=True)
class ComposePlan:
    """All that is decided before anything starts."""

    options: ComposeOptions
    catalog: Catalog
    secrets: Mapping[str, str] = field(repr=False)
    choice: ModeChoice = field(repr=False)
    project: str
    files: Mapping[str, str] = field(repr=False)  # path in the state folder -> content
    variables: Mapping[str, object]  # of compose.env

    @property
    def root(self) -> Path:
        return self.options.state.absolute()

    @property
    def https(self) -> bool:
        return self.options.edge and self.catalog.edge.tls.issuer != "none"

    @property
    def url(self) -> str:
        """Where clients find it."""
        if not self.options.edge:
            return f"http://127.0.0.1:{self.variables['LITELLM_LOCAL_PORT']}"
        name = self.catalog.edge.domain or "localhost"
        scheme, port, usual = (
            ("https", self.options.https_port, 443) if self.https else ("http", self.options.http_port, 80)
        )
        return f"{scheme}://{name}" + (f":{port}" if port != usual else "")

    @property
    def compose_files(self) -> tuple[Path, ...]:
        """Files of the checkout that Compose reads: the gateway is published by the second one."""
        names = ["docker-compose.yml"] + ([] if self.options.edge else ["docker-compose.override.yml"])
        return tuple(project_root() / name for name in names)

    def write(self) -> None:
        """Puts everything into the state folder. Raises OptionsError."""
        try:
            write_files(self.root, {**self.files, COMPOSE_ENV: compose_env(self.variables)})
        except OSError as error:
            raise OptionsError(f"cannot write {error.filename}: {error.strerror or error}") from None

    def changed(self) -> set[str]:
        """Services that read a file which is not yet as it is to be."""
        services = set()
        for name, content in self.files.items():
            try:
                same = (self.root / name).read_text(encoding="utf-8") == content
            except OSError:
                same = False
            if not same:
                services.add(name.split("/")[1])
        return services


def make_plan(options: ComposeOptions) -> ComposePlan:
    """Reads the configuration and the secrets, settles the mode.

    Raises CatalogError, SecretsError, ModeError or OptionsError; nothing has been written or started by then, but for
    the secrets in `.env`.
    """
    from proxy.stack.certificates import self_signed  # cryptography takes its time, and no other command needs it

    if (options.domain or options.email) and not options.edge:
        raise OptionsError("--domain and --email are the edge's: give --edge, too.")
    if options.replicas > 1 and not options.edge:
        raise OptionsError("several gateways need something in front of them: give --edge, too, or --replicas 1.")
    catalog = with_edge(without_providers(load_catalog(options.config), options.without), options.domain, options.email)
    values = secrets.ensure_secrets(options.env_file)
    choice = choose_mode(options.mode, catalog, {**values, **os.environ})
    check_master_key(choice.mode, values[secrets.MASTER_KEY], str(options.env_file))
    root = options.state.absolute()
    files = compose_files(
        catalog,
        values,
        mode=choice.mode,
        keys=choice.keys,
        certificate=self_signed(root, catalog.edge.domain),
        database_url=options.database or catalog.database.url,
        https_port=options.https_port,
        replicas=options.replicas,
    )
    environment = {**values, **os.environ}
    project = project_of(root, environment)
    wanted = {
        "double": choice.mode == "double",
        "edge": options.edge,
        "tls": options.edge and needs_certbot(catalog),
        "scale": options.replicas > 1,
    }
    variables = {
        PROJECT: project,
        "LITELLM_LOCAL_STATE": root,
        "LITELLM_LOCAL_MODE": choice.mode,
        "LITELLM_LOCAL_PORT": options.port or catalog.gateway.port,
        "LITELLM_LOCAL_REPLICAS": options.replicas if options.replicas > 1 else None,
        "COMPOSE_PROFILES": ",".join(name for name, is_wanted in wanted.items() if is_wanted) or None,
        **(edge_variables(catalog, http_port=options.http_port, https_port=options.https_port) if options.edge else {}),
        **operators_variables(environment),
    }
    return ComposePlan(options, catalog, values, choice, project, files, variables)


def project_of(root: Path, environment: Mapping[str, str]) -> str:
    """The Compose project of a state folder: as LITELLM_LOCAL_PROJECT says; else `litellm-local` for the checkout's
    own, and a name of its own for any other."""
    if given := environment.get(PROJECT):
        return given
    if root == project_root() / ".litellm-local":
        return "litellm-local"
    return "litellm-local-" + hashlib.sha256(str(root).encode()).hexdigest()[:8]


def operators_variables(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in sorted(environment.items()) if value and OPERATORS.fullmatch(name)}


def with_edge(catalog: Catalog, domain: str | None, email: str | None) -> Catalog:
    """The catalogue with another domain, another address for the authority to write to. Raises OptionsError."""
    if domain is None and email is None:
        return catalog
    data = catalog.edge.model_dump()
    data["domain"] = domain or data["domain"]
    data["tls"]["email"] = email or data["tls"]["email"]
    try:
        edge = Edge.model_validate(data)
    except ValidationError as error:
        of = "--email" if error.errors()[0]["loc"][0] == "tls" else "--domain"
        example = "you@example.com" if of == "--email" else "llm.example.com"
        raise OptionsError(f"{of} {email if of == '--email' else domain!r} is none; it is like {example}.") from None
    return catalog.model_copy(update={"edge": edge})

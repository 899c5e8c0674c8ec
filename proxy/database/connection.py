"""Connections of our own to LiteLLM's database, apart from LiteLLM's through Prisma. Called by migrations.py.

A URL is Prisma's dialect here, as LiteLLM reads it from `DATABASE_URL`. No error holds its password.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from proxy.database.errors import DatabaseError, masked_url

CONNECT_SECONDS = 10
MAINTENANCE_DATABASE = "postgres"

# Parameters of a URL that Prisma reads and libpq refuses.
PRISMA_PARAMETERS = {
    "connection_limit", "pool_timeout", "pgbouncer", "schema", "socket_timeout", "statement_cache_size",
    "sslaccept", "sslidentity", "sslpassword", "max_connection_lifetime", "max_idle_connection_lifetime",
}  # fmt: skip

# SQLSTATE, or how it begins -> what to do next.
_NEXT_STEPS = {
    "42501": "Grant it to the user of the URL, or give the URL of the tables' owner.",
    "25006": "Give the URL of the primary server, not of a read-only replica.",
    "53100": "Free some disk space on the server, then run it again.",
    "53300": "Close some connections or raise the server's max_connections, then run it again.",
    "57P": "The server was stopped. Run it again once it is back.",
    "08": "The connection was lost. Run it again once the server is back.",
}


def libpq_url(url: str) -> tuple[str, str]:
    """The URL less what only Prisma reads, and the schema it names (Prisma's default: `public`).

    Raises DatabaseError where it is no URL.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        raise _unreadable() from None
    parameters = parse_qsl(parts.query)
    schema = next((value for name, value in parameters if name == "schema"), "public")
    kept = [(name, value) for name, value in parameters if name not in PRISMA_PARAMETERS]
    return urlunsplit(parts._replace(query=urlencode(kept, quote_via=quote))), schema


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection in autocommit, its search path set as Prisma sets it. Errors of Postgres leave as DatabaseError."""
    address, schema = libpq_url(url)
    connection = _open(address, url)
    try:
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        yield connection
    except psycopg.Error as error:
        raise DatabaseError(f"{masked_url(url)}: {cause(error)}. {next_step(error)}") from None
    finally:
        connection.close()


def ensure_database(url: str) -> bool:
    """Creates the database that the URL names where the server lacks it; returns whether it did.

    Raises DatabaseError where the server is out of reach, or forbids it.
    """
    address, _ = libpq_url(url)
    try:
        psycopg.connect(address, connect_timeout=CONNECT_SECONDS).close()
    except psycopg.OperationalError:
        pass  # libpq gives no SQLSTATE here, and the text may be in any language: look it up
    except psycopg.Error:
        raise _unreadable() from None
    else:
        return False
    parts = urlsplit(address)
    name = unquote(parts.path.lstrip("/"))
    try:
        connection = psycopg.connect(
            urlunsplit(parts._replace(path="/" + MAINTENANCE_DATABASE)),
            connect_timeout=CONNECT_SECONDS,
            autocommit=True,
        )
    except psycopg.Error:
        _open(address, url).close()  # the first error is the one to tell
        return False
    with connection:
        if not name or connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone():
            _open(address, url).close()
            return False
        try:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return False  # another one was quicker
        except psycopg.Error as error:
            raise DatabaseError(
                f"{masked_url(url)} does not exist, and cannot be created: {cause(error)}. "
                f'Have an administrator run: CREATE DATABASE "{name}" OWNER "{parts.username or "…"}"'
            ) from None
    return True


def cause(error: psycopg.Error) -> str:
    """The error in one line."""
    text = error.diag.message_primary or str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def next_step(error: psycopg.Error) -> str:
    """What the user can do about it."""
    code = error.sqlstate or "08"  # none: the client's own, as where the server has gone
    return (
        _NEXT_STEPS.get(code)
        or _NEXT_STEPS.get(code[:3])
        or _NEXT_STEPS.get(code[:2])
        or "The server's log tells more."
    )


def _open(address: str, url: str) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(address, autocommit=True, connect_timeout=CONNECT_SECONDS)
    except psycopg.OperationalError as error:
        text = _without_password(cause(error), address)
        advice = "Is the server up, and are host and port right?"
        if "authentication" in text or "password" in text or "role" in text:
            advice = "Check user and password in the URL."
        elif "does not exist" in text:
            advice = "Check its name in the URL."
        raise DatabaseError(f"cannot connect to {masked_url(url)}: {text}. {advice}") from None
    except psycopg.Error:
        raise _unreadable() from None  # its text may quote the URL


def _without_password(text: str, address: str) -> str:
    with suppress(ValueError):
        for password in {urlsplit(address).password or "", unquote(urlsplit(address).password or "")} - {""}:
            text = text.replace(password, "…") if len(password) > 3 else text
    return text


def _unreadable() -> DatabaseError:
    return DatabaseError(
        "the database URL cannot be read. It has the form postgresql://user:password@host:5432/name, where special "
        "characters of the password are percent-encoded (%2F for a slash)."
    )

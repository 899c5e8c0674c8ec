"""The one error of the database side, and URLs as they may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


class DatabaseError(Exception):
    """The database cannot be used. The message says what happened, where, and what to do next; never a password."""


def masked_url(url: str) -> str:
    """A database URL as it may be shown or logged: without its password and its parameters."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(a malformed URL)"
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit((parts.scheme, f"{user}{parts.hostname or ''}{port}", parts.path, "", ""))

"""What LiteLLM keeps encrypted in the database, from one salt key to another. Called by `litellm-local keys`.

LiteLLM does it for a master key that takes the salt's place, by functions that know every column; those are used here.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from psycopg import sql

from proxy.database.servers import Database, Row, Server, check_alone, opened


def encrypt_anew(database: Database, old: str, new: str) -> int:
    """Encrypts by `new` what is encrypted by `old`, all of it or nothing; how many values that were.

    What another key has encrypted stays, so that it can be run again. Nothing else may be connected to the database.
    Imports LiteLLM: its settings are to be in the environment. Raises DatabaseError.
    """
    from litellm.proxy.db.master_key_migration import reencrypt_stored_values

    with opened(database) as server:
        check_alone(server)
        server.execute("BEGIN")
        count = asyncio.run(reencrypt_stored_values(_RawQueries(server), from_key=old, to_key=new))
        server.execute("COMMIT")
    return int(count)


class _RawQueries:
    """A server as LiteLLM's functions ask it: by Prisma's raw queries."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def query_raw(self, query: str, *values: Any) -> list[Row]:
        return self._server.rows(_filled(query, values))

    async def execute_raw(self, query: str, *values: Any) -> int:
        return len(self._server.rows(f"{_filled(query, values)} RETURNING 1 AS changed"))


def _filled(query: str, values: tuple[Any, ...]) -> str:
    """`$1`, `$2`, … as literals."""
    return re.sub(r"\$(\d+)", lambda found: sql.Literal(values[int(found[1]) - 1]).as_string(None), query)

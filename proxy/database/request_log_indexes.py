"""The two indexes of LiteLLM's request log that are in none of its migrations. Called by migrations.py.

LiteLLM builds them beside (`ProxyExtrasDBManager.build_request_log_indexes`), as a table full of requests must not be
blocked meanwhile. On an empty table, as in a new database, that is one statement each; else LiteLLM's own builder
does it, which knows about partitions, but whose import takes seconds.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import psycopg
from psycopg import sql

from proxy.database.connection import libpq_url

TABLE = "LiteLLM_SpendLogs"
INDEXES = {
    "LiteLLM_SpendLogs_api_key_startTime_idx": ("api_key", "startTime"),
    "LiteLLM_SpendLogs_litellm_call_id_idx": ("litellm_call_id",),
}


def build_request_log_indexes(connection: psycopg.Connection[Any], url: str) -> list[str]:
    """Builds those that are missing. Returns warnings: without them all works, but a large log is slow to search."""
    missing = [name for name in INDEXES if not _is_valid(connection, name)]
    if not missing:
        return []
    if not _is_empty_plain_table(connection):
        return _build_by_litellm(url)
    try:
        for name in missing:
            columns = sql.SQL(", ").join(map(sql.Identifier, INDEXES[name]))
            statement = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(TABLE), columns))
    except psycopg.errors.InsufficientPrivilege as error:
        return [f"LiteLLM's request log lacks an index: {error.diag.message_primary}."]
    return []


def _is_valid(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (f'"{name}"',))
    return row.fetchone() == (True,)


def _is_empty_plain_table(connection: psycopg.Connection[Any]) -> bool:
    kind = connection.execute("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)", (f'"{TABLE}"',))
    if kind.fetchone() != ("r",):
        return False
    return connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(TABLE))).fetchone() is None


def _build_by_litellm(url: str) -> list[str]:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # its import would fetch prices
    from litellm_proxy_extras.request_log_indexes import ensure_request_log_indexes

    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("litellm_proxy_extras")
    kept, logger.handlers = logger.handlers, [handler]
    try:
        address, schema = libpq_url(url)
        return [] if ensure_request_log_indexes(address, schema) else said
    finally:
        logger.handlers = kept

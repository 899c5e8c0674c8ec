"""GET /usage: requests, failures, tokens and spend, from the spend log in Postgres.

LiteLLM writes its spend log behind, up to a minute late; this route first has it write what is pending in
this process, so the figures include every request answered before. Registered on LiteLLM's FastAPI app by
app.py, so that it is in /docs and uses LiteLLM's keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, Literal, get_args

from pydantic import BaseModel

from proxy.gateway.errors import Refusal

GroupBy = Literal["model", "key", "day", "provider"]
DEFAULT_DAYS = 30
_FLUSH_SECONDS = 2.0

# One row per hour would do for every grouping; grouping in SQL keeps what is fetched small.
_COLUMNS: dict[GroupBy, str] = {
    "model": """coalesce(nullif(model_group, ''), nullif(model, ''), 'unknown')""",
    "key": "api_key",
    "day": """to_char("startTime", 'YYYY-MM-DD')""",
    "provider": """coalesce(nullif(model_group, ''), 'unknown') || ' ' || coalesce(custom_llm_provider, '')""",
}
_SQL = """
SELECT {column} AS name,
       count(*)::int AS requests,
       (count(*) FILTER (WHERE status = 'failure'))::int AS failures,
       coalesce(sum(prompt_tokens), 0)::float8 AS prompt_tokens,
       coalesce(sum(completion_tokens), 0)::float8 AS completion_tokens,
       coalesce(sum(spend), 0)::float8 AS spend_usd
FROM "LiteLLM_SpendLogs"
WHERE "startTime" >= $1::timestamptz AT TIME ZONE 'UTC'
  AND "startTime" < $2::timestamptz AT TIME ZONE 'UTC'
  AND ($3 = '' OR api_key = $3)
GROUP BY 1
ORDER BY 1
"""
_ALIASES = """SELECT token, key_alias FROM "LiteLLM_VerificationToken" WHERE token = ANY($1::text[])"""


class Figures(BaseModel):
    """`requests` counts every request that reached a model or failed on its way; `failures` are among them."""

    requests: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    spend_usd: float = 0.0


class Group(Figures):
    """Figures of one model, key, day or provider; only the field asked for by `group_by` is there."""

    model: str | None = None
    key: str | None = None
    key_alias: str | None = None
    day: str | None = None
    provider: str | None = None


class Usage(BaseModel):
    """What GET /usage answers. Times are UTC; `until` is not included."""

    as_of: datetime
    since: datetime
    until: datetime
    totals: Figures
    groups: list[Group]


@dataclass(frozen=True)
class Query:
    """What was asked for, checked."""

    since: datetime
    until: datetime
    group_by: GroupBy


def parse_query(since: str | None, until: str | None, group_by: str, now: datetime) -> Query:
    """Dates are whole UTC days, `until` included; datetimes without a zone are UTC. Raises Refusal (400)."""
    if group_by not in get_args(GroupBy):
        names = ", ".join(get_args(GroupBy))
        raise Refusal(400, f"group_by: must be one of {names}", param="group_by", code="invalid_value")
    begin = _moment("since", since) if since else _midnight(now.date() - timedelta(days=DEFAULT_DAYS))
    end = _moment("until", until, end_of_day=True) if until else now
    if end < begin:
        raise Refusal(400, "until: must not be before since", param="until", code="invalid_value")
    return Query(begin, end, group_by)  # type: ignore[arg-type]


def _moment(name: str, text: str, *, end_of_day: bool = False) -> datetime:
    try:
        if len(text) == len("2026-01-31"):
            day = date.fromisoformat(text)
            return _midnight(day + timedelta(days=1)) if end_of_day else _midnight(day)
        # Python 3.10 knows no "Z"; and "+" arrives as a space where a client does not encode it
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace(" ", "+" if "T" in text else " "))
    except (ValueError, OverflowError):
        raise Refusal(
            400,
            f"{name}: must be a date (2026-01-31) or a time (2026-01-31T12:00:00Z)",
            param=name,
            code="invalid_value",
        ) from None
    return moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.utc)


class UsageReport:
    """Asks Postgres through LiteLLM's own client.

    `query(sql, *arguments)` returns rows as dicts, `flush()` writes what LiteLLM has pending, `providers`
    maps an alias to its provider.
    """

    def __init__(
        self,
        query: Callable[..., Awaitable[Iterable[Mapping[str, Any]]]],
        flush: Callable[[], Awaitable[None]],
        providers: Mapping[str, str],
    ) -> None:
        self._query = query
        self._flush = flush
        self._providers = providers

    async def usage(self, asked: Query, key: str | None) -> Usage:
        """`key` is the hash of the key whose rows are counted; None: everybody's."""
        await self._write_pending()
        as_of = datetime.now(timezone.utc)
        sql = _SQL.format(column=_COLUMNS[asked.group_by])
        rows = await self._query(sql, asked.since.isoformat(), asked.until.isoformat(), key or "")
        by_name: dict[str, Figures] = {}
        totals = Figures()
        for row in rows:
            name = self._name(asked.group_by, str(row["name"]))
            for figures in (by_name.setdefault(name, Figures()), totals):
                figures.requests += int(row["requests"])
                figures.failures += int(row["failures"])
                figures.prompt_tokens += int(row["prompt_tokens"])
                figures.completion_tokens += int(row["completion_tokens"])
                figures.spend_usd = round(figures.spend_usd + float(row["spend_usd"]), 10)
        groups = [
            Group.model_validate({asked.group_by: name, **figures.model_dump()}) for name, figures in by_name.items()
        ]
        if asked.group_by == "key":
            await self._add_aliases(groups)
        return Usage(as_of=as_of, since=asked.since, until=asked.until, totals=totals, groups=groups)

    def _name(self, group_by: GroupBy, name: str) -> str:
        if group_by != "provider":
            return name
        alias, _, called = name.partition(" ")
        return self._providers.get(alias) or called or "unknown"

    async def _add_aliases(self, groups: list[Group]) -> None:
        rows = await self._query(_ALIASES, [group.key for group in groups])
        aliases = {row["token"]: row["key_alias"] for row in rows}
        for group in groups:
            group.key_alias = aliases.get(group.key)

    async def _write_pending(self) -> None:
        try:
            await asyncio.wait_for(self._flush(), _FLUSH_SECONDS)
        except asyncio.TimeoutError:
            return  # under a constant stream of requests there is always something pending

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

from proxy.catalog import Catalog
from proxy.gateway.errors import Refusal

GroupBy = Literal["model", "key", "day", "provider"]
DEFAULT_DAYS = 30
_FLUSH_SECONDS = 2.0

_COLUMNS: dict[GroupBy, tuple[str, ...]] = {
    "model": ("model_group", "model", "custom_llm_provider"),
    "key": ("api_key",),
    "day": ("""to_char("startTime", 'YYYY-MM-DD') AS day""",),
    "provider": ("model_group", "model", "custom_llm_provider"),
}
# LiteLLM also logs refused calls of its management routes, with the route as their type; those are no usage.
_SQL = """
SELECT {columns},
       count(*)::int AS requests,
       (count(*) FILTER (WHERE status = 'failure'))::int AS failures,
       coalesce(sum(prompt_tokens), 0)::float8 AS prompt_tokens,
       coalesce(sum(completion_tokens), 0)::float8 AS completion_tokens,
       coalesce(sum(spend), 0)::float8 AS spend
FROM "LiteLLM_SpendLogs"
WHERE "startTime" >= $1::timestamptz AT TIME ZONE 'UTC'
  AND "startTime" < $2::timestamptz AT TIME ZONE 'UTC'
  AND ($3 = '' OR api_key = $3)
  AND call_type NOT LIKE '/%'
GROUP BY {groups}
ORDER BY {groups}
"""
_ALIASES = """SELECT token, key_alias FROM "LiteLLM_VerificationToken" WHERE token = ANY($1::text[])"""


class Figures(BaseModel):
    """`requests` are those to a model, the gateway's own health probes among them; `failures` are the requests
    that got an error, also for their key. `spend` is in US dollars."""

    requests: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    spend: float = 0.0


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

    `query(sql, *arguments)` returns rows as dicts, `flush()` writes what LiteLLM has pending. Aliases and the
    names of providers are the catalogue's.
    """

    def __init__(
        self,
        query: Callable[..., Awaitable[Iterable[Mapping[str, Any]]]],
        flush: Callable[[], Awaitable[None]],
        catalog: Catalog,
    ) -> None:
        self._query = query
        self._flush = flush
        self._provider_of = {alias: model.provider for alias, model in catalog.models.items()}
        self._alias_of = {model.upstream: alias for alias, model in catalog.models.items()}
        self._provider_called = {provider.api: name for name, provider in catalog.providers.items()}

    async def usage(self, asked: Query, key: str | None) -> Usage:
        """`key` is the hash of the key whose rows are counted; None: everybody's."""
        await self._write_pending()
        as_of = datetime.now(timezone.utc)
        columns = _COLUMNS[asked.group_by]
        numbers = ", ".join(str(number) for number in range(1, len(columns) + 1))
        sql = _SQL.format(columns=", ".join(columns), groups=numbers)
        rows = await self._query(sql, asked.since.isoformat(), asked.until.isoformat(), key or "")
        by_name: dict[str, Figures] = {}
        totals = Figures()
        for row in rows:
            name = self._name(asked.group_by, row)
            for figures in (by_name.setdefault(name, Figures()), totals):
                figures.requests += int(row["requests"])
                figures.failures += int(row["failures"])
                figures.prompt_tokens += int(row["prompt_tokens"])
                figures.completion_tokens += int(row["completion_tokens"])
                figures.spend = round(figures.spend + float(row["spend"]), 12)
        groups = [
            Group.model_validate({asked.group_by: name, **figures.model_dump()}) for name, figures in by_name.items()
        ]
        if asked.group_by == "key":
            await self._add_aliases(groups)
        return Usage(as_of=as_of, since=asked.since, until=asked.until, totals=totals, groups=groups)

    def _name(self, group_by: GroupBy, row: Mapping[str, Any]) -> str:
        if group_by == "day":
            return str(row["day"])
        if group_by == "key":
            return row["api_key"] or "none"
        # Health probes have no alias, and their upstream's name, with or without LiteLLM's "openai/" before it.
        alias = row["model_group"] or self._alias_of.get(str(row["model"]).rpartition("/")[2])
        if group_by == "model":
            return alias or "unknown"
        called = row["custom_llm_provider"]
        return self._provider_of.get(alias or "") or self._provider_called.get(called) or called or "unknown"

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

"""GET /usage without a server: what a query means, and how rows become figures."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone

import pytest

from proxy.catalog import load_catalog
from proxy.gateway.errors import Refusal
from proxy.gateway.usage import Query, UsageReport, parse_query

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=timezone.utc)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("since", "until", "begin", "end"),
    [
        (None, None, utc(2026, 10, 25), NOW),
        ("2026-11-01", "2026-11-01", utc(2026, 11, 1), utc(2026, 11, 2)),
        ("2026-11-01T10:00:00Z", "2026-11-01T11:00:00", utc(2026, 11, 1, 10), utc(2026, 11, 1, 11)),
        ("2026-11-01T10:00:00+02:00", None, utc(2026, 11, 1, 8), NOW),
        ("2026-11-01T10:00:00 02:00", None, utc(2026, 11, 1, 8), NOW),  # a "+" that was not encoded
        ("2026-11-01 10:00:00", None, utc(2026, 11, 1, 10), NOW),
    ],
)
def test_span_of_time(since, until, begin, end):
    assert parse_query(since, until, "model", NOW) == Query(begin, end, "model")


@pytest.mark.parametrize(
    ("since", "until", "group_by", "param"),
    [
        ("yesterday", None, "model", "since"),
        ("2026-13-01", None, "model", "since"),
        (None, "2026-02-30", "model", "until"),
        (None, "9999-12-31", "model", "until"),
        ("2026-11-02", "2026-10-01", "model", "until"),
        (None, None, "team", "group_by"),
    ],
)
def test_what_cannot_be_meant_is_400(since, until, group_by, param):
    with pytest.raises(Refusal) as refused:
        parse_query(since, until, group_by, NOW)
    assert (refused.value.status, refused.value.param) == (400, param)


def row(requests=1, failures=0, tokens=10, spend=0.1, **names):
    figures = {"prompt_tokens": float(tokens), "completion_tokens": float(tokens), "spend": spend}
    return {"requests": requests, "failures": failures, **figures, **names}


def model_row(model_group, model, custom_llm_provider, **figures):
    return row(model_group=model_group, model=model, custom_llm_provider=custom_llm_provider, **figures)


class Database:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.log = []

    async def query(self, sql, *arguments):
        self.log.append((sql, arguments))
        return self.answers.pop(0)

    async def flush(self):
        self.log.append("flushed")


def report(database, group_by, key=None):
    asked = Query(utc(2026, 11, 1), NOW, group_by)
    usage = UsageReport(database.query, database.flush, load_catalog())
    return asyncio.run(usage.usage(asked, key))


def test_totals_are_the_sum_of_the_groups():
    rows = [
        model_row("gpt-4o", "openai/gpt-4o", "openai", requests=3, failures=1, tokens=10, spend=0.1),
        model_row("gpt-5-mini", "openai/gpt-5-mini-2025-08-07", "openai", requests=2, tokens=5, spend=0.2),
    ]
    database = Database(rows)
    usage = report(database, "model")
    assert usage.totals.model_dump() == {
        "requests": 5,
        "failures": 1,
        "prompt_tokens": 15,
        "completion_tokens": 15,
        "spend": 0.3,
    }
    assert [(group.model, group.requests) for group in usage.groups] == [("gpt-4o", 3), ("gpt-5-mini", 2)]


def test_pending_spend_is_written_before_it_is_counted():
    database = Database([])
    report(database, "model")
    assert database.log[0] == "flushed"


def test_a_flush_that_does_not_end_delays_the_answer_only_a_little(monkeypatch):
    monkeypatch.setattr("proxy.gateway.usage._FLUSH_SECONDS", 0.01)
    database = Database([])
    database.flush = lambda: asyncio.Event().wait()
    assert report(database, "model").totals.requests == 0


LOGGED = [
    model_row("gpt-4o", "openai/gpt-4o", "openai"),
    model_row("gemini-2.5-pro", "gemini/gemini-1.5-pro", "gemini"),
    model_row("", "gemini-1.5-pro", "gemini"),  # a health probe
    model_row("retired-alias", "openai/gpt-3", "openai"),
    model_row("", "made-up-by-a-client", ""),
]


def test_models_are_aliases():
    groups = report(Database(LOGGED), "model").groups
    figures = {group.model: group.requests for group in groups}
    assert figures == {"gpt-4o": 1, "gemini-2.5-pro": 2, "retired-alias": 1, "unknown": 1}


def test_providers_are_the_catalogues():
    groups = report(Database(LOGGED), "provider").groups
    assert {group.provider: group.requests for group in groups} == {"openai": 2, "google": 2, "unknown": 1}


def test_keys_have_their_names():
    database = Database(
        [row(api_key="hash1"), row(api_key="hash2"), row(api_key="")], [{"token": "hash1", "key_alias": "ci"}]
    )
    usage = report(database, "key")
    assert [(group.key, group.key_alias) for group in usage.groups] == [
        ("hash1", "ci"),
        ("hash2", None),
        ("none", None),
    ]


def test_a_virtual_key_asks_for_its_own_rows_only():
    database = Database([], [])
    report(database, "model", key="hash1")
    report(database, "model", key=None)
    assert database.log[1][1][2] == "hash1"
    assert database.log[3][1][2] == ""

"""Every action of prisma-client-py, through the bridge."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def authors(db: Any) -> Any:
    db.author.create_many(
        data=[
            {"email": "ada@example.org", "name": "Ada", "age": 36, "role": "ADMIN"},
            {"email": "bob@example.org", "name": "Bob", "age": 25},
            {"email": "cyd@example.org", "age": 25},
        ]
    )
    return db


def emails(found: list[Any]) -> list[str]:
    return [author.email[:3] for author in found]


def test_create_returns_the_record_with_its_defaults(db: Any) -> None:
    author = db.author.create(data={"email": "dan@example.org"})
    assert (author.id, author.email, author.name, author.role) == (1, "dan@example.org", None, "READER")


def test_create_many_tells_how_many_and_skips_duplicates(authors: Any) -> None:
    again = [{"email": "ada@example.org"}, {"email": "eve@example.org"}]
    assert authors.author.create_many(data=again, skip_duplicates=True) == 1
    assert authors.author.count() == 4


def test_find_unique(authors: Any, errors: Any) -> None:
    assert authors.author.find_unique(where={"email": "ada@example.org"}).name == "Ada"
    assert authors.author.find_unique(where={"id": 99}) is None
    assert authors.author.find_unique_or_raise(where={"id": 1}).name == "Ada"
    with pytest.raises(errors.RecordNotFoundError):
        authors.author.find_unique_or_raise(where={"id": 99})


def test_find_unique_by_a_compound_key(db: Any) -> None:
    db.pair.create(data={"left": "a", "right": "b", "note": "first"})
    key = {"left_right": {"left": "a", "right": "b"}}
    assert db.pair.find_unique(where=key).note == "first"
    assert db.pair.update(where=key, data={"note": None}).note is None
    assert db.pair.delete(where=key).left == "a"


def test_find_first(authors: Any, errors: Any) -> None:
    assert authors.author.find_first(where={"age": 25}, order={"id": "desc"}).email == "cyd@example.org"
    assert authors.author.find_first(where={"age": 1}) is None
    assert authors.author.find_first_or_raise(where={"age": 36}).name == "Ada"
    with pytest.raises(errors.RecordNotFoundError):
        authors.author.find_first_or_raise(where={"age": 1})


def test_find_many_in_order(authors: Any) -> None:
    assert emails(authors.author.find_many(order={"email": "desc"})) == ["cyd", "bob", "ada"]
    assert emails(authors.author.find_many(order=[{"age": "asc"}, {"id": "desc"}])) == ["cyd", "bob", "ada"]


def test_find_many_by_pages(authors: Any) -> None:
    page = {"order": {"id": "asc"}}
    assert emails(authors.author.find_many(take=2, **page)) == ["ada", "bob"]
    assert emails(authors.author.find_many(take=2, skip=2, **page)) == ["cyd"]
    assert emails(authors.author.find_many(take=-1, **page)) == ["cyd"]
    assert emails(authors.author.find_many(take=1, cursor={"id": 2}, skip=1, **page)) == ["cyd"]
    assert emails(authors.author.find_many(take=2, cursor={"email": "bob@example.org"}, **page)) == ["bob", "cyd"]


def test_find_many_distinct(authors: Any) -> None:
    assert emails(authors.author.find_many(distinct=["age"], order={"id": "asc"})) == ["ada", "bob"]


def test_update(authors: Any) -> None:
    updated = authors.author.update(where={"id": 1}, data={"name": "Ada L.", "role": "EDITOR"})
    assert (updated.name, updated.role) == ("Ada L.", "EDITOR")
    assert authors.author.update(where={"id": 99}, data={"name": "nobody"}) is None


def test_update_by_arithmetic(authors: Any) -> None:
    age = lambda data: authors.author.update(where={"id": 2}, data={"age": data}).age  # noqa: E731
    assert [age({"increment": 5}), age({"decrement": 10}), age({"multiply": 3}), age({"divide": 2})] == [30, 20, 60, 30]
    assert age(None) is None


def test_update_many(authors: Any) -> None:
    assert authors.author.update_many(where={"age": 25}, data={"name": "young"}) == 2
    assert authors.author.count(where={"name": "young"}) == 2


def test_upsert_creates_then_updates(db: Any) -> None:
    def upsert() -> Any:
        return db.author.upsert(
            where={"email": "ada@example.org"},
            data={"create": {"email": "ada@example.org", "age": 1}, "update": {"age": {"increment": 1}}},
        )

    assert [upsert().age, upsert().age] == [1, 2]


def test_delete(authors: Any) -> None:
    assert authors.author.delete(where={"id": 1}).name == "Ada"
    assert authors.author.delete(where={"id": 1}) is None
    assert authors.author.delete_many(where={"age": 25}) == 2
    assert authors.author.delete_many() == 0


def test_count(authors: Any) -> None:
    assert authors.author.count() == 3
    assert authors.author.count(where={"age": 25}) == 2
    assert authors.author.count(take=1) == 1
    assert authors.author.count(select={"_all": True, "name": True}) == {"_all": 3, "name": 2}


def test_group_by(authors: Any) -> None:
    groups = authors.author.group_by(
        ["age"],
        count=True,
        sum={"age": True},
        avg={"age": True},
        min={"id": True},
        max={"id": True},
        order={"age": "asc"},
    )
    assert groups == [
        {
            "age": 25,
            "_count": {"_all": 2},
            "_sum": {"age": 50},
            "_avg": {"age": 25.0},
            "_min": {"id": 2},
            "_max": {"id": 3},
        },
        {
            "age": 36,
            "_count": {"_all": 1},
            "_sum": {"age": 36},
            "_avg": {"age": 36.0},
            "_min": {"id": 1},
            "_max": {"id": 1},
        },
    ]


def test_group_by_having(authors: Any) -> None:
    groups = authors.author.group_by(["age"], having={"age": {"_count": {"gt": 1}}})
    assert groups == [{"age": 25}]


def test_metrics(authors: Any) -> None:
    metrics = authors.get_metrics(global_labels={"app": "conformance"})
    counters = {metric.key: metric for metric in metrics.counters}
    assert counters["prisma_client_queries_total"].value > 0
    assert counters["prisma_client_queries_total"].labels == {"app": "conformance"}
    assert {metric.key: metric.value for metric in metrics.gauges}["prisma_pool_connections_busy"] == 0
    histogram = metrics.histograms[0].value
    assert histogram.count >= histogram.buckets[-1].total_count > 0
    assert "# TYPE prisma_datasource_queries_total counter" in authors.get_metrics(format="prometheus")

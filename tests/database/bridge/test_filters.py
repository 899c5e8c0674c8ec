"""Filters: which records each of prisma-client-py's operators finds."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def find(db: Any) -> Any:
    """Ids of the samples that match a filter."""
    db.sample.create_many(
        data=[
            {"text": "Alpha", "number": 1, "ratio": 1.5, "flag": True, "texts": ["a", "b"], "numbers": [1, 2]},
            {"text": "beta", "number": 2, "ratio": 2.5, "flag": False, "texts": ["b"], "numbers": [2], "role": "ADMIN"},
            {"text": "100%_x", "number": 3, "ratio": 3.5, "texts": [], "numbers": [], "role": "READER"},
            {"text": None},
        ]
    )

    def ids(where: dict[str, Any]) -> list[int]:
        return [sample.id for sample in db.sample.find_many(where=where, order={"id": "asc"})]

    return ids


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"text": "Alpha"}, [1]),
        ({"text": {"equals": "Alpha"}}, [1]),
        ({"text": {"equals": "ALPHA", "mode": "insensitive"}}, [1]),
        ({"text": {"not": "Alpha"}}, [2, 3]),
        ({"text": {"not": {"contains": "a"}}}, [3]),
        ({"text": {"contains": "t"}}, [2]),
        ({"text": {"contains": "%_"}}, [1, 2, 3]),  # as the native engine: wildcards are not escaped
        ({"text": {"contains": "LPH", "mode": "insensitive"}}, [1]),
        ({"text": {"startswith": "be"}}, [2]),
        ({"text": {"endswith": "ta"}}, [2]),
        ({"text": {"in": ["Alpha", "beta", 'q"uote']}}, [1, 2]),
        ({"text": {"not_in": ["Alpha"]}}, [2, 3]),
        ({"text": None}, [4]),
        ({"text": {"not": None}}, [1, 2, 3]),
        ({"text": {"lt": "B"}}, [1, 3]),
        ({"number": {"gt": 1}}, [2, 3]),
        ({"number": {"gte": 2, "lt": 3}}, [2]),
        ({"number": {"lte": 1}}, [1]),
        ({"number": {"in": [1, 3, 99]}}, [1, 3]),
        ({"number": {"in": []}}, []),
        ({"number": {"not_in": []}}, [1, 2, 3, 4]),
        ({"ratio": {"gt": 2}}, [2, 3]),
        ({"ratio": 2.5}, [2]),
        ({"flag": True}, [1]),
        ({"flag": {"not": True}}, [2]),
        ({"role": "ADMIN"}, [2]),
        ({"role": {"in": ["ADMIN", "READER"]}}, [2, 3]),
        ({"role": {"not": "ADMIN"}}, [3]),
        ({"AND": [{"number": {"gt": 1}}, {"number": {"lt": 3}}]}, [2]),
        ({"OR": [{"text": "Alpha"}, {"number": 3}]}, [1, 3]),
        ({"NOT": [{"text": "Alpha"}]}, [2, 3]),
        ({"NOT": [{"OR": [{"number": 1}, {"AND": [{"number": 2}, {"flag": False}]}]}]}, [3]),
        ({"texts": {"has": "b"}}, [1, 2]),
        ({"texts": {"has_every": ["a", "b"]}}, [1]),
        ({"texts": {"has_some": ["a", "x"]}}, [1]),
        ({"texts": {"is_empty": True}}, [3]),
        ({"texts": {"equals": ["b"]}}, [2]),
        ({"numbers": {"has": 2}}, [1, 2]),
        ({"numbers": {"has_every": [1, 2]}}, [1]),
    ],
)
def test_scalar_filters(find: Any, where: dict[str, Any], expected: list[int]) -> None:
    assert find(where) == expected


@pytest.fixture
def titles(db: Any) -> Any:
    db.author.create(
        data={
            "email": "ada@example.org",
            "profile": {"create": {"bio": "mathematician"}},
            "posts": {"create": [{"title": "one", "published": True, "tags": {"create": [{"label": "x"}]}}]},
        }
    )
    db.author.create(data={"email": "bob@example.org", "posts": {"create": [{"title": "two"}]}})
    db.post.create(data={"title": "three"})

    def of(where: dict[str, Any]) -> set[str]:
        return {post.title for post in db.post.find_many(where=where)}

    return of


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"author": {"is": {"email": "ada@example.org"}}}, {"one"}),
        ({"author": {"is_not": {"email": "ada@example.org"}}}, {"two", "three"}),
        ({"author": {"is": {"profile": {"is": {"bio": {"contains": "math"}}}}}}, {"one"}),
        ({"author": {"is": {"posts": {"some": {"title": "two"}}}}}, {"two"}),
        ({"tags": {"some": {"label": "x"}}}, {"one"}),
        ({"tags": {"none": {"label": "x"}}}, {"two", "three"}),
        ({"tags": {"every": {"label": "x"}}}, {"one", "two", "three"}),
        ({"author_id": None}, {"three"}),
        ({"OR": [{"author_id": None}, {"author": {"is": {"email": {"startswith": "ada"}}}}]}, {"one", "three"}),
    ],
)
def test_relation_filters(titles: Any, where: dict[str, Any], expected: set[str]) -> None:
    assert titles(where) == expected

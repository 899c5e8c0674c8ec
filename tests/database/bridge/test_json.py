"""Json fields: what was put in comes out, and filters look into it."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

DOCUMENTS = [
    {"a": 1, "nested": {"list": [1, 2.5, None, True, "x"], "empty": {}}},
    {"$type": "Json", "value": "no tag, but data"},
    {"quoted": 'say "hi" \\ {"$type":"DateTime","value":"2024"}'},
    [],
    [1, {"two": 2}],
    "a plain string",
    '{"a": "string that looks like a document"}',
    "",
    0,
    1.5,
    True,
    None,
    {"big": 2**53 + 1, "snowman": "\N{SNOWMAN}"},
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=repr)
def test_documents_come_back_as_they_went_in(db: Any, json_of: Any, document: Any) -> None:
    created = db.sample.create(data={"doc": json_of(document)})
    assert created.doc == document
    assert db.sample.find_unique(where={"id": created.id}).doc == document
    updated = db.sample.update(where={"id": created.id}, data={"doc": json_of({"was": document})})
    assert updated.doc == {"was": document}


def test_postgres_holds_the_document_and_not_a_string_of_it(db: Any, json_of: Any, database_url: str) -> None:
    db.sample.create(data={"doc": json_of({"a": 1}), "docs": [json_of({"b": 2})]})
    with psycopg.connect(database_url) as connection:
        row = connection.execute('SELECT jsonb_typeof(doc), jsonb_typeof(docs[1]) FROM "Sample"').fetchone()
    assert row == ("object", "object")


def test_no_document_is_not_the_document_null(db: Any, json_of: Any) -> None:
    db.sample.create(data={"text": "none"})
    db.sample.create(data={"text": "null", "doc": json_of(None)})
    assert db.query_raw('SELECT text FROM "Sample" WHERE doc IS NULL') == [{"text": "none"}]
    for name, found in (("DbNull", ["none"]), ("JsonNull", ["null"]), ("AnyNull", ["none", "null"])):
        samples = db.sample.find_many(where={"doc": {"equals": name}}, order={"id": "asc"})
        assert [sample.text for sample in samples] == found
    db.sample.update(where={"id": 2}, data={"doc": "DbNull"})
    assert db.sample.find_unique(where={"id": 2}).doc is None
    assert db.query_raw('SELECT count(*)::int AS n FROM "Sample" WHERE doc IS NULL') == [{"n": 2}]


def test_many_and_upserted_documents(db: Any, json_of: Any) -> None:
    db.sample.create_many(data=[{"doc": json_of(document)} for document in DOCUMENTS])
    assert [sample.doc for sample in db.sample.find_many(order={"id": "asc"})] == DOCUMENTS
    for expected in ({"v": 1}, {"v": 2}):
        data = {"create": {"id": 99, "doc": json_of({"v": 1})}, "update": {"doc": json_of({"v": 2})}}
        assert db.sample.upsert(where={"id": 99}, data=data).doc == expected
    assert db.sample.update_many(where={}, data={"doc": json_of(["all"])}) == len(DOCUMENTS) + 1
    assert db.sample.count(where={"doc": {"equals": json_of(["all"])}}) == len(DOCUMENTS) + 1


def test_lists_of_documents(db: Any, json_of: Any) -> None:
    created = db.sample.create(data={"docs": [json_of({"a": 1}), json_of("s"), json_of([1])]})
    assert created.docs == [{"a": 1}, "s", [1]]
    pushed = db.sample.update(where={"id": created.id}, data={"docs": {"push": [json_of({"$type": "x"})]}})
    assert pushed.docs[-1] == {"$type": "x"}
    assert db.sample.update(where={"id": created.id}, data={"docs": {"set": [json_of(1)]}}).docs == [1]
    assert db.sample.count(where={"docs": {"has": json_of(1)}}) == 1


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (lambda j: {"equals": j({"a": {"b": [1, 2]}, "s": "hello"})}, [1]),
        (lambda j: {"not": j({"a": {"b": [1, 2]}, "s": "hello"})}, [2, 3]),
        (lambda j: {"path": ["a", "b"], "equals": j([1, 2])}, [1]),
        (lambda j: {"path": ["a", "b"], "array_contains": j([2])}, [1]),
        (lambda j: {"path": ["a", "b"], "array_starts_with": j(1)}, [1]),
        (lambda j: {"path": ["a", "b"], "array_ends_with": j(2)}, [1]),
        (lambda j: {"path": ["s"], "equals": j("hello")}, [1]),
        (lambda j: {"path": ["s"], "string_contains": "ell"}, [1]),
        (lambda j: {"path": ["s"], "string_starts_with": "h"}, [1]),
        (lambda j: {"path": ["s"], "string_ends_with": "lo"}, [1]),
        (lambda j: {"path": ["n"], "gt": j(3)}, [2]),
        (lambda j: {"path": ["n"], "lte": j(5)}, [2]),
        (lambda j: {"array_contains": j(["x"])}, [3]),
    ],
)
def test_filters(db: Any, json_of: Any, condition: Any, expected: list[int]) -> None:
    for document in ({"a": {"b": [1, 2]}, "s": "hello"}, {"n": 5}, ["x", "y"]):
        db.sample.create(data={"doc": json_of(document)})
    where = {"doc": condition(json_of)}
    assert [sample.id for sample in db.sample.find_many(where=where, order={"id": "asc"})] == expected
    assert db.sample.count(where={"AND": [{"OR": [where]}]}) == len(expected)


def test_documents_in_nested_writes_and_includes(db: Any, json_of: Any) -> None:
    author = db.author.create(
        data={
            "email": "ada@example.org",
            "profile": {"create": {"bio": "b", "data": json_of({"theme": "dark"})}},
            "posts": {"create": [{"title": "one", "meta": json_of({"k": 1})}, {"title": "two", "meta": json_of("s")}]},
        },
        include={"profile": True, "posts": {"where": {"meta": {"path": ["k"], "equals": json_of(1)}}}},
    )
    assert author.profile.data == {"theme": "dark"}
    assert [(post.title, post.meta) for post in author.posts] == [("one", {"k": 1})]
    updated = db.author.update(
        where={"id": author.id},
        data={
            # The profile has a field named `data`: this is the field, not a wrapper round the data.
            "profile": {"update": {"data": json_of({"theme": "light"})}},
            "posts": {"update": [{"where": {"id": author.posts[0].id}, "data": {"meta": json_of([1])}}]},
        },
        include={"profile": True, "posts": True},
    )
    assert updated.profile.data == {"theme": "light"}
    assert {post.title: post.meta for post in updated.posts} == {"one": [1], "two": "s"}
    where = {"profile": {"is": {"data": {"path": ["theme"], "equals": json_of("light")}}}}
    assert db.author.count(where=where) == 1
    assert db.author.count(where={"posts": {"some": {"meta": {"equals": json_of("s")}}}}) == 1


@pytest.mark.parametrize(
    "text",
    ["{no json", "", "NaN", "[1e999]", "-" + "9" * 400, '"\\ud800"', '{"\\udc00": 1}', "[" * 128 + "]" * 128],
    ids=lambda text: text[:12],
)
def test_what_the_engine_cannot_read_is_refused_and_it_lives_on(db: Any, errors: Any, text: str) -> None:
    with pytest.raises(errors.DataError, match="JSON"):
        db.sample.create(data={"doc": text})
    assert db.sample.count() == 0


@pytest.mark.parametrize(
    "text",
    ["[" * 127 + "]" * 127, '"\\ud83d\\ude00"', '"\\\\ud800"', "[1e308]", '"' + "[" * 500 + '"', '"1e999"'],
    ids=lambda text: text[:12],
)
def test_what_only_looks_like_that_is_taken(db: Any, text: str) -> None:
    assert db.sample.create(data={"doc": text}).doc == json.loads(text)

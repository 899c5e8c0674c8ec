"""Refused data arrives as the exception that the client has for it."""

from __future__ import annotations

from typing import Any

import pytest


def test_unique_violation(db: Any, errors: Any) -> None:
    db.author.create({"email": "a"})
    with pytest.raises(errors.UniqueViolationError, match="email") as caught:
        db.author.create({"email": "a"})
    assert caught.value.code == "P2002"
    assert caught.value.meta["target"] == ["email"]
    db.pair.create({"left": "a", "right": "b"})
    with pytest.raises(errors.UniqueViolationError) as caught:
        db.pair.create({"left": "a", "right": "b"})
    assert caught.value.meta["target"] == ["left", "right"]


def test_unique_violation_in_many(db: Any, errors: Any) -> None:
    with pytest.raises(errors.UniqueViolationError):
        db.author.create_many([{"email": "a"}, {"email": "a"}])
    assert db.author.count() == 0


def test_foreign_key_violation(db: Any, errors: Any) -> None:
    with pytest.raises(errors.ForeignKeyViolationError) as caught:
        db.post.create_many([{"title": "t", "author_id": 99}])
    assert caught.value.code == "P2003"
    author = db.author.create({"email": "a", "posts": {"create": [{"title": "t"}]}})
    with pytest.raises(errors.ForeignKeyViolationError):
        db.author.delete(where={"id": author.id})
    assert db.author.count() == 1


def test_missing_values(db: Any, errors: Any) -> None:
    with pytest.raises(errors.MissingRequiredValueError):
        db.author.create({"name": "nobody"})
    with pytest.raises(errors.MissingRequiredValueError):
        db.author.create({"email": None})
    with pytest.raises(errors.DataError) as caught:
        db.execute_raw('INSERT INTO "Author" (name) VALUES ($1)', "nobody")
    assert caught.value.meta["code"] == "23502"


def test_unknown_fields(db: Any, errors: Any) -> None:
    for call in (
        lambda: db.author.create({"email": "a", "nope": 1}),
        lambda: db.author.find_first(where={"nope": 1}),
    ):
        with pytest.raises(errors.FieldNotFoundError):
            call()


def test_missing_records(db: Any, errors: Any) -> None:
    with pytest.raises(errors.DataError, match="Expected 1 records to be connected") as caught:
        db.author.create({"email": "a", "posts": {"connect": [{"id": "nope"}]}})
    assert caught.value.code == "P2018"
    assert db.author.count() == 0


def test_missing_table(connect: Any, postgres: Any, errors: Any) -> None:
    url = postgres.new_database("without_tags")
    client = connect(url)
    try:
        client.execute_raw('DROP TABLE "Tag" CASCADE')
        with pytest.raises(errors.TableNotFoundError) as caught:
            client.tag.count()
        assert caught.value.code == "P2021"
    finally:
        client.disconnect()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"number": 2**31}, "out of range"),
        ({"big": 2**63}, "big"),
        ({"text": "\0"}, "0x00"),
        ({"role": "NOPE"}, "NOPE"),
        ({"uuid": "no uuid"}, "uuid"),
        ({"moment": "yesterday"}, "yesterday"),
        ({"amount": "many"}, "many"),
        ({"blob": "%"}, "base64"),
    ],
)
def test_values_that_do_not_fit(db: Any, errors: Any, data: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.DataError, match=words):
        db.sample.create(data=data)
    assert db.sample.count() == 0


def test_postgres_own_refusals_name_the_state(db: Any, errors: Any) -> None:
    # LiteLLM reads the SQLSTATE out of this form, to tell a bad row from an outage.
    with pytest.raises(errors.DataError, match=r'PostgresError \{ code: "22021"') as caught:
        db.sample.create({"text": "\0"})
    assert type(caught.value) is errors.DataError
    assert caught.value.code is None

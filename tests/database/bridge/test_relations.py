"""Nested writes and includes."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def ada(db: Any) -> Any:
    """An author with a profile and two posts, of which one has tags."""
    return db.author.create(
        data={
            "email": "ada@example.org",
            "profile": {"create": {"bio": "mathematician"}},
            "posts": {
                "create": [
                    {"title": "one", "views": 5, "tags": {"create": [{"label": "x"}, {"label": "y"}]}},
                    {"title": "two", "views": 7},
                ]
            },
        },
        include={"profile": True, "posts": {"include": {"tags": True}, "order_by": {"title": "asc"}}},
    )


def with_posts(db: Any, **arguments: Any) -> list[str]:
    author = db.author.find_unique(where={"id": 1}, include={"posts": {"order_by": {"title": "asc"}, **arguments}})
    return [post.title for post in author.posts]


def test_create_with_everything_nested(ada: Any) -> None:
    assert ada.profile.bio == "mathematician"
    assert [post.title for post in ada.posts] == ["one", "two"]
    assert [tag.label for tag in ada.posts[0].tags] == ["x", "y"]
    assert ada.posts[1].tags == []


def test_include_filters_orders_and_limits(db: Any, ada: Any) -> None:
    assert with_posts(db, where={"views": {"gt": 5}}) == ["two"]
    assert with_posts(db, take=1, skip=1) == ["two"]
    assert with_posts(db, order_by={"views": "desc"}) == ["two", "one"]


def test_include_from_the_other_side(db: Any, ada: Any) -> None:
    post = db.post.find_first(where={"title": "one"}, include={"author": {"include": {"profile": True}}})
    assert post.author.profile.bio == "mathematician"
    tag = db.tag.find_unique(where={"label": "x"}, include={"posts": True})
    assert [post.title for post in tag.posts] == ["one"]


def test_connect_and_disconnect(db: Any, ada: Any) -> None:
    loose = db.post.create(data={"title": "three"})
    db.author.update(where={"id": 1}, data={"posts": {"connect": [{"id": loose.id}]}})
    assert with_posts(db) == ["one", "three", "two"]
    db.author.update(where={"id": 1}, data={"posts": {"disconnect": [{"id": loose.id}]}})
    assert with_posts(db) == ["one", "two"]
    db.post.update(where={"id": loose.id}, data={"author": {"connect": {"email": "ada@example.org"}}})
    assert with_posts(db) == ["one", "three", "two"]
    db.post.update(where={"id": loose.id}, data={"author": {"disconnect": True}})
    assert with_posts(db) == ["one", "two"]


def test_connect_or_create(db: Any, ada: Any) -> None:
    tags = [{"where": {"label": label}, "create": {"label": label}} for label in ("x", "new")]
    post = db.post.create(
        # The client's types lack this operation; its query builder passes it on, as it is.
        data={"title": "tagged", "tags": {"connectOrCreate": tags}},
        include={"tags": {"order_by": {"label": "asc"}}},
    )
    assert [tag.label for tag in post.tags] == ["new", "x"]
    assert db.tag.count() == 3


def test_set(db: Any, ada: Any) -> None:
    two = next(post.id for post in ada.posts if post.title == "two")
    db.author.update(where={"id": 1}, data={"posts": {"set": [{"id": two}]}})
    assert with_posts(db) == ["two"]


def test_nested_update_and_delete(db: Any, ada: Any) -> None:
    one, two = (post.id for post in ada.posts)
    updated = db.author.update(
        where={"id": 1},
        data={
            "profile": {"update": {"bio": "programmer"}},
            "posts": {
                "update": [{"where": {"id": one}, "data": {"views": {"increment": 1}}}],
                "delete": [{"id": two}],
            },
        },
        include={"profile": True, "posts": True},
    )
    assert updated.profile.bio == "programmer"
    assert [(post.title, post.views) for post in updated.posts] == [("one", 6)]


def test_nested_update_many_and_delete_many(db: Any, ada: Any) -> None:
    db.author.update(
        where={"id": 1}, data={"posts": {"updateMany": [{"where": {"views": {"lt": 6}}, "data": {"title": "few"}}]}}
    )
    assert with_posts(db) == ["few", "two"]
    db.author.update(where={"id": 1}, data={"posts": {"deleteMany": [{"title": "few"}]}})
    assert with_posts(db) == ["two"]


def test_deleting_a_parent_deletes_what_cascades(db: Any, ada: Any) -> None:
    db.post.delete_many()
    db.author.delete(where={"id": 1}, include={"profile": True})
    assert db.profile.count() == 0

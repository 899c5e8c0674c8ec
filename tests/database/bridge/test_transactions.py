"""Batches and interactive transactions: all or nothing, in time or not at all."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from bridge_servers import wait_for


class Interrupted(Exception):
    """What the code round a transaction raises."""


@pytest.fixture
def engine_error(client_package: Any) -> type[Exception]:
    """What the client raises for an HTTP status that is no success."""
    return client_package.engine.errors.EngineError


def emails(db: Any) -> list[str]:
    return sorted(author.email for author in db.author.find_many())


def nothing_is_held(db: Any) -> bool:
    """No connection of the pool is busy, and none sits in a transaction."""
    gauges = {gauge.key: gauge.value for gauge in db.get_metrics().gauges}
    [row] = db.query_raw("SELECT count(*)::int AS n FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
    return gauges["prisma_pool_connections_busy"] == 0 and row["n"] == 0


def test_a_batch_is_written(db: Any, json_of: Any) -> None:
    with db.batch_() as batch:
        batch.author.create({"email": "a"})
        batch.author.create_many([{"email": "b"}, {"email": "c"}])
        batch.author.update(where={"email": "a"}, data={"age": 1})
        batch.sample.create({"doc": json_of({"$type": "x"}), "big": 2**53 + 1})
        batch.author.upsert(where={"email": "d"}, data={"create": {"email": "d"}, "update": {}})
        batch.author.delete(where={"email": "b"})
        batch.author.update_many(where={}, data={"name": "n"})
        batch.author.delete_many(where={"email": "c"})
    assert emails(db) == ["a", "d"]
    assert db.sample.find_first().doc == {"$type": "x"}
    assert db.sample.find_first().big == 2**53 + 1


def test_a_batch_that_fails_leaves_nothing(db: Any, errors: Any) -> None:
    batch = db.batch_()
    batch.author.create({"email": "a"})
    batch.author.create({"email": "b"})
    batch.author.create({"email": "a"})
    with pytest.raises(errors.UniqueViolationError):
        batch.commit()
    assert emails(db) == []
    assert nothing_is_held(db)


def test_a_transaction_is_invisible_until_it_is_committed(db: Any) -> None:
    with db.tx() as transaction:
        transaction.author.create({"email": "a"})
        assert emails(transaction) == ["a"]
        assert transaction.query_raw('SELECT email FROM "Author"') == [{"email": "a"}]
        assert emails(db) == []
    assert emails(db) == ["a"]


def test_an_exception_rolls_back(db: Any) -> None:
    def work() -> None:
        with db.tx() as transaction:
            transaction.author.create({"email": "a"})
            raise Interrupted

    with pytest.raises(Interrupted):
        work()
    assert emails(db) == []
    assert nothing_is_held(db)


def test_a_failing_query_rolls_back(db: Any, errors: Any) -> None:
    def work() -> None:
        with db.tx() as transaction:
            transaction.author.create({"email": "a"})
            transaction.author.create({"email": "a"})

    with pytest.raises(errors.UniqueViolationError):
        work()
    assert emails(db) == []
    assert nothing_is_held(db)


def test_a_batch_inside_a_transaction(db: Any) -> None:
    def work() -> None:
        with db.tx() as transaction:
            with transaction.batch_() as batch:
                batch.author.create({"email": "a"})
            assert emails(transaction) == ["a"]
            raise Interrupted

    with pytest.raises(Interrupted):
        work()
    assert emails(db) == []


def test_one_that_takes_too_long_is_ended(db: Any, errors: Any, engine_error: Any) -> None:
    manager = db.tx(timeout=timedelta(seconds=2))
    transaction = manager.start()
    transaction.author.create({"email": "a"})
    wait_for(lambda: nothing_is_held(db), "the transaction to be ended")
    with pytest.raises(errors.TransactionExpiredError):
        transaction.author.create({"email": "b"})
    with pytest.raises(engine_error, match=r"422|malformed"):
        manager.commit()
    assert emails(db) == []


def test_one_that_cannot_start_in_time_is_given_up(connect: Any, database_url: str, db: Any, engine_error: Any) -> None:
    client = connect(f"{database_url}?connection_limit=1")
    try:
        holder = client.tx(timeout=timedelta(seconds=20))
        held = holder.start()
        late = client.tx(max_wait=timedelta(milliseconds=150), timeout=timedelta(minutes=5))
        since = time.monotonic()
        with pytest.raises(engine_error, match=r"504.*P2028|504.*Unable to start"):
            late.start()
        assert time.monotonic() - since < 5
        held.author.create({"email": "a"})
        holder.commit()
        # The late start got the connection then, and has given it back.
        assert emails(client) == ["a"]
        wait_for(lambda: nothing_is_held(client), "the late start to be rolled back")
    finally:
        client.disconnect()


def test_transactions_side_by_side(db: Any) -> None:
    def write(number: int) -> None:
        with db.tx(max_wait=timedelta(seconds=20)) as transaction:
            transaction.author.create({"email": f"{number}"})
            transaction.author.update(where={"email": f"{number}"}, data={"age": number})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(author.age for author in db.author.find_many()) == list(range(20))


def test_isolation(db: Any) -> None:
    with db.tx() as transaction:
        transaction.execute_raw("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert transaction.author.count() == 0
        db.author.create({"email": "a"})
        assert transaction.author.count() == 0
    assert db.author.count() == 1
    [row] = db.query_raw("SHOW transaction_isolation")
    assert row == {"transaction_isolation": "read committed"}


def test_write_conflicts_have_their_code(db: Any, errors: Any) -> None:
    db.author.create({"email": "a", "age": 0})

    def work() -> None:
        with db.tx() as transaction:
            transaction.execute_raw("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            transaction.author.count()
            db.author.update(where={"email": "a"}, data={"age": 1})
            transaction.author.update(where={"email": "a"}, data={"age": 2})

    with pytest.raises(errors.DataError) as caught:
        work()
    assert caught.value.code == "P2034"
    assert db.author.find_first().age == 1


def test_an_unknown_transaction(db: Any, errors: Any) -> None:
    stranger = db._copy()
    for name in ("x", "cmwu1c4480000nkea2byeq8sq"):
        stranger._tx_id = name
        with pytest.raises(errors.TransactionError, match="not found"):
            stranger.author.count()
    assert db.author.count() == 0

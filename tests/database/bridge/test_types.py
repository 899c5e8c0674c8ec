"""Every type, written and read through the bridge, compared with what Postgres itself holds."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import psycopg
import pytest

TOKYO = timezone(timedelta(hours=9))
UTC = timezone.utc


@pytest.fixture
def stored(database_url: str) -> Any:
    """What Postgres holds in a column of the only sample, as text."""

    def text(column: str) -> str:
        with psycopg.connect(database_url) as connection:
            row = connection.execute(f'SELECT {column}::text FROM "Sample"').fetchone()
        assert row
        return str(row[0])

    return text


@pytest.mark.parametrize(
    ("column", "value", "in_postgres"),
    [
        ("text", "q'uo\"te \\ \N{SNOWMAN} \N{GRINNING FACE}\n\t", "q'uo\"te \\ \N{SNOWMAN} \N{GRINNING FACE}\n\t"),
        ("text", "", ""),
        ("text", '{"$type":"Json","value":"1"}', '{"$type":"Json","value":"1"}'),
        ("number", -(2**31), "-2147483648"),
        ("big", 2**53 + 1, "9007199254740993"),
        ("big", 2**63 - 1, "9223372036854775807"),
        ("big", -(2**63), "-9223372036854775808"),
        ("ratio", 0.1, "0.1"),
        ("ratio", 3.0, "3"),
        ("ratio", 1e300, "1e+300"),
        ("ratio", -1.5e-9, "-1.5e-09"),
        ("amount", Decimal("12345678901234567890.123456789"), "12345678901234567890.123456789000000000000000000000"),
        ("amount", Decimal("-0.000000000000000000000000000001"), "-0.000000000000000000000000000001"),
        ("flag", True, "true"),
        ("flag", False, "false"),
        ("role", "EDITOR", "EDITOR"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
    ],
)
def test_scalars(db: Any, stored: Any, column: str, value: Any, in_postgres: str) -> None:
    created = db.sample.create(data={column: value})
    assert stored(column) == in_postgres
    for sample in (created, db.sample.find_first(where={column: value}), *db.sample.find_many()):
        assert getattr(sample, column) == value
        assert type(getattr(sample, column)) is type(value)


@pytest.mark.parametrize("column", ["moment", "stamp"])
@pytest.mark.parametrize(
    ("value", "in_postgres"),
    [
        (datetime(2024, 5, 6, 7, 8, 9, 123000, tzinfo=UTC), "2024-05-06 07:08:09.123"),
        (datetime(2024, 5, 6, 7, 8, 9, tzinfo=TOKYO), "2024-05-05 22:08:09"),
        (datetime(1969, 12, 31, 23, 59, 59, 1000, tzinfo=UTC), "1969-12-31 23:59:59.001"),
    ],
)
def test_moments(db: Any, stored: Any, column: str, value: datetime, in_postgres: str) -> None:
    created = db.sample.create(data={column: value})
    assert stored(f"({column} AT TIME ZONE 'UTC')" if column == "moment" else column) == in_postgres
    assert getattr(created, column) == value
    assert db.sample.count(where={column: value}) == 1
    assert db.sample.count(where={column: {"gt": value - timedelta(seconds=1), "lte": value}}) == 1


def test_moments_that_others_wrote(db: Any, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("SET TIME ZONE 'Asia/Kolkata'")
        connection.execute(
            """INSERT INTO "Sample" (moment, stamp) VALUES
               ('2024-05-06 07:08:09.123456+05:30', '2024-05-06 07:08:09.987'),
               ('1850-01-01 00:00:00+05:53:28', NULL)"""
        )
    first, second = db.sample.find_many(order={"id": "asc"})
    # Records carry milliseconds, as the native engine's do; raw rows carry all there is.
    assert first.moment == datetime(2024, 5, 6, 1, 38, 9, 123000, tzinfo=UTC)
    assert db.query_raw('SELECT moment FROM "Sample" WHERE id = 1') == [{"moment": "2024-05-06T01:38:09.123456+00:00"}]
    assert first.stamp == datetime(2024, 5, 6, 7, 8, 9, 987000, tzinfo=UTC)
    assert second.moment == datetime(1849, 12, 31, 18, 6, 32, tzinfo=UTC)


def test_moments_do_not_depend_on_the_sessions_time_zone_or_date_style(db: Any, connect: Any, postgres: Any) -> None:
    url = postgres.new_database("odd_style")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER DATABASE odd_style SET DateStyle = 'German, DMY'")
        connection.execute("ALTER DATABASE odd_style SET TimeZone = 'America/St_Johns'")
    client = connect(url)
    try:
        moment = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
        assert client.sample.create(data={"moment": moment, "moments": [moment]}).moments == [moment]
        assert client.sample.find_first(where={"moment": moment}).moment == moment
    finally:
        client.disconnect()


def test_day(db: Any, stored: Any) -> None:
    created = db.sample.create(data={"day": datetime(2024, 2, 29, tzinfo=UTC)})
    assert stored("day") == "2024-02-29"
    assert created.day == datetime(2024, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize("value", [b"", b"\x00\xff\\'\"", bytes(range(256))])
def test_bytes(db: Any, stored: Any, client_package: Any, value: bytes) -> None:
    blob = client_package.Base64.encode(value)
    created = db.sample.create(data={"blob": blob})
    assert stored("blob") == "\\x" + value.hex()
    assert created.blob.decode() == value
    assert db.sample.find_first(where={"blob": blob}).blob.decode() == value


@pytest.mark.parametrize(
    ("column", "value", "more"),
    [
        ("texts", ["a", 'q"u,o{t}e\\', "", "NULL"], "null"),
        ("numbers", [1, -2], 3),
        ("bigs", [2**63 - 1, 0], -(2**63)),
        ("ratios", [0.5, 3.0], 1e-7),
        ("amounts", [Decimal("1.5"), Decimal("99999999999999999999.25")], Decimal("0.125")),
        ("flags", [True, False], True),
        ("moments", [datetime(2024, 5, 6, 7, 8, 9, 123000, tzinfo=TOKYO)], datetime(2000, 1, 1, tzinfo=UTC)),
        ("roles", ["ADMIN", "READER"], "EDITOR"),
    ],
)
def test_lists(db: Any, column: str, value: list[Any], more: Any) -> None:
    created = db.sample.create(data={column: value})
    assert getattr(created, column) == value

    def write(operation: dict[str, Any]) -> Any:
        return getattr(db.sample.update(where={"id": created.id}, data={column: operation}), column)

    assert write({"push": [more]}) == [*value, more]
    assert write({"set": [more]}) == [more]
    assert db.sample.count(where={column: {"has": more}}) == 1
    assert db.sample.count(where={column: {"equals": [more]}}) == 1
    assert write({"set": []}) == []


def test_lists_of_bytes(db: Any, client_package: Any) -> None:
    first, second = client_package.Base64.encode(b"\x00\xff"), client_package.Base64.encode(b"")
    created = db.sample.create(data={"blobs": [first]})
    pushed = db.sample.update(where={"id": created.id}, data={"blobs": {"push": [second]}})
    assert [blob.decode() for blob in pushed.blobs] == [b"\x00\xff", b""]


def test_sums_of_large_numbers_are_exact(db: Any) -> None:
    db.sample.create_many(data=[{"big": 2**53, "amount": Decimal("0.1")}, {"big": 1, "amount": Decimal("0.2")}])
    [group] = db.sample.group_by(["flag"], sum={"big": True, "amount": True})
    assert int(group["_sum"]["big"]) == 2**53 + 1
    assert Decimal(group["_sum"]["amount"]) == Decimal("0.3")

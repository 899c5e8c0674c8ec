"""Raw queries: parameters of all types in, result columns of all types out."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1", 1),
        ("'x'::text", "x"),
        ("'x'::varchar(5)", "x"),
        ("'x'::char(3)", "x  "),
        ("'x'::\"char\"", "x"),
        ("'some'::name", "some"),
        ("NULL::text", None),
        ("true", True),
        ("2::smallint", 2),
        ("9007199254740993::bigint", 9007199254740993),
        ("4294967295::oid", 4294967295),
        ("1.5::real", 1.5),
        ("2.0::float8", 2.0),
        ("1e300::float8", 1e300),
        ("1234567890.125::numeric", 1234567890.125),
        ("'NaN'::numeric", "NaN"),
        ("'NaN'::float8", "NaN"),
        ("'-Infinity'::float8", "-Infinity"),
        ('\'{"a": [1, {"$type": "Json", "value": "1"}]}\'::jsonb', {"a": [1, {"$type": "Json", "value": "1"}]}),
        ("'\"text\"'::json", "text"),
        ('\'{"prisma__type": "int", "prisma__value": 1}\'::jsonb', {"prisma__type": "int", "prisma__value": 1}),
        ("'123e4567-e89b-12d3-a456-426614174000'::uuid", "123e4567-e89b-12d3-a456-426614174000"),
        ("'\\x00ff'::bytea", "AP8="),
        ("'2024-02-29'::date", "2024-02-29"),
        ("'infinity'::date", "infinity"),
        ("'0044-03-15 BC'::date", "0044-03-15 BC"),
        ("'07:08:09.5'::time", "07:08:09.500"),
        ("'07:08:09+02'::timetz", "07:08:09+02"),
        ("'2024-05-06 07:08:09.123456'::timestamp", "2024-05-06T07:08:09.123456+00:00"),
        ("'2024-05-06 07:08:09+05:30'::timestamptz", "2024-05-06T01:38:09+00:00"),
        ("'infinity'::timestamptz", "infinity"),
        ("'1 day 02:03:04'::interval", "1 day 02:03:04"),
        ("'192.168.0.1/24'::inet", "192.168.0.1/24"),
        ("'12.50'::money", "$12.50"),
        ("B'101'", "101"),
        ("int4range(1, 5)", "[1,5)"),
        ("'ADMIN'::\"Role\"", "ADMIN"),
        ("ARRAY['a', NULL, 'c,\"d']::text[]", ["a", None, 'c,"d']),
        ("ARRAY['a', 'b']::name[]", ["a", "b"]),
        ("ARRAY['x']::\"char\"[]", ["x"]),
        ("ARRAY['ADMIN', 'READER']::\"Role\"[]", ["ADMIN", "READER"]),
        ("ARRAY[1, 2]", [1, 2]),
        ("'{}'::int[]", []),
        ("ARRAY[9007199254740993]::bigint[]", [9007199254740993]),
        ("ARRAY[1.5, 2.0]::float8[]", [1.5, 2.0]),
        ("ARRAY['NaN', '1']::float8[]", ["NaN", "1"]),
        ("ARRAY[0.5, 0.25]::numeric[]", [0.5, 0.25]),
        ("ARRAY[true, false]", [True, False]),
        ("ARRAY['2024-05-06 07:08:09+09']::timestamptz[]", ["2024-05-05T22:08:09+00:00"]),
        ("ARRAY['2024-05-06']::date[]", ["2024-05-06"]),
        ("ARRAY['{\"a\": 1}', '[]']::jsonb[]", [{"a": 1}, []]),
        ("ARRAY['\\x00'::bytea]", ["AA=="]),
        ("'1 2 3'::int2vector", "1 2 3"),
    ],
)
def test_result_types(db: Any, expression: str, value: Any) -> None:
    row = db.query_first(f"SELECT {expression} AS value")
    assert row == {"value": value}
    assert type(row["value"]) is type(value)


@pytest.mark.parametrize(
    ("cast", "parameter", "value"),
    [
        ("text", "q'uo\"te \\ \N{SNOWMAN}", "q'uo\"te \\ \N{SNOWMAN}"),
        ("int", 5, 5),
        ("text", 5, "5"),
        ("bigint", 2**63 - 1, 2**63 - 1),
        ("float8", 0.1, 0.1),
        ("numeric", Decimal("1.25"), 1.25),
        ("bool", True, True),
        ("text", None, None),
        ("timestamptz", datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc), "2024-05-06T07:08:09+00:00"),
        ("timestamp", datetime(2024, 5, 6, 7, 8, 9, 5000), "2024-05-06T07:08:09.005+00:00"),
        ("date", "2024-02-29", "2024-02-29"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
        ("jsonb", '{"a": 1}', {"a": 1}),
        ("jsonb", {"a": [1.5, "x", None]}, {"a": [1.5, "x", None]}),
        ("text[]", ["a", 'b,"c'], ["a", 'b,"c']),
        ("int[]", [1, 2], [1, 2]),
        ('"Role"', "ADMIN", "ADMIN"),
    ],
)
def test_parameters(db: Any, cast: str, parameter: Any, value: Any) -> None:
    assert db.query_raw(f"SELECT $1::{cast} AS value", parameter) == [{"value": value}]


def test_numbers_in_documents_stay_as_they_are(db: Any) -> None:
    [row] = db.query_raw("""SELECT '{"whole": 1.0, "large": 9007199254740993}'::jsonb AS value""")
    assert row["value"] == {"whole": 1.0, "large": 9007199254740993}
    assert isinstance(row["value"]["whole"], float)


def test_many_rows_and_columns(db: Any) -> None:
    rows = db.query_raw("SELECT n, n::text AS t, NULL::int AS none FROM generate_series(1, 5000) AS n ORDER BY n")
    assert len(rows) == 5000
    assert rows[-1] == {"n": 5000, "t": "5000", "none": None}


def test_no_rows(db: Any) -> None:
    assert db.query_raw("SELECT 1 AS value WHERE false") == []
    assert db.query_first("SELECT 1 AS value WHERE false") is None


def test_rows_as_models(db: Any, client_package: Any) -> None:
    db.author.create(data={"email": "ada@example.org", "age": 36})
    query = 'SELECT * FROM "Author" WHERE age = $1'
    assert db.author.query_raw(query, 36)[0].email == "ada@example.org"
    assert db.query_first(query, 36, model=client_package.models.Author).age == 36


def test_execute_raw_counts_the_rows(db: Any) -> None:
    db.author.create_many(data=[{"email": f"{n}@example.org"} for n in range(3)])
    assert db.execute_raw('UPDATE "Author" SET age = $1 WHERE email <> $2', 9, "0@example.org") == 2
    assert db.author.count(where={"age": 9}) == 2


@pytest.mark.parametrize(
    ("sql", "parameters", "sqlstate"),
    [
        ("SELECT * FROM nowhere", (), "42P01"),
        ("SELECT 1/0", (), "22012"),
        ("SELEC 1", (), "42601"),
        ("SELECT 1; SELECT 2", (), "42601"),
        ("SELECT $1::int", (), "08P01"),
        ("SELECT $1::int", ("x",), "22P02"),
    ],
)
def test_errors_carry_the_sqlstate(db: Any, errors: Any, sql: str, parameters: Any, sqlstate: str) -> None:
    with pytest.raises(errors.RawQueryError) as caught:
        db.query_raw(sql, *parameters)
    assert caught.value.code == "P2010"
    assert caught.value.meta["code"] == sqlstate
    assert db.query_raw("SELECT 1 AS one") == [{"one": 1}]

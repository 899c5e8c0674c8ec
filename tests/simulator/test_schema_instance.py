"""Instances of JSON schemas, each checked by a validator of its own."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from proxy.simulator.providers.gemini_request import json_schema
from proxy.simulator.replies.pattern import matching
from proxy.simulator.replies.schema_instance import NoInstance, instance


class Address(BaseModel):
    street: str = Field(min_length=30)
    zip_code: str = Field(pattern=r"^\d{5}(-\d{4})?$")


class Tree(BaseModel):
    name: str
    children: list[Tree]
    parent: Tree | None = None


class Order(BaseModel):
    customer: Address
    weight: float = Field(gt=0.5, le=0.75)
    amounts: dict[str, int]
    lines: list[Address] = Field(min_length=2, max_length=3)


LIST_NODE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["value", "next"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
EXPRESSION = {
    "$defs": {
        "sum": {
            "type": "object",
            "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}},
            "required": ["left", "right"],
        },
        "literal": {"type": "object", "properties": {"number": {"type": "number"}}, "required": ["number"]},
    },
    "anyOf": [{"$ref": "#/$defs/sum"}, {"$ref": "#/$defs/literal"}],
}


def doubling(depth: int) -> dict[str, Any]:
    """A schema of a few lines whose full instance has 2 ** depth leaves."""
    definitions: dict[str, Any] = {f"d{depth}": {"type": "string"}}
    for level in range(depth):
        below = {"$ref": f"#/$defs/d{level + 1}"}
        definitions[f"d{level}"] = {"type": "object", "properties": {"a": below, "b": below}}
    return {"$defs": definitions, "$ref": "#/$defs/d0"}


SCHEMAS: list[Any] = [
    True,
    {},
    {"type": "string"},
    {"type": "string", "minLength": 50},
    {"type": "string", "maxLength": 3},
    {"type": "string", "maxLength": 0},
    {"type": "string", "format": "date-time"},
    {"type": "string", "format": "uuid"},
    {"type": "string", "format": "of-its-own"},
    {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
    {"type": "string", "pattern": "^[A-Z]+$", "minLength": 12},
    {"type": "string", "pattern": "x", "minLength": 12},
    {"type": "string", "pattern": r"^(?:\+\d{1,3})?[^\s@]+@[^\s@]+\.(com|org)$"},
    {"type": "string", "enum": ["b", "a"]},
    {"enum": [None, 3]},
    {"const": {"a": 1}},
    {"type": "integer"},
    {"type": "integer", "minimum": 5},
    {"type": "integer", "maximum": -5},
    {"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 7},
    {"type": "integer", "minimum": 5.5},
    {"type": "integer", "multipleOf": 7, "minimum": 30},
    {"type": "integer", "multipleOf": 2.5},
    {"type": "integer", "minimum": -10, "maximum": -3},
    {"type": "integer", "minimum": 0, "maximum": 0},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001},
    {"type": "number", "minimum": 3.25},
    {"type": "number", "maximum": -3.25},
    {"type": "number", "multipleOf": 0.5, "minimum": 1.2},
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["null", "string"]},
    {"type": ["integer", "null"], "minimum": 4},
    {"type": "array"},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3},
    {"type": "array", "maxItems": 0},
    {"type": "array", "items": {"type": "integer"}, "minItems": 4, "uniqueItems": True},
    {"type": "array", "items": {"type": "string", "maxLength": 1}, "minItems": 4, "uniqueItems": True},
    {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    {"type": "array", "items": {"type": "integer"}, "contains": {"minimum": 100}, "minContains": 2},
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "b"]},
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
    {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "required": ["c"], "maxProperties": 2},
    {"type": "object", "properties": {"a": False, "b": {"type": "string"}}},
    {"type": "object", "required": ["x-1"], "patternProperties": {"^x-": {"type": "integer"}}},
    {"type": "object", "properties": {"a": {}}, "dependentRequired": {"a": ["b"]}},
    {"properties": {"a": {"type": "integer"}}, "additionalProperties": False},
    {"anyOf": [{"type": "null"}, {"type": "string", "minLength": 3}]},
    {"anyOf": [False, {"type": "integer"}]},
    {"oneOf": [{"type": "number"}, {"type": "integer"}]},
    {"oneOf": [{"type": "object", "properties": {"kind": {"const": k}}, "required": ["kind"]} for k in ("a", "b")]},
    {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}, {"multipleOf": 2}]},
    {"allOf": [{"type": "integer", "minimum": 3, "maximum": 9}, {"minimum": 7, "maximum": 20}]},
    {"allOf": [{"type": "integer", "minimum": 7, "maximum": 20}, {"minimum": 3, "maximum": 9}]},
    {"allOf": [{"type": "integer", "maximum": -7}, {"maximum": -3}]},
    {"allOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"a": {"minLength": 40}}, "required": ["a"]}]},
    {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {"type": "integer"}}},
    {"type": "string", "not": {"enum": ["example"]}},
    {"type": "integer", "not": {"multipleOf": 1, "maximum": 2}},
    {"not": {"type": "string"}},
    {
        "type": "object",
        "properties": {"country": {"enum": ["US", "DE"]}},
        "required": ["country"],
        "if": {"properties": {"country": {"const": "US"}}},
        "then": {"required": ["zip"], "properties": {"zip": {"type": "string", "pattern": "^\\d{5}$"}}},
        "else": {"required": ["code"]},
    },
    LIST_NODE,
    EXPRESSION,
    doubling(4),
    doubling(25),
    Order.model_json_schema(),
    Tree.model_json_schema(),
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: str(schema)[:60])
def test_instances_are_valid(schema: Any) -> None:
    value = instance(schema)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)
    assert instance(schema) == value


def test_optional_properties_are_there_too() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]}
    assert instance(schema) == {"a": "example a", "b": 1}


def test_large_schemas_are_not_filled_in_to_the_last() -> None:
    assert str(instance(doubling(25))).count(":") < 500


def test_null_is_the_last_choice() -> None:
    assert instance({"anyOf": [{"type": "null"}, {"type": "integer"}]}) == 1
    assert instance({"enum": [None, "x"]}) == "x"


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (False, "allows nothing"),
        ({"type": "word"}, "'word' is not a JSON type"),
        ({"enum": []}, "is empty"),
        ({"type": "integer", "minimum": 5, "maximum": 4}, "no number fits"),
        ({"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 6}, "no number fits"),
        ({"type": "string", "minLength": 10**9}, "too long"),
        ({"type": "string", "pattern": "("}, "no string found"),
        ({"type": "string", "pattern": "^ab$", "maxLength": 1}, "no string found"),
        ({"type": "array", "minItems": 10**9}, "no instance of fewer than"),
        ({"type": "array", "items": {"const": 1}, "minItems": 2, "uniqueItems": True}, "no instance of fewer than"),
        ({"$ref": "https://example.com/schema"}, "points outside"),
        ({"$ref": "#/$defs/nothing"}, "points at nothing"),
        ({"$ref": "#"}, "no finite instance"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "no finite instance"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "is not a JSON type"),
        ({"oneOf": [{"type": "integer"}, {"type": "integer"}]}, "no instance found"),
        ({"type": "object", "properties": []}, "not a JSON schema"),
        ({"anyOf": 5}, "not a JSON schema"),
        ("string", "not a JSON schema"),
        (None, "not a JSON schema"),
    ],
    ids=lambda given: str(given)[:50],
)
def test_schemas_without_an_instance_say_why(schema: Any, reason: str) -> None:
    with pytest.raises(NoInstance, match=reason):
        instance(schema)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\w+\s\W$",
        r"^[^a-z\d]{3}$",
        r"^(a|b)\1$",
        r"(?i)^hello$",
        r"^[\w.+-]+@[\w-]+\.[a-z]{2,}$",
        r"^(?P<y>\d{4})-(?:0[1-9]|1[0-2])$",
        r"^\D\S.$",
        r"^$",
        r"a{2,5}?",
    ],
)
def test_strings_match_patterns(pattern: str) -> None:
    import re

    text = matching(pattern)
    assert text is not None
    assert re.search(pattern, text)


def test_geminis_schema_becomes_json_schema() -> None:
    given = {
        "type": "OBJECT",
        "properties": {
            "type": {"type": "STRING", "minLength": "3"},
            "list": {"type": "ARRAY", "items": {"type": "INTEGER"}, "min_items": "2"},
            "either": {"anyOf": [{"type": "NUMBER"}, {"type": "NULL"}]},
        },
        "required": ["type"],
    }
    converted = json_schema(given)
    Draft202012Validator.check_schema(converted)
    assert converted["properties"]["type"] == {"type": "string", "minLength": 3}
    assert len(instance(converted)["list"]) == 2

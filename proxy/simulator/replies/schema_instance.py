"""A value that is valid for a JSON schema: tool arguments and structured output, for reply.py.

The same schema always gives the same value. Optional properties are filled in too, until a schema recurses
or grows large. `schema_merge.py` folds combined schemas into one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from proxy.simulator.replies.pattern import matching
from proxy.simulator.replies.schema_merge import merged

FORMATS = {
    "date-time": "2025-01-01T12:00:00Z",
    "date": "2025-01-01",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "user@example.com",
    "idn-email": "user@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "iri": "https://example.com/",
    "uri-reference": "/example",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/example",
    "regex": "example",
    "byte": "ZXhhbXBsZQ==",
}

OBJECT_WORDS = ("properties", "required", "additionalProperties", "patternProperties", "minProperties")
ARRAY_WORDS = ("items", "prefixItems", "minItems", "contains", "uniqueItems")
NUMBER_WORDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")

ROOMY = 300
"""Values built before optional ones are left out."""
MOST = 5_000
"""Values built before a schema counts as unsatisfiable."""
LONGEST = 100_000
"""Characters a string may have to have."""

Active = tuple[str, ...]
"""The $refs being expanded, outermost first."""


class NoInstance(ValueError):
    """The schema is broken, contradicts itself or has no finite instance; the message says where."""


def instance(schema: Any) -> Any:
    """A value valid for `schema` (draft 2020-12, `$ref` within the schema only). Raises NoInstance."""
    try:
        return _Builder(schema).value(schema)
    except NoInstance:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise NoInstance(f"not a JSON schema: {error}") from error


class _Builder:
    def __init__(self, root: Any) -> None:
        self.root = root
        self.built = 0

    def value(self, schema: Any, name: str = "", active: Active = (), variant: int = 0) -> Any:
        """A value for `schema`; another `variant` gives another value where the schema has several."""
        self.built += 1
        if self.built > MOST:
            raise NoInstance(f"schema has no instance of fewer than {MOST} values")
        if schema is True:
            schema = {}
        if schema is False:
            raise NoInstance(f"schema of {name or 'the root'} allows nothing")
        flat, active = self.flattened(schema, active)
        if "const" in flat:
            return flat["const"]
        if any(word in flat for word in ("oneOf", "not", "if")):
            return self.checked(flat, name, active, variant)
        if "enum" in flat:
            return self.listed(flat["enum"], name, variant)
        if "anyOf" in flat:
            return next(self.alternatives(flat, "anyOf", name, active, variant))
        return self.plain(flat, name, active, variant)

    def flattened(self, schema: Mapping[str, Any], active: Active) -> tuple[dict[str, Any], Active]:
        """`schema` without `$ref` and `allOf`. A $ref may be within itself once: the second round is terse."""
        flat = dict(schema)
        while "$ref" in flat or "allOf" in flat:
            if "$ref" in flat:
                ref = flat.pop("$ref")
                if active.count(ref) > 1:
                    raise NoInstance(f"{ref} has no finite instance")
                active = (*active, ref)
                flat = merged(self.target(ref), flat)
            for part in flat.pop("allOf", ()):
                flat = merged(flat, part)
        return flat, active

    def target(self, ref: str) -> Any:
        if not ref.startswith("#"):
            raise NoInstance(f"$ref {ref!r} points outside the schema")
        place = self.root
        for step in ref[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            place = place[int(step)] if isinstance(place, list) else place.get(step)
            if place is None:
                raise NoInstance(f"$ref {ref!r} points at nothing")
        return place

    def terse(self, active: Active) -> bool:
        return self.built > ROOMY or len(set(active)) < len(active)

    def listed(self, options: list[Any], name: str, variant: int) -> Any:
        if not options:
            raise NoInstance(f"enum of {name or 'the root'} is empty")
        options = sorted(options, key=lambda option: option is None)  # null last, else as listed
        return options[variant % len(options)]

    def alternatives(self, flat: dict[str, Any], word: str, name: str, active: Active, variant: int) -> Iterator[Any]:
        """A value for each branch of anyOf or oneOf that has one; at least one, or NoInstance."""
        rest = {key: part for key, part in flat.items() if key != word}
        branches = sorted(flat[word], key=lambda branch: branch == {"type": "null"})
        reason = NoInstance(f"{word} of {name or 'the root'} is empty")
        found = False
        for branch in branches:
            try:
                value = self.value(merged(rest, branch), name, active, variant)
            except NoInstance as error:
                reason = error
                continue
            found = True
            yield value
        if not found:
            raise reason

    def checked(self, flat: dict[str, Any], name: str, active: Active, variant: int) -> Any:
        """A value for what only trying decides: oneOf, not, if/then/else."""
        from jsonschema import Draft202012Validator  # here, for few schemas need it and it takes long to import

        root = self.root if isinstance(self.root, Mapping) else {}
        definitions = {word: root[word] for word in ("$defs", "definitions") if word in root}
        validator = Draft202012Validator({**definitions, **flat})
        base = {word: part for word, part in flat.items() if word not in ("not", "if", "then", "else")}
        trials = [base]
        if "if" in flat:
            trials = [merged(merged(base, flat["if"]), flat.get("then", {})), merged(base, flat.get("else", {}))]
        for shift in range(8):
            for trial in trials:
                try:
                    for value in self.trial(trial, name, active, variant + shift):
                        if validator.is_valid(value):
                            return value
                except NoInstance:
                    continue
        raise NoInstance(f"no instance found for the schema of {name or 'the root'}")

    def trial(self, flat: dict[str, Any], name: str, active: Active, variant: int) -> Iterator[Any]:
        if "oneOf" in flat:
            return self.alternatives(flat, "oneOf", name, active, variant)
        if variant > 3 and "type" not in flat and "enum" not in flat:
            flat = {**flat, "type": ("integer", "boolean", "object", "array")[variant % 4]}
        return iter([self.value(flat, name, active, variant)])

    def plain(self, flat: dict[str, Any], name: str, active: Active, variant: int) -> Any:
        kind = _kind(flat)
        if kind == "object":
            return self.object(flat, active)
        if kind == "array":
            return self.array(flat, name, active)
        if kind == "string":
            return _string(flat, name, variant)
        if kind in ("integer", "number"):
            return _number(flat, kind, variant)
        if kind == "boolean":
            return variant % 2 == 0
        if kind == "null":
            return None
        raise NoInstance(f"{kind!r} is not a JSON type")

    def object(self, flat: dict[str, Any], active: Active) -> dict[str, Any]:
        properties: Mapping[str, Any] = flat.get("properties", {})
        required: list[str] = list(flat.get("required", ()))
        if not all(isinstance(key, str) for key in required):
            raise NoInstance("'required' lists names of properties")
        most = flat.get("maxProperties", math.inf)
        made: dict[str, Any] = {}
        for key in required:
            made[key] = self.value(self.property(flat, key), key, active)
        for key, schema in properties.items():
            if key in made or len(made) >= most or self.terse(active):
                continue
            try:
                made[key] = self.value(schema, key, active)
            except NoInstance:
                continue  # it is optional
        for key, needed in flat.get("dependentRequired", {}).items():
            for other in needed if key in made else ():
                made.setdefault(other, self.value(self.property(flat, other), other, active))
        number = 0
        while len(made) < flat.get("minProperties", 0):
            number += 1
            key = f"example_{number}"
            made[key] = self.value(self.property(flat, key), key, active)
        # In the schema's own order, as models write them.
        return {
            key: made[key] for key in [*(k for k in properties if k in made), *(k for k in made if k not in properties)]
        }

    def property(self, flat: dict[str, Any], key: str) -> Any:
        """The schema that `key` of an object has to satisfy."""
        if key in flat.get("properties", {}):
            return flat["properties"][key]
        for pattern, schema in flat.get("patternProperties", {}).items():
            if re.search(pattern, key):
                return schema
        return flat.get("additionalProperties", True)

    def array(self, flat: dict[str, Any], name: str, active: Active) -> list[Any]:
        first: list[Any] = list(flat.get("prefixItems", ()))
        rest = flat.get("items", True)
        least = int(flat.get("minItems", 0))
        wanted = max(least, 0 if self.terse(active) else 1, len(first) if not self.terse(active) else 0)
        wanted = int(min(wanted, flat.get("maxItems", math.inf)))
        unique = bool(flat.get("uniqueItems"))
        made: list[Any] = []
        if "contains" in flat:
            made = [self.value(flat["contains"], name, active) for _ in range(int(flat.get("minContains", 1)))]
        variant = 0
        while len(made) < wanted:
            schema = first[len(made)] if len(made) < len(first) else rest
            try:
                value = self.value(schema, name, active, variant)
            except NoInstance:
                if len(made) >= least:
                    break
                raise
            variant += 1 if unique else 0
            if not (unique and value in made):
                made.append(value)
            elif len(made) >= least:
                break
        return made


def _kind(flat: Mapping[str, Any]) -> str:
    kind = flat.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null") if kind else "nothing"
    if kind is not None:
        return str(kind)
    for kind, words in (("object", OBJECT_WORDS), ("array", ARRAY_WORDS), ("number", NUMBER_WORDS)):
        if any(word in flat for word in words):
            return kind
    return "string"


def _string(flat: Mapping[str, Any], name: str, variant: int) -> str:
    least, most = int(flat.get("minLength", 0)), flat.get("maxLength")
    if least > LONGEST:
        raise NoInstance(f"a string of at least {least} characters is too long")
    if "pattern" in flat:
        text = matching(flat["pattern"], least, most)
        if text is None:
            raise NoInstance(f"no string found for the pattern {flat['pattern']!r}")
        return text
    if flat.get("format") in FORMATS:
        return FORMATS[flat["format"]]
    text = f"example {name}".strip().replace("_", " ") + (f" {variant + 1}" if variant else "")
    if most is not None and len(text) > most:
        text = text[-int(most) :] if most else ""  # the end tells variants apart
    return text.ljust(least, "x")


def _number(flat: Mapping[str, Any], kind: str, variant: int) -> float:
    low, high = flat.get("minimum"), flat.get("maximum")
    above, below = flat.get("exclusiveMinimum"), flat.get("exclusiveMaximum")
    step = flat.get("multipleOf") or (1 if kind == "integer" else None)
    if isinstance(above, bool):  # OpenAPI 3.0 and draft 4: a flag on `minimum`
        low, above = (None, low) if above else (low, None)
    if isinstance(below, bool):
        high, below = (None, high) if below else (high, None)
    floor = max((bound for bound in (low, above) if bound is not None), default=None)
    ceiling = min((bound for bound in (high, below) if bound is not None), default=None)
    if step is None:
        return _between(floor, ceiling, floor is not None and floor == above, variant)
    if kind == "integer" and step != int(step):
        step = step * next(n for n in range(1, 1001) if step * n == int(step * n))
    if floor is None:
        number = math.floor(min(step, ceiling) / step) if ceiling is not None else 1
        if below is not None and number * step >= below:
            number -= 1
        number += -variant if ceiling is not None else variant
    else:
        number = math.ceil(max(floor, step) / step if ceiling is None or ceiling >= step else floor / step)
        number += (1 if above is not None and number * step <= above else 0) + variant
    value = number * step
    if (ceiling is not None and value > ceiling) or (below is not None and value >= below):
        raise NoInstance("no number fits the bounds")
    return int(value) if kind == "integer" or value == int(value) else float(value)


def _between(floor: float | None, ceiling: float | None, open_below: bool, variant: int) -> float:
    """A number where any fraction will do."""
    if floor is None and ceiling is None:
        return 1.0 + variant / 2  # halves, for a variant that is no integer
    if ceiling is None:
        return float(floor or 0) + 1 + variant
    if floor is None:
        return float(ceiling) - 1 - variant
    if floor > ceiling or (floor == ceiling and open_below):
        raise NoInstance("no number fits the bounds")
    return float(floor + (ceiling - floor) / (2 + variant))

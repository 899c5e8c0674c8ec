"""A string that matches a regular expression, for `pattern` in a JSON schema; used by schema_instance.py."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import Any

# The parser is the standard library's own; it moved in 3.11.
_parser: Any = import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")

CANDIDATES = "a1A_- .@/:,;+#%&!?()[]{}<>='\"\\|^$*~`\t\n" + "".join(map(chr, range(33, 127)))
"""Characters tried, in order, where a negated class leaves the choice open."""

CATEGORIES = {
    "CATEGORY_DIGIT": "1",
    "CATEGORY_NOT_DIGIT": "a",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_SPACE": "a",
    "CATEGORY_WORD": "a",
    "CATEGORY_NOT_WORD": "-",
}


def matching(pattern: str, shortest: int = 0, longest: int | None = None) -> str | None:
    """A string of `shortest` to `longest` characters in which `pattern` is found, or None.

    Repetitions are taken at their least and then longer until the length fits. Look-arounds are not
    solved for; the result is checked, so that what is returned does match.
    """
    try:
        compiled = re.compile(pattern)
        parsed = _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError):
        return None
    for more in (0, 1, 2, *range(3, 65), shortest):
        text = _string(parsed, more, {})
        # An unanchored pattern leaves room for padding on the right.
        for candidate in (text, text + "a" * (shortest - len(text))):
            fits = shortest <= len(candidate) and (longest is None or len(candidate) <= longest)
            if fits and compiled.search(candidate):
                return candidate
    return None


def _string(parsed: Any, more: int, groups: dict[int, str]) -> str:
    return "".join(_one(str(op), argument, more, groups) for op, argument in parsed)


def _one(op: str, argument: Any, more: int, groups: dict[int, str]) -> str:
    if op == "LITERAL":
        return chr(argument)
    if op == "NOT_LITERAL":
        return "b" if argument == ord("a") else "a"
    if op == "ANY":
        return "a"
    if op == "IN":
        return _member(argument)
    if op == "BRANCH":
        return _string(argument[1][0], more, groups)
    if op == "SUBPATTERN":
        text = _string(argument[3], more, groups)
        if argument[0] is not None:
            groups[argument[0]] = text
        return text
    if op == "GROUPREF":
        return groups.get(argument, "")
    if op in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, inner = argument
        return "".join(_string(inner, more, groups) for _ in range(min(int(most), least + more)))
    if op == "ATOMIC_GROUP":
        return _string(argument, more, groups)
    return ""  # anchors and look-arounds stand for no character


def _member(items: Any) -> str:
    """A character of the class `[...]`."""
    if str(items[0][0]) != "NEGATE":
        op, argument = str(items[0][0]), items[0][1]
        if op == "LITERAL":
            return chr(argument)
        return chr(argument[0]) if op == "RANGE" else CATEGORIES[str(argument)]
    return next((c for c in CANDIDATES if not any(_contains(c, item) for item in items[1:])), "")


def _contains(character: str, item: Any) -> bool:
    op, argument = str(item[0]), item[1]
    if op == "LITERAL":
        return bool(ord(character) == argument)
    if op == "RANGE":
        return bool(argument[0] <= ord(character) <= argument[1])
    kind = str(argument).removeprefix("CATEGORY_").removeprefix("NOT_")
    if kind == "DIGIT":
        within = character.isdigit()
    elif kind == "SPACE":
        within = character.isspace()
    else:
        within = character.isalnum() or character == "_"
    return within != ("NOT_" in str(argument))

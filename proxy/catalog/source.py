"""YAML text -> plain data that remembers the line of every key and value.

Used by `load` only. PyYAML's own loader forgets positions, silently keeps the last of two equal keys and
reads YAML 1.1 (`on` a boolean, `1e-5` text, `0777` octal, `1:30` ninety): here keys are unique, scalars are
those of YAML 1.2's core schema, as in editors, and only plain data is accepted (no tags, anchors, aliases).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from proxy.catalog.problems import Problem

Path = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_CORE_SCHEMA = (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
)


class _Composer(yaml.SafeLoader):
    """Composes the node tree with the core schema's scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's attribute)

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases (& and *) are not supported; write the values out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)


for _name, _pattern, _first in _CORE_SCHEMA:
    _Composer.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)


@dataclass
class Source:
    """A parsed file: `data` plus, for each path into it, the line (from 1) of its key and of its value."""

    data: Any = None
    problems: list[Problem] = field(default_factory=list)
    key_lines: dict[Path, int] = field(default_factory=dict)
    value_lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path, *, of_key: bool = False) -> int:
        """Line of the value (or key) at the path; where there is none, of the nearest part of the path."""
        tables = (self.key_lines, self.value_lines) if of_key else (self.value_lines, self.key_lines)
        for end in range(len(path), 0, -1):
            for table in tables:
                if path[:end] in table:
                    return table[path[:end]]
        return 1

    def problem(self, path: Path, message: str, *, of_key: bool = False) -> None:
        self.problems.append(Problem(self.line(path, of_key=of_key), ".".join(map(str, path)), message))


def parse(raw: bytes) -> Source:
    """Parses a file's bytes. What is wrong with it is in `problems`; `data` is then what could be read."""
    source = Source()
    try:
        text = raw.decode("utf-8")  # PyYAML takes a byte order mark away
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        source.problems.append(
            Problem(line, "", f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file in UTF-8 encoding")
        )
        return source
    try:
        node = _Composer(text).get_single_node()
        if node is not None:
            source.data = _plain(node, (), source)
    except yaml.MarkedYAMLError as error:
        # Of a bracket that is never closed, the place to look at is where it opens.
        unclosed = "flow" in (error.context or "")
        mark = (error.context_mark if unclosed else None) or error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        source.problems.append(Problem(line, "", f"bad YAML at column {column}: {_explain(error, text)}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        source.problems.append(
            Problem(line, "", f"bad YAML: character U+{ord(text[error.position]):04X} is not allowed")
        )
    except RecursionError:
        source.problems.append(Problem(1, "", "bad YAML: nested too deeply"))
    return source


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    """PyYAML's words, then what is usually behind them."""
    said = " ".join(part for part in (error.context, error.problem) if part)
    mark = error.problem_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "'\\t'" in said or line.lstrip(" ").startswith("\t"):
        return f"{said}. Indent with spaces, not tabs."
    if "mapping values are not allowed" in said:
        return f"{said}. Check the indentation, and quote a value that contains ': '."
    if "expected ',' or" in said:
        return f"{said}. A bracket or brace that was opened before is not closed, or a comma is missing."
    if "expected <block end>" in said or "could not find expected ':'" in said:
        return f"{said}. Check the indentation, and that each key ends in ':'."
    if "single document" in said:
        return "a second document starts here; remove the '---'."
    return said


def _plain(node: yaml.Node, path: Path, source: Source) -> Any:
    """The node as plain data, its lines noted on the way."""
    source.value_lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, source)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, index), source) for index, item in enumerate(node.value)]
    return _scalar(node, path, source)


def _mapping(node: yaml.MappingNode, path: Path, source: Source) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = key_node.value
        if key_node.tag != _TAG + "str":
            shown = f"{key!r}" if isinstance(key, str) else "this"
            source.problems.append(
                Problem(line, ".".join(map(str, path)), f"the key {shown} is not text; put it in quotes")
            )
            continue
        here = (*path, key)
        if key in result:
            first = source.key_lines[here]
            source.problems.append(
                Problem(
                    line, ".".join(map(str, here)), f"duplicate key; it is first given on line {first}. Remove one."
                )
            )
            continue
        source.key_lines[here] = line
        result[key] = _plain(value_node, here, source)
    return result


def _scalar(node: yaml.Node, path: Path, source: Source) -> Any:
    kind = node.tag.removeprefix(_TAG)
    if kind == "str":
        return node.value
    if kind == "null":
        return None
    if kind == "bool":
        return node.value.lower() == "true"
    try:
        if kind == "int":
            return int(node.value)
        if kind == "float":
            return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError as error:  # `!!int abc`, or more digits than int() takes
        source.problem(path, f"not a number: {error}")
        return None
    source.problem(path, f"the tag {node.tag.replace(_TAG, '!!')} is not supported; write a plain value")
    return None

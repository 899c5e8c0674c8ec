"""YAML or JSON -> a checked Script, or one error that names every mistake and, of YAML, its line.

Files are read by the command line and at start; `control` reads what HTTP brings. "did you mean" comes from the
catalogue's own tools, as both are YAML with a pydantic model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from proxy.catalog.explain import Words, explain
from proxy.catalog.problems import Problem, describe
from proxy.catalog.source import Source, parse
from proxy.simulator.script.model import Rule, Script

OTHER_NAMES = {
    "gemini": "google",
    "claude": "anthropic",
    "gpt": "openai",
    "azure": "openai",
    "error": "fault",
    "fail": "fault",
    "response": "reply",
    "answer": "reply",
    "respond": "reply",
    "match": "when",
    "if": "when",
    "content": "text",
    "prompt": "text",
    "message": "text",
    "messages": "text",
    "tools": "tool_calls",
    "tool_call": "tool_calls",
    "function": "name",
    "args": "arguments",
    "input": "arguments",
    "parameters": "arguments",
    "schema": "json",
    "body": "json",
    "stop_reason": "finish_reason",
    "finish": "finish_reason",
    "count": "times",
    "repeat": "times",
    "duration": "for",
    "delay": "after",
    "chance": "probability",
    "ttft": "first_token",
    "tps": "tokens_per_second",
    "code": "status",
    "type": "kind",
    "retry-after": "retry_after",
    "timeout": "hang",
    "reset": "drop",
    "disconnect": "drop",
    "truncate": "cut",
    "ratelimit": "rate_limit",
    "window": "per",
    "limit": "requests",
    "rpm": "requests",
    "regex": "matches",
    "pattern": "matches",
    "is": "equals",
    "includes": "contains",
    "nth": "call",
    "headers": "header",
}

_Model = TypeVar("_Model", bound=BaseModel)


class ScriptError(ValueError):
    """A script that cannot be meant. `problems` are in the order of their lines; line 0: there are none to name."""

    def __init__(self, problems: list[Problem], file: Path | None = None) -> None:
        self.problems = tuple(sorted(set(problems)))
        if file is not None:
            lines = "\n  ".join(describe(file, problem) for problem in self.problems)
            super().__init__(f"the script cannot be used:\n  {lines}")
            return
        first, more = self.problems[0], len(self.problems) - 1
        where = f"line {first.line}: " if first.line else ""
        super().__init__(f"{where}{first}" + (f" (and {more} more)" if more else ""))


def load_script(file: Path) -> Script:
    """The script in a YAML or JSON file. Raises ScriptError, in whose message each line reads `file:line: ...`."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ScriptError([Problem(0, "", f"cannot be read: {error.strerror or error}")], file) from None
    try:
        return script_of(read_yaml(raw))  # JSON is YAML
    except ScriptError as error:
        raise ScriptError(list(error.problems), file) from None


def read_yaml(raw: bytes) -> Source:
    """YAML text as data that knows its lines; nothing at all is an empty mapping. Raises ScriptError."""
    source = parse(raw)
    if source.problems:
        raise ScriptError(source.problems)
    if source.data is None:
        source.data = {}
    return source


def read_json(raw: bytes) -> Source:
    """JSON text as data. Raises ScriptError."""
    try:
        return Source(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise ScriptError([Problem(0, "", f"the body is no valid JSON: {error}")]) from None


def script_of(source: Source) -> Script:
    """The script that data is. Raises ScriptError."""
    return _validated(Script, source)


def rules_of(source: Source) -> list[Rule]:
    """The rules of `{"rules": [...]}`, or the one rule that the data is. Raises ScriptError."""
    data = source.data
    if not isinstance(data, dict) or "rules" not in data:
        return [_validated(Rule, source)]
    for name in data:
        if name != "rules":
            source.problem((name,), "stands beside 'rules', where only a whole script has it", of_key=True)
    return _validated(Script, source).rules


def _validated(model: type[_Model], source: Source) -> _Model:
    found: _Model | None = None
    try:
        found = model.model_validate(source.data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            explain(source, details, Words(model, OTHER_NAMES))
    if found is None or source.problems:
        has_lines = bool(source.value_lines)
        raise ScriptError([one if has_lines else Problem(0, one.path, one.message) for one in source.problems])
    return found

"""A cassette's YAML -> a checked `Cassette`, or one error that names every mistake by its line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from proxy.catalog.explain import Words, explain
from proxy.catalog.problems import Problem, describe
from proxy.catalog.source import Source, parse
from proxy.simulator.cassettes.model import Cassette

WORDS = Words(
    Cassette,
    right_form={
        "path": "a path starts with / and has no spaces",
        "event": "a name is one line",
        "data": "data is one line",
    },
)


class CassetteError(Exception):
    """The cassette cannot be used. `problems` holds all that is wrong with it, in the order of their lines."""

    def __init__(self, problems: Sequence[Problem], file: Path | None = None) -> None:
        self.problems = tuple(sorted(set(problems)))
        lines = [describe(file, problem) if file else f"line {problem.line}: {problem}" for problem in self.problems]
        super().__init__("\n  ".join(["the cassette cannot be used:", *lines]))


def read_file(file: Path) -> Cassette:
    """Raises CassetteError."""
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        raise CassetteError([Problem(0, "", "no such file")], file) from None
    except OSError as error:
        raise CassetteError([Problem(0, "", f"cannot be read: {error.strerror or error}")], file) from None
    return read(raw, file)


def read(raw: bytes, file: Path | None = None) -> Cassette:
    """Raises CassetteError; `file` is for its messages."""
    source = parse(raw)
    cassette = None if source.problems else _checked(source)
    if cassette is None or source.problems:
        raise CassetteError(source.problems, file)
    return cassette


def _checked(source: Source) -> Cassette | None:
    if not isinstance(source.data, dict):
        empty = source.data is None
        source.problem((), "the file is empty" if empty else "the file must be a mapping with version: and exchanges:")
        return None
    try:
        return Cassette.model_validate(source.data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            explain(source, details, WORDS)
        return None

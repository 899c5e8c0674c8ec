"""What can be wrong with config/proxy.yaml, as values: shown by `config check`, raised by `load_catalog`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Problem:
    """A mistake at a line (from 1; 0 is the file as a whole) and a dotted path such as `models.gpt-4o.upstream`."""

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class CatalogError(Exception):
    """The file cannot be used. `problems` holds all that is wrong with it, in the order of their lines."""

    def __init__(self, file: Path, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(set(problems)))
        lines = [describe(file, problem) for problem in self.problems]
        super().__init__("\n  ".join(["the configuration cannot be used:", *lines]))


def describe(file: Path, problem: Problem) -> str:
    """`config/proxy.yaml:12: models.gpt-4o.upstrem: unknown key`, as compilers write it and editors link it."""
    where = f"{shown(file)}:{problem.line}" if problem.line else str(shown(file))
    return f"{where}: {problem}"


def shown(file: Path) -> Path:
    """The file relative to the working directory where it lies below it."""
    try:
        return file.resolve().relative_to(Path.cwd())
    except (ValueError, OSError):
        return file


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'gpt-4o'?`, or the known names where none is near."""
    names = sorted(known)
    lowered = {known_name.lower(): known_name for known_name in names}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{lowered[near[0]]}'?"
    return f"; known: {', '.join(names)}" if names else ""

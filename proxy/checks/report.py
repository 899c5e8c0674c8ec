"""What came of the checks, and JUnit's form of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree


@dataclass(frozen=True)
class Result:
    """Outcome of one check; `reason` says why it failed or was left out."""

    name: str
    outcome: Literal["passed", "failed", "left out"]
    seconds: float
    reason: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    @property
    def failed(self) -> bool:
        return self.outcome == "failed"


def junit(results: Sequence[Result], name: str = "litellm-local smoke") -> str:
    """The results as JUnit XML."""
    suite = ElementTree.Element(
        "testsuite",
        name=name,
        tests=str(len(results)),
        failures=str(sum(result.failed for result in results)),
        skipped=str(sum(result.outcome == "left out" for result in results)),
        errors="0",
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname=name.rpartition(" ")[2], name=result.name, time=f"{result.seconds:.3f}"
        )
        if result.failed:
            ElementTree.SubElement(case, "failure", message=_printable(result.reason))
        elif not result.passed:
            ElementTree.SubElement(case, "skipped", message=_printable(result.reason))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """XML knows no control characters, and an answer may hold any."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)

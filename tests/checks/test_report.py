"""The JUnit form of results, as CI systems read it."""

from __future__ import annotations

from xml.etree import ElementTree

from proxy.checks import Result
from proxy.checks.report import junit

RESULTS = [
    Result("completion[gpt-4o]", "passed", 0.25),
    Result("GET /ui", "failed", 1.5, 'got "<html>" & \x00\x1b[31m\ud800 instead\nof a page'),
    Result("fallback", "left out", 0.0, "live deployment: it needs a failing provider"),
]


def test_counts_cases_and_reasons() -> None:
    suite = ElementTree.fromstring(junit(RESULTS).encode())  # noqa: S314 - our own
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped", "errors", "time")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
        "errors": "0",
        "time": "1.750",
    }
    cases = {case.get("name"): case for case in suite}
    assert list(cases["completion[gpt-4o]"]) == []
    assert cases["fallback"].find("skipped").get("message") == RESULTS[2].reason


def test_is_xml_whatever_an_answer_held() -> None:
    suite = ElementTree.fromstring(junit(RESULTS).encode("utf-8"))  # noqa: S314 - our own
    said = suite.find("testcase[@name='GET /ui']/failure").get("message")
    assert said == 'got "<html>" & ??[31m? instead\nof a page'

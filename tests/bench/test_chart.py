"""The chart of the ratios: well-formed, in proportion, with the line where both are the same."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from chart import LEFT, WIDTH, Bar, chart

from tests.bench.conftest import BENCH

SVG = "{http://www.w3.org/2000/svg}"
BARS = [Bar("in one piece", 1.5, 2.0, 2.5), Bar("streaming", 0.4, 0.5, 0.8)]


def drawn(title: str, bars: list[Bar]) -> ET.Element:
    return ET.fromstring(chart(title, bars))  # noqa: S314 - what was made a moment ago


def lengths(root: ET.Element) -> list[float]:
    return [float(rect.attrib["width"]) for rect in root.iter(f"{SVG}rect")]


def lines(root: ET.Element, kind: str) -> list[tuple[float, float]]:
    """From where to where, for each line of this class."""
    found = [line.attrib for line in root.iter(f"{SVG}line") if line.attrib["class"] == kind]
    return [(float(one["x1"]) - LEFT, float(one["x2"]) - LEFT) for one in found]


def texts(root: ET.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def test_bars_and_their_spread_are_in_proportion() -> None:
    root = drawn("Ratios", BARS)
    ((one, same),) = lines(root, "one")
    assert one == same
    assert lengths(root) == pytest.approx([2.0 * one, 0.5 * one], abs=0.1)
    spreads = [each for spread in lines(root, "spread") for each in spread]
    assert spreads == pytest.approx([1.5 * one, 2.5 * one, 0.4 * one, 0.8 * one], abs=0.1)
    assert max(spreads) == WIDTH


def test_the_line_is_there_where_no_bar_reaches_it() -> None:
    root = drawn("Ratios", [Bar("slower", 0.2, 0.25, 0.5)])
    assert lines(root, "one") == [(WIDTH, WIDTH)]
    assert lengths(root) == [WIDTH / 4]


def test_who_cannot_see_it_is_told_the_same() -> None:
    root = drawn("Ratios", BARS)
    named = root.attrib["aria-labelledby"].split()
    told = {each.attrib["id"]: each.text for each in root if each.tag in (f"{SVG}title", f"{SVG}desc")}
    assert [told[one] for one in named] == [
        "Ratios",
        "in one piece: 2.00 (1.50 to 2.50); streaming: 0.50 (0.40 to 0.80)",
    ]
    assert texts(root) == ["Ratios", "in one piece", "2.00", "streaming", "0.50"]


def test_names_may_have_any_signs() -> None:
    name = """<LiteLLM's> & "own" ]]> → 🙂"""
    root = drawn(name, [Bar(name, 1, 1, 1)])
    assert texts(root) == [name, name, "1.00"]


def test_no_bars_leave_the_line() -> None:
    root = drawn("Nothing", [])
    assert lengths(root) == []
    assert lines(root, "one") == [(WIDTH, WIDTH)]
    assert texts(root) == ["Nothing"]


@pytest.mark.parametrize("ratio", [1e-9, 0.01, 0.999, 1.0, 3.0, 1e4])
def test_all_is_on_the_sheet(ratio: float) -> None:
    root = drawn("Ratios", [Bar("same", 1.0, 1.0, 1.0), Bar("other", ratio / 2, ratio, ratio * 2)])
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert all(0 <= one <= WIDTH for one in lengths(root))
    assert all(0 <= start <= end <= WIDTH for kind in ("one", "spread") for start, end in lines(root, kind))
    assert max(float(line.attrib["y2"]) for line in root.iter(f"{SVG}line")) < height
    for text in root.iter(f"{SVG}text"):
        x, long = float(text.attrib["x"]), 8 * len(text.text or "")  # at 13 pixels no digit is wider
        assert x - long >= 0 if text.get("text-anchor") == "end" else x + long <= width


def test_rows_do_not_cover_each_other() -> None:
    rects = list(drawn("Ratios", [Bar(f"{number}", 1, 1, 1) for number in range(30)]).iter(f"{SVG}rect"))
    tops = [float(rect.attrib["y"]) for rect in rects]
    assert all(
        top + float(rect.attrib["height"]) <= below for top, rect, below in zip(tops, rects, tops[1:], strict=False)
    )


def test_the_one_that_the_readme_shows_is_of_this_kind() -> None:
    root = ET.parse(BENCH / "gateway.svg").getroot()  # noqa: S314 - ours
    names = [text.text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "end"]
    ((one, _),) = lines(root, "one")
    shown = [float(texts(root)[2 * number + 2]) for number in range(len(names))]
    assert len(shown) > 1
    assert lengths(root) == pytest.approx([ratio * one for ratio in shown], abs=0.005 * one + 0.1)

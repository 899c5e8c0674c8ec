"""What `litellm-local bench` says of its figures."""

from __future__ import annotations

from collections import Counter

import pytest

from proxy.bench import Loaded, sentences


@pytest.mark.parametrize(
    ("answered", "one", "all_of_them"),
    [
        (160, "is not within", "at once are not"),
        (170, "is within", "at once are not"),
        (1340, "is within", "once are."),
    ],
)
def test_a_thousand_a_minute(answered: int, one: str, all_of_them: str) -> None:
    said = sentences(Loaded(10.0, Counter({"200": answered})), 8, None)
    assert f"{answered * 6} requests a minute" in said[0]
    assert one in said[0]
    assert all_of_them in said[0]
    assert len(said) == 1


def test_what_met_the_limit_is_no_failure_and_the_way_out_is_told() -> None:
    said = sentences(Loaded(10.0, Counter({"200": 100, "429": 7})), 8, None)
    assert "7 were told 429" in said[1]
    assert "requests_per_minute" in said[1]


def test_a_load_client_that_is_the_bound_says_so() -> None:
    found = Loaded(10.0, Counter({"200": 1000}))
    assert "may be what was measured" in sentences(found, 8, 150)[-1]
    assert "not the bound" in sentences(found, 8, 250)[-1]

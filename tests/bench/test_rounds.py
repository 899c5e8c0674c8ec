"""What was measured, shown as ratios, round by round."""

from __future__ import annotations

import pytest
from load import Round
from rounds import Measured, Rounds, added_ratios, show


def measured(*p50s: float, cpu: float | None = None) -> list[Measured]:
    return [Measured(Round(100, 1000 / p50, p50, 2 * p50), cpu) for p50 in p50s]


OURS, THEIRS, UPSTREAM = measured(6, 11, cpu=500), measured(11, 41, cpu=1000), measured(1, 1)


def test_the_added_p50_is_without_the_upstreams() -> None:
    assert added_ratios(OURS, THEIRS, UPSTREAM) == [0.25, 0.5]
    assert added_ratios(OURS, UPSTREAM, UPSTREAM) == []


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    rounds: Rounds = {"gateway": OURS, "other": THEIRS, "simulator": UPSTREAM}
    show("at once", rounds, "simulator")
    _, heading, titles, gateway, other, simulator = capsys.readouterr().out.splitlines()
    assert (heading, titles[-16:]) == ("at once", "added p50, ratio")
    assert gateway.endswith("1.00 x (1.00 to 1.00)")
    assert [words.split()[0] for words in other.split(")")[:3]] == ["other", "0.50", "0.38"]
    assert other.endswith("0.38 x (0.25 to 0.50)")
    assert simulator.count(" x ") == 1
    show("at once", rounds)
    assert capsys.readouterr().out.splitlines()[2].endswith("CPU, ratio")

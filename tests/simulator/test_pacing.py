"""A script's timing as seconds to wait."""

from __future__ import annotations

import pytest

from proxy.simulator.replies.pacing import schedule, whole
from proxy.simulator.script.model import Timing


def test_the_last_event_comes_when_the_last_token_would() -> None:
    timing = Timing(first_token=0.5, tokens_per_second=10)
    for events in (2, 7, 30, 33):
        waits = schedule(timing, events, 30)
        assert len(waits) == events
        assert waits[0] == 0.5
        assert sum(waits) == pytest.approx(0.5 + 29 / 10)
        assert len(set(waits[1:])) == 1


def test_a_reply_in_one_piece_takes_as_long_as_its_stream() -> None:
    timing = Timing(first_token=0.5, tokens_per_second=10)
    assert whole(timing, 30) == pytest.approx(sum(schedule(timing, 33, 30)))


def test_without_a_rate_all_comes_with_the_first_token() -> None:
    timing = Timing(first_token=2)
    assert schedule(timing, 4, 30) == [2, 0, 0, 0]
    assert whole(timing, 30) == 2


def test_no_timing_is_no_wait() -> None:
    assert schedule(Timing(), 3, 30) == [0, 0, 0]
    assert whole(Timing(), 30) == 0


@pytest.mark.parametrize(("events", "tokens"), [(0, 0), (1, 0), (1, 1), (1, 30), (3, 0), (3, 1)])
def test_small_replies(events: int, tokens: int) -> None:
    timing = Timing(first_token=0.5, tokens_per_second=10)
    waits = schedule(timing, events, tokens)
    assert waits == [0.5, 0, 0][:events]
    assert whole(timing, 0) == whole(timing, 1) == 0.5


def test_jitter_varies_each_wait_by_its_share_and_equally_for_equal_seeds() -> None:
    steady = Timing(first_token=0.5, tokens_per_second=10)
    varied = [Timing(first_token=0.5, tokens_per_second=10, jitter=0.2, seed=seed) for seed in (1, 1, 2)]
    waits = [schedule(timing, 31, 31) for timing in varied]
    assert waits[0] == waits[1] != waits[2]
    for made in waits:
        assert len(set(made)) == 31
        for wait, usual in zip(made, schedule(steady, 31, 31), strict=True):
            assert 0.8 * usual <= wait <= 1.2 * usual
    assert whole(varied[0], 31) == whole(varied[1], 31) != whole(varied[2], 31)

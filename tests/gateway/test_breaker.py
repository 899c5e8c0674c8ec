"""When a breaker opens and closes, on a clock that is turned by hand; the probes are the test's to answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from proxy.catalog import load_catalog
from proxy.gateway import breaker
from proxy.gateway.breaker import Breakers, Key, Threshold, threshold

KEY = Key("", "gpt-4o")
OTHER = Key("", "claude-sonnet-4")
NEEDED = Threshold(failures=8, seconds=6.0)
PROBE_SECONDS = 0.01  # real ones: the loop's own clock paces the probes


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """Breakers, their clock, what was told of them, and how often each deployment was probed."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.changes: list[tuple[Key, bool]] = []
        self.probed: list[Key] = []
        self.up: set[Key] = set()
        self.answer: Callable[[Key], Awaitable[bool]] = self.at_once
        self.breakers = Breakers(
            NEEDED,
            probe=self.probe,
            probe_seconds=PROBE_SECONDS,
            name=lambda key: key.deployment,
            on_change=lambda key, opened: self.changes.append((key, opened)),
            clock=self.clock,
        )

    async def probe(self, key: Key) -> bool:
        self.probed.append(key)
        return await self.answer(key)

    async def at_once(self, key: Key) -> bool:
        return key in self.up

    def fail(self, key: Key = KEY, times: int = 1, apart: float = 2.0) -> None:
        """So many failures, with a pause before each but the first."""
        for number in range(times):
            self.clock.now += apart if number else 0.0
            self.breakers.failed(key, "503")

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(PROBE_SECONDS / 2)
        raise AssertionError


def play(test: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        await asyncio.wait_for(test(Bench()), 30)

    asyncio.run(run())


def test_the_threshold_is_that_of_whole_requests() -> None:
    catalog = load_catalog()
    found = threshold(catalog)
    assert found.failures == catalog.breaker.failed_requests * (catalog.limits.retries + 1)
    least = catalog.limits.retries * catalog.limits.retry_delay_seconds
    assert 0.9 * least < found.seconds <= least


def test_it_opens_after_failures_in_a_row_for_long_enough() -> None:
    async def test(bench: Bench) -> None:
        bench.fail(times=7)
        assert not bench.breakers.is_open(KEY)
        bench.fail()
        assert bench.breakers.is_open(KEY)
        assert not bench.breakers.is_open(OTHER)
        assert bench.changes == [(KEY, True)]

    play(test)


def test_many_at_once_are_not_enough_before_the_retries_of_one_have_failed() -> None:
    """A second's trouble at 50 requests at once is 50 failures; all of them are fine at their first retry."""

    async def test(bench: Bench) -> None:
        for _ in range(3):
            bench.fail(times=50, apart=0.0)
            bench.clock.now += 1.9
            assert not bench.breakers.is_open(KEY)
        bench.clock.now += 0.4
        bench.fail()
        assert bench.breakers.is_open(KEY)

    play(test)


def test_a_success_between_starts_the_count_anew() -> None:
    async def test(bench: Bench) -> None:
        bench.fail(times=7)
        began = bench.clock.now
        bench.breakers.succeeded(KEY, began)
        bench.fail(times=7)
        assert not bench.breakers.is_open(KEY)

    play(test)


def test_an_answer_to_what_was_asked_before_the_first_failure_tells_nothing() -> None:
    async def test(bench: Bench) -> None:
        began = bench.clock.now
        bench.clock.now += 1
        bench.fail(times=7)
        bench.breakers.succeeded(KEY, began)
        bench.fail()
        assert bench.breakers.is_open(KEY)
        bench.breakers.succeeded(KEY, began)
        assert bench.breakers.is_open(KEY)

    play(test)


def test_a_request_that_took_all_its_time_counts_as_one_with_all_its_attempts() -> None:
    async def test(bench: Bench) -> None:
        asked = bench.clock.now
        bench.clock.now += 600
        bench.breakers.failed(KEY, "silence", attempts=4, since=asked)
        assert not bench.breakers.is_open(KEY)
        bench.breakers.failed(KEY, "silence", attempts=4, since=asked)
        assert bench.breakers.is_open(KEY)

    play(test)


def test_what_is_down_is_probed_at_once_and_again_until_it_is_back() -> None:
    async def test(bench: Bench) -> None:
        bench.fail(times=8)
        await bench.until(lambda: len(bench.probed) >= 3)
        assert bench.breakers.is_open(KEY)
        assert set(bench.probed) == {KEY}
        bench.up.add(KEY)
        await bench.until(lambda: not bench.breakers.is_open(KEY))
        assert bench.changes == [(KEY, True), (KEY, False)]
        asked = len(bench.probed)
        await asyncio.sleep(5 * PROBE_SECONDS)
        assert len(bench.probed) == asked

    play(test)


def test_a_probe_that_hangs_does_not_keep_the_next_from_finding_it_up() -> None:
    async def test(bench: Bench) -> None:
        async def first_hangs(_key: Key) -> bool:
            if len(bench.probed) == 1:
                await asyncio.Event().wait()
            return True

        bench.answer = first_hangs
        bench.fail(times=8)
        await bench.until(lambda: not bench.breakers.is_open(KEY))
        assert len(bench.probed) == 2

    play(test)


def test_a_probe_that_breaks_is_followed_by_another() -> None:
    async def test(bench: Bench) -> None:
        async def first_breaks(_key: Key) -> bool:
            if len(bench.probed) == 1:
                raise RuntimeError
            return True

        bench.answer = first_breaks
        bench.fail(times=8)
        await bench.until(lambda: not bench.breakers.is_open(KEY))

    play(test)


def test_scopes_have_breakers_of_their_own_and_are_forgotten_one_by_one() -> None:
    async def test(bench: Bench) -> None:
        keys = [Key(f"scope-{number}", "gpt-4o") for number in range(50)]
        for key in keys[::2]:
            bench.fail(key, times=8)
        assert [bench.breakers.is_open(key) for key in keys] == [True, False] * 25
        bench.breakers.forget("scope-0")
        assert [bench.breakers.is_open(key) for key in keys] == [False, False, *[True, False] * 24]

    play(test)


def test_the_oldest_is_forgotten_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "MOST_KEPT", 2)

    async def test(bench: Bench) -> None:
        bench.fail(KEY, times=8)
        bench.fail(OTHER)
        bench.fail(Key("", "third"))
        assert not bench.breakers.is_open(KEY)
        assert bench.changes == [(KEY, True), (KEY, False)]

    play(test)


def test_the_log_says_when_and_why(caplog: pytest.LogCaptureFixture) -> None:
    async def test(bench: Bench) -> None:
        bench.fail(times=8)
        bench.clock.now += 30
        bench.breakers.succeeded(KEY, bench.clock.now)

    with caplog.at_level(logging.WARNING, "proxy.gateway"):
        play(test)
    opened, closed = [record.getMessage() for record in caplog.records]
    assert opened == "breaker: gpt-4o is down: 8 attempts in a row failed in 14 s, the last by 503; probed every 0.01 s"
    assert closed == "breaker: gpt-4o has answered a request after 30 s"

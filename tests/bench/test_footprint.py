"""The memory of a whole stack, by service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import footprint
import psutil
import pytest

from tests.conftest import Stack

GROWS = "import time; kept = bytearray(50_000_000); print('there', flush=True); time.sleep(600)"


@pytest.fixture
def grown() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", GROWS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_every_service_counts(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(footprint, "MOST_SECONDS", 1)
    used = footprint.show_footprint(stack.folder / "state")
    assert set(used) == {"launcher", "simulator", "postgres", "gateway"}
    assert used["gateway"] > 200 > used["launcher"] > 20
    said = capsys.readouterr().out.splitlines()
    assert said[-1].split() == ["all", f"{sum(used.values()):.0f}", "MB"]


def test_memory_is_in_megabytes(grown: int) -> None:
    assert 50 < footprint.memory([grown]) < 80
    assert footprint.memory([grown, grown]) == pytest.approx(2 * footprint.memory([grown]), rel=0.01)


def test_those_that_have_ended_since_do_not_count_but_the_first_is_missed(grown: int) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert footprint.memory([grown, gone.pid]) == pytest.approx(footprint.memory([grown]), rel=0.01)
    with pytest.raises(psutil.NoSuchProcess):
        footprint.memory([gone.pid, grown])


def test_it_is_waited_for_until_it_is_about_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([100.0, 90.0, 90.4, 90.2])
    last: list[float] = []

    def look() -> float:
        last.append(next(looks, 90.2))
        return last[-1]

    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += seconds

    monkeypatch.setattr(footprint, "REST_SECONDS", 1.5)
    monkeypatch.setattr(footprint, "time", Clock())
    footprint.wait_until_settled(look)
    assert last[:4] == [100.0, 90.0, 90.4, 90.2]
    assert len(last) <= 6

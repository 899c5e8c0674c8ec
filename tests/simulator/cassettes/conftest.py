"""A simulator that acts as the provider, and one that replays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulator.cassettes.running import simulating
from tests.simulator.running import Double


@pytest.fixture(scope="session")
def provider_simulator() -> Iterator[Double]:
    with simulating() as double:
        yield double


@pytest.fixture(scope="session")
def replaying_simulator() -> Iterator[Double]:
    with simulating() as double:
        yield double


@pytest.fixture
def acting(provider_simulator: Double) -> Double:
    """The provider, as far as a recorder can tell."""
    provider_simulator.reset()
    return provider_simulator


@pytest.fixture
def replaying(replaying_simulator: Double) -> Double:
    """The simulator that answers from cassettes; none is in it yet."""
    replaying_simulator.reset()
    replaying_simulator.control.delete("/scopes/default")
    return replaying_simulator

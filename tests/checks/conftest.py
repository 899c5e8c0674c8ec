"""The shared stack, seen through a proxy that breaks what a test asks it to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.checks import Target
from tests.checks.broken import Broken, serving
from tests.conftest import Stack


@pytest.fixture(scope="session")
def proxy(stack: Stack) -> Iterator[tuple[Broken, str]]:
    app = Broken(stack.url)
    with serving(app) as url:
        yield app, url


@pytest.fixture
def broken(proxy: tuple[Broken, str]) -> Iterator[Broken]:
    app, _ = proxy
    app.heal()
    yield app
    app.heal()


@pytest.fixture
def target(stack: Stack, proxy: tuple[Broken, str]) -> Target:
    return Target(proxy[1], stack.master_key, stack.simulator_url, stack.control_key)

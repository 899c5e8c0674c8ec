"""What the app's tests share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from travel.assistant import Assistant


@pytest.fixture
def assistant(llm_double) -> Assistant:
    """The assistant, whose SDK finds the double by the environment that `llm_double` has set."""
    return Assistant()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def transcript(llm_double, record_property) -> Iterator[None]:
    """Keeps what was asked and answered, less ids and times, so that runs can be compared."""
    yield
    lines = sorted(json.dumps(seen(call), sort_keys=True) for call in llm_double.calls.wait_for(0))
    record_property("transcript", "\n".join(lines))

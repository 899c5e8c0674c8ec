"""What the app's tests share."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    """Keeps what was asked and answered, so that two runs can be compared."""
    yield
    lines = [json.dumps(_seen(call.entry), sort_keys=True) for call in llm_double.calls]
    record_property("transcript", "\n".join(sorted(lines)))  # calls made at the same time have no order


def _seen(entry: dict[str, Any]) -> dict[str, Any]:
    kept = ("attempt", "provider", "api", "model", "stream", "outcome", "status")
    return {**{name: entry[name] for name in kept}, "request": entry["request"]}

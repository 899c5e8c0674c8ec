"""Levers change LiteLLM for good: what a test changes is put back behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Keep = Callable[..., None]


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch) -> Keep:
    """`keep(owner, *names)`: these attributes of a module or class are as they are now after the test."""

    def keep_attributes(owner: Any, *names: str) -> None:
        for name in names:
            if name in vars(owner):
                monkeypatch.setattr(owner, name, vars(owner)[name])
            else:  # inherited: what the lever sets must go
                monkeypatch.setattr(owner, name, getattr(owner, name), raising=False)

    return keep_attributes

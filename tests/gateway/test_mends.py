"""Mends are for one LiteLLM only. What each does is shown where it shows: tests/e2e/test_front_doors.py."""

from __future__ import annotations

import logging

import pytest

from proxy.catalog import project_root
from proxy.gateway import made_for, mends


def test_they_are_made_for_the_litellm_of_the_lock() -> None:
    assert f"\nlitellm=={made_for.MADE_FOR} " in (project_root() / "requirements.lock").read_text(encoding="utf-8")


def test_another_litellm_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def touched() -> None:
        raise AssertionError("LiteLLM was changed")

    monkeypatch.setattr(made_for, "version", lambda _: "9.9.9")
    monkeypatch.setattr(mends, "ask_gemini_before_streaming", touched)
    with caplog.at_level(logging.WARNING, logger="proxy.gateway"):
        mends.mend()
    assert "9.9.9" in caplog.text

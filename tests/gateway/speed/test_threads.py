"""Calls that the event loop prepares itself: short ones, by providers and callbacks that ask nobody."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.litellm_logging import Logging

from proxy.gateway.speed import threads
from tests.gateway.speed.conftest import Keep

HI = [{"role": "user", "content": "Hi"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
PREPARED = litellm.main.completion


class Quick(CustomLogger):
    pass


class Slow(CustomLogger):
    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None: ...


@pytest.fixture
def prepared(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads that have prepared calls."""
    by: list[threading.Thread] = []

    def noting(*args: Any, **named: Any) -> Any:
        by.append(threading.current_thread())
        return PREPARED(*args, **named)

    keep(ThreadPoolExecutor, "submit")
    monkeypatch.setattr(litellm.main, "completion", noting)
    monkeypatch.setattr(litellm, "input_callback", ["cache", Quick()])
    threads.prepare_in_place()
    return by


def ask(model: str = "openai/gpt-4o", messages: Any = HI, **asked: Any) -> Any:
    return asyncio.run(
        litellm.acompletion(model, messages, api_key="none", **{"mock_response": "Hello.", **asked})  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("model", ["openai/gpt-4o", "anthropic/claude-3-opus-20240229", "gemini/gemini-1.5-pro"])
def test_a_short_call_needs_no_thread(prepared: list[threading.Thread], model: str) -> None:
    assert ask(model).choices[0].message.content == "Hello."
    assert prepared == [threading.current_thread()]


def test_an_error_is_the_same(prepared: list[threading.Thread]) -> None:
    with pytest.raises(litellm.RateLimitError):
        ask(mock_response="litellm.RateLimitError")
    with pytest.raises(litellm.RateLimitError):
        ask(mock_response="litellm.RateLimitError", tools=TOOLS)
    assert [one is threading.current_thread() for one in prepared] == [True, False]


@pytest.mark.parametrize(
    "asked",
    [
        {"model": "groq/llama3-8b-8192"},
        {"messages": PARTS},
        {"messages": [*HI, {"role": "assistant", "content": None}]},
        {"messages": [{"role": "user", "content": "word " * 7000}]},
        {"messages": HI * 400},
        {"tools": TOOLS},
    ],
)
def test_what_may_take_a_while_has_a_thread(prepared: list[threading.Thread], asked: Any) -> None:
    assert ask(**asked).choices[0].message.content == "Hello."
    assert len(prepared) == 1
    assert prepared[0] is not threading.current_thread()


@pytest.mark.parametrize("callback", [Slow(), "sentry", print])
def test_callbacks_that_are_called_before_have_a_thread(
    prepared: list[threading.Thread], monkeypatch: pytest.MonkeyPatch, callback: Any
) -> None:
    monkeypatch.setattr(litellm, "input_callback", [Quick(), callback])
    ask()
    assert prepared[0] is not threading.current_thread()


def test_a_callback_of_one_request_has_a_thread(prepared: list[threading.Thread]) -> None:
    log = Logging("openai/gpt-4o", HI, False, "acompletion", datetime.now(), "1", "1")
    log.dynamic_input_callbacks = [Slow()]
    ask(litellm_logging_obj=log)
    assert prepared[0] is not threading.current_thread()


def test_other_work_is_left_alone(prepared: list[threading.Thread]) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(pow, 2, 3).result() == 8
        assert pool.submit(threading.current_thread).result() is not threading.current_thread()
    assert prepared == []

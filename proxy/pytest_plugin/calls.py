"""The calls of one test: to choose from, to wait for, to assert on, and told to whoever reads why it failed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from proxy.simulator.client import MOST_WAIT, Call, Calls
from proxy.simulator.script.asked import READERS

Again = Callable[[int, float], Sequence[Mapping[str, Any]]]
"""Waits until so many calls have ended, or so many seconds; all the entries there are then."""


def _one_of(value: object, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, list | tuple | set) else value == wanted


CHOICES: dict[str, Callable[[Call, Any], bool]] = {
    "model": lambda call, wanted: any(
        fnmatchcase(name or "", one)
        for name in (call.alias, call.model)
        for one in ([wanted] if isinstance(wanted, str) else wanted)
    ),
    "provider": lambda call, wanted: _one_of(call.provider, wanted),
    "text": lambda call, wanted: wanted in call.text,
    "rule": lambda call, wanted: call.rule == wanted,
    "outcome": lambda call, wanted: _one_of(call.outcome, wanted),
    "status": lambda call, wanted: _one_of(call.status, wanted),
    "stream": lambda call, wanted: call.stream is wanted,
    "request": lambda call, wanted: call.request_id == wanted,
}
"""What calls can be chosen by. `model` is an alias or an upstream, * and ? stand for anything; `text` is in the last
text of the user's; `request` is the gateway's call id."""


class Unexpected(AssertionError):
    """The calls are not what they should be. The message lists them."""

    lists_calls = True


class TestCalls(Calls):
    """Calls upstream in the order in which they began, as they were when asked for; `wait_for` asks again.

    `calls(model="gpt-4o", status=429)` are some of them: see CHOICES.
    """

    __test__ = False  # no class of tests

    def __init__(self, entries: Iterable[Mapping[str, Any]], again: Again, **which: Any) -> None:
        for name in which:
            if name not in CHOICES:
                raise TypeError(f"calls cannot be chosen by {name!r}; known: {', '.join(CHOICES)}")
        super().__init__(list(entries), again)
        self._all = self._calls
        self._which = which
        self._calls = [call for call in self._all if all(CHOICES[name](call, is_) for name, is_ in which.items())]

    def __call__(self, **which: Any) -> TestCalls:
        return TestCalls([call.entry for call in self._all], self._again, **{**self._which, **which})

    def wait_for(self, number: int, timeout: float = 10.0) -> TestCalls:
        """These calls as soon as `number` of them have ended. Raises AssertionError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        found = self
        while (missing := number - sum(call.ended_at is not None for call in found)) > 0:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unexpected(
                    f"waited {timeout:g} s for {count(number, 'call')}{self._chosen()} to end: "
                    f"{number - missing} did\n{found.journal()}"
                )
            ended = sum(call.ended_at is not None for call in found._all)
            found = TestCalls(self._again(ended + missing, min(left, MOST_WAIT)), self._again, **self._which)
        return found

    # -- assertions ------------------------------------------------------------------------------------------

    def assert_count(self, number: int) -> TestCalls:
        """Fails unless there were exactly so many."""
        __tracebackhide__ = True
        if len(self) != number:
            raise Unexpected(f"expected {count(number, 'call')}{self._chosen()}, but got {len(self)}\n{self.journal()}")
        return self

    def assert_models(self, *models: str) -> TestCalls:
        """Fails unless exactly these models were asked, in this order; each is an alias or an upstream."""
        __tracebackhide__ = True
        fits = [CHOICES["model"](call, model) for call, model in zip(self, models, strict=False)]
        if len(self) != len(models) or not all(fits):
            expected, got = (", ".join(map(str, names)) or "none" for names in (models, self.models))
            raise Unexpected(
                f"expected calls of these models{self._chosen()}, in this order:\n  {expected}\n"
                f"but got calls of:\n  {got}\n{self.journal()}"
            )
        return self

    def assert_none(self) -> None:
        """Fails if there was any."""
        __tracebackhide__ = True
        self.assert_count(0)

    # -- telling ---------------------------------------------------------------------------------------------

    def journal(self) -> str:
        """All calls of the test, those that were not chosen too, as a text."""
        if not self._all:
            return "there were no calls"
        chosen = {call.seq for call in self._calls} if self._which else set()
        began = self._all[0].started_at
        width = max(len(name_of(call)) for call in self._all)
        lines = ["the calls were:" if not self._which else "the calls were (> marks those chosen):"]
        for number, call in enumerate(self._all, 1):
            mark = ">" if call.seq in chosen else " "
            head = f"{mark} {number:>2}  +{call.started_at - began:.2f} s  {name_of(call):<{width}}  "
            lines.append(head + asked_of(call))
            lines.append(" " * len(head) + answered_of(call))
        return "\n".join(lines)

    def _chosen(self) -> str:
        which = ", ".join(f"{name}={value!r}" for name, value in self._which.items())
        return f" with {which}" if which else ""


def name_of(call: Call) -> str:
    return str(call.alias or call.model or "?")


def asked_of(call: Call) -> str:
    """What the call asked, in a line."""
    asked = READERS[call.api](call.request if isinstance(call.request, dict) else {})
    text = json.dumps(short(asked.text), ensure_ascii=False)
    results = "".join(f", {name or 'tool'} said {short(result, 40)}" for name, result in asked.tool_results)
    return f"{text}{results}{', streamed' if call.stream else ''}"


def answered_of(call: Call) -> str:
    """What came of the call, in a line."""
    if call.outcome is None:
        return "→ still running"
    body = call.answer
    said = body.get("error") if isinstance(body, dict) else None
    message = said.get("message") if isinstance(said, dict) else None
    finish = call.response.get("finish") if call.response else None
    parts = [
        f"→ {call.status or 'nothing'}",
        call.outcome + (f" ({finish})" if finish else ""),
        f"by {call.rule}" if call.rule else "by no rule",
    ]
    return ", ".join(parts) + (f": {short(str(message), 300)}" if message and call.outcome == "no match" else "")


def short(text: str, most: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

"""What the launcher tells of its progress: named steps that run side by side, each with its time.

`Steps` is the plain form, a line per finished step, for logs and pipes; the CLI has one for terminals.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

QUIET_SECONDS = 5.0  # a plain step that takes longer says now and then what it is at


class Step:
    """One step under way. `say` tells what it is at, `note` what its finished line adds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self.detail = ""
        self.began = time.monotonic()
        self.seconds: float | None = None
        self.failed = False

    def say(self, text: str) -> None:
        self.text = text

    def note(self, detail: str) -> None:
        self.detail = detail

    @property
    def elapsed(self) -> float:
        return self.seconds if self.seconds is not None else time.monotonic() - self.began


class _PlainStep(Step):
    def __init__(self, name: str, out: TextIO) -> None:
        super().__init__(name)
        self._out = out
        self._said = self.began

    def say(self, text: str) -> None:
        super().say(text)
        if time.monotonic() - self._said > QUIET_SECONDS:
            self._said = time.monotonic()
            print(f"  … {self.name}: {text} ({self.elapsed:.0f} s)", file=self._out, flush=True)


class Steps:
    """Plain progress: one line for each step when it ends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.done: list[Step] = []

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Times what runs inside; a step left by an exception is marked failed."""
        step = self._begin(name)
        try:
            yield step
        except BaseException:
            step.failed = True
            raise
        finally:
            step.seconds = time.monotonic() - step.began
            self.done.append(step)
            self._finish(step)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Within this, steps under way may be drawn as they change; plain lines need nothing for it."""
        yield

    def say(self, text: str) -> None:
        """A line of its own, for what happens outside any step."""
        print(text, file=self._out, flush=True)

    def _begin(self, name: str) -> Step:
        return _PlainStep(name, self._out)

    def _finish(self, step: Step) -> None:
        mark = "✗" if step.failed else "✓"
        detail = f"  {step.detail}" if step.detail else ""
        print(f"{mark} {step.name:<22} {step.elapsed:6.1f} s{detail}", file=self._out, flush=True)

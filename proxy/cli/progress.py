"""Steps on a terminal: what is under way spins below, what is done stays above with its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from proxy.stack.steps import Step, Steps


class _TerminalStep(Step):
    def __init__(self, name: str, progress: Progress) -> None:
        super().__init__(name)
        self._progress = progress
        self.task: TaskID = progress.add_task(name, text="", total=None)

    def say(self, text: str) -> None:
        super().say(text)
        self._progress.update(self.task, text=text)


class TerminalSteps(Steps):
    """The form for a person watching."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._console = Console(file=out, highlight=False, soft_wrap=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<22}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[text]}"),
            console=self._console,
            transient=True,
        )

    @contextmanager
    def live(self) -> Iterator[None]:
        with self._progress:
            yield

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _begin(self, name: str) -> Step:
        return _TerminalStep(name, self._progress)

    def _finish(self, step: Step) -> None:
        assert isinstance(step, _TerminalStep)  # noqa: S101 - _begin made it
        self._progress.remove_task(step.task)
        mark, style = ("✗", "red") if step.failed else ("✓", "green")
        self._console.print(f"[{style}]{mark}[/] {step.name:<22} {step.seconds:6.1f} s", end="")
        self._console.print(f"  {step.detail}" if step.detail else "", markup=False, style="dim")


def steps_for(out: TextIO) -> Steps:
    """Spinners where `out` is a terminal, plain lines elsewhere."""
    return TerminalSteps(out) if out.isatty() else Steps(out)

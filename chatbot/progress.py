"""How long work shows that it goes on: bars on a terminal, plain and few lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Display:
    """Show progress on standard error, so that standard output stays free for results."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def count(self, stage: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` (None: not known) are done in `stage`."""
        if self._bars is None:
            if time.monotonic() - self._said > 30:  # a log wants a sign of life, not a bar
                self._said = time.monotonic()
                self.say(f"{stage}: {done:,}" + (f" of {total:,}" if total else ""))
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def report(self, stage: str, share: float | None, line: str) -> None:
        """Show the `share` of `stage` that is done (None: unchanged) and say `line` unless it is empty."""
        if share is not None and self._bars is not None:
            self.count(stage, round(1000 * share), 1000)
        if line:
            self.say(f"{stage}: {line}")

    def say(self, line: str) -> None:
        """Print one line for people."""
        self._console.print(line, markup=False)

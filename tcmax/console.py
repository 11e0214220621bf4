"""What a command shows while it works: a bar on a terminal, plain lines in a log."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class ProgressLine:
    """Progress over `total` units. Standard error is used, so that standard output stays a command's result."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.done = title, total, 0
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        if sys.stderr.isatty():
            from rich import console, progress

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.TextColumn("{task.completed:.1f}/{task.total}"),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[line]}"),
                console=console.Console(stderr=True),
            )

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, line="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def within(self, share: float) -> None:
        """Show that `share` (0-1) of the current unit is done; a log gets nothing."""
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self.done + share)

    def advance(self, line: str) -> None:
        """One unit is finished; `line` says which."""
        self.done += 1
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self.done, line=line)
        else:
            print(f"{self.title}: {line} ({self.done}/{self.total})", file=sys.stderr, flush=True)

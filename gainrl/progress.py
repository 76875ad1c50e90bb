"""How long-running work reports its progress, and the bar that shows it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as rich_progress
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Progress = Callable[[int, int], None]
"""Called with (finished, total) while one long task runs."""
Report = Callable[[str, int, int], None]
"""The same for several tasks in turn: called with (task, finished, total)."""


@contextmanager
def bar() -> Iterator[Report]:
    """A progress bar, or plain lines where there is no terminal; yields the function that moves it."""
    with _rich_progress() as progress:
        task, last_line = progress.add_task("", total=None), ""

        def report(what: str, done: int, of: int) -> None:
            nonlocal last_line
            line = f"{what}: {10 * (10 * done // max(of, 1))} % of {of:,}"
            if not progress.console.is_terminal and line != last_line:
                progress.console.print(line)
                last_line = line
            if progress.tasks[0].description != what:
                progress.reset(task, description=what)  # a new task has a speed of its own
            progress.update(task, completed=done, total=of)

        yield report


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.1f}/s")


def _rich_progress() -> rich_progress.Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return rich_progress.Progress(*columns, console=Console(stderr=True), transient=True)

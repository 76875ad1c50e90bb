"""How long work says how far it is, and the bar that shows it."""

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
"""Called with (finished, of how many) while one long thing goes on."""
Report = Callable[[str, int, int], None]
"""The same for several things one after the other: called with (what is being done, finished, of how many)."""


@contextmanager
def bar() -> Iterator[Report]:
    """One bar for one job, plain lines where there is no terminal: yields the function that moves it."""
    with _rich_progress() as progress:
        task, last_line = progress.add_task("", total=None), ""

        def report(what: str, done: int, of: int) -> None:
            nonlocal last_line
            line = f"{what}: {10 * (10 * done // max(of, 1))} % of {of:,}"
            if not progress.console.is_terminal and line != last_line:
                progress.console.print(line)
                last_line = line
            if progress.tasks[0].description != what:
                progress.reset(task, description=what)  # another job: its speed is its own
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

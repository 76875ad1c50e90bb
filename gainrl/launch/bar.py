"""The progress bar of commands that do one long thing."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from gainrl.records import Report


@contextmanager
def bar() -> Iterator[Report]:
    """One bar for one job, plain lines where there is no terminal: yields the function that moves it."""
    with _rich_progress() as progress:
        task, told = progress.add_task("", total=None), ""

        def report(what: str, done: int, of: int) -> None:
            nonlocal told
            line = f"{what}: {10 * (10 * done // max(of, 1))} % of {of:,}"
            if not progress.console.is_terminal and line != told:
                progress.console.print(line)
                told = line
            if progress.tasks[0].description != what:
                progress.reset(task, description=what)  # another job: its speed is its own
            progress.update(task, completed=done, total=of)

        yield report


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.1f}/s")


def _rich_progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)

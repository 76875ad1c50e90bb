"""Run the cells of an experiment: finished ones are skipped, unfinished ones started again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

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

from gainrl.config import Experiment
from gainrl.records import Report, RunFolder, find_run
from gainrl.train import train_run


def run_path(runs_dir: Path, experiment: str, cell: str, seed: int) -> Path:
    """Where a run works."""
    return runs_dir / experiment / cell / f"seed-{seed}"


def run_experiment(
    experiment: Experiment, *, cells: Sequence[str], seeds: Sequence[int], runs_dir: Path, overwrite: bool = False
) -> None:
    """Train every (seed, cell) in this process, one after the other, with a progress bar all along.

    Raises:
        InputError: a finished run of another config is in the way and ``overwrite`` is off; checked before any run.
    """
    todo = []
    for seed in seeds:
        for cell in cells:
            config, path = experiment.cell(cell).with_seed(seed), run_path(runs_dir, experiment.name, cell, seed)
            if overwrite or find_run(path, config) == "unfinished":
                todo.append((f"{cell} seed {seed}", config, path))
    with _progress(f"{experiment.name}: runs", len(seeds) * len(cells), len(seeds) * len(cells) - len(todo)) as bars:
        for label, config, path in todo:
            train_run(config, path, runs_dir / "shared", bars.reporter(label, RunFolder(path)))
            bars.run_finished()


class _Bars:
    """Two bars on a terminal, plain lines elsewhere: all runs, and what the current run is doing."""

    def __init__(self, progress: Progress, title: str, of: int, done: int) -> None:
        self.progress, self.terminal = progress, progress.console.is_terminal
        self.all = progress.add_task(title, total=of, completed=done)
        self.current = progress.add_task("", total=None, visible=False)
        if done:
            progress.console.print(f"{done} of {of} runs are finished already")

    def reporter(self, label: str, folder: RunFolder) -> Report:
        def report(what: str, done: int, of: int) -> None:
            if not self.terminal and done % max(1, of // 4) == 0:
                evals = folder.evals()
                accuracy = f", held-out accuracy {100 * evals.value.iloc[-1]:.1f} %" if len(evals) else ""
                self.progress.console.print(f"{label}: {what} {done}/{of}{accuracy}")
            self.progress.update(self.current, description=f"{label}: {what}", total=of, completed=done, visible=True)

        return report

    def run_finished(self) -> None:
        self.progress.advance(self.all)


@contextmanager
def _progress(title: str, of: int, done: int) -> Iterator[_Bars]:
    with _rich_progress() as progress:
        yield _Bars(progress, title, of, done)


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

"""A live table of runs, or plain lines, read from their folders: the same wherever the runs are trained."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gainrl.runs.plan import Run
from gainrl.runs.state import RunState, read_state

EVERY = 1.0
"""Seconds between two readings of the folders."""
ENDED = ("finished", "failed")


class Watch:
    """Shows runs while they are trained: a table on a terminal, elsewhere a line at every quarter of a run's task."""

    def __init__(self, title: str, runs: Sequence[Run], console: Console | None = None) -> None:
        self.title, self.runs = title, runs
        self.console = console or Console(stderr=True, highlight=False)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.seen = {run.label: RunState("waiting") for run in runs}
        self.printed: dict[str, tuple[str, int]] = {}
        self.last_read = float("-inf")

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.live.stop()

    def tick(self) -> None:
        """Read the folders and show the runs, at most once every `EVERY` seconds."""
        if time.monotonic() - self.last_read >= EVERY:
            self._update()

    def ended(self, run: Run, failed: bool) -> None:
        """A run has ended, whatever its folder says."""
        self.seen[run.label] = replace(read_state(run.home), state="failed" if failed else "finished")
        self._update()

    def say(self, text: str) -> None:
        """Print above the table."""
        self.console.print(text, markup=False, soft_wrap=True)

    def _update(self) -> None:
        for run in self.runs:
            if self.seen[run.label].state not in ENDED:
                now = read_state(run.home)
                # only its launcher knows that a run has ended: an interrupted one is "failed" until its job begins
                self.seen[run.label] = RunState("waiting") if now.state in ENDED else now
        self.last_read = time.monotonic()
        if self.console.is_terminal:
            self.live.update(table(self.title, self.runs, self.seen, self.console.height - 6), refresh=True)
        else:
            for run in self.runs:
                self._print(run.label, self.seen[run.label])

    def _print(self, label: str, now: RunState) -> None:
        quarter = now.state, 4 * now.done // max(now.of, 1)
        if now.state not in ("waiting", "starting", "failed") and self.printed.get(label) != quarter:
            self.printed[label] = quarter
            steps = f" {now.done}/{now.of}" if now.of else ""
            accuracy = "" if now.accuracy is None else f", held-out accuracy {100 * now.accuracy:.1f} %"
            self.say(f"{label}: {now.state}{steps}{accuracy}")


def table(title: str, runs: Sequence[Run], seen: dict[str, RunState], rows: int) -> Table:
    """Running runs first, then failed, waiting and finished ones; the caption counts those that do not fit."""
    counts = Counter(now.state if now.state in ("waiting", *ENDED) else "running" for now in seen.values())
    counted = ", ".join(f"{counts[state]} {state}" for state in ("running", "waiting", *ENDED) if counts[state])
    shown = Table(title=f"{title}: {counted}", title_justify="left")
    for heading in ("cell", "seed", "state"):
        shown.add_column(heading)
    for heading in ("step", "accuracy", "mu", "time left"):
        shown.add_column(heading, justify="right")
    order = {"failed": 1, "waiting": 2, "finished": 3}
    by_state = sorted(runs, key=lambda run: order.get(seen[run.label].state, 0))
    for run in by_state[: max(rows, 1)]:
        shown.add_row(run.cell, str(run.seed), *_cells(seen[run.label]))
    if len(runs) > max(rows, 1):
        shown.caption = f"and {len(runs) - max(rows, 1)} more"
    return shown


def _cells(now: RunState) -> tuple[str, str, str, str, str]:
    return (
        now.state,
        f"{now.done}/{now.of}" if now.of else "",
        "" if now.accuracy is None else f"{100 * now.accuracy:.1f} %",
        "" if now.mu is None else f"{now.mu:.0f}",
        "" if now.seconds_left is None or now.state in ENDED else duration(now.seconds_left),
    )


def duration(seconds: float) -> str:
    """Hours, minutes, seconds: 1:02:03."""
    return str(timedelta(seconds=round(seconds)))

"""What a run is doing: a small file in its folder, written by the process that trains, read by those that watch."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gainrl.errors import InputError
from gainrl.files import write_atomically
from gainrl.runs.records import RunFolder, RunRecord

FILE = "progress.json"
EVERY = 0.5
"""Seconds between two writes."""


class ProgressFile:
    """A `Report` that writes progress.json; ``seconds_each`` is wall-clock time, evaluation included."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.what, self.first, self.began, self.written = "", 0, 0.0, 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        now = time.monotonic()
        if what != self.what:
            self.what, self.first, self.began, self.written = what, done, now, 0.0
        if now - self.written < EVERY and done != of:
            return
        each = (now - self.began) / (done - self.first) if done > self.first else None
        text = json.dumps({"what": what, "done": done, "of": of, "seconds_each": each})
        write_atomically(self.path, lambda path: path.write_text(text))
        self.written = now


@dataclass(frozen=True)
class RunState:
    """What a run's folder says at this moment; ``accuracy`` is the mean over benchmarks of the latest evaluation."""

    state: str
    done: int = 0
    of: int = 0
    accuracy: float | None = None
    mu: float | None = None
    seconds_each: float | None = None

    @property
    def seconds_left(self) -> float | None:
        return None if self.seconds_each is None else self.seconds_each * (self.of - self.done)


def read_state(folder: Path) -> RunState:
    """The state of a run. A file that is missing or being written does not raise: its fields are left at their defaults."""
    state, _ = RunFolder(folder).status()
    if state is None:
        return RunState("waiting")
    doing = _doing(RunFolder(folder))
    done, of, each = doing.get("done", 0), doing.get("of", 0), doing.get("seconds_each")
    what = doing.get("what", "starting") if state == "running" else state
    return RunState(what, done, of, _accuracy(folder), _mu(folder), each)


def seconds_each(run: RunRecord) -> float | None:
    """Wall-clock seconds a training step took, where progress.json is there; else without evaluation; None if unknown."""
    doing = _doing(run)
    if doing.get("what") == "training" and doing.get("seconds_each"):
        return float(doing["seconds_each"])
    metrics = _frame(run.metrics)
    if "seconds" not in metrics:
        return None
    choosing = metrics.choosing_seconds.max() / len(metrics) if "choosing_seconds" in metrics else 0.0
    return float(metrics.seconds.median() + choosing)


def _doing(run: RunRecord) -> dict[str, Any]:
    try:
        return run.read_json(FILE)
    except InputError:
        return {}


def _accuracy(folder: Path) -> float | None:
    evals = _frame(RunFolder(folder).evals)
    if evals.empty:
        return None
    return float(evals[(evals.metric == "accuracy") & (evals.step == evals.step.max())].value.mean())


def _mu(folder: Path) -> float | None:
    metrics = _frame(RunFolder(folder).metrics)
    return float(metrics.mu.iloc[-1]) if "mu" in metrics else None


def _frame(read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    try:
        return read()
    except InputError:  # gone, or not whole, at this moment
        return pd.DataFrame()

"""What a plan will cost, estimated from finished runs; what `gainrl reproduce --dry-run` prints. Imports no torch."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pandas as pd

from gainrl.errors import InputError
from gainrl.launch.launchers import Launcher
from gainrl.launch.watch import duration
from gainrl.runs.config import RunConfig
from gainrl.runs.plan import Run, sharers, unfinished
from gainrl.runs.published import stored_runs
from gainrl.runs.records import RunFolder, RunRecord
from gainrl.runs.state import seconds_each

Kind = tuple[str, ...]
"""Engine, model, engine of generation and schedule: runs that agree in all four take about as long a step.

Without the last: runs of any schedule. Some sample several times what they train, and the oracle measures all problems.
"""


class Cost(NamedTuple):
    """Of the finished runs of one kind. None: not known."""

    seconds: float | None
    """Median: wall-clock seconds a step, where a run has them, else without evaluation."""
    gib: float | None
    """Most memory of a process: on its GPU, or its own where there is none."""
    on: str = ""
    """Where they ran: GPUs by name, or CPU."""


def costs(runs: Iterable[RunRecord]) -> dict[Kind, Cost]:
    """What the finished runs of each kind took."""
    found: dict[Kind, list[Cost]] = defaultdict(list)
    for run in runs:
        if run.status()[0] != "finished":
            continue
        try:
            kind = kind_of(run.config())
            environment = run.read_json("environment.json")
            cost = Cost(seconds_each(run), environment.get("peak_gib"), environment.get("accelerator") or "CPU")
            found[kind].append(cost)
            found[kind[:-1]].append(cost)
        except InputError:
            continue
    return {
        kind: Cost(
            median(seconds) if (seconds := [cost.seconds for cost in of if cost.seconds is not None]) else None,
            max((cost.gib for cost in of if cost.gib is not None), default=None),
            ", ".join(sorted({cost.on for cost in of})),
        )
        for kind, of in found.items()
    }


def kind_of(config: RunConfig) -> Kind:
    return config.engine, config.model.name, config.training.generation, config.schedule.name


def describe(runs: Sequence[Run], launcher: Launcher, published: Path) -> str:
    """The plan in words: a row a run, then what is finished, what will run, how long and where.

    Runs in the same folder, on this machine as a rule, come before those that are published.
    """
    runs_dir = runs[0].runs_dir
    here = map(RunFolder, (runs_dir / "shared" / "runs").glob("*"))
    known = [costs(here), costs(stored_runs(published, damaged=[]).values())]
    todo = {run.hash: run for run in unfinished(runs)}
    links = sharers(runs_dir)
    rows, seconds = [], []
    for run in runs:
        mine = todo.get(run.hash) is run
        kind = kind_of(run.config)
        each = next((of[like] for of in known for like in (kind, kind[:-1]) if like in of), Cost(None, None))
        cost = _seconds(run, each) if mine else None
        seconds += [cost] if mine else []
        rows.append(
            {
                "cell": run.cell,
                "seed": run.seed,
                "state": _state(run, todo.get(run.hash), links.get(run.hash, [])),
                "GPUs": run.execution.gpus,
                "hours at most": "" if run.execution.hours is None else f"{run.execution.hours:g}",
                "estimate": duration(cost) if cost is not None else "unknown" if mine else "",
                "GiB": "unknown" if each.gib is None else f"{each.gib:.1f}",
                "measured on": each.on,
            }
        )
    return f"{pd.DataFrame(rows).to_string(index=False)}\n\n{_total(len(runs), seconds, launcher)}"


def _seconds(run: Run, cost: Cost) -> float | None:
    return (
        None
        if cost.seconds is None
        else cost.seconds * (run.config.training.steps - (0 if run.overwrite else run.checkpoint_step()))
    )


def _state(run: Run, trained: Run | None, links: Sequence[str]) -> str:
    others = [name for name in links if name != f"{run.experiment}/{run.cell}"]
    if trained is None:
        return "finished" + (f" (shared with {others[0]})" if others else "")
    if trained is not run:
        return f"shared with {trained.experiment}/{trained.cell}"
    step = run.checkpoint_step()
    return f"resumes from step {step}" if step else "to run"


def _total(runs: int, costs: Sequence[float | None], launcher: Launcher) -> str:
    known = [cost for cost in costs if cost is not None]
    lines = [f"{runs} runs, {len(costs)} to train {launcher.describe()}; the others are finished or shared"]
    if len(known) < len(costs):
        lines.append(f"time unknown for {len(costs) - len(known)}: no run with their model is finished yet")
    if known:
        wall = max(*known, sum(known) / launcher.at_once())
        lines.append(f"about {duration(sum(known))} of training, {duration(wall)} until the last has ended")
        lines.append("warm-up and scoring come on top")
    return "\n".join(lines)

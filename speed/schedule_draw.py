"""Drawing 1,024 of ten million problems by every schedule, against numpy's weighted choice; and what a schedule remembers."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import tyro

from gainrl.rng import generator
from gainrl.schedules import SCHEDULES, Feedback, Gaussian, Outcome, Schedule
from speed.report import publish


def median_seconds(action: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def with_history(schedule: Schedule, draw: int, rng: np.random.Generator) -> Schedule:
    """The schedule, told random features and pass rates, after ten draws with random outcomes."""
    wanted = (*schedule.wanted_features, *schedule.optional_features)
    schedule.tell({name: rng.integers(0, 4, schedule.size) for name in wanted})
    if schedule.measures:
        schedule.measured(rng.uniform(0, 1, schedule.size))
    for _ in range(10):
        rows = schedule.draw(draw).tolist()
        outcomes = {
            row: Outcome(8, float(correct), 800) for row, correct in zip(rows, rng.integers(0, 9, draw), strict=True)
        }
        schedule.observe(Feedback(0.5, 0.5, outcomes))
    return schedule


def remembered_bytes(schedule: Schedule) -> int:
    """Size of what changes while it learns: its state's arrays, in bytes."""
    state = (getattr(schedule, name) for name in schedule.state_fields)
    return sum(values.nbytes for values in state if isinstance(values, np.ndarray))


def main(problems: int = 10_000_000, draw: int = 1024, repeats: int = 5) -> None:
    """Measure and publish.

    Args:
        problems: Size of the set.
        draw: Size of a draw.
        repeats: Draws to take the median of.
    """
    rng = generator(0, "benchmark")
    keys = rng.uniform(0, 100, problems)
    schedule = Gaussian(keys)
    schedule.mu = problems / 2

    def numpys_choice() -> object:
        weights = np.exp(-((np.arange(problems) - schedule.mu) ** 2) / (2 * schedule.sigma**2))
        return rng.choice(problems, draw, replace=False, p=weights / weights.sum())

    theirs = median_seconds(numpys_choice, repeats)
    rows: list[dict[str, Any]] = [{"draw": "numpy: weights, then Generator.choice", "seconds": theirs, "ratio": 1.0}]
    for name, make in SCHEDULES.items():
        candidate = schedule if name == "gaussian" else with_history(make(keys), draw, rng)
        seconds = median_seconds(lambda candidate=candidate: candidate.draw(draw), repeats)  # type: ignore[misc]
        kilobytes = remembered_bytes(candidate) / 1000
        rows.append({"draw": f"gainrl: {name}", "seconds": seconds, "ratio": seconds / theirs, "state, kB": kilobytes})
    note = (
        f"{problems:,} problems, {draw:,} drawn, median of {repeats}. Building the order is not counted; "
        f"uniform and ordered only slice what they have. Schedules that learn have seen ten draws, {10 * draw:,} problems at "
        "most. Their state is what they remember of these problems, whatever the number of rollouts; uniform, dapo, speed and "
        "greso keep the rest of a shuffled pass over the set besides, and the oracle the pass rates that it is told. What "
        "measuring those takes is not counted here."
    )
    publish("schedule_draw", "A draw from a large set", pd.DataFrame(rows), note)


if __name__ == "__main__":
    tyro.cli(main)

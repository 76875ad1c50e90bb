"""All figures of an experiment, by name."""

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from analysis.control import Controls
from analysis.leaderboard import families
from analysis.report import Picture
from analysis.runs import Runs
from gainrl.runs.experiment import Experiment
from paper_figures import (
    ablation,
    drawn_ranks,
    kinds,
    leaderboard,
    learning_curves,
    order_correlations,
    steps_to_target,
    style,
)

CAPTIONS = {
    "leaderboard": "Speed-up in steps to the middle target, with 95 % intervals; the oracle is a line. Beside it "
    "the chance that a run ends higher than one of the baseline, and the mean of the middle half of the accuracies at the end.",
    "learning_curves": "Held-out accuracy against optimizer step, mean over seeds and its 95 % interval; where a "
    "schedule slides, mu against epoch.",
    "steps_to_target": "Optimizer steps until held-out accuracy first reaches each target.",
    "ablation": "Every cell against its baseline, paired over seeds.",
    "order_adds": "Every order against a random one under the same schedule, paired over seeds: what is left of the cells' "
    "differences from their baseline is owed to the schedule and not to the order.",
    "drawn_ranks": "Which part of its order a schedule trained when.",
    "kinds": "Held-out accuracy of each kind of problem, mean over seeds.",
    "order_correlations": "Rank correlations between the orders that a schedule could follow.",
}


def figures(
    experiment: Experiment, runs: Runs, comparison: pd.DataFrame, controls: Controls, correlations: pd.DataFrame
) -> dict[str, Figure]:
    """Those that there are data for: of the runs, their comparisons, and how alike their orders are (may be empty).

    Where an experiment has several controls, there is a figure ``order_adds-CONTROL`` for each. One with a leaderboard has
    a figure for each training set, ``leaderboard-SET``, ``learning_curves-SET`` and so on.
    """
    result = {}
    for family in families(experiment) if experiment.leaderboard else ():
        if "speed-up" in set((ranked := leaderboard.data(experiment, comparison, family)).get("panel", ())):
            result[f"leaderboard-{family.name}"] = leaderboard.plot(experiment, family, ranked)
    result |= _by_part(experiment, "learning_curves", learning_curves.plot, learning_curves.data(experiment, runs))
    result |= _by_part(experiment, "steps_to_target", steps_to_target.plot, steps_to_target.data(experiment, runs))
    result |= _by_part(experiment, "ablation", ablation.plot, ablation.data(experiment, comparison))
    for direct, table in controls:
        name = "order_adds" if len(controls) == 1 else f"order_adds-{direct.baseline}"
        result[name] = ablation.plot(direct, ablation.data(direct, table))
    result |= _by_part(experiment, "drawn_ranks", drawn_ranks.plot, drawn_ranks.data(experiment, runs))
    if len(by_kind := kinds.data(experiment, runs)):
        for benchmark, frame in by_kind.groupby("benchmark", sort=False):
            result[f"kinds-{benchmark}"] = kinds.plot(experiment, frame)
    if len(correlations):
        result["order_correlations"] = order_correlations.plot(order_correlations.data(correlations))
    return result


def _by_part(
    experiment: Experiment, name: str, plot: Callable[[Experiment, pd.DataFrame], Figure], frame: pd.DataFrame
) -> dict[str, Figure]:
    """A figure of all cells; where methods are compared, one of each training set's."""
    parts = {"": [*experiment.cells]}
    if experiment.leaderboard:
        parts = {f"-{family.name}": [*family.cells.values()] for family in families(experiment)}
    mine = {suffix: frame[frame.cell.isin(cells)] for suffix, cells in parts.items()} if len(frame) else {}
    return {f"{name}{suffix}": plot(experiment, part) for suffix, part in mine.items() if len(part)}


def pictures(figures_by_name: dict[str, Figure]) -> list[Picture]:
    """Of `figures`, with their captions, for the report page."""
    return [
        Picture(name, CAPTIONS[name.partition("-")[0]], style.svg(figure)) for name, figure in figures_by_name.items()
    ]

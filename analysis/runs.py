"""From runs, in their folders or published, to data frames."""

from collections import Counter
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from gainrl.errors import InputError
from gainrl.runs.experiment import Experiment
from gainrl.runs.plan import seed_paths
from gainrl.runs.published import published_runs
from gainrl.runs.records import RunFolder, RunRecord, differences
from gainrl.runs.whole import require_whole

RUN = ["cell", "seed"]
MEAN = "mean of the benchmarks"
"""Stands for a benchmark where there are several."""
MEASURING = ("evaluation.", "problems.heldout", "training.generation", "engine")
"""Keys of a config that say how a run is measured and sampled, and by which engine it is trained, not what is trained."""
SPENT = ["problems_seen", "rollouts", "completion_tokens", "training_seconds"]


class Runs(dict[str, dict[int, RunRecord]]):
    """cell -> seed -> finished run. Finished runs do not change: what is read of all of them is read once."""

    left_out: tuple[str, ...] = ()
    """Finished runs that are damaged, or of another config than their cell's, and why."""
    notes: tuple[str, ...] = ()
    """What else a reader of the runs must know."""

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """A row a (cell, seed, step, benchmark, metric): what evals.jsonl holds."""
        return self._stack(lambda run: run.evals())

    @cached_property
    def training(self) -> pd.DataFrame:
        """A row a (cell, seed, optimizer step): what metrics.jsonl holds, and training_seconds until then."""
        metrics = self._stack(_metrics)
        return metrics.assign(training_seconds=metrics.groupby(RUN).seconds.cumsum())

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """A row a (cell, seed, benchmark, evaluated step), in that order: accuracy, stderr, n, and `SPENT` by then.

        Where a run has several benchmarks there is one more, `MEAN`, the plain mean over them.
        """
        evals = self.evaluations[self.evaluations.metric == "accuracy"].rename(columns={"value": "accuracy"})
        evals = evals[[*RUN, "benchmark", "step", "accuracy", "stderr", "n"]]
        accuracy = pd.concat([evals, _mean_over_benchmarks(evals)], ignore_index=True)
        curves = accuracy.merge(self.training[[*RUN, "step", *SPENT]], on=[*RUN, "step"], how="left")
        return curves.fillna(dict.fromkeys(SPENT, 0)).sort_values([*RUN, "benchmark", "step"], ignore_index=True)

    @cached_property
    def headline(self) -> pd.DataFrame:
        """The accuracy curves of the one benchmark, or of the mean of several."""
        mean = self.accuracy.benchmark == MEAN
        return self.accuracy[mean] if mean.any() else self.accuracy

    @cached_property
    def draws(self) -> pd.DataFrame:
        """A row a (cell, seed, drawn problem): epoch, rank, pass_rate (NaN where it was not trained to the end)."""
        return self._stack(lambda run: run.draws(columns=["epoch", "rank", "pass_rate"]))

    def only(self, cells: Collection[str]) -> "Runs":
        """Of these cells, without reading them again."""
        some = Runs({cell: self[cell] for cell in cells})
        some.evaluations = self.evaluations[self.evaluations.cell.isin(cells)]
        some.training = self.training[self.training.cell.isin(cells)]
        some.draws = self.draws[self.draws.cell.isin(cells)]
        some.accuracy = self.accuracy[self.accuracy.cell.isin(cells)]
        return some

    def _stack(self, read: Callable[[RunRecord], pd.DataFrame]) -> pd.DataFrame:
        frames = [read(run).assign(cell=cell, seed=seed) for cell in self for seed, run in self[cell].items()]
        return pd.concat(frames, ignore_index=True)


def finished_runs(experiment: Experiment, root: Path) -> Runs:
    """The finished runs of an experiment under ``root`` (runs or results), cells in the experiment's order.

    A run that is damaged, or that its cell does not describe, is left out; `Runs.left_out` says why.

    Raises InputError if there is none, or the index of published runs is damaged.
    """
    found = published_runs(root, experiment.name) or _run_folders(root, experiment.name)
    runs, left_out, differing = Runs({cell: {} for cell in experiment.cells}), [], Counter[str]()
    for cell in experiment.cells:
        for seed, run in sorted(found.get(cell, {}).items()):
            try:
                if run.read_json("status.json")["state"] == "finished":
                    differing.update(_require_cell(experiment, cell, seed, run))
                    runs[cell][seed] = run
            except InputError as error:
                left_out.append(f"{cell} seed {seed}: {error}")
    runs.left_out = tuple(left_out)
    runs.notes = tuple(
        f"{count} runs of {experiment.name} under {root} differ from their cells in {key}; they are counted"
        for key, count in differing.items()
    )
    if not any(runs.values()):
        if left_out:
            raise InputError(
                f"no finished run of {experiment.name} can be used, {len(left_out)} are left out: {left_out[0]}"
            )
        raise InputError(
            f"no finished run of {experiment.name} under {root}; gainrl reproduce {experiment.name} makes them"
        )
    return runs


def _require_cell(experiment: Experiment, cell: str, seed: int, run: RunRecord) -> list[str]:
    """The keys of `MEASURING` in which a run differs from its cell. Raises InputError: it is damaged, or differs in others."""
    config, expected = require_whole(run), experiment.cells[cell].with_seed(seed)
    if config == expected:
        return []
    keys = sorted(differences(config.model_dump(mode="json"), expected.model_dump(mode="json")))
    if others := [key for key in keys if not key.startswith(MEASURING)]:
        raise InputError(
            f"{run.where('config.json')} is not the config of this cell and seed: {', '.join(others)} differ"
        )
    return keys


def _run_folders(root: Path, experiment: str) -> dict[str, dict[int, RunRecord]]:
    """cell -> seed -> run, whatever its state; not where a link leads nowhere, which a run does that has not begun."""
    found: dict[str, dict[int, RunRecord]] = {}
    for (cell, seed), path in seed_paths(root, experiment).items():
        if path.is_dir():
            found.setdefault(cell, {})[seed] = RunFolder(path)
    return found


def unfinished_runs(experiment: Experiment, root: Path) -> list[str]:
    """Runs that are not finished, in words."""
    lines = []
    for (cell, seed), path in seed_paths(root, experiment.name).items():
        state, why = RunFolder(path).status() if path.is_dir() else ("not begun: its link leads nowhere", None)
        if cell in experiment.cells and state not in ("finished", None):
            lines.append(f"{cell} seed {seed} ({state}{f': {why}' if why else ''})")
    return lines


def common_seeds(runs: Runs) -> list[int]:
    """Seeds that every cell with a finished run has: what comparisons are paired on."""
    return sorted(set.intersection(*(set(by_seed) for by_seed in runs.values() if by_seed)))


def baseline_of(experiment: Experiment, cell: str) -> str:
    """The cell that another is compared with: the experiment's, or the one of its kind for the same model and training set."""

    def setting(name: str) -> tuple[str, str]:
        return experiment.cells[name].model.name, experiment.cells[name].problems.train

    kind = experiment.cells[experiment.baseline].schedule
    alike = [name for name, run in experiment.cells.items() if setting(name) == setting(cell) and run.schedule == kind]
    return experiment.baseline if experiment.baseline in alike or not alike else alike[0]


def timed_alike(run: RunRecord, other: RunRecord) -> bool:
    """Whether their seconds can be compared: both had as many processors and threads, and were executed alike throughout."""

    def conditions(record: RunRecord) -> tuple[Any, set[tuple[Any, ...]]]:
        environment = record.read_json("environment.json")
        parts = [environment, *environment.get("resumed", [])]
        machines = {(part.get("cpus"), part.get("threads"), part.get("accelerator")) for part in parts}
        return environment.get("inputs", {}).get("execution"), machines

    return conditions(run) == conditions(other)


def shares_problems(by_seed: dict[int, RunRecord], benchmark: str) -> bool:
    """Whether the seeds are asked the same problems; yes where the runs do not tell, as it gives the wider interval."""
    names = [benchmark] if benchmark != MEAN else None
    prints = []
    for run in by_seed.values():
        known = run.read_json("environment.json").get("inputs", {}).get("heldout", {})
        prints.append(tuple(known.get(name, {}).get("fingerprint") for name in names or sorted(known)))
    return len(set(prints)) < len(prints) or any(None in one for one in prints)


def _metrics(run: RunRecord) -> pd.DataFrame:
    """A run's metrics. One that was trained before rollouts were counted threw none away: so many a problem."""
    metrics = run.metrics()
    rollouts = metrics.problems_seen * run.config().training.generations
    counted = metrics.rollouts if "rollouts" in metrics else rollouts
    return metrics.assign(rollouts=counted.fillna(rollouts))


def _mean_over_benchmarks(accuracy: pd.DataFrame) -> pd.DataFrame:
    """At steps at which a run was asked all of its several benchmarks; the standard error is that of independent ones."""
    benchmarks = accuracy.groupby(RUN).benchmark.transform("nunique")
    several = accuracy[benchmarks > 1].assign(stderr=accuracy.stderr**2, of=benchmarks)
    mean = several.groupby([*RUN, "step"], as_index=False).agg(
        accuracy=("accuracy", "mean"), stderr=("stderr", "sum"), n=("n", "sum"), asked=("n", "size"), of=("of", "first")
    )
    mean = mean.assign(benchmark=MEAN, stderr=mean.stderr**0.5 / mean.of)
    return mean[mean.asked == mean.of].drop(columns=["asked", "of"])

"""Whether a finished run is whole: its files agree with its config and with each other."""

from typing import Any

import pandas as pd

from gainrl.errors import InputError
from gainrl.runs.config import RunConfig
from gainrl.runs.records import RunRecord


def require_whole(run: RunRecord) -> RunConfig:
    """The config of a finished run. Raises InputError: a file is missing or damaged, or holds too little or too much."""
    config = run.config()
    if run.known_as not in (None, run.hash):
        raise InputError(f"{run.where('config.json')} is the config of run {run.hash}, not of {run.known_as}")
    run.read_json("environment.json")
    if run.status()[0] != "finished":
        raise InputError(f"{run.where('status.json')} does not say that the run is finished")
    _require_steps(run, config)
    _require_evaluations(run, config)
    _require_draws(run, config)
    return config


def _require_steps(run: RunRecord, config: RunConfig) -> None:
    where, steps, expected = run.where("metrics.jsonl"), _column(run.metrics(), "step"), config.training.steps
    if steps != list(range(1, expected + 1)):
        raise InputError(f"{where} holds {len(steps)} steps; 1 to {expected} are needed, each once")


def _require_evaluations(run: RunRecord, config: RunConfig) -> None:
    where, evaluations = run.where("evals.jsonl"), run.evals()
    if len(evaluations):  # those by kind of problem come with them
        evaluations = evaluations[evaluations.metric == "accuracy"]
    means = evaluations.groupby("step")["value"].mean() if len(evaluations) else pd.Series(dtype=float)
    accuracies = dict(zip(means.index.tolist(), means.tolist(), strict=True))
    steps = config.evaluation.steps(accuracies, config.training.steps)
    expected = {(step, name) for step in steps for name in config.problems.heldout}
    found = set(zip(_column(evaluations, "step"), _column(evaluations, "benchmark"), strict=True))
    if missing := sorted(expected - found):
        step, name = missing[0]
        raise InputError(
            f"{where} holds {len(found & expected)} of {len(expected)} evaluations; {name} at step {step} is the first missing"
        )
    if unknown := sorted(found - expected):
        step, name = unknown[0]
        raise InputError(
            f"{where} holds an evaluation on {name} at step {step}, which the run's config does not ask for"
        )
    size = config.problems.heldout_size
    if size is not None and evaluations.n.max() > size:
        raise InputError(f"{where}: n is {evaluations.n.max()}, the run's config holds out {size} problems")


def _require_draws(run: RunRecord, config: RunConfig) -> None:
    where, draws, training = run.where("draws.parquet"), run.draws(), config.training
    epochs = -(-training.steps * training.prompts_per_step // training.prompts_per_epoch)
    expected = [epoch for epoch in range(epochs) for _ in range(training.prompts_per_epoch)]
    if _column(draws, "epoch") != expected:
        raise InputError(
            f"{where} holds {len(draws)} draws; {epochs} epochs of {training.prompts_per_epoch} are needed, in order"
        )
    size = config.problems.train_size
    if size is not None and (draws["rank"] >= size).any():
        raise InputError(f"{where}: rank {draws['rank'].max()} is outside of the {size} training problems")


def _column(table: pd.DataFrame, name: str) -> list[Any]:
    return list(table[name].tolist()) if name in table else []

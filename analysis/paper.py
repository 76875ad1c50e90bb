"""The paper's numbers beside ours, and in which settings a run departs from the paper's and from the baseline's."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.runs import Runs, baseline_of
from gainrl.prompts import PROGRAM_PROMPT
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Experiment

FILE = Path(__file__).parent / "paper.json"
GAIN_RL = {"alpha": 2.0, "beta": 0.5, "accuracy_term": True, "angle_term": True, "update": "paper"}
"""Options of the paper's method, whatever sigma and amplitude are; what a version of the suite lacks is not asked."""


def paper() -> dict[str, Any]:
    """analysis/paper.json: ``numbers``, ``sources``, and ``settings`` (config key -> the values in the release's scripts)."""
    content: dict[str, Any] = json.loads(FILE.read_text())
    return content


def is_gain_rl(run: RunConfig) -> bool:
    """Whether a cell is the paper's method: the Gaussian over the angle, updated by accuracy and angle."""
    schedule = run.schedule
    changed = [name for name, value in GAIN_RL.items() if schedule.options.get(name, value) != value]
    return schedule.name == "gaussian" and schedule.order == "angle" and not changed


def is_compared_with_vanilla(experiment: Experiment, cell: str) -> bool:
    """Whether a cell's baseline is what the paper's claim is about: uniform sampling."""
    return experiment.cells[baseline_of(experiment, cell)].schedule.name == "uniform"


def against_paper(experiment: Experiment, comparison: pd.DataFrame) -> pd.DataFrame:
    """The comparison with columns paper, paper_bound, paper_source: known for GAIN-RL's cells, else missing.

    The paper's speed-up is over vanilla GRPO, so it stands only beside one over uniform sampling.
    """
    numbers = [
        {
            "cell": cell, "quantity": number["quantity"], "row_benchmark": number["benchmark"],
            "paper": float(number["value"]), "paper_bound": number["bound"], "paper_source": number["source"],
        }
        for cell, run in experiment.cells.items() if is_gain_rl(run)
        for number in paper()["numbers"]
        if number["quantity"] != "speed-up" or is_compared_with_vanilla(experiment, cell)
    ]  # fmt: skip
    columns = ["cell", "quantity", "row_benchmark", "paper", "paper_bound", "paper_source"]
    known = pd.DataFrame(numbers, columns=columns)
    anywhere = known[known.row_benchmark.isna()].drop(columns="row_benchmark")
    named = known.dropna(subset="row_benchmark").rename(columns={"row_benchmark": "benchmark"})
    merged = comparison.merge(named, on=["cell", "quantity", "benchmark"], how="left")
    general = comparison[["cell", "quantity"]].merge(anywhere, on=["cell", "quantity"], how="left")
    for column in columns[3:]:
        merged[column] = merged[column].fillna(general[column])
    return merged


def settings(runs: Runs) -> dict[str, dict[str, Any]]:
    """Cell -> its first run's config.json (of any version of the suite), flat (``training.steps``), without the seed."""
    firsts = {cell: next(iter(by_seed.values())) for cell, by_seed in runs.items() if by_seed}
    return {cell: _flat({**run.read_json("config.json"), "seed": None}) for cell, run in firsts.items()}


def differences(config: dict[str, Any], baseline: dict[str, Any]) -> str:
    """What a cell has that its baseline has not, in words: ``order angle, sigma 64``."""
    return ", ".join(
        f"{_name(key)} {_value(value)}"
        for key, value in config.items()
        if value is not None and baseline.get(key) != value
    )


def departures(configs: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """A row a setting in which a cell departs from the release's scripts: setting, here, there."""
    rows = []
    for key, there in paper()["settings"].items():
        here = [config[key] for config in configs.values() if config.get(key) is not None]
        if any(value not in there for value in here):
            row = {"setting": _name(key), "here": " or ".join(dict.fromkeys(map(_value, here)))}
            rows.append({**row, "release's scripts": " or ".join(map(_value, there))})
    return pd.DataFrame(rows, columns=["setting", "here", "release's scripts"])


def beside_paper(run: RunConfig) -> str:
    """A line a setting of a run: its value, and the release's where it is known; departures are marked with ``!``."""
    known = {key: {"release": values} for key, values in paper()["settings"].items()} | paper()["further_settings"]
    lines = []
    for key, value in _flat(run.model_dump(mode="json")).items():
        released, note = known.get(key, {}).get("release", [value]), known.get(key, {}).get("note")
        departs = value not in released
        beside = f"release: {' or '.join(map(_value, released))}" if departs else "as released" if key in known else ""
        text = "-" if value is None else _value(value)
        remark = f" ({note})" if departs and note else ""
        lines.append(f"{'!' if departs else ' '} {key:<36} {text:<28} {beside}{remark}".rstrip())
    ending = [f"! departs from {paper()['sources']['scripts']}"]
    if run.prompt == PROGRAM_PROMPT:
        ending.append("The release has no script for programs: as released is as in its scripts for mathematics.")
    return "\n".join([*lines, "", *ending])


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _name(key: str) -> str:
    names = {"model.name": "model", "problems.train": "training set", "schedule.name": "schedule"}
    return names.get(key, key.rsplit(".", 1)[-1].replace("_", " "))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

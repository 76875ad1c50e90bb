"""How alike the orders are that a schedule could follow, from the scores that runs share."""

import math
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import spearmanr

from analysis.runs import Runs
from gainrl.columns import Column, Rows
from gainrl.errors import InputError
from gainrl.runs.records import RunRecord
from gainrl.schedules import ORDERS

ROWS = Rows(
    {
        **dict.fromkeys(("model", "problem_set"), Column("text", nullable=True)),
        **dict.fromkeys(("first", "second"), Column("text")),
        "correlation": Column(low=-1, high=1, nullable=True),
        "problems": Column("whole number", low=0),
    }
)
COLUMNS = [*ROWS.columns]


def order_correlations(runs: Runs, shared: Path, kept: pd.DataFrame | None = None) -> pd.DataFrame:
    """Spearman correlation of the positions in two orders: a row a (model, problem set, pair of orders), `COLUMNS`.

    Args:
        shared: the folder of what runs share.
        kept: what this gave before: the rows of models and problems without scores there. Where it lacks them too, they
            are missing.
    """
    kept = pd.DataFrame(columns=COLUMNS) if kept is None else kept
    scores = _scores(shared / "scores")
    rows, seen = [], set()
    for run in (run for by_seed in runs.values() for run in by_seed.values()):
        inputs = run.read_json("environment.json").get("inputs", {})
        made_of = {"model": inputs.get("model"), "problem_set": inputs.get("train", {}).get("fingerprint")}
        if tuple(made_of.values()) in seen:
            continue
        seen.add(tuple(made_of.values()))
        mine = [one for one in scores if made_of.items() <= one.metadata.items()]
        if not mine:
            known = kept[list(made_of)].fillna("") == [name or "" for name in made_of.values()]
            rows += kept.loc[known.all(axis=1), COLUMNS].to_numpy().tolist()
            continue
        keys = _sort_keys(run, mine, shared / "scores")
        for first, second in combinations(keys, 2):
            constant = keys[[first, second]].nunique().min() < 2  # the release's scores of short prompts are all NaN
            value = math.nan if constant else float(spearmanr(keys[first], keys[second]).statistic)
            rows.append([*made_of.values(), first, second, value, len(keys)])
    return pd.DataFrame(rows, columns=COLUMNS)


def _scores(folder: Path) -> list[Any]:
    if not (files := sorted(folder.glob("*.parquet"))):
        return []  # without torch, which takes seconds
    from gainrl.scoring import Scores
    from gainrl.training.inputs import ROLLOUTS

    return [Scores.load(path) for path in files if not path.name.startswith(ROLLOUTS)]


def _sort_keys(run: RunRecord, scores: list[Any], folder: Path) -> pd.DataFrame:
    """A row a problem, a column an order (in the order of `ORDERS`): what a schedule would sort by."""
    columns: dict[str, Any] = {}
    for one in scores:
        definition = one.metadata["definition"]
        columns["angle" if definition == "paper" else definition] = one.sort_key("angle")
        if definition == "paper":
            columns |= {order: one.sort_key(order) for order in ("c_intra", "c_inter", "length")}
    keys = pd.DataFrame(columns, index=list(scores[0].table.problem_id))
    difficulty = _difficulties(run).reindex(keys.index)
    keys = keys if difficulty.isna().any() else keys.assign(difficulty=difficulty)
    from gainrl.training.inputs import pass_rates, rollouts_path

    made_with = scores[0].metadata
    rollouts = rollouts_path(folder, run.config(), made_with["model"], made_with["dtype"], made_with["problem_set"])
    if rollouts.exists():
        rate = pass_rates(rollouts).reindex(keys.index)
        keys["reward-variance"] = -rate * (1 - rate)
    return keys[[order for order in ORDERS if order in keys]]


def _difficulties(run: RunRecord) -> "pd.Series[float]":
    """By problem_id; none where the set cannot be had here."""
    from gainrl.problems import load_problems

    config = run.read_json("config.json")
    settings = config["problems"]
    limit = None if settings.get("sample") else settings["train_size"]
    try:
        problems = load_problems(settings["train"], limit=limit, seed=config["seed"], revision=settings["revision"])
    except InputError:
        return pd.Series(dtype=float)
    return pd.Series(problems.difficulties(), index=problems.ids)

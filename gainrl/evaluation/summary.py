"""From graded samples to accuracies: avg@k, unbiased pass@k, maj@k, each with its standard error over problems."""

from collections.abc import Iterator, Mapping
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from gainrl.columns import Column, Rows
from gainrl.errors import InputError
from gainrl.files import read_json_lines, write_atomically, write_text
from gainrl.grading import last_boxed

_SHARE = Column(low=0, high=1)
EVAL_ROWS = Rows(
    {
        "benchmark": Column("text"),
        "metric": Column("text"),
        "value": _SHARE,
        "stderr": Column(low=0, high=1, nullable=True),  # of one problem there is none
        "n": Column("whole number", low=1),
        "truncated": _SHARE,
        "unparseable": _SHARE,
    },
    unique=("benchmark", "metric"),
)


def summarize_samples(samples: pd.DataFrame, *, skip_unparseable_golds: bool = False) -> pd.DataFrame:
    """Columns metric, value, stderr, n (problems), truncated, unparseable (shares of samples).

    With k samples a problem: ``accuracy`` (k = 1) or ``avg@k``, the mean over problems of the share that is correct;
    ``pass@j`` for j = 1, 2, 4, ... k, the chance that at least one of j samples is correct, without bias:
    1 - C(k - c, j) / C(k, j) for c correct ones (Chen et al. 2021, arXiv 2107.03374); ``maj@k``, whether the most
    frequent boxed answer, compared as text, is correct; equally frequent ones count by their share.

    Args:
        samples: one row per (problem, sample): problem_id, completion, correct, reason, truncated.
        skip_unparseable_golds: leave out problems whose gold answer the grader cannot read; else they count as wrong.

    Raises InputError: no problem is left.
    """
    if skip_unparseable_golds:
        unparseable_ids = samples.problem_id[samples.reason == "unparseable_gold"].unique()
        samples = samples[~samples.problem_id.isin(unparseable_ids)]
        if samples.empty:
            raise InputError(
                f"none of the {len(unparseable_ids)} gold answers can be read; leave out --skip-unparseable-golds, "
                "and all count as wrong"
            )
    shares = {
        "truncated": float(samples.truncated.mean()),
        "unparseable": float((samples.reason.isin(("no_answer", "truncated"))).mean()),
    }
    rows: list[dict[str, Any]] = []
    for metric, value_N in _metrics(samples):
        stderr = float(np.std(value_N, ddof=1) / len(value_N) ** 0.5) if len(value_N) > 1 else float("nan")
        rows.append({"metric": metric, "value": float(np.mean(value_N)), "stderr": stderr, "n": len(value_N), **shares})
    return pd.DataFrame(rows)


def _metrics(samples: pd.DataFrame) -> Iterator[tuple[str, list[float]]]:
    groups = [group for _, group in samples.groupby("problem_id", sort=False)]
    k = max(len(group) for group in groups)
    correct_N = [int(group.correct.sum()) for group in groups]
    yield "accuracy" if k == 1 else f"avg@{k}", [correct / k for correct in correct_N]
    if k == 1:
        return
    for j in [*(2**power for power in range(k.bit_length()) if 2**power < k), k]:
        yield f"pass@{j}", [1 - comb(k - correct, j) / comb(k, j) for correct in correct_N]
    yield f"maj@{k}", [_majority(group) for group in groups]


def _majority(group: pd.DataFrame) -> float:
    """Share of the most frequent answers that is correct; samples without an answer have no vote."""
    answers = group.completion.map(last_boxed)
    voted = group.assign(answer=answers).dropna(subset="answer")
    if voted.empty:
        return 0.0
    counts = voted.groupby("answer").correct.agg(["size", "first"])
    return float(counts[counts["size"] == counts["size"].max()]["first"].mean())


def write_evals(out: Path, summaries: Mapping[str, pd.DataFrame]) -> str:
    """Write evals.jsonl (one row per benchmark and metric) and evals.md into ``out``; returns the latter's table.

    Rows of other benchmarks that are there already stay. Raises InputError: as `read_evals` does.
    """
    with FileLock(out / ".evals.lock"):
        rows = [row for row in read_evals(out) if row["benchmark"] not in summaries]
        for name, table in summaries.items():
            rows += table.assign(benchmark=name).to_dict("records")  # type: ignore[arg-type]
        evals = pd.DataFrame(rows).astype({"stderr": float})
        evals = evals[["benchmark", *evals.columns.drop("benchmark")]]
        write_atomically(out / "evals.jsonl", lambda path: evals.to_json(path, orient="records", lines=True))
        text = _shown(evals)
        write_text(out / "evals.md", f"{text}\n")
    return text


def read_evals(out: Path) -> list[dict[str, Any]]:
    """What `write_evals` has written into a folder so far. Raises InputError: the file there is damaged."""
    path = out / "evals.jsonl"
    rows = read_json_lines(path)
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: has a row that is no JSON object")
    EVAL_ROWS.check(pd.DataFrame(rows), path)
    return rows


def _shown(evals: pd.DataFrame) -> str:
    columns = ["benchmark", "metric", "problems", "value", "standard error", "truncated", "no answer"]
    shares = evals[["value", "stderr", "truncated", "unparseable"]].map("{:.1%}".format, na_action="ignore").fillna("-")
    shown = pd.concat([evals[["benchmark", "metric"]], evals["n"].map("{:,}".format), shares], axis=1)
    return str(shown.set_axis(columns, axis=1).to_markdown(index=False, disable_numparse=True))

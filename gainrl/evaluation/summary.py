"""From graded samples to accuracies: avg@k, unbiased pass@k, maj@k, each with its standard error over problems."""

from collections.abc import Iterator, Mapping
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gainrl.files import write_atomically
from gainrl.grading import last_boxed


def summarize_samples(samples: pd.DataFrame, *, skip_unparseable_golds: bool = False) -> pd.DataFrame:
    """Columns metric, value, stderr, n (problems), truncated, unparseable (shares of samples).

    With k samples a problem: ``accuracy`` (k = 1) or ``avg@k``, the mean over problems of the share that is correct;
    ``pass@j`` for j = 1, 2, 4, ... k, the chance that at least one of j samples is correct, without bias:
    1 - C(k - c, j) / C(k, j) for c correct ones (Chen et al. 2021, arXiv 2107.03374); ``maj@k``, whether the most
    frequent boxed answer, compared as text, is correct; equally frequent ones count by their share.

    Args:
        samples: one row per (problem, sample): problem_id, completion, correct, reason, truncated.
        skip_unparseable_golds: leave out problems whose gold answer the grader cannot read; else they count as wrong.
    """
    if skip_unparseable_golds:
        unparseable_ids = samples.problem_id[samples.reason == "unparseable_gold"].unique()
        samples = samples[~samples.problem_id.isin(unparseable_ids)]
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
    """Write evals.jsonl (one row per benchmark and metric) and evals.md into ``out``; returns the latter's table."""
    evals = pd.concat([table.assign(benchmark=name) for name, table in summaries.items()], ignore_index=True)
    evals = evals[["benchmark", *evals.columns.drop("benchmark")]]
    write_atomically(out / "evals.jsonl", lambda path: evals.to_json(path, orient="records", lines=True))
    columns = ["benchmark", "metric", "problems", "value", "standard error", "truncated", "no answer"]
    shares = evals[["value", "stderr", "truncated", "unparseable"]].map("{:.1%}".format)
    shown = pd.concat([evals[["benchmark", "metric"]], evals["n"].map("{:,}".format), shares], axis=1)
    text = str(shown.set_axis(columns, axis=1).to_markdown(index=False, disable_numparse=True))
    write_atomically(out / "evals.md", lambda path: path.write_text(text + "\n"))
    return text

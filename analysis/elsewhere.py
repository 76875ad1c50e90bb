"""What training does to a benchmark that no run trains on: accuracy before and after, by cell."""

from collections.abc import Mapping

import pandas as pd

from gainrl.statistics import summarize_accuracy


def before_and_after(rows: pd.DataFrame, labels: Mapping[str, str], benchmark: str, *, tokens: int) -> str:
    """A table in Markdown: a row a (cell, step), mean over seeds with an interval over seeds and problems.

    Args:
        rows: a row a model: run (<cell>-seed-<k>), step, accuracy, stderr, truncated, unparseable, n.
        labels: cell -> what it is called; its order is the table's.
        tokens: longest completion.
    """
    named = rows.assign(cell=rows.run.str.rpartition("-seed-")[0])
    table = []
    for cell, label in labels.items():
        for step, of in named[named.cell == cell].groupby("step"):
            accuracy = summarize_accuracy(of.accuracy.tolist(), of.stderr.tolist(), shared=True)
            ends = [] if accuracy.low is None or accuracy.high is None else [accuracy.low, accuracy.high]
            interval = f" [{', '.join(f'{100 * end:.1f}' for end in ends)}]" if ends else ""
            table.append(
                {
                    "cell": label,
                    "step": step,
                    "accuracy, %": f"{100 * accuracy.mean:.1f}{interval}",
                    "cut off, %": f"{100 * of.truncated.mean():.1f}",
                    "no answer to be read, %": f"{100 * of.unparseable.mean():.1f}",
                    "seeds": len(of),
                }
            )
    text = pd.DataFrame(table).to_markdown(index=False, disable_numparse=True)
    return (
        f"# {benchmark}, before and after\n\n{text}\n\nGreedy, on the first {rows.n.max():,} problems, at most {tokens} "
        "tokens each; no run trains on them. Mean [95 % interval over seeds and problems].\n"
    )

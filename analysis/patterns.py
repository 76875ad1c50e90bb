"""What runs show along training, over seeds: from the summaries that `gainrl patterns` and its experiment write."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from gainrl.stats import summarize


def over_seeds(folder: Path, labels: Mapping[str, str]) -> str:
    """What the summary.csv in ``folder``/<cell>-seed-<k>/ say together: a row a (cell, quantity), in Markdown.

    Args:
        labels: cell -> what it is called.
    """
    rows = []
    for cell, label in labels.items():
        paths = {int(path.parent.name.rpartition("-")[2]): path for path in folder.glob(f"{cell}-seed-*/summary.csv")}
        found = [pd.read_csv(paths[seed]) for seed in sorted(paths)]
        for quantity, group in pd.concat(found).groupby("quantity", sort=False) if found else ():
            mean = summarize(group.value.tolist())
            interval = "" if mean.low is None else f" [{mean.low:+.2g}, {mean.high:+.2g}]"
            single = ", ".join(f"{value:+.2g}" for value in group.value)
            rows.append((label, quantity, f"{mean.mean:+.2g}{interval}", single))
    table = pd.DataFrame(rows, columns=["cell", "quantity", "mean [95 % bootstrap interval over seeds]", "seeds"])
    return f"# Along training, over seeds\n\n{table.to_markdown(index=False, disable_numparse=True)}\n"

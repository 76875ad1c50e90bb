"""Measurements side by side: a line a folder that `gainrl correlate` wrote, in summary.md beside the folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from analysis.angle_gradient.correlations import FEATURES, LABELS, LOSSES, best_partial, find
from analysis.comparison import MISSING
from gainrl.columns import Column, Rows, read_rows
from gainrl.errors import InputError
from gainrl.files import read_json_object, write_text

CORRELATIONS = Rows(
    {
        **dict.fromkeys(("loss", "subset", "weights", "feature", "statistic"), Column("text")),
        "layer": Column("whole number"),
        **dict.fromkeys(("value", "low", "high"), Column(nullable=True)),
        "n": Column("whole number", low=0),
    }
)


def side_by_side(folders: Sequence[Path], summary: Path | None = None) -> str:
    """Write ``summary`` (summary.md beside the folders) and return it. Correlations are with the norm of the whole model's
    gradient. A folder is a measurement, or holds several as they are published: one correlations.parquet of them all.
    """
    tables = [measured for folder in folders for measured in _measurements(folder)]
    rows = [line for loss in LOSSES for folder, table in tables if (line := row(folder, table, loss))]
    text = (
        "# Rank correlation with the gradient norm of the whole model\n\n"
        f"{pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)}\n\n"
        "Value [95 % bootstrap interval over problems], hidden states of the probed layer; 'largest' is the feature with the "
        "largest absolute rank correlation. Each line is one model.\n"
    )
    write_text(summary or folders[0].parent / "summary.md", text)
    return text


def _measurements(folder: Path) -> Iterator[tuple[Path, pd.DataFrame]]:
    path = folder / "correlations.parquet"
    if not path.exists():
        raise InputError(f"{folder} holds no correlations.parquet; gainrl correlate writes one")
    table = read_rows(path, CORRELATIONS)
    if "measurement" not in table:
        yield folder, table
    else:
        yield from ((folder / str(name), group) for name, group in table.groupby("measurement"))


def row(folder: Path, table: pd.DataFrame, loss: str) -> dict[str, str] | None:
    """One line of the table, or None where a measurement (its correlations) has no such loss."""
    settings = read_json_object(folder / "settings.json")
    if not {"problems", "problem_set_name"} <= settings.keys():
        raise InputError(f"{folder / 'settings.json'} lacks problems and problem_set_name")
    layer = int(table[table.statistic == "pearson"].layer.iloc[0])
    plain = find(table, loss, layer)
    if plain is None:
        return None
    partial, positive = (best_partial(table, loss, layer, subset=s, tokens=False) for s in ("all", "non-zero"))
    whole = best_partial(table, loss, layer)
    others = {feature: found for feature in FEATURES if (found := find(table, loss, layer, feature))}
    strongest = max(others, key=lambda feature: abs(others[feature].value))
    cells = {
        "angle": plain,
        "given length and difficulty": partial and partial[1],
        "and completion tokens": whole and whole[1] if whole != partial else None,
        "summed over tokens": find(table, loss, layer, weights="model, summed over tokens"),
        "within lengths": find(table, loss, layer, statistic="within lengths"),
        "angle without i = j": find(table, loss, layer, "off_diagonal"),
        "angle, non-zero gradients": find(table, loss, layer, subset="non-zero"),
        "these, given length and difficulty": positive and positive[1],
    }
    return {
        "measurement": folder.name,
        "problems": f"{settings['problems']:,} of {settings['problem_set_name']}",
        "loss": LOSSES[loss],
        **{name: MISSING if estimate is None else str(estimate) for name, estimate in cells.items()},
        "largest": f"{LABELS[strongest]} {others[strongest]}",
    }

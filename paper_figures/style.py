"""One look for every figure: column width, a palette that colour-blind readers can tell apart, no clutter."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from gainrl.records import write_atomically

COLUMN_INCHES = 5.5
FORMATS = ("svg", "pdf", "png")


def use() -> None:
    """Set the style; figures are drawn to files, never to a screen."""
    plt.switch_backend("agg")
    sns.set_theme(context="paper", style="ticks", font_scale=0.95)
    mpl.rcParams |= {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "savefig.dpi": 200,
        "svg.hashsalt": "gainrl",
    }


def colours(names: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """One colour a name, the same in every figure that is given the same names in the same order."""
    return dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))


def save(figure: Figure, path: Path) -> None:
    """Write the figure whole or not at all; the suffix of ``path`` is its format. Equal data give equal files."""
    kind = path.suffix[1:]
    no_date = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    write_atomically(path, lambda file: figure.savefig(file, format=kind, bbox_inches="tight", metadata=no_date))
    plt.close(figure)


def save_all(figure: Figure, stem: Path) -> Path:
    """Write the figure as SVG, PDF and PNG, of that name; returns the last."""
    for suffix in FORMATS:
        save(figure, stem.with_name(f"{stem.name}.{suffix}"))
    return stem.with_name(f"{stem.name}.{FORMATS[-1]}")

"""One look for every figure: column width, a palette that colour-blind readers can tell apart, no clutter."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from gainrl.files import write_atomically
from gainrl.runs.experiment import Experiment
from gainrl.statistics import summarize

COLUMN_INCHES = 5.5
FORMATS = ("svg", "pdf", "png")
COLOURS_OF_PNG = 256
"""A pixel of the published figures is off by at most 19 of 255 for it; the files are a third as large."""
MARKERS = "os^DvPX*"
Limits = tuple[tuple[float, float], tuple[float, float]]


def use() -> None:
    """Set the style; figures are drawn to files, never to a screen."""
    plt.switch_backend("agg")
    sns.set_theme(context="paper", style="ticks", font_scale=0.95)
    mpl.rcParams |= {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "savefig.dpi": 200,
        "figure.max_open_warning": 0,
        "svg.hashsalt": "gainrl",
        "text.parse_math": False,
    }


def colours(names: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """One colour a name, the same in every figure that is given the same names in the same order."""
    return dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))


def panels(number: int, *, height: float, limits: Limits, words: str) -> tuple[Figure, list[Axes]]:
    """So many equal panels, at most three in a row, with the same limits ((left, right), (bottom, top)).

    Axes are not shared, which is slower; ticks are named at the left and at the bottom alone, the x axis by ``words``.
    """
    columns = min(3, number)
    rows = -(-number // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(COLUMN_INCHES, 0.9 + height * rows), squeeze=False, layout="constrained"
    )
    for place, ax in enumerate(axes.flat):
        ax.set(xlim=limits[0], ylim=limits[1], visible=place < number, autoscale_on=False)
        lowest = place >= number - columns
        ax.tick_params(labelleft=place % columns == 0, labelbottom=lowest)
        ax.set_xlabel(words if lowest else "")
    return figure, list(axes.flat[:number])


def panel_title(ax: Axes, text: str) -> None:
    """Above a panel, in as many lines as a third of a column's width needs."""
    ax.set_title(textwrap.fill(text, 26), loc="left", fontsize=7.5)


def band(values: Sequence[float]) -> tuple[float, float]:
    """The interval of a mean over seeds, for seaborn's ``errorbar``; of no width for fewer than three seeds."""
    summary = summarize(list(values))
    return (
        summary.mean if summary.low is None else summary.low,
        summary.mean if summary.high is None else summary.high,
    )


def count(fewest: int, most: int) -> str:
    """How many seeds, in words."""
    return f"{fewest} to {most} seeds" if fewest < most else f"{most} seed{'s' if most > 1 else ''}"


def seeds_of(frame: pd.DataFrame) -> str:
    """How many seeds the cells of a frame (columns cell, seed) have."""
    seeds = frame.groupby("cell").seed.nunique()
    return count(int(seeds.min()), int(seeds.max()))


def title(experiment: Experiment, frame: pd.DataFrame) -> str:
    """An experiment's title with the number of seeds."""
    return f"{experiment.title} ({seeds_of(frame)})"


def write(figure: Figure, to: Path | BinaryIO, kind: str) -> None:
    """Write a figure in a format, without a date: equal data give equal bytes."""
    no_date = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    drawn: Path | BinaryIO = io.BytesIO() if kind == "png" else to
    figure.savefig(drawn, format=kind, bbox_inches="tight", metadata=no_date)
    plt.close(figure)
    if kind == "png":
        write_with_few_colours(drawn, to)


def write_with_few_colours(png: Path | BinaryIO, to: Path | BinaryIO) -> None:
    """The same picture with a palette of `COLOURS_OF_PNG`."""
    with Image.open(png) as image:
        few = image.convert("RGB").quantize(COLOURS_OF_PNG, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(to, "png", optimize=True, dpi=image.info["dpi"])


def svg(figure: Figure) -> bytes:
    """The figure as an SVG document."""
    buffer = io.BytesIO()
    write(figure, buffer, "svg")
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write the figure whole or not at all; the suffix of ``path`` is its format."""
    write_atomically(path, lambda file: write(figure, file, path.suffix[1:]))


def save_all(figure: Figure, stem: Path, formats: Sequence[str] = FORMATS) -> Path:
    """Write the figure, of that name, in every format; returns the last.

    The layout settles while a figure is drawn, so all `FORMATS` are: a PNG is the same with the others and without.
    """
    for suffix in FORMATS:
        if suffix in formats:
            save(figure, stem.with_name(f"{stem.name}.{suffix}"))
        else:
            write(figure, io.BytesIO(), suffix)
    return stem.with_name(f"{stem.name}.{formats[-1]}")

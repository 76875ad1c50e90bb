"""The cosines between the hidden states of one prompt's tokens, layer by layer: do its parts stand out as blocks?"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from paper_figures import style

Cosines = Mapping[int, NDArray[np.floating]]
"""layer -> (T, T)"""
Segment = tuple[str, int, int]
"""name, first token, token after the last"""
MOST_PANELS = 6
COLUMNS = 3


def data(cosines: Cosines, segments: Sequence[Segment]) -> pd.DataFrame:
    """A row a (layer, pair of segments): columns layer, first, second, cosine (mean over token pairs, i = j left out)."""
    rows = []
    for layer, cosine_TT in sorted(cosines.items()):
        other_TT = np.where(np.eye(len(cosine_TT), dtype=bool), np.nan, cosine_TT)
        for place, (first, start, end) in enumerate(segments):
            for second, from_, to in segments[: place + 1]:
                block = other_TT[start:end, from_:to]
                mean = float(np.nanmean(block)) if np.isfinite(block).any() else np.nan
                rows.append({"layer": layer, "first": first, "second": second, "cosine": mean})
    return pd.DataFrame(rows)


def plot(cosines: Cosines, segments: Sequence[Segment], title: str) -> Figure:
    """At most six layers, evenly spaced, the first and the last among them; one colour scale for all."""
    style.use()
    layers = evenly(sorted(cosines))
    columns = min(COLUMNS, len(layers))
    rows = -(-len(layers) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(style.COLUMN_INCHES if columns > 1 else 3.8, 0.8 + 4.8 * rows / max(columns, 1.6)),
        sharex=True, sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    tokens = len(cosines[layers[0]])
    low = min(float(np.quantile(cosines[layer], 0.01)) for layer in layers)
    for ax, layer in zip(axes.flat, layers, strict=False):
        image = ax.imshow(
            cosines[layer],
            vmin=np.floor(10 * low) / 10,
            vmax=1,
            cmap="viridis",
            interpolation="nearest",
            rasterized=True,
        )
        ax.set_title(f"layer {layer}", fontsize=8)
        _mark(ax, segments)
    for ax in axes.flat[len(layers) :]:
        ax.set_visible(False)
    figure.colorbar(image, ax=axes, label="cosine", extend="min", shrink=0.8, pad=0.02)
    figure.suptitle(f"{title} (one prompt, {tokens} tokens)", x=0.01, ha="left", fontsize=10)
    return figure


def evenly(layers: Sequence[int], most: int = MOST_PANELS) -> list[int]:
    """At most so many of the layers, the first and the last among them."""
    places = np.linspace(0, len(layers) - 1, min(most, len(layers))).round().astype(int)
    return [layers[place] for place in places]


def _mark(ax: Axes, segments: Sequence[Segment]) -> None:
    for _, start, _ in segments[1:]:
        ax.axhline(start - 0.5, color="white", lw=0.7)
        ax.axvline(start - 0.5, color="white", lw=0.7)
    middles = [(start + end - 1) / 2 for _, start, end in segments]
    names = [name for name, _, _ in segments]
    middles = _apart(middles, segments[-1][2])
    ax.set_xticks(middles, names, rotation=90, fontsize=7)
    ax.set_yticks(middles, names, fontsize=7)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _apart(middles: Sequence[float], tokens: int, share: float = 0.07) -> list[float]:
    """The same places, moved where need be so that labels do not touch."""
    gap, places = share * tokens, list(middles)
    for later in range(1, len(places)):
        places[later] = max(places[later], places[later - 1] + gap)
    for earlier in reversed(range(len(places))):
        latest = places[earlier + 1] - gap if earlier + 1 < len(places) else tokens - 1
        places[earlier] = min(places[earlier], latest)
    return places

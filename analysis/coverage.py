"""How often a 95 % interval of a mean speed-up holds the true one, simulated: ``python -m analysis.coverage`` (two minutes).

Writes results/statistics/coverage.md, of which docs/statistics.md holds an excerpt. Simulated are logarithms of speed-ups,
paired by seed.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap

from analysis.comparison import MISSING
from gainrl.files import write_text
from gainrl.rng import generator
from gainrl.statistics import Reached, mean_interval, speed_up

SEEDS = (3, 5, 10)
SIMULATED = 2000
SPREAD = 0.12
"""Standard deviation of a run's log cost; costs are around 30 and 36 steps."""
Floats = NDArray[np.float64]
FILE = Path("results/statistics/coverage.md")


def continuous(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, float]:
    return rng.normal(0, 2**0.5 * SPREAD, shape), 0.0


def skewed(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, float]:
    return rng.lognormal(0, 1, shape), float(np.exp(0.5))


def one_bad_seed(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, float]:
    """One seed in ten is a third as fast."""
    bad = rng.random(shape) < 0.1
    return rng.normal(0, 2**0.5 * SPREAD, shape) - bad * np.log(3), -0.1 * float(np.log(3))


CASES: dict[str, Callable[..., tuple[Floats, float]]] = {
    "continuous": continuous,
    "skewed": skewed,
    "one bad seed in ten": one_bad_seed,
}


def coverage(seeds: int, simulated: int = SIMULATED) -> pd.DataFrame:
    """A row a case: the share of intervals that hold the true mean, ours and by two bootstraps of scipy's."""
    rows = []
    for name, draw in CASES.items():
        samples, truth = draw(generator(0, f"coverage, {name}, {seeds}"), (simulated, seeds))
        ours = [_holds(truth, *mean_interval(sample)) for sample in samples]
        rows.append({"case": name, "seeds": seeds, "ours": np.mean(ours), **_scipys(samples, truth)})
    for name, every, interpolated in (("every 5 steps", 5, False), ("every 2 steps, interpolated", 2, True)):
        rng, held = generator(0, f"coverage, {name}, {seeds}"), []
        for _ in range(simulated):
            sides = [_runs(rng, cost, seeds, every, interpolated) for cost in (30.0, 36.0)]
            ratio = speed_up(*sides)
            assert ratio is not None
            held.append(_holds(30 / 36, ratio.low, ratio.high))
        rows.append({"case": name, "seeds": seeds, "ours": np.mean(held)})
    return pd.DataFrame(rows)


def _holds(truth: float, low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low <= truth <= high


def _runs(rng: np.random.Generator, cost: float, seeds: int, every: int, interpolated: bool) -> list[Reached]:
    """Runs whose curve is a straight line between evaluations, but for a wobble of half the distance of two of them."""
    exact_S = cost * np.exp(rng.normal(0, SPREAD, seeds))
    evaluated_S = np.ceil(exact_S / every) * every
    read_S = np.clip(exact_S + rng.normal(0, every / 4, seeds), evaluated_S - every, evaluated_S)
    at_S = read_S if interpolated else evaluated_S
    return [Reached(at, False, at_evaluation, every) for at, at_evaluation in zip(at_S, evaluated_S, strict=True)]


def _scipys(samples: Floats, truth: float) -> dict[str, float]:
    found = {}
    for method in ("percentile", "BCa"):
        with np.errstate(all="ignore"):
            ends = bootstrap(
                (samples,), np.mean, axis=1, n_resamples=999, method=method, rng=generator(0, f"coverage by {method}")
            ).confidence_interval
        found[method] = float(np.mean((ends.low <= truth) & (truth <= ends.high)))
    return found


def table(coverages: pd.DataFrame) -> str:
    """Markdown: a row a case, ours and the bootstraps by number of seeds."""
    columns = {}
    for method in ("ours", "percentile", "BCa"):
        for seeds, of in coverages.groupby("seeds"):
            columns[f"{method}, {seeds} seeds"] = of.set_index("case")[method]
    wide = pd.DataFrame(columns).map(lambda share: MISSING if np.isnan(share) else f"{share:.2f}")
    return f"{wide.to_markdown(disable_numparse=True, colalign=['left'] + ['right'] * wide.shape[1])}\n"


if __name__ == "__main__":
    written = f"# Coverage of 95 % intervals\n\n{table(pd.concat([coverage(seeds) for seeds in SEEDS]))}"
    FILE.parent.mkdir(parents=True, exist_ok=True)
    write_text(FILE, written)
    print(written, end="")

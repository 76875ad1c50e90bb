"""The study's report: both answers, then the tables that they come from."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.angle_gradient.correlations import LOSSES
from analysis.angle_gradient.resampling import Estimate
from analysis.comparison import MISSING
from analysis.real_signal.findings import Findings
from analysis.real_signal.layers import PLAIN, STATISTICS, TOGETHER, at, chosen, clear, spans
from analysis.real_signal.orders import LENGTH, RELEASED
from analysis.real_signal.prediction import TARGETS
from analysis.real_signal.words import is_sort_by_length
from gainrl.runs.study import Study

if TYPE_CHECKING:
    from gainrl.studies.real_signal import MeasuredSet

SITES = {"mlp_input": "MLP input", "neurons": "neurons", "residual": "residual stream", "final_norm": "final norm"}
OF_LOSS = {
    ("supervised", "mean"): "supervised, mean",
    ("supervised", "sum"): "supervised, sum",
    ("grpo", "mean"): "GRPO",
}
"""(loss, weights) -> its name in tables and figures."""


def markdown(
    study: Study,
    found: Findings,
    sets: Mapping[str, "MeasuredSet"],
    too_long: Mapping[str, int],
    model: str,
    figures: Mapping[str, str],
) -> str:
    """The report; its figures are files beside it, name -> caption. Both answers come first."""
    trial = study.name.endswith("-trial")
    parts = [
        f"# {study.title}",
        *(["**A trial on the first few problems of each set. It answers nothing.**"] if trial else []),
        "## In two sentences",
        *(f"**{answer}**" for answer in found.answers),
        f"One model: {model}. Intervals are over its problems and say nothing about other models. What counts as yes and as "
        "no was written down before the measurement (notes).",
        "## What was measured",
        _sets(study, sets, too_long),
        "## Rank correlation with the gradient norm, last layer",
        _last_layer(study, found),
        "Value [95 % bootstrap interval over problems], MLP input of the last layer, norm of the whole model's gradient. The "
        "loss is the mean over a completion's tokens or their sum; what is held fixed is taken out linearly in ranks.",
        "## Layers whose simultaneous band leaves 0 out",
        _clear_layers(study, found),
        "Above 0, then after a semicolon below 0. Bands hold for all layers of a site together with 95 % confidence (sup-t, "
        "bootstrap over problems).",
        "## What predicts what matters to a schedule",
        _predictions(found),
        f"{study.measurement(study.scheduled).title}: out-of-fold R² [95 % interval] of linear models of ranks, {study.folds} "
        "folds; 0 is what the mean alone gives. The angle is the last layer's.",
        "## The angle of other layers against the last layer's",
        _against(found),
        "Alone: out-of-fold R² of the angle of that layer alone. Lead: how much it is above the last layer's [simultaneous "
        "95 % band over layers].",
        "## Orders",
        _orders(study, found),
        "Rank correlation [95 % interval over problems] and Kendall's tau of the question's length with what a schedule would "
        "sort by; an order is called a sort by length where the correlation is beyond 0.9 and its interval beyond 0.8. The "
        "release sorts prompts too short for its score first. All pairs are in orders.csv.",
    ]
    pictures = [f"![{caption}]({name}.png)" for name, caption in figures.items()]
    return "\n\n".join([*parts, "## Figures", *pictures]) + "\n"


def _sets(study: Study, sets: Mapping[str, "MeasuredSet"], too_long: Mapping[str, int]) -> str:
    rows = [
        {
            "set": study.measurements[name].title,
            "problems": f"{len(measured.problems):,}",
            "too long, left out": f"{too_long[name]:,}",
            "losses": ", ".join(LOSSES[loss] for loss in LOSSES if (measured.gradients.loss == loss).any()),
            "question tokens": _median(measured.problems.question_tokens),
            "completion tokens": _median(measured.problems.completion_tokens),
            "levels": str(measured.problems.difficulty.nunique() or MISSING),
            "pass rate": _mean(measured.problems.pass_rate),
            "log p of the question": _mean(measured.problems.question_logp),
        }
        for name, measured in sets.items()
    ]
    return _table(rows)


def _median(values: "pd.Series[float]") -> str:
    low, middle, high = values.quantile([0.05, 0.5, 0.95])
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def _mean(values: "pd.Series[float]") -> str:
    return f"{values.mean():.2f}" if values.notna().any() else MISSING


def blocks(study: Study, found: Findings) -> list[tuple[str, str, str, pd.DataFrame]]:
    """(set, loss, weights, their rows of ``found.layers``), in order."""
    result = []
    for name in study.measurements:
        table = found.layers[found.layers.set == name]
        for loss, weights in OF_LOSS:
            if len(mine := table[(table.loss == loss) & (table.weights == weights)]):
                result.append((name, loss, weights, mine))
    return result


def _last_layer(study: Study, found: Findings) -> str:
    rows = []
    for name, loss, weights, table in blocks(study, found):
        row = {"set": study.measurements[name].title, "loss": OF_LOSS[loss, weights]}
        for statistic in STATISTICS:
            estimate = at(table, found.last, statistic, loss=loss, weights=weights, site=study.sites[0])
            row[statistic] = MISSING if estimate is None else str(estimate)
        rows.append(row)
    return _table(rows)


def _clear_layers(study: Study, found: Findings) -> str:
    rows = []
    for name, loss, weights, table in blocks(study, found):
        for site in table.site.unique():
            row = {"set": study.measurements[name].title, "loss": OF_LOSS[loss, weights], "site": SITES[site]}
            for statistic in (PLAIN, "given completion tokens", TOGETHER):
                mine = chosen(table, statistic, loss=loss, weights=weights, site=site)
                sides = [spans(layers) or "none" for layers in (clear(mine), clear(mine, -1))]
                row[statistic] = "; ".join(sides) if len(mine) else MISSING
            rows.append(row)
    return _table(rows)


def _predictions(found: Findings) -> str:
    cells = found.predictions.assign(
        cell=[str(Estimate(*row)) for row in found.predictions[list(Estimate._fields)].itertuples(index=False)],
        target=found.predictions.target.map(TARGETS),
    )
    if cells.empty:
        return "Nothing varies that could be predicted."
    wide = cells.pivot_table(index="features", columns="target", values="cell", aggfunc="first", sort=False)
    return str(wide.reset_index().fillna(MISSING).to_markdown(index=False, disable_numparse=True))


def _against(found: Findings) -> str:
    rows = []
    for layer, table in found.against_last.groupby("layer"):
        row = {"layer": str(layer)}
        lines: Iterable[Any] = table.itertuples()
        for line in lines:
            lead = Estimate(line.value, line.band_low, line.band_high, line.n)
            row |= {f"{TARGETS[line.target]}, alone": f"{line.alone:.2f}", f"{TARGETS[line.target]}, lead": str(lead)}
        rows.append(row)
    return _table(rows) if rows else "Nothing varies that could be predicted."


def _orders(study: Study, found: Findings) -> str:
    rows = []
    for name, measurement in study.measurements.items():
        table = found.orders[found.orders.set == name]
        lines: Iterable[Any] = table[(table["first"] == LENGTH) | (table.second == LENGTH)].itertuples()
        for line in lines:
            other = line.first if line.second == LENGTH else line.second
            value = Estimate(line.value, line.low, line.high, line.n)
            name_of = f"{other}, a sort by length" if is_sort_by_length(value) else other
            row = {"set": measurement.title, "order": name_of, "with question length": str(value)}
            rows.append({**row, "Kendall's tau": f"{line.kendall:.2f}"})
        if RELEASED not in {*table["first"], *table.second}:
            rows.append({"set": measurement.title, "order": f"{RELEASED} (all alike)"})
    return _table(rows)


def _table(rows: list[dict[str, str]]) -> str:
    table = pd.DataFrame(rows).fillna(MISSING)
    return str(table.to_markdown(index=False, disable_numparse=True))

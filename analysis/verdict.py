"""Does it hold? Plain words that the numbers decide."""

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from analysis.comparison import Lookup
from analysis.control import Controls
from analysis.paper import is_compared_with_vanilla, is_gain_rl, paper
from analysis.pooled import pooled
from analysis.runs import Runs, baseline_of
from analysis.tables import SIGNIFICANT, show
from gainrl.runs.experiment import Experiment
from gainrl.statistics import FEWEST_FOR_A_STAR

Direction = Literal["faster", "slower", "better", "worse", "open", "few", "unreached", "elsewhere"]
ANSWERS: dict[Direction, str] = {
    "faster": "faster than the baseline",
    "slower": "slower than the baseline",
    "better": "more accurate than the baseline",
    "worse": "less accurate than the baseline",
    "open": "no significant difference in speed from the baseline",
    "few": "too few seeds to tell",
    "unreached": "no run comes to the target that decides",
    "elsewhere": "tested in another experiment",
}


@dataclass(frozen=True)
class Verdict:
    """``answer`` in few words, its ``direction`` (for a colour), and sentences with the numbers."""

    answer: str
    direction: Direction
    sentences: list[str]


def verdict(experiment: Experiment, comparison: pd.DataFrame, controls: Controls, runs: Runs) -> Verdict:
    """On GAIN-RL's cells against uniform sampling, over all models together where there are several; else on all cells."""
    compared = [cell for cell in runs if runs[cell] and baseline_of(experiment, cell) != cell]
    ours = [
        cell for cell in compared if is_gain_rl(experiment.cells[cell]) and is_compared_with_vanilla(experiment, cell)
    ]
    if not compared:
        return Verdict("nothing to compare", "few", ["There are finished runs of one cell only."])
    table = Lookup(comparison)
    directions = {cell: direction(experiment, table, cell) for cell in compared}
    sentences = [_speed(experiment, table, cell, directions[cell]) for cell in ours]
    sentences += [_tokens(experiment, table, cell) for cell in ours]
    for cell in ours:
        about_paper = _named(experiment.labels[cell], len(ours), _paper(experiment, table, cell))
        sentences += [about_paper, _end(experiment, table, cell)]
    for direct, of_orders in controls:
        named = next((direct.labels[cell] for cell, run in direct.cells.items() if is_gain_rl(run)), direct.title)
        sentences += [_named(named, len(ours), text) for text in _orders(direct, of_orders)]
    sentences += _others(experiment, directions, [cell for cell in compared if cell not in ours])
    subject, judged = ("GAIN-RL: ", ours) if ours else ("", compared)
    over_models = pooled(experiment, runs)
    if over_models is not None:
        pool, rows, pooled_controls = over_models
        together = [cell for cell, run in pool.cells.items() if is_gain_rl(run)]
        directions |= {f"{cell} of all models": direction(pool, Lookup(rows), cell) for cell in together}
        judged = [f"{cell} of all models" for cell in together]
        about = [_speed(pool, Lookup(rows), cell, direction(pool, Lookup(rows), cell)) for cell in together]
        about += [text for control in pooled_controls for text in _orders(*control)]
        models = len({run.model.name for run in experiment.cells.values()})
        sentences = [*(f"All {models} models together: {text}" for text in about), *sentences]
    answer = subject + _answer([directions[cell] for cell in judged], experiment)
    found = {directions[cell] for cell in judged}
    common: Direction = found.pop() if len(found) == 1 else "open"
    return Verdict(answer, common, list(dict.fromkeys(text for text in sentences if text)))


def _named(label: str, of: int, text: str) -> str:
    """The text with the cell that it is about, where there are several."""
    return f"{label}: {text}" if of > 1 else text


def _answer(directions: list[Direction], experiment: Experiment) -> str:
    words = (
        ANSWERS if experiment.judged_by == "speed-up" else ANSWERS | {"open": "no clear difference from the baseline"}
    )
    counts = {which: directions.count(which) for which in ANSWERS if which in directions}
    if len(counts) == 1:
        return words[directions[0]]
    return "; ".join(f"{words[which]} in {count} of {len(directions)}" for which, count in counts.items())


def direction(experiment: Experiment, table: Lookup, cell: str) -> Direction:
    """Whether a cell differs from its baseline, by the primary endpoint alone: its test, or for few seeds its interval."""
    row = table.find(cell, *experiment.endpoint)
    if cell in experiment.asked_in:
        return "elsewhere"
    if row is None:
        common = table.find(cell, "accuracy gained")
        return "few" if common is None or common.seeds < FEWEST_FOR_A_STAR else "unreached"
    if experiment.judged_by == "average accuracy gained":
        return "few" if pd.isna(row.low) else "better" if row.low > 0 else "worse" if row.high < 0 else "open"
    if row.seeds < FEWEST_FOR_A_STAR:
        return "few"
    if not row.p_holm < SIGNIFICANT:
        return "open"
    return "faster" if row.mean > 1 else "slower"


def _speed(experiment: Experiment, table: Lookup, cell: str, which: Direction) -> str:
    by_speed = experiment.judged_by == "speed-up"
    words = {
        "faster": "reaches targets in fewer steps than",
        "slower": "needs more steps than",
        "better": "is more accurate than",
        "worse": "is less accurate than",
        "open": "is not significantly different in speed from"
        if by_speed
        else "is neither clearly better nor worse than",
        "few": "has too few seeds for a test against",
        "unreached": "comes to the target that decides in no run, nor does",
        "elsewhere": f"is tested in {experiment.asked_in.get(cell)} against",
    }[which]
    numbers = f"{_average(experiment, table, cell)}speed-up {_ratios(experiment, table, cell)}"
    return f"{experiment.labels[cell]} {words} {experiment.labels[baseline_of(experiment, cell)]}: {numbers}."


def _average(experiment: Experiment, table: Lookup, cell: str) -> str:
    """What decides, where that is not the speed-up."""
    if experiment.judged_by == "speed-up":
        return ""
    return f"{show(table.find(cell, *experiment.endpoint), 'points')} points on average over a run; "


def _ratios(experiment: Experiment, table: Lookup, cell: str, quantity: str = "speed-up") -> str:
    ratios = {target: show(table.find(cell, quantity, target), "times") for target in experiment.targets}
    return ", ".join(f"{ratio} to {100 * target:.0f} %" for target, ratio in ratios.items())


def _tokens(experiment: Experiment, table: Lookup, cell: str) -> str:
    """Only where the difference is significant: an order may change how long completions are."""
    rows = [table.find(cell, "speed-up in tokens", target) for target in experiment.targets]
    if not any(row is not None and row.p_holm < SIGNIFICANT for row in rows):
        return ""
    ratios = _ratios(experiment, table, cell, "speed-up in tokens")
    baseline = experiment.labels[baseline_of(experiment, cell)]
    return (
        f"In completion tokens the difference is significant: {experiment.labels[cell]} against {baseline}: {ratios}."
    )


def _speed_ups(experiment: Experiment, table: Lookup, cell: str) -> list[Any]:
    rows = [table.find(cell, "speed-up", target) for target in experiment.targets]
    return [row for row in rows if row is not None]


def _paper(experiment: Experiment, table: Lookup, cell: str) -> str:
    (claim,) = (number for number in paper()["numbers"] if number["quantity"] == "speed-up")
    rows = _speed_ups(experiment, table, cell)
    known = [row for row in rows if pd.notna(row.low)]
    text = f"The paper says {claim['words'].split(',')[0]} ({claim['source']}; in other settings, see below); "
    if not known:
        return text + "these runs do not decide it."
    if all(row.high < claim["value"] and row.bound in ("", "<") for row in known):
        return text + "every interval here lies below it."
    if all(row.low > claim["value"] and row.bound in ("", ">") for row in known):
        return text + "every interval here lies above it."
    return text + "the intervals here neither all reach it nor all exclude it."


def _end(experiment: Experiment, table: Lookup, cell: str) -> str:
    gained = table.find(cell, "accuracy gained")
    if gained is None:
        return ""
    ends: list[Any] = [table.find(name, "accuracy at end") for name in (cell, baseline_of(experiment, cell))]
    end, base = (f"{100 * row.mean:.1f} %" for row in ends)
    significance = " (significant)" if gained.p_holm < SIGNIFICANT else " (not significant)"
    remark = "" if pd.isna(gained.p_holm) or gained.seeds < FEWEST_FOR_A_STAR else significance
    return f"{experiment.labels[cell]} ends at {end}, its baseline at {base}: {show(gained, 'points')} points{remark}."


def _orders(direct: Experiment, comparison: pd.DataFrame) -> list[str]:
    """What GAIN-RL shares with the same schedule over a random order is not due to the angle; then the other orders."""
    table = Lookup(comparison)
    directions = {cell: direction(direct, table, cell) for cell in direct.cells if cell != direct.baseline}
    by_speed, control = direct.judged_by == "speed-up", "the same Gaussian over a random order"
    words = {
        "faster": f"The angle's order is faster than {control}",
        "slower": f"The angle's order is slower than {control}",
        "better": f"The angle's order is more accurate than {control}",
        "worse": f"The angle's order is less accurate than {control}",
        "open": (
            "The angle's order is not significantly different in speed from a random one under the same Gaussian"
            if by_speed
            else f"The angle's order is neither clearly better nor worse than {control}"
        ),
        "few": "Too few seeds for a test of the angle's order against a random one under the same Gaussian",
        "unreached": f"Neither the angle's order nor {control} comes to the target that decides",
        "elsewhere": "Another experiment tests the angle's order against a random one under the same Gaussian",
    }
    ours = [cell for cell, run in direct.cells.items() if is_gain_rl(run)]
    sentences = [
        f"{words[directions.pop(cell)]}: {_average(direct, table, cell)}speed-up {_ratios(direct, table, cell)}."
        for cell in ours
    ]
    sentences += [text for cell in ours if (text := _tokens(direct, table, cell))]
    others = _grouped(direct, directions, "orders", direct.labels[direct.baseline])
    return [*sentences, *([others] if others else [])]


def _others(experiment: Experiment, directions: dict[str, Direction], cells: list[str]) -> list[str]:
    groups: dict[str, dict[str, Direction]] = {}
    for cell in cells:
        groups.setdefault(experiment.labels[baseline_of(experiment, cell)], {})[cell] = directions[cell]
    return [_grouped(experiment, group, "cells", baseline) for baseline, group in groups.items()]


def _grouped(experiment: Experiment, directions: dict[str, Direction], what: str, against: str) -> str:
    by_speed = experiment.judged_by == "speed-up"
    words = {
        "faster": "faster",
        "slower": "slower",
        "better": "better",
        "worse": "worse",
        "open": "not significantly different" if by_speed else "neither clearly better nor worse",
        "few": "too few seeds for a test",
        "unreached": "neither comes to the target that decides",
    }
    family = against.rpartition(", ")[0]
    labels = {cell: experiment.labels[cell].removeprefix(f"{family}, ") for cell in directions}
    groups = [
        f"{text}: {', '.join(labels[cell] for cell in directions if directions[cell] == which)}"
        for which, text in words.items()
        if which in directions.values()
    ]
    subject = "Speed" if by_speed else "Accuracy"
    return f"{subject} of the other {what} against {against}: {'; '.join(groups)}." if groups else ""

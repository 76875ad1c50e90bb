"""What the campaign asks, and what the finished runs answer: ``python -m experiments.questions`` writes results/answers.md.

Questions, endpoint and seeds were written into results/NOTES.md before the runs; the words of an answer are the numbers' own.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

import pandas as pd
import tyro

from analysis.comparison import MISSING, Lookup, compare
from analysis.control import against_control
from analysis.orders import ROWS
from analysis.pooled import pooled
from analysis.runs import baseline_of, finished_runs
from analysis.tables import show
from analysis.verdict import Direction, direction
from experiments import load_experiment, of_scale
from gainrl.columns import read_csv
from gainrl.files import write_text
from gainrl.runs.experiment import Experiment

FILE = Path("results/answers.md")
WORDS: dict[Direction, str] = {
    "faster": "faster",
    "slower": "slower",
    "better": "better",
    "worse": "worse",
    "open": "no significant difference",
    "few": "too few seeds",
    "unreached": "target not reached",
    "elsewhere": MISSING,
}


class Asked(NamedTuple):
    """Two cells of an experiment; ``over_models`` takes its models together, and cells are named after the first one's."""

    experiment: str
    cell: str
    against: str
    over_models: bool = False
    scale: str = "tiny"

    @property
    def plan(self) -> Experiment:
        return load_experiment(self.experiment, self.scale)


QUESTIONS: dict[str, tuple[Asked, ...]] = {
    "Can the instrument see an order that helps?": (
        Asked("ablate_schedule", "oracle", "random"),
        Asked("ablate_schedule", "oracle-wide", "random-wide"),
        Asked("ablate_schedule_lists", "oracle", "random"),
        Asked("selectors", "oracle", "uniform"),
    ),
    "Does the angle's order help?": (
        Asked("ablate_schedule", "gaussian", "random"),
        Asked("ablate_schedule", "length", "random"),
        Asked("ablate_schedule", "difficulty", "random"),
        Asked("ablate_schedule_lists", "gaussian", "random"),
        Asked("main_table", "0.5b-gainrl", "0.5b-control", over_models=True),
        Asked("code_table", "gainrl", "control"),
        Asked("main_table", "135m-gainrl", "135m-control", scale="small"),
        Asked("selectors", "gainrl", "control"),
    ),
    "Is GAIN-RL faster than uniform sampling?": (
        Asked("ablate_schedule", "gaussian", "uniform"),
        Asked("ablate_schedule_lists", "gaussian", "uniform"),
        Asked("main_table", "0.5b-gainrl", "0.5b-grpo", over_models=True),
        Asked("code_table", "gainrl", "grpo"),
        Asked("main_table", "135m-gainrl", "135m-grpo", scale="small"),
        Asked("main_table", "135m-middle", "135m-grpo", scale="small"),
        Asked("selectors", "gainrl", "uniform"),
    ),
    "What does a window cost?": (
        Asked("ablate_schedule", "random", "uniform"),
        Asked("ablate_schedule", "random-wide", "uniform"),
        Asked("ablate_schedule_lists", "random", "uniform"),
        Asked("main_table", "135m-control", "135m-grpo", scale="small"),
        Asked("selectors", "control", "uniform"),
    ),
    "How far could an order go?": (
        Asked("ablate_schedule", "oracle", "uniform"),
        Asked("ablate_schedule", "oracle-wide", "uniform"),
        Asked("ablate_schedule_lists", "oracle", "uniform"),
        Asked("selectors", "arithmetic-oracle", "arithmetic-uniform"),
        Asked("selectors", "lists-oracle", "lists-uniform"),
        Asked("selectors", "oracle", "uniform"),
    ),
    "Is learning from pass rates and features faster than uniform sampling?": (
        Asked("selectors", "arithmetic-prior", "arithmetic-uniform"),
        Asked("selectors", "lists-prior", "lists-uniform"),
        Asked("selectors", "prior", "uniform"),
    ),
    "Is the angle worth anything once pass rates come in?": (
        Asked("ablate_prior", "angle", "none"),
        Asked("ablate_prior", "length", "none"),
        Asked("ablate_prior", "level", "none"),
        Asked("ablate_prior", "kind", "none"),
        Asked("ablate_prior", "angle-length", "none"),
    ),
}


class Answer(NamedTuple):
    """What the runs say of an `Asked`: in print, and the direction at the primary endpoint."""

    problems: str
    endpoint: str
    """the primary one: a speed-up to the middle target, or points of accuracy gained on average over a run"""
    speed_ups: tuple[str, ...]
    """by target"""
    p: float
    """adjusted (Holm)"""
    seeds: int
    direction: Direction
    ratio: float | None = None
    """the endpoint, where it is a speed-up and no bound"""
    points: str = ""
    """accuracy gained on average over a run, which runs that reach no target have too"""


Comparisons = Mapping[str, tuple[Experiment, Lookup]]
"""The cell that others are compared with -> the experiment that holds them, and their comparison"""


@cache
def comparisons(name: str, root: Path, over_models: bool, scale: str = "tiny") -> Comparisons:
    """Of an experiment's finished runs under ``root``, none where there are none: with its baseline, with each control."""
    plan, root = load_experiment(name, scale), of_scale(root, scale)
    if not (root / name).exists():
        return {}
    runs = finished_runs(plan, root)
    if over_models:
        together = pooled(plan, runs)
        assert together is not None, f"{name} has one model"
        plan, rows, controls = together
    else:
        rows, controls = compare(plan, runs), against_control(plan, runs)
    return {other.baseline: (other, Lookup(found)) for other, found in ((plan, rows), *controls)}


def answer(asked: Asked, found: Comparisons) -> Answer | None:
    """None where the runs are not there."""
    compared = [
        (plan, rows)
        for plan, rows in found.values()
        if asked.cell in plan.cells and baseline_of(plan, asked.cell) == asked.against
    ]
    if not compared:
        return None
    plan, rows = compared[0]
    primary = rows.find(asked.cell, *plan.endpoint)
    if primary is None:
        return None
    by_speed = plan.judged_by == "speed-up"
    speed_ups = (show(rows.find(asked.cell, "speed-up", target), "times") for target in plan.targets)
    return Answer(
        plan.cells[asked.cell].problems.train,
        show(primary, "times" if by_speed else "points").rstrip("*") + ("" if by_speed else " points"),
        tuple(text.rstrip("*") for text in speed_ups),
        primary.p_holm,
        primary.seeds,
        direction(plan, rows, asked.cell),
        primary.mean if by_speed and not primary.bound else None,
        show(rows.find(asked.cell, "average accuracy gained"), "points").rstrip("*"),
    )


def conclusion(oracle: Answer | None, angle: Answer | None) -> str:
    """In one sentence, from the first answers to the first two questions: can an order help here, and does the angle's?"""
    if oracle is None or angle is None:
        return "The runs that decide are not there yet."
    if oracle.direction != "faster":
        return (
            f"No order was seen to help on {oracle.problems} ({oracle.endpoint}), so nothing follows about the angle's."
        )
    helps = f"An order can help on {oracle.problems}, and the suite sees it ({oracle.endpoint} to the middle target)"
    then = {
        "faster": "; the angle's does",
        "slower": "; the angle's does harm",
        "open": "; the angle's is not significantly different from a random one",
    }.get(angle.direction, "; whether the angle's does is not decided")
    return f"{helps}{then} ({angle.endpoint})."


SELECTORS = {
    "oracle": "the oracle, which measures all pass rates before it chooses,",
    "prior": "`prior`, which learns them while training and from features,",
    "gainrl": "GAIN-RL",
}
"""Cells of `selectors` that its questions are about, in words."""


def among_selectors(found: "Found") -> str:
    """In one sentence, each of `SELECTORS` against uniform sampling; the second with its share of the first, in logarithms."""
    told = {
        asked.cell: (asked, answer)
        for answers in found.values()
        for asked, answer in answers
        if asked.experiment == "selectors" and asked.scale == "tiny" and asked.against == "uniform"
    }
    if not SELECTORS.keys() <= told.keys():
        return "Selectors are not compared yet."
    said = {
        cell: f"{words} {answer.endpoint} to the middle target ({_word(asked, answer)}), {answer.points} points on average"
        for cell, words in SELECTORS.items()
        for asked, answer in [told[cell]]
    }
    oracle, prior = (told[cell][1] for cell in ("oracle", "prior"))
    if oracle.direction == "faster" and oracle.ratio and prior.ratio:
        said["prior"] += f", of the oracle's speed-up {100 * math.log(prior.ratio) / math.log(oracle.ratio):.0f} %"
    return f"On {oracle.problems}, compared with uniform sampling: {'; '.join(said.values())}."


def document(root: Path = Path("results")) -> str:
    """Markdown: the conclusions, a table of the first answer by question and problems, and one of all."""
    found = {
        question: [
            (asked, told)
            for asked in asks
            if (told := answer(asked, comparisons(asked.experiment, root, asked.over_models, asked.scale))) is not None
        ]
        for question, asks in QUESTIONS.items()
    }
    oracle, angle = (next((told for _, told in answers), None) for answers in list(found.values())[:2])
    return (
        f"# Answers\n\n## In two sentences\n\n{conclusion(oracle, angle)}\n\n{among_selectors(found)}\n\n"
        f"## In short\n\n{in_short(found)}\n\n"
        "Speed-up in steps to the middle target, mean [95 % interval over seeds], of each question's first comparison; "
        "`~`: runs of both sides did not reach it, so there is none. "
        "In points: accuracy gained on average over a run; its interval decides, since runs of a real model are few.\n\n"
        f"## By question\n\n{_by_question(found)}\n\n"
        "Speed-up in steps, mean [95 % interval over seeds]; p of the primary column, by exact sign flips over paired seeds, "
        f"adjusted over the cells that are compared with the same one.\n{judged_by_accuracy(found)}{_orders(root)}"
    )


Found = Mapping[str, Sequence[tuple[Asked, Answer]]]
"""Question -> its comparisons that there are runs for, and what these say"""


def in_short(found: Found) -> str:
    """The first comparison of each question, a row each, by problems."""
    rows: list[dict[str, str]] = []
    for number, (question, answers) in enumerate(found.items(), 1):
        row = {"question": f"{number}. {question}"}
        for asked, told in answers:
            row.setdefault(_problems(asked), f"{told.endpoint} ({_word(asked, told)})")
        rows += [row] if answers else []
    return str(pd.DataFrame(rows).fillna(MISSING).to_markdown(index=False, disable_numparse=True))


def _by_question(found: Found) -> str:
    rows = []
    for number, (question, answers) in enumerate(found.items(), 1):
        for place, (asked, told) in enumerate(one for one in answers if one[0].plan.judged_by == "speed-up"):
            asking = [f"{number}. {question}" if not place else "", f"{_problems(asked)}: {_pair(asked)}"]
            p = MISSING if pd.isna(told.p) else "< 0.001" if told.p < 0.0005 else f"{told.p:.3f}"
            rows.append([*asking, *told.speed_ups, p, str(told.seeds), WORDS[told.direction]])
    targets = load_experiment("ablate_schedule").targets
    headings = [
        f"speed-up to {100 * target:.0f} %{' (primary)' if target == sorted(targets)[1] else ''}" for target in targets
    ]
    table = pd.DataFrame(rows, columns=["question", "compared", *headings, "p (Holm)", "pairs", "answer"])
    return str(table.to_markdown(index=False, disable_numparse=True))


def judged_by_accuracy(found: Found) -> str:
    """The comparisons that are judged by accuracy; nothing where there are none."""
    rows = []
    for number, (question, answers) in enumerate(found.items(), 1):
        by_accuracy = [one for one in answers if one[0].plan.judged_by != "speed-up"]
        for place, (asked, told) in enumerate(by_accuracy):
            asking = [f"{number}. {question}" if not place else "", f"{_problems(asked)}: {_pair(asked)}"]
            rows.append([*asking, told.endpoint, str(told.seeds), _word(asked, told)])
    if not rows:
        return ""
    columns = ["question", "compared", "average accuracy gained", "pairs", "answer"]
    table = pd.DataFrame(rows, columns=columns).to_markdown(index=False, disable_numparse=True)
    return f"\n## On a real model\n\n{table}\n\nMean [95 % interval over seeds]; no test, the interval decides.\n"


def _word(asked: Asked, told: Answer) -> str:
    """Where the interval decides, nothing is tested."""
    by_interval = asked.plan.judged_by != "speed-up" and told.direction == "open"
    return "no clear difference" if by_interval else WORDS[told.direction]


def _problems(asked: Asked) -> str:
    models = len({run.model.name for run in asked.plan.cells.values()})
    kind = f", {models} models together" if asked.over_models else ", a real model" if asked.scale == "small" else ""
    return asked.plan.cells[asked.cell].problems.train + kind


def _pair(asked: Asked) -> str:
    cells = [asked.plan.labels[cell] for cell in (asked.cell, asked.against)]
    return " against ".join(label.rpartition(", ")[2] for label in cells)


def _orders(root: Path) -> str:
    """How alike the oracle's order and the others are, of the base models; nothing where that is not kept."""
    path = root / "ablate_schedule" / "order_correlations.csv"
    if not path.exists():
        return ""
    correlations = read_csv(path, ROWS)
    with_oracle = correlations[correlations["second"] == "reward-variance"]
    found = with_oracle.groupby("first", sort=False).correlation.agg(["mean", "min", "max", "size"])
    columns = {"min": "lowest", "max": "highest", "size": "models"}
    table = found.astype({"size": str}).rename_axis("order").rename(columns=columns)
    heading = "## Rank correlation with the oracle's order, arithmetic"
    return f"\n{heading}\n\n{table.to_markdown(floatfmt='.2f')}\n\nA model a seed, before training.\n"


def main(runs: Annotated[Path, tyro.conf.arg(name="from")] = Path("results")) -> None:
    """Answer from the finished runs in a folder, runs or results; what results say goes into results/answers.md."""
    text = document(runs)
    if runs == Path("results"):
        write_text(FILE, text)
    print(text)


if __name__ == "__main__":
    tyro.cli(main)

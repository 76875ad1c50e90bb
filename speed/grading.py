"""Gradings a second beside TRL's own accuracy reward, on the same completions, taking turns.

Every pair of an answer and a gold answer is another one, so that no cache helps, and a worker is started before the clock
is. Half of the answers are right, in another spelling; half are wrong by one number.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import tyro
from trl.rewards import accuracy_reward as trl_reward

from gainrl.grading import accuracy_reward, grade
from gainrl.grading.notation import clean, quick_verdict
from gainrl.problems import load_problems
from gainrl.rng import generator
from speed.report import publish

Rng = np.random.Generator
SENTENCE = "We add what is known on both sides, divide by the common factor and check the result. "


class Pair(NamedTuple):
    completion: str
    gold: str
    right: bool


def _integer(rng: Rng) -> str:
    return str(rng.integers(-99, 99_999))


def _small(rng: Rng) -> int:
    return int(rng.integers(2, 99))


ENDINGS = ["^\\circ", "\\%"]
KINDS: dict[str, tuple[float, Callable[[Rng], str]]] = {
    "integer": (0.635, _integer),
    "fraction": (0.11, lambda rng: f"\\frac{{{_small(rng)}}}{{{rng.integers(100, 999)}}}"),
    "decimal": (0.045, lambda rng: f"{rng.integers(0, 99_999) / 100:.2f}"),
    "radical": (0.065, lambda rng: f"{_small(rng)} + {_small(rng)}\\sqrt{{{rng.choice([2, 3, 5, 7])}}}"),
    "angle or share": (0.03, lambda rng: f"{_small(rng)}.{_small(rng)}{rng.choice(ENDINGS)}"),
    "tuple or interval": (0.04, lambda rng: f"({_small(rng) - 100}, {_small(rng)}{rng.choice([')', ']'])}"),
    "polynomial": (0.045, lambda rng: f"{_small(rng)}x^2 + {_small(rng)}x - {_small(rng)}"),
    "list": (0.015, lambda rng: f"{_small(rng)}, {_small(rng) + 100}, {_small(rng) + 200}"),
    "matrix": (0.015, lambda rng: f"\\begin{{pmatrix}} {_small(rng)} \\\\ {_small(rng)} \\end{{pmatrix}}"),
}
"""How often an answer of this kind is drawn (about as often as in MATH's training set), and how it is made."""


def generated(size: int, rng: Rng) -> list[str]:
    """Distinct gold answers like MATH's."""
    shares = np.array([share for share, _ in KINDS.values()])
    makers = [make for _, make in KINDS.values()]
    golds: dict[str, None] = {}
    while len(golds) < size:
        golds[makers[rng.choice(len(makers), p=shares / shares.sum())](rng)] = None
    return list(golds)


def pairs(golds: list[str], rng: Rng) -> list[Pair]:
    """A completion of some sentences for each gold answer with a number in it; every second one is wrong."""
    made: list[Pair] = []
    for gold in golds:
        last = re.search(r"\d+(?=\D*$)", gold)
        if last is None:
            continue
        right = len(made) % 2 == 0
        changed = f"{gold[: last.start()]}{int(last[0]) + 1}{gold[last.end() :]}"
        answer = gold.replace("\\frac", "\\dfrac").replace(", ", ",\\,") if right else changed
        text = SENTENCE * int(rng.integers(1, 12))
        made.append(Pair(f"{text}The answer is $\\boxed{{{answer}}}$.", gold, right))
    return made


def rewards(name: str, part: list[Pair]) -> list[float | None]:
    """What TRL's reward, or ours, gives to the completions."""
    completions = [[{"role": "assistant", "content": pair.completion}] for pair in part]
    if name == "gainrl":
        return [*accuracy_reward(completions, [pair.gold for pair in part])]
    given: list[float | None] = trl_reward(completions, [f"${pair.gold}$" for pair in part])
    return given


def measure(part: list[Pair], chunk: int) -> dict[str, np.ndarray]:
    """Seconds, verdicts as made and completions of each grader; chunk after chunk goes to both, the first place changing."""
    totals = {"TRL": np.zeros(3), "gainrl": np.zeros(3)}
    for turn, start in enumerate(range(0, len(part), chunk)):
        now = part[start : start + chunk]
        for grader in sorted(totals, reverse=turn % 2 == 1):
            began = time.perf_counter()
            given = rewards(grader, now)
            seconds = time.perf_counter() - began
            as_made = sum(bool(reward) == pair.right for reward, pair in zip(given, now, strict=True))
            totals[grader] += (seconds, as_made, len(now))
    return totals


def table(measured: dict[str, dict[str, np.ndarray]]) -> pd.DataFrame:
    """A row a grader and kind of answers."""
    rows = []
    for answers, totals in measured.items():
        for grader, (seconds, as_made, size) in totals.items():
            rows.append(
                {
                    "answers": answers,
                    "grader": grader,
                    "completions": int(size),
                    "gradings a second": size / seconds,
                    "times TRL's": totals["TRL"][0] / seconds,
                    "verdicts as made": as_made / size,
                }
            )
    return pd.DataFrame(rows)


def needs_algebra(pair: Pair) -> bool:
    """Whether the verdict comes from the worker."""
    answer = pair.completion.rpartition("\\boxed{")[2].removesuffix("}$.")
    return quick_verdict(clean(answer), clean(pair.gold)) is None


def main(size: int = 2_000, chunk: int = 50, data: Path | None = None) -> None:
    """Measure and publish.

    Args:
        size: Gold answers to generate.
        chunk: Completions that one grader gets in a row.
        data: Take the distinct gold answers of this problem file instead.
    """
    rng = generator(0, "benchmark")
    golds = generated(size, rng)
    if data is not None:
        golds = list(dict.fromkeys(p.answer for p in load_problems(str(data), drop_null_answers=True).problems))
        rng.shuffle(golds)
    for reward in (accuracy_reward, trl_reward):  # starts the worker, fills both parsers' tables
        reward([[{"role": "assistant", "content": "\\boxed{x + x}"}]], ["$2x$"])
    every = pairs(golds, rng)
    measured = {
        "algebra": measure([pair for pair in every if needs_algebra(pair)], chunk),
        "text or exact numbers": measure([pair for pair in every if not needs_algebra(pair)], chunk),
    }
    together = {grader: np.sum([part[grader] for part in measured.values()], axis=0) for grader in ("TRL", "gainrl")}
    began = time.perf_counter()
    grade("\\boxed{9^{9^{9^9}}}", "1", time_limit=1)
    grade("\\boxed{y + y}", "2y")
    note = (
        f"{'Generated answers, with the shares of kinds of the MATH training set' if data is None else data.name}; "
        f"distinct pairs, half of them right in another spelling, half wrong by one number; turns of {chunk}. What decides "
        "the verdict here is in the first column; TRL's reward takes all of them to algebra, in its own process and "
        f"without limits off the main thread. An answer that hung for its limit of 1 s, and a new worker after it, took "
        f"{time.perf_counter() - began:.1f} s together."
    )
    publish("grading", "Gradings a second", table({"all": together, **measured}), note)


if __name__ == "__main__":
    tyro.cli(main)

"""Any task of reasoning-gym as a problem set; names and options as in `gainrl.grading.gym`."""

import os
from collections.abc import Iterator
from typing import Any

from gainrl.errors import InputError
from gainrl.grading.gold import Gold
from gainrl.grading.gym import PREFIX, make_task
from gainrl.grading.notation import clean, number
from gainrl.problems.base import ProblemSet, from_rows
from gainrl.problems.family import LARGEST, TRAINING
from gainrl.rng import torch_seed

UNSTABLE = {"isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder"}
"""Tasks of version 0.1.25 that iterate over sets, so that what they draw depends on Python's hash seed as well."""


def load_gym(name: str, seed: int, limit: int | None) -> ProblemSet:
    """``limit`` different problems of a task (1,024 for None); a smaller set is the beginning of a larger one.

    A problem's id is ``<task>/<seed>/<number of the item>``. Answers that are numbers are graded as mathematics, unless
    the task has a scorer of its own; all others by the task's scorer, of which the full score is right.

    Raises InputError: as `make_task` does, the task has fewer problems, or it cannot repeat what it draws.
    """
    size = TRAINING if limit is None else limit
    task_name = name.removeprefix(PREFIX).partition(":")[0]
    if task_name in UNSTABLE and not os.environ.get("PYTHONHASHSEED", "").isdigit():
        raise InputError(f"{name} draws other problems in every process; set PYTHONHASHSEED=0 in the environment")
    if not 1 <= size <= LARGEST:
        raise InputError(f"problem set {name}: {size:,} problems were asked for; 1 to {LARGEST:,} can be had")
    # reasoning-gym draws item i of seed s from seed s + i: neighbouring seeds would share most of their problems
    task = make_task(name, torch_seed(seed, name), LARGEST)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for index, entry in _entries(task):
        row = {
            "problem_id": f"{task_name}/{seed}/{index}",
            "question": entry["question"],
            "answer": str(_gold(name, task, entry)),
            "difficulty": _difficulty(entry["metadata"]),
        }
        rows.setdefault((row["question"], str(entry["answer"])), row)
        if len(rows) == size:
            break
    else:
        raise InputError(f"problem set {name} has {len(rows):,} different problems; {size:,} were asked for")
    return from_rows(
        name, [(row["problem_id"], row) for row in rows.values()], source={"generated": name, "seed": seed}
    )


def _entries(task: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    return ((index, task[index]) for index in range(LARGEST))


def _gold(name: str, task: Any, entry: dict[str, Any]) -> Gold:
    answers = () if entry["answer"] is None else (str(entry["answer"]),)
    own_scorer = type(task).score_answer.__module__ != "reasoning_gym.dataset"
    if answers and not own_scorer and number(clean(answers[0])) is not None:
        return Gold(answers)
    return Gold(answers, scorer=name, entry=entry)


def _difficulty(metadata: dict[str, Any]) -> float | None:
    """0 to 100: the mean place of the item's sizes in the ranges that the task draws them from; None where it names none.

    A size that is listed (the numbers of a sum) is the length of the list.
    """
    ranges = metadata.get("difficulty")
    places = []
    for key, span in ranges.items() if isinstance(ranges, dict) else ():
        value = metadata.get(key)
        value = len(value) if isinstance(value, list | tuple) else value
        is_range = (
            isinstance(span, list | tuple) and len(span) == 2 and all(isinstance(end, int | float) for end in span)
        )
        if is_range and span[0] < span[1] and isinstance(value, int | float):
            places.append((value - span[0]) / (span[1] - span[0]))
    return 100 * sum(places) / len(places) if places else None

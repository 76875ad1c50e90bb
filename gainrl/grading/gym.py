"""Tasks of reasoning-gym by name, and their own scorers: where several answers are right, none but the task can tell.

A name is ``gym:countdown`` or, with options of the task, ``gym:countdown:min_numbers=3,max_numbers=3``.
"""

import importlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from gainrl.errors import InputError, one_line, unknown_name
from gainrl.grading.notation import clean

PREFIX = "gym:"
NOT_A_TASK = {"composite"}
"""A mixture of other tasks, which it would have to be given."""


def require_gym() -> None:
    """Raises InputError: reasoning-gym is not installed."""
    if find_spec("reasoning_gym") is None:
        raise InputError("problems of reasoning-gym are not installed; make small installs them")


def require_task(name: str) -> None:
    """Raises InputError: reasoning-gym, where it is installed, has no such task."""
    if find_spec("reasoning_gym") is not None:
        task = name.removeprefix(PREFIX).partition(":")[0]
        valid = set(importlib.import_module("reasoning_gym.factory").DATASETS) - NOT_A_TASK
        if task not in valid:
            raise unknown_name("task of reasoning-gym", task, valid)


@lru_cache(maxsize=64)
def make_task(name: str, seed: int = 0, size: int = 1) -> Any:
    """reasoning-gym's data set of a task, by its name here.

    Raises InputError: reasoning-gym is not installed, has no such task, or the task no such option or value.
    """
    require_gym()
    require_task(name)
    task, _, written = name.removeprefix(PREFIX).partition(":")
    factory = importlib.import_module("reasoning_gym.factory")
    try:
        return factory.create_dataset(task, seed=seed, size=size, **_options(written))
    except Exception as error:  # each task checks its options in its own way
        valid = sorted(set(factory.DATASETS[task][1].__dataclass_fields__) - {"seed", "size"})
        raise InputError(f"{name}: {one_line(error, 200)}; options: {', '.join(valid)}") from error


def is_full_score(name: str, answer: str, entry: Mapping[str, Any]) -> bool:
    """Whether the task gives an answer its full score, as it was written or without typography.

    Args:
        entry: the task's item, as JSON gives it back.

    Raises InputError: as `make_task` does.
    """
    task = make_task(name)
    texts = (answer, clean(answer), re.sub(r"\\text\{([^{}]*)\}", r"\1", clean(answer)))
    return any(task.score_answer(text, dict(entry)) >= 1 for text in dict.fromkeys(texts))


def _options(written: str) -> dict[str, Any]:
    """``min_terms=2,operators=["+","-"]`` as a dictionary; a value that is not JSON is a text."""
    options: dict[str, Any] = {}
    for part in re.split(r",(?=\w+=)", written) if written else []:
        option, _, value = part.partition("=")
        try:
            options[option] = json.loads(value)
        except json.JSONDecodeError:
            options[option] = value
    return options

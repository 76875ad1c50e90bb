r"""Generated programming problems: short functions of an integer or of a list, with tests.

A function counts numbers, adds to a number, or joins parts of a list, and a level is a number of ends: a bound that a number
is compared with, or the place where a part of the list begins or stops. Ends are included (at least 40, from number 3 on) or
not (above 40, after number 3), and what goes wrong is the included one: the teacher leaves it out (`Programs.sloppy_solution`),
one off, as programmers are. Every such mistake makes a number smaller or a list shorter, so that two of them cannot cancel, the
tests tell each of them, and the pass rate falls with the level. Where the end is not included the same words of the program are
right, so writing one of the two always is no cure. Wordings differ in length and are drawn independently of kind and level.
"""

import operator
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from gainrl.grading.programs import Tests
from gainrl.problems.base import Problem
from gainrl.problems.family import LEVELS, Family, content_of, difficulty_of
from gainrl.prompts import PROGRAM_PROMPT

INCLUDED = 0.35
"""How often an end is included."""
LONG_LIST = tuple(range(21, 33))
SHORT_LIST = (50, 60, 70)
"""What functions that join parts of a list are tested on; the long one is longer than any place that is asked for."""

COMPARE: dict[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
TURNED = {">=": "<=", "<=": ">=", ">": "<", "<": ">"}
Phrases = dict[str, str]
AT_LEAST: Phrases = {">=": "at least {}", "<=": "at most {}", ">": "above {}", "<": "below {}"}
OR_MORE: Phrases = {">=": "{} or more", "<=": "{} or less", ">": "more than {}", "<": "less than {}"}
FROM: Phrases = {">=": "from number {} on", "<=": "up to number {}", ">": "after number {}", "<": "before number {}"}
STARTING: Phrases = {
    ">=": "starting at place {}",
    "<=": "ending at place {}",
    ">": "behind place {}",
    "<": "ahead of place {}",
}


class End(NamedTuple):
    """``relation`` is a key of `COMPARE`; ``worth`` is what a function of an integer adds where it holds."""

    relation: str
    bound: int
    worth: int

    def said(self, phrases: Phrases) -> str:
        return phrases[self.relation].format(self.bound)


class Task(NamedTuple):
    """What a function does: ``start`` is what it begins with, where its kind begins with something."""

    start: int
    ends: tuple[End, ...]


def _sum_code(task: Task) -> str:
    terms = (f"{end.worth} * (x {end.relation} {end.bound})" for end in task.ends)
    return f"def f(x):\n    return {task.start} + {' + '.join(terms)}"


def _sum_value(task: Task, x: int) -> int:
    return task.start + sum(end.worth * COMPARE[end.relation](x, end.bound) for end in task.ends)


def _sum_inputs(task: Task) -> list[int]:
    return sorted({end.bound + off for end in task.ends for off in (-1, 0, 1)})


def _count_code(task: Task) -> str:
    terms = (f"(x {end.relation} {end.bound})" for end in task.ends)
    return f"def f(xs):\n    return sum({' + '.join(terms)} for x in xs)"


def _count_value(task: Task, xs: list[int]) -> int:
    return sum(COMPARE[end.relation](x, end.bound) for x in xs for end in task.ends)


def _count_inputs(task: Task) -> list[list[int]]:
    """One below, one at and three above a bound: each relation counts another number of them."""
    return [[], *([end.bound + off for off in (3, -1, 0, 2, 1)] for end in task.ends)]


def _place(end: End) -> int:
    """Counted from 0, as a program does."""
    return end.bound - _counted_from_one(end)


def _counted_from_one(end: End) -> bool:
    return end.relation in (">=", "<")


def _parts_code(task: Task) -> str:
    """Places are written as the place asked for, less one where need be: that is what is forgotten, not how to subtract."""
    places = ((end, f"{end.bound} - 1" if _counted_from_one(end) else f"{end.bound}") for end in task.ends)
    slices = (f"xs[{place}:]" if end.relation[0] == ">" else f"xs[:{place}]" for end, place in places)
    return f"def f(xs):\n    return [{task.start}] + {' + '.join(slices)}"


def _parts_value(task: Task, xs: list[int]) -> list[int]:
    joined = [task.start]
    for end in task.ends:
        joined += xs[_place(end) :] if end.relation[0] == ">" else xs[: _place(end)]
    return joined


def _parts_inputs(task: Task) -> list[list[int]]:
    return [list(LONG_LIST), list(SHORT_LIST), []]


class Kind(NamedTuple):
    """One kind of function: its largest bound, its source, its value at an input, inputs that tell mistakes, wordings."""

    bounds: tuple[int, int]
    code: Callable[[Task], str]
    value: Callable[[Task, Any], Any]
    inputs: Callable[[Task], list[Any]]
    wordings: tuple[Callable[[Task], str], ...]


def _each(task: Task, phrases: Phrases, words: str, link: str = ", ") -> str:
    """What is said of every end: ``{end}`` in ``words`` is its phrase, ``{worth}`` what it is worth."""
    return link.join(words.format(end=end.said(phrases), worth=end.worth) for end in task.ends)


KINDS = {
    "sum": Kind(
        (10, 99),
        _sum_code,
        _sum_value,
        _sum_inputs,
        (
            lambda t: f"f(x): {t.start}, {_each(t, AT_LEAST, 'plus {worth} if x is {end}')}.",
            lambda t: f"f(x) starts with {t.start}. {_each(t, OR_MORE, 'Add {worth} if x is {end}.', ' ')}",
            lambda t: (
                f"Sending x pounds costs {t.start} dollars, {_each(t, AT_LEAST, '{worth} more if they are {end}')}. "
                "f(x) is the price in dollars."
            ),
            lambda t: (
                "In our village a farmer who sold x eggs would like to know what he earned, and cannot count so far. "
                f"Everybody gets {t.start} coins, {_each(t, OR_MORE, 'and {worth} coins for {end}')}. "
                "Let f(x) be the number of coins that he gets for all of them."
            ),
        ),
    ),
    "count": Kind(
        (10, 99),
        _count_code,
        _count_value,
        _count_inputs,
        (
            lambda t: f"f(xs): a point for every x {_each(t, AT_LEAST, '{end}', ', for every x ')}.",
            lambda t: f"f(xs) counts the numbers of xs. {_each(t, OR_MORE, 'Count those of {end}.', ' ')}",
            lambda t: (
                "The runners need xs seconds. A runner wins a cup for a time "
                f"{_each(t, AT_LEAST, '{end}', ', a cup for one ')}. "
                "f(xs) is the number of cups."
            ),
            lambda t: (
                "Every morning we write down how many people come into our little shop, and xs are the numbers of a year. "
                f"Mark each day of {_each(t, OR_MORE, '{end}', ', and once more each day of ')} people. "
                "Let f(xs) be the number of all marks that are on the wall in the end."
            ),
        ),
    ),
    "parts": Kind(
        (2, 9),
        _parts_code,
        _parts_value,
        _parts_inputs,
        (
            lambda t: f"f(xs): {t.start}, {_each(t, FROM, 'then xs {end}')}.",
            lambda t: (
                f"f(xs) is a list. It begins with {t.start}. {_each(t, STARTING, 'Append the part of xs {end}.', ' ')}"
            ),
            lambda t: (
                f"The train has the cars xs. Put car {t.start} on a new track, "
                f"{_each(t, FROM, 'then copies of the cars {end}')}. f(xs) is the new train."
            ),
            lambda t: (
                "A friend of ours has all songs of a long evening in xs, and wants to hear some of them again on the way home. "
                f"Song {t.start} comes first, {_each(t, STARTING, 'and then all of the songs {end}')}. "
                "Let f(xs) be the list of songs that our friend hears."
            ),
        ),
    ),
}


class Programs(Family):
    """Short functions, three kinds in four wordings each, with tests. The sloppy teacher leaves included ends out."""

    name = "programs"
    texts = (
        *(
            text
            for kind in KINDS.values()
            for task in [Task(1, tuple(End(relation, 1, 1) for relation in COMPARE))]
            for text in (f"```python\n{kind.code(task)}\n```", *(wording(task) for wording in kind.wordings))
        ),
    )
    largest_number = 99
    easiest = len(COMPARE) * (90 + 90 * 8 * 90 + 8 * 90)
    prompt = PROGRAM_PROMPT
    token = rf"```python\n|\n```|\n *|[<>]=|{Family.token}"

    def stream(self, rng: np.random.Generator) -> Iterator[Problem]:
        every = list(product(KINDS, LEVELS))
        while True:
            for row in rng.permutation(len(every)):
                kind, level = every[row]
                yield _problem(kind, _draw(kind, level, rng), int(rng.integers(len(KINDS[kind].wordings))))

    def sloppy_solution(
        self, problem: Problem, rng: np.random.Generator, forget: float = 0.0, slip: float = 0.0
    ) -> str:
        """A function in a fence.

        Args:
            forget: probability that an end that is included is left out.
            slip: probability that an end is turned around for no reason: less for more, up to for from.
        """

        def seen(end: End) -> End:
            if rng.random() < slip:
                return end._replace(relation=TURNED[end.relation])
            return forgotten(end) if rng.random() < forget else end

        kind, task = parse(problem)
        return _fenced(kind, task._replace(ends=tuple(map(seen, task.ends))))


def forgotten(end: End) -> End:
    """The end as who leaves it out reads it."""
    return end._replace(relation=end.relation.rstrip("="))


def parse(problem: Problem) -> tuple[str, Task]:
    """The kind and the task of a problem of this family, from its id."""
    kind, start, *ends = content_of(problem).split()
    parts = (end.split(",") for end in ends)
    return kind, Task(int(start), tuple(End(relation, int(bound), int(worth)) for relation, bound, worth in parts))


def _draw(kind: str, level: int, rng: np.random.Generator) -> Task:
    """Ends whose bounds differ, so that each mistake has an input where it alone is made."""
    low, high = KINDS[kind].bounds
    bounds = rng.permutation(high - low + 1)[:level] + low
    included, turned, worth = rng.random(level) < INCLUDED, rng.random(level) < 0.5, rng.integers(2, 10, level)
    ends = (
        End(("<" if turned[row] else ">") + "=" * int(included[row]), int(bounds[row]), int(worth[row]))
        for row in range(level)
    )
    start = int(rng.integers(10, 100))
    if kind == "sum":
        return Task(start, tuple(ends))
    return Task(start if kind == "parts" else 0, tuple(end._replace(worth=1) for end in ends))


def _fenced(kind: str, task: Task) -> str:
    return f"```python\n{KINDS[kind].code(task)}\n```"


def _problem(kind: str, task: Task, wording: int) -> Problem:
    value = KINDS[kind].value
    ends = " ".join(f"{end.relation},{end.bound},{end.worth}" for end in task.ends)
    return Problem(
        problem_id=f"{kind} {task.start} {ends}/{wording}",
        question=KINDS[kind].wordings[wording](task),
        answer=str(Tests(entry="f", calls=tuple(([x], value(task, x)) for x in KINDS[kind].inputs(task)))),
        difficulty=difficulty_of(len(task.ends)),
        solution=_fenced(kind, task),
        kind=kind,
    )

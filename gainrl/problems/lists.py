"""Generated problems about short lists: the larger of every pair, or of two neighbours, or of every number and a floor.

A level is a number of comparisons. What goes wrong is a comparison of two numbers with the same tens digit: the teacher
does not look at the ones and keeps what came first (`Lists.sloppy_solution`). An answer is the list of what was kept, so
nothing puts a mistake right later, and the pass rate falls with the level. (The largest of a whole list would forgive every
mistake but the last.) Where the ones happen to stand right, keeping what came first is right too, so taking the second
number is no cure. Wordings differ in length and are drawn independently of the level.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from gainrl.problems.base import Problem
from gainrl.problems.family import LEVELS, Family, content_of, difficulty_of

SAME_TENS = 0.75
"""How often two numbers that are compared share their tens digit; in half of these cases the ones are in the wrong order."""

Numbers = tuple[int, ...]
Pairs = list[tuple[int, int]]
Less = Callable[[int, int], bool]
"""Whether the first number is seen to be less than the second."""


def pairs_of(numbers: Numbers) -> Pairs:
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _with_floor(numbers: Numbers) -> Pairs:
    """The floor is the first of the numbers."""
    return [(numbers[0], number) for number in numbers[1:]]


def alternatives(numbers: Numbers) -> str:
    return ", ".join(f"{first} or {second}" for first, second in pairs_of(numbers))


def listed(numbers: Numbers) -> str:
    return ", ".join(map(str, numbers))


def draw_pairs(comparisons: int, rng: np.random.Generator) -> Numbers:
    firsts = [int(first) for first in rng.integers(10, 100, size=comparisons)]
    return tuple(number for first in firsts for number in (first, _near(first, (first,), rng)))


def _draw_list(comparisons: int, rng: np.random.Generator, beside: int) -> Numbers:
    """Different numbers, each of them near the first one (``beside`` 0) or the one before it (-1)."""
    numbers: Numbers = (int(rng.integers(10, 100)),)
    for _ in range(comparisons):
        numbers += (_near(numbers[beside], numbers, rng),)
    return numbers


def _near(number: int, used: Numbers, rng: np.random.Generator) -> int:
    low = number // 10 * 10
    same = rng.random() < SAME_TENS
    numbers = range(low, low + 10) if same else (*range(10, low), *range(low + 10, 100))
    near = [n for n in numbers if n not in used]
    return near[int(rng.integers(len(near)))]  # as rng.choice draws, without making an array


class Kind(NamedTuple):
    """One kind of question: its numbers (for so many comparisons), which of them are compared, and its wordings."""

    draw: Callable[[int, np.random.Generator], Numbers]
    pairs: Callable[[Numbers], Pairs]
    wordings: tuple[Callable[[Numbers], str], ...]


KINDS = {
    "pairs": Kind(
        draw_pairs,
        pairs_of,
        (
            lambda n: f"Which is larger: {alternatives(n)}?",
            lambda n: f"Take the larger number of every pair. {alternatives(n)}",
            lambda n: (
                f"In every round the larger of two cards wins. The rounds are {alternatives(n)}. Which cards win?"
            ),
            lambda n: (
                f"Every day you may keep one of two coupons, and of course you want the larger one: {alternatives(n)}."
            ),
        ),
    ),
    "neighbours": Kind(
        partial(_draw_list, beside=-1),
        lambda n: list(pairwise(n)),
        (
            lambda n: f"The larger of neighbours: {listed(n)}.",
            lambda n: f"For any two numbers that stand side by side, write the larger: {listed(n)}.",
            lambda n: (
                f"The lake stood at {listed(n)}, month after month. What was the higher level of two months in a row?"
            ),
            lambda n: (
                f"Houses in a street are {listed(n)} feet high. A wire that joins two next to each other hangs from the "
                "higher one. How high do the wires hang?"
            ),
        ),
    ),
    "floor": Kind(
        partial(_draw_list, beside=0),
        _with_floor,
        (
            lambda n: f"At least {n[0]}: {listed(n[1:])}.",
            lambda n: f"Raise to {n[0]} what is below it: {listed(n[1:])}.",
            lambda n: (
                f"Whoever earns less than {n[0]} a day is paid as much. The guests earn {listed(n[1:])}. What are they paid?"
            ),
            lambda n: (
                f"Nobody may score less than {n[0]} in this game, so that worse results are counted as such. "
                f"The results are {listed(n[1:])}. How are they counted?"
            ),
        ),
    ),
}


class Lists(Family):
    """Comparisons in short lists, three kinds in four wordings each. The sloppy teacher does not look at the ones."""

    name = "lists"
    texts = (*(wording((1, 1)) for kind in KINDS.values() for wording in kind.wordings), "( , ) :")
    largest_number = 99
    easiest = len(KINDS) * 90 * 89
    compares = True

    def stream(self, rng: np.random.Generator) -> Iterator[Problem]:
        every = list(product(KINDS, LEVELS))
        while True:
            for row in rng.permutation(len(every)):
                kind, level = every[row]
                numbers = KINDS[kind].draw(level, rng)
                yield _problem(kind, level, numbers, int(rng.integers(len(KINDS[kind].wordings))))

    def sloppy_solution(
        self, problem: Problem, rng: np.random.Generator, forget: float = 0.0, slip: float = 0.0
    ) -> str:
        """A list worked out: ``74 78: 78, 35 31: 35 \\boxed{(78, 35)}``.

        Args:
            forget: probability that the teacher does not look at the ones where the tens are the same.
            slip: probability that a comparison comes out wrong for no reason.
        """

        def less(number: int, other: int) -> bool:
            overlooked = number < other and number // 10 == other // 10 and rng.random() < forget
            return (number < other) != (overlooked or rng.random() < slip)

        kind, *numbers = content_of(problem).split()
        return _worked(KINDS[kind].pairs(tuple(map(int, numbers))), less)


def _worked(pairs: Pairs, less: Less) -> str:
    kept = tuple(second if less(first, second) else first for first, second in pairs)
    steps = (f"{first} {second}: {number}" for (first, second), number in zip(pairs, kept, strict=True))
    return f"{', '.join(steps)} \\boxed{{{written(kept)}}}"


def written(answer: Numbers) -> str:
    return f"({listed(answer)})" if len(answer) > 1 else str(answer[0])


def _problem(kind: str, level: int, numbers: Numbers, wording: int) -> Problem:
    pairs = KINDS[kind].pairs(numbers)
    return Problem(
        problem_id=f"{kind} {' '.join(map(str, numbers))}/{wording}",
        question=KINDS[kind].wordings[wording](numbers),
        answer=written(tuple(map(max, pairs))),
        difficulty=difficulty_of(level),
        solution=_worked(pairs, int.__lt__),
        kind=kind,
    )

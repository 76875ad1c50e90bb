"""Ten kinds of short questions for a small language model that has learnt a little of everything.

A question's length is drawn apart from its kind and level: of its kind's wordings, each after one of a few openings, that is
taken which comes closest to the drawn length. So length, kind and level can be told apart.
"""

import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from gainrl.problems.base import Problem
from gainrl.problems.family import LEVELS, Family, difficulty_of

SHORTEST, LONGEST = 12, 24
"""Tokens of a question, as `length_of` counts them."""
OPENINGS = (
    "",
    "Solve this: ",
    "Please answer this: ",
    "Here is a question for you: ",
    "Here is one more question for you: ",
    "Here is one more question that you can answer: ",
    "Here is one more short question that you can answer in one step: ",
)

Numbers = tuple[int, ...]
Draw = Callable[[int, np.random.Generator], Numbers]
LETTERS = "abcd"
TRIES = 20
"""How often numbers that a kind had before are drawn again; else the kinds with few numbers would be asked more rarely."""


def length_of(text: str) -> int:
    """Words, signs and digits: about the number of tokens, as small models' tokenizers take a digit each."""
    return len(re.findall(r"\d|[^\W\d]+|[^\w\s]", text))


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    """From ``low`` to ``high``, both included."""
    return int(rng.integers(low, high + 1))


def _draw_sum(level: int, rng: np.random.Generator) -> Numbers:
    """One digit each; then a larger first number; then with a carry; then two digits each."""
    if level == 1:
        return _between(rng, 1, 9), _between(rng, 1, 9)
    tens, ones = 10 * _between(rng, 1, 9), _between(rng, 1, 8)
    if level == 2:
        return tens + ones, _between(rng, 1, 9 - ones)
    if level == 3:
        return tens + ones + 1, _between(rng, 9 - ones, 9)
    return _between(rng, 11, 59), _between(rng, 11, 39)


def _draw_difference(level: int, rng: np.random.Generator) -> Numbers:
    """A sum and one of its terms, so that nothing is below 0."""
    first, second = _draw_sum(level, rng)
    return first + second, second


def _draw_product(level: int, rng: np.random.Generator) -> Numbers:
    """The first number grows with the level."""
    low, high = ((2, 2), (3, 4), (5, 6), (7, 9))[level - 1]
    return _between(rng, low, high), _between(rng, 2, 50 if level == 1 else 25)


def _draw_quotient(level: int, rng: np.random.Generator) -> Numbers:
    first, second = _draw_product(level, rng)
    return first * second, first


def _draw_list(level: int, rng: np.random.Generator) -> Numbers:
    """Three different digits; then three to five numbers of two digits."""
    if level == 1:
        return tuple(int(number) for number in 1 + rng.choice(9, 3, replace=False))
    return tuple(int(number) for number in 10 + rng.choice(90, level + 1, replace=False))


def _draw_letters(level: int, rng: np.random.Generator) -> Numbers:
    """The letter that is counted, then three to six letters among which it is."""
    letters = rng.integers(len(LETTERS), size=level + 2)
    return int(rng.choice(letters)), *map(int, letters)


def _draw_sequence(level: int, rng: np.random.Generator) -> Numbers:
    """Four numbers with the same difference, which grows with the level."""
    step = _between(rng, *((1, 2), (3, 5), (6, 8), (9, 12))[level - 1])
    return tuple(range(first := _between(rng, 1, 40), first + 4 * step, step))


def _list(numbers: Numbers) -> str:
    return ", ".join(map(str, numbers))


def _letters(numbers: Numbers) -> str:
    return ", ".join(LETTERS[number] for number in numbers)


class Kind(NamedTuple):
    """One kind of question: its numbers at a level, their answer, wordings, and how it is worked out (before the box)."""

    draw: Draw
    answer: Callable[[Numbers], int]
    wordings: tuple[Callable[[Numbers], str], ...]
    worked: Callable[[Numbers], str]


KINDS: dict[str, Kind] = {
    "sum": Kind(
        _draw_sum,
        sum,
        (
            lambda n: f"What is {n[0]} + {n[1]}?",
            lambda n: f"What is the sum of {n[0]} and {n[1]}?",
            lambda n: f"What do you get when you add {n[1]} to {n[0]}?",
            lambda n: f"Add the two numbers {n[0]} and {n[1]}. What is the result?",
        ),
        lambda n: f"{n[0]} + {n[1]} = {sum(n)}",
    ),
    "difference": Kind(
        _draw_difference,
        lambda n: n[0] - n[1],
        (
            lambda n: f"What is {n[0]} - {n[1]}?",
            lambda n: f"What is {n[0]} take away {n[1]}?",
            lambda n: f"How much is left when you take {n[1]} from {n[0]}?",
            lambda n: f"Take the number {n[1]} away from {n[0]}. What is the result?",
        ),
        lambda n: f"{n[0]} - {n[1]} = {n[0] - n[1]}",
    ),
    "product": Kind(
        _draw_product,
        lambda n: n[0] * n[1],
        (
            lambda n: f"What is {n[0]} * {n[1]}?",
            lambda n: f"What is {n[0]} times {n[1]}?",
            lambda n: f"What do you get when you multiply {n[0]} by {n[1]}?",
            lambda n: f"Multiply the two numbers {n[0]} and {n[1]}. What is the result?",
        ),
        lambda n: f"{n[0]} * {n[1]} = {n[0] * n[1]}",
    ),
    "quotient": Kind(
        _draw_quotient,
        lambda n: n[0] // n[1],
        (
            lambda n: f"What is {n[0]} / {n[1]}?",
            lambda n: f"What is {n[0]} divided by {n[1]}?",
            lambda n: f"What do you get when you divide {n[0]} by {n[1]}?",
            lambda n: f"Divide the number {n[0]} by {n[1]}. What is the result?",
        ),
        lambda n: f"{n[0]} / {n[1]} = {n[0] // n[1]}",
    ),
    "largest": Kind(
        _draw_list,
        max,
        (
            lambda n: f"Which is the largest: {_list(n)}?",
            lambda n: f"Find the largest of {_list(n)}.",
        ),
        lambda n: f"The largest of {_list(n)} is {max(n)}.",
    ),
    "smallest": Kind(
        _draw_list,
        min,
        (
            lambda n: f"Which is the smallest: {_list(n)}?",
            lambda n: f"Find the smallest of {_list(n)}.",
        ),
        lambda n: f"The smallest of {_list(n)} is {min(n)}.",
    ),
    "last": Kind(
        _draw_list,
        lambda n: n[-1],
        (
            lambda n: f"Which number comes last: {_list(n)}?",
            lambda n: f"Write the last of {_list(n)}.",
        ),
        lambda n: f"The last of {_list(n)} is {n[-1]}.",
    ),
    "count": Kind(
        _draw_letters,
        lambda n: n[1:].count(n[0]),
        (
            lambda n: f"How many {_letters(n[:1])} are in {_letters(n[1:])}?",
            lambda n: f"Count every {_letters(n[:1])}: {_letters(n[1:])}.",
        ),
        lambda n: f"There are {n[1:].count(n[0])}.",
    ),
    "next": Kind(
        _draw_sequence,
        lambda n: 2 * n[-1] - n[-2],
        (
            lambda n: f"Which number comes next: {_list(n)}?",
            lambda n: f"What follows {_list(n)}?",
        ),
        lambda n: f"{n[-1]} + {n[-1] - n[-2]} = {2 * n[-1] - n[-2]}",
    ),
    "story": Kind(
        _draw_difference,
        lambda n: n[0] - n[1],
        (
            lambda n: f"Tom has {n[0]} apples and eats {n[1]}. How many are left?",
            lambda n: f"Of {n[0]} birds {n[1]} fly away. How many stay?",
            lambda n: f"A book has {n[0]} pages. Ann read {n[1]}. How many are left?",
        ),
        lambda n: f"{n[0]} - {n[1]} = {n[0] - n[1]}",
    ),
}


class Skills(Family):
    """Ten kinds of short questions, two to four wordings each. The sloppy teacher is one off now and then."""

    name = "skills"
    texts = (
        *(wording((1, 1, 2, 3)) for kind in KINDS.values() for wording in kind.wordings),
        *(kind.worked((1, 1, 2, 3)) for kind in KINDS.values()),
        *OPENINGS,
        " ".join(LETTERS),
    )
    largest_number = 225
    easiest = 10 * 48  # of products there are 49, and every kind is to be asked as often
    held_out_size = 400

    def stream(self, rng: np.random.Generator) -> Iterator[Problem]:
        every, drawn = list(product(KINDS, LEVELS)), set()
        while True:
            for row in rng.permutation(len(every)):
                kind, level = every[row]
                numbers = KINDS[kind].draw(level, rng)
                for _ in range(TRIES):
                    if (kind, numbers) not in drawn:
                        break
                    numbers = KINDS[kind].draw(level, rng)
                drawn.add((kind, numbers))
                yield _problem(kind, level, numbers, rng)

    def sloppy_solution(
        self, problem: Problem, rng: np.random.Generator, forget: float = 0.0, slip: float = 0.0
    ) -> str:
        """The worked solution; with probability ``forget`` or ``slip`` the number in the box is one too large."""
        off = int(rng.random() < max(forget, slip))
        return problem.gold_completion.replace(f"{{{problem.answer}}}", f"{{{int(problem.answer) + off}}}")


def _problem(name: str, level: int, numbers: Numbers, rng: np.random.Generator) -> Problem:
    kind, length = KINDS[name], _between(rng, SHORTEST, LONGEST)
    wordings = [wording(numbers) for wording in kind.wordings]
    texts = [opening + wording for wording in wordings for opening in OPENINGS]
    distance_P = np.array([abs(length_of(text) - length) for text in texts])
    chosen = int(rng.choice(np.flatnonzero(distance_P == distance_P.min())))
    return Problem(
        problem_id=f"{name} {' '.join(map(str, numbers))}/{chosen}",
        question=texts[chosen],
        answer=str(kind.answer(numbers)),
        difficulty=difficulty_of(level),
        solution=f"{kind.worked(numbers)} \\boxed{{{kind.answer(numbers)}}}",
        kind=name,
    )

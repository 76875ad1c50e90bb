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
from gainrl.prompts import Prompt

SHORTEST, LONGEST = 12, 24
"""Tokens of a question, as `length_of` counts them."""
OPENINGS = (
    "",
    "Now this: ",
    "Another question: ",
    "And here is another question: ",
    "And here is another question for you: ",
    "And here is another short question for you to answer: ",
)
PROMPT = Prompt(
    system="Answer like this.\n"
    "What is 7 - 3? 7 - 3 = 4 \\boxed{4}\n"
    "What is the largest of 3, 8, 5? 8 \\boxed{8}\n"
    "What is the last of 6, 1, 9? 9 \\boxed{9}\n"
    "What comes next: 2, 4, 6? 6 + 2 = 8 \\boxed{8}\n"
    "Tom has 5 apples and eats 2. How many are left? 5 - 2 = 3 \\boxed{3}"
)
"""Shows the form of an answer to a model that has seldom boxed one."""

Numbers = tuple[int, ...]
Draw = Callable[[int, np.random.Generator], Numbers]
TRIES = 20
"""How often numbers that a kind had before are drawn again; else the kinds with few numbers would be asked more rarely."""


def length_of(text: str) -> int:
    """Words, signs and digits: about the number of tokens, as small models' tokenizers take a digit each."""
    return len(re.findall(r"\d|[^\W\d]+|[^\w\s]", text))


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    """From ``low`` to ``high``, both included."""
    return int(rng.integers(low, high + 1))


def _draw_sum(level: int, rng: np.random.Generator) -> Numbers:
    """Up to ten; then above it from two small numbers; then two digits and one without a carry; then with one."""
    if level == 1:
        second = _between(rng, 1, 9)
        return _between(rng, 1, 10 - second), second
    if level == 2:
        second = _between(rng, 2, 9)
        return _between(rng, 11 - second, 12), second
    tens, ones = 10 * _between(rng, 1, 9), _between(rng, 1, 8)
    if level == 3:
        return tens + ones, _between(rng, 1, 9 - ones)
    return tens + ones + 1, _between(rng, 9 - ones, 9)


def _draw_difference(level: int, rng: np.random.Generator) -> Numbers:
    """A sum and one of its terms, so that nothing is below 0."""
    first, second = _draw_sum(level, rng)
    return first + second, second


def _draw_product(level: int, rng: np.random.Generator) -> Numbers:
    """The first number grows with the level."""
    low, high = ((2, 3), (4, 5), (6, 7), (8, 9))[level - 1]
    return _between(rng, low, high), _between(rng, 2, 20)


def _draw_quotient(level: int, rng: np.random.Generator) -> Numbers:
    first, second = _draw_product(level, rng)
    return first * second, first


def _draw_list(level: int, rng: np.random.Generator) -> Numbers:
    """Two different digits, then three; then three and four numbers of two digits."""
    if level <= 2:
        return tuple(int(number) for number in 1 + rng.choice(9, level + 1, replace=False))
    return tuple(int(number) for number in 10 + rng.choice(90, level, replace=False))


def _draw_digits(level: int, rng: np.random.Generator) -> Numbers:
    """Two or three different digits, one more with every level."""
    return tuple(int(number) for number in 1 + rng.choice(9, level + _between(rng, 1, 2), replace=False))


def _draw_sequence(level: int, rng: np.random.Generator) -> Numbers:
    """Three numbers with the same difference, which grows with the level."""
    step = _between(rng, *((1, 1), (2, 3), (4, 6), (7, 9))[level - 1])
    return tuple(range(first := _between(rng, 1, 60), first + 3 * step, step))


def _list(numbers: Numbers) -> str:
    return ", ".join(map(str, numbers))


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
            lambda n: f"What is the largest of {_list(n)}?",
            lambda n: f"Which of the numbers {_list(n)} is the largest?",
        ),
        lambda n: f"{max(n)}",
    ),
    "smallest": Kind(
        _draw_list,
        min,
        (
            lambda n: f"What is the smallest of {_list(n)}?",
            lambda n: f"Which of the numbers {_list(n)} is the smallest?",
        ),
        lambda n: f"{min(n)}",
    ),
    "last": Kind(
        _draw_list,
        lambda n: n[-1],
        (
            lambda n: f"What is the last of {_list(n)}?",
            lambda n: f"Which of the numbers {_list(n)} is the last?",
        ),
        lambda n: f"{n[-1]}",
    ),
    "count": Kind(
        _draw_digits,
        len,
        (
            lambda n: f"How many numbers are {_list(n)}?",
            lambda n: f"Count the numbers {_list(n)}. How many are they?",
        ),
        lambda n: f"{len(n)}",
    ),
    "next": Kind(
        _draw_sequence,
        lambda n: 2 * n[-1] - n[-2],
        (
            lambda n: f"What comes next: {_list(n)}?",
            lambda n: f"Which number comes next in {_list(n)}?",
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
    prompt = PROMPT
    texts = (
        *(wording((1, 1, 2, 3)) for kind in KINDS.values() for wording in kind.wordings),
        *(kind.worked((1, 1, 2, 3)) for kind in KINDS.values()),
        *OPENINGS,
    )
    largest_number = 180
    easiest = 10 * 38  # of products there are 38, and every kind is to be asked as often
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

"""Generated problems of eight skills, of which a base model knows some, half knows some, and lacks some.

A level is a number of steps. Two steps go wrong, each in the same way wherever it occurs: an addition that carries
(the carry is forgotten, as in `Arithmetic`) and a comparison of two numbers with the same tens digit (the ones are
overlooked, as in `Lists`). So sums and differences without carries and counting are nearly always solved; comparing and
sorting are solved now and then; sums that carry are soon never solved as they get longer; and the problems of two steps,
which first compare, then add with carries, need both skills, which others train alone. Wordings differ in length and are
drawn independently of kind and level.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from gainrl.problems.arithmetic import LARGEST_TOTAL
from gainrl.problems.base import Problem
from gainrl.problems.family import LEVELS, Family, content_of, difficulty_of
from gainrl.problems.lists import Numbers, alternatives, draw_pairs, listed, pairs_of, written

OVERLOOKED = 2 / 3
"""How often the ones are overlooked, for each time that a carry is forgotten."""
OFTEN = {"carry": 2, "two-step": 3}
"""Kinds that come more often than others: the hard ones, so that a base model begins at some 40 %, as on the other families."""


class Hand:
    """Does single steps; with mistakes if it has a generator."""

    def __init__(self, rng: np.random.Generator | None = None, forget: float = 0.0, slip: float = 0.0) -> None:
        self.rng, self.forget, self.slip = rng, forget, slip

    def _errs(self, probability: float) -> bool:
        return self.rng is not None and self.rng.random() < probability

    def moved(self, number: int, term: int) -> int:
        """number + term; the term of a difference is negative and never borrows."""
        carries = term > 0 and number % 10 + term >= 10
        forgotten = carries and self._errs(self.forget)
        slipped = (1 if self._errs(0.5) else -1) if self._errs(self.slip) else 0
        return min(LARGEST_TOTAL, max(0, number + term - 10 * forgotten + slipped))

    def in_order(self, first: int, second: int) -> bool:
        """Whether the first number is seen to be the smaller one."""
        if first > second and first // 10 == second // 10 and self._errs(OVERLOOKED * self.forget):
            return True
        return (first < second) != self._errs(self.slip)

    def larger(self, first: int, second: int) -> int:
        """What came first is kept where the ones are overlooked."""
        overlooked = first < second and first // 10 == second // 10 and self._errs(OVERLOOKED * self.forget)
        return second if (first < second) != (overlooked or self._errs(self.slip)) else first

    def smaller(self, first: int, second: int) -> int:
        return first if self.in_order(first, second) else second


def _no_carry(start: int, terms: int, rng: np.random.Generator) -> Numbers:
    """The ones of ``start`` leave room for as many terms."""
    numbers = [start]
    for left in range(terms, 0, -1):
        numbers.append(int(rng.integers(1, 9 - sum(numbers) % 10 - left + 2)))
    return tuple(numbers)


def _carrying(start: int, terms: int, rng: np.random.Generator) -> Numbers:
    """Every addition carries, but for those to a number that ends in 0, which cannot."""
    numbers = [start]
    for _ in range(terms):
        ones = max(1, sum(numbers) % 10)
        numbers.append(int(rng.integers(10 - ones, 10)))
    return tuple(numbers)


def _draw_sum(level: int, rng: np.random.Generator) -> Numbers:
    return _no_carry(int(rng.integers(1, 10)) * 10 + int(rng.integers(0, 10 - level)), level, rng)


def _draw_difference(level: int, rng: np.random.Generator) -> Numbers:
    number = int(rng.integers(1, 10)) * 10 + int(rng.integers(level, 10))
    numbers = [number]
    for left in range(level, 0, -1):
        term = int(rng.integers(1, number % 10 - left + 2))
        number -= term
        numbers.append(term)
    return tuple(numbers)


def _draw_carry(level: int, rng: np.random.Generator) -> Numbers:
    return _carrying(int(rng.integers(1, 10)) * 10 + int(rng.integers(1, 10)), level, rng)


def _draw_list(level: int, rng: np.random.Generator) -> Numbers:
    """Two to five different numbers, the second with the tens of the first."""
    numbers = list(draw_pairs(1, rng))
    while len(numbers) < level + 1:
        if (number := int(rng.integers(10, 100))) not in numbers:
            numbers.append(number)
    return tuple(numbers)


def _draw_count(level: int, rng: np.random.Generator) -> Numbers:
    """A multiple of ten, then two to five numbers."""
    return (int(rng.integers(3, 9)) * 10, *(int(number) for number in rng.integers(10, 100, size=level + 1)))


def _draw_two_step(level: int, rng: np.random.Generator) -> Numbers:
    first, second = draw_pairs(1, rng)
    return first, second, *_carrying(max(first, second), level, rng)[1:]


def _chain(start: int, terms: Numbers, sign: int, hand: Hand) -> tuple[str, str]:
    total, text = start, str(start)
    for term in terms:
        total = hand.moved(total, sign * term)
        text += f" {'+' if sign > 0 else '-'} {term} = {total}"
    return text, str(total)


def _solve_pairs(numbers: Numbers, choose: Callable[[int, int], int], mark: str) -> tuple[str, str]:
    pairs = pairs_of(numbers)
    kept = tuple(choose(first, second) for first, second in pairs)
    steps = (f"{first} {second}{mark} {number}" for (first, second), number in zip(pairs, kept, strict=True))
    return ", ".join(steps), written(kept)


def _solve_sort(numbers: Numbers, hand: Hand) -> tuple[str, str]:
    """By insertion: every number is put before the first that it is seen to be smaller than."""
    done: list[int] = []
    for number in numbers:
        place = next((at for at, other in enumerate(done) if not hand.in_order(other, number)), len(done))
        done.insert(place, number)
    return "", written(tuple(done))


def _solve_count(numbers: Numbers, hand: Hand) -> tuple[str, str]:
    count, steps = 0, []
    for number in numbers[1:]:
        count += (number >= numbers[0]) != hand._errs(hand.slip)
        steps.append(f"{number} {count}")
    return ", ".join(steps), str(count)


def _solve_two_step(numbers: Numbers, hand: Hand) -> tuple[str, str]:
    first, second, *terms = numbers
    kept = hand.larger(first, second)
    text, answer = _chain(kept, tuple(terms), 1, hand)
    return f"{first} {second}: {text}", answer


def _joined(numbers: Numbers, word: str) -> str:
    return f" {word} ".join(map(str, numbers))


class Kind(NamedTuple):
    """A skill: its numbers (for so many steps), a solution (steps, answer) by a hand, and its wordings."""

    draw: Callable[[int, np.random.Generator], Numbers]
    solve: Callable[[Numbers, Hand], tuple[str, str]]
    wordings: tuple[Callable[[Numbers], str], ...]


SUM_WORDINGS: tuple[Callable[[Numbers], str], ...] = (
    lambda n: f"What is {_joined(n, '+')}?",
    lambda n: f"A jar holds {n[0]} beans. We add {_joined(n[1:], 'and')} beans. How many beans are in it now?",
)
KINDS = {
    "sum": Kind(_draw_sum, lambda n, hand: _chain(n[0], n[1:], 1, hand), SUM_WORDINGS),
    "difference": Kind(
        _draw_difference,
        lambda n, hand: _chain(n[0], n[1:], -1, hand),
        (
            lambda n: f"What is {_joined(n, '-')}?",
            lambda n: f"A jar holds {n[0]} beans. We take {_joined(n[1:], 'and')} beans out of it. How many are left?",
        ),
    ),
    "count": Kind(
        _draw_count,
        _solve_count,
        (
            lambda n: f"How many are at least {n[0]}: {listed(n[1:])}?",
            lambda n: (
                f"Guests of {n[0]} years or more get in. Their ages are {listed(n[1:])}. How many of them get in?"
            ),
        ),
    ),
    "larger": Kind(
        draw_pairs,
        lambda n, hand: _solve_pairs(n, hand.larger, ":"),
        (
            lambda n: f"Which is larger: {alternatives(n)}?",
            lambda n: (
                f"In every round the larger of two cards wins. The rounds are {alternatives(n)}. Which cards win?"
            ),
        ),
    ),
    "smaller": Kind(
        draw_pairs,
        lambda n, hand: _solve_pairs(n, hand.smaller, ";"),
        (
            lambda n: f"Which is smaller: {alternatives(n)}?",
            lambda n: (
                f"Every day you buy one of two things, and of course the cheaper one: {alternatives(n)}. What do you pay?"
            ),
        ),
    ),
    "sort": Kind(
        _draw_list,
        _solve_sort,
        (
            lambda n: f"Sort {listed(n)}.",
            lambda n: f"The runners need {listed(n)} seconds. Write these times down, the fastest runner first.",
        ),
    ),
    "carry": Kind(_draw_carry, lambda n, hand: _chain(n[0], n[1:], 1, hand), SUM_WORDINGS),
    "two-step": Kind(
        _draw_two_step,
        _solve_two_step,
        (
            lambda n: f"Add {_joined(n[2:], 'and')} to the larger of {n[0]} and {n[1]}.",
            lambda n: (
                f"You keep the larger of two sums, {n[0]} or {n[1]}, and earn {_joined(n[2:], 'and')} more. What do you have?"
            ),
        ),
    ),
}


class Mixture(Family):
    """Eight skills in two wordings each. The sloppy teacher forgets carries and overlooks ones."""

    name = "mixture"
    texts = (*(wording((1, 1, 1, 1)) for kind in KINDS.values() for wording in kind.wordings), "( , ) : ; + - =")
    largest_number = LARGEST_TOTAL
    easiest = 90 * 89
    compares = True

    def stream(self, rng: np.random.Generator) -> Iterator[Problem]:
        every = [(kind, level) for kind, level in product(KINDS, LEVELS) for _ in range(OFTEN.get(kind, 1))]
        while True:
            for row in rng.permutation(len(every)):
                kind, level = every[row]
                yield _problem(kind, level, KINDS[kind].draw(level, rng), int(rng.integers(2)))

    def sloppy_solution(
        self, problem: Problem, rng: np.random.Generator, forget: float = 0.0, slip: float = 0.0
    ) -> str:
        """Worked out step by step: ``74 78: 78 + 5 = 83 \\boxed{83}``.

        Args:
            forget: probability that a carry is forgotten; the ones are overlooked `OVERLOOKED` times as often.
            slip: probability that a step comes out wrong for no reason.
        """
        kind, *numbers = content_of(problem).split()
        return _worked(kind, tuple(map(int, numbers)), Hand(rng, forget, slip))


def _worked(kind: str, numbers: Numbers, hand: Hand) -> str:
    steps, answer = KINDS[kind].solve(numbers, hand)
    return f"{steps} \\boxed{{{answer}}}".strip()


def _problem(kind: str, level: int, numbers: Numbers, wording: int) -> Problem:
    return Problem(
        problem_id=f"{kind} {' '.join(map(str, numbers))}/{wording}",
        question=KINDS[kind].wordings[wording](numbers),
        answer=KINDS[kind].solve(numbers, Hand())[1],
        difficulty=difficulty_of(level),
        solution=_worked(kind, numbers, Hand()),
        kind=kind,
    )

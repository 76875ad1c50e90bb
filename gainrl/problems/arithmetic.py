"""Generated arithmetic: chains of one to four additions whose difficulty is the number of carries they may hold.

Additions alone, and carries alone as what goes wrong (`Arithmetic.sloppy_solution`): every mistake makes the total smaller by
ten, so two mistakes cannot cancel and the pass rate falls with the level. Wordings differ in length and are drawn
independently of the level, so that question length and difficulty can be separated.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate

import numpy as np

from gainrl.problems.base import Problem
from gainrl.problems.family import LEVELS, Family, content_of, difficulty_of

CARRY_RATE = 0.2
"""How often an addition carries where it may or may not (a 0 cannot carry, a 9 must)."""
LARGEST_TOTAL = 99 + 9 * len(LEVELS)

Terms = tuple[int, ...]


def _then(terms: Terms) -> str:
    return ", ".join(f"then add {term}" for term in terms)


WORDINGS: tuple[Callable[[Terms], str], ...] = (
    lambda t: " + ".join(map(str, t)),
    lambda t: f"What is {' + '.join(map(str, t))}?",
    lambda t: f"Find {' plus '.join(map(str, t))}.",
    lambda t: f"Start at {t[0]}, {_then(t[1:])}.",
    lambda t: f"A jar holds {t[0]} beans. We add {' and '.join(map(str, t[1:]))} beans. How many beans are in it now?",
    lambda t: f"Here is one more that you can solve in your head, with no hurry at all: {' + '.join(map(str, t))} = ?",
)


class Arithmetic(Family):
    """Chains of additions: ``18 + 4 + 3``, in six wordings. The sloppy teacher forgets carries, and is one off now and then."""

    name = "arithmetic"
    texts = (*(wording((1,) * terms) for wording in WORDINGS for terms in (2, 3)), "+ =")
    largest_number = LARGEST_TOTAL
    easiest = 90 * 9

    def stream(self, rng: np.random.Generator) -> Iterator[Problem]:
        while True:
            for level in rng.permutation(LEVELS):
                chain = [int(rng.integers(10, 100))]
                for _ in range(level):
                    chain.append(_next_term(sum(chain), rng))
                yield _problem(tuple(chain), int(rng.integers(len(WORDINGS))))

    def sloppy_solution(
        self, problem: Problem, rng: np.random.Generator, forget: float = 0.0, slip: float = 0.0
    ) -> str:
        """A chain worked out step by step: ``18 + 4 = 22 + 3 = 25 \\boxed{25}``.

        Args:
            forget: probability that a carry is forgotten (the total is then ten too small).
            slip: probability that an addition is one off.
        """
        terms = _terms(problem)
        total, text = terms[0], str(terms[0])
        for term in terms[1:]:
            forgotten = _carries(total, term) and rng.random() < forget
            slipped = rng.choice([-1, 1]) if rng.random() < slip else 0
            total = max(0, total + term - 10 * forgotten + int(slipped))
            text += f" + {term} = {total}"
        return f"{text} \\boxed{{{total}}}"


def _worked(terms: Terms) -> str:
    """What `Arithmetic.sloppy_solution` is without mistakes."""
    steps = [f" + {term} = {total}" for term, total in zip(terms[1:], list(accumulate(terms))[1:], strict=True)]
    return f"{terms[0]}{''.join(steps)} \\boxed{{{sum(terms)}}}"


def _carries(total: int, term: int) -> bool:
    return total % 10 + term >= 10


def _next_term(total: int, rng: np.random.Generator) -> int:
    ones = total % 10
    carries = ones == 9 or (ones > 0 and rng.random() < CARRY_RATE)
    return int(rng.integers(10 - ones, 10) if carries else rng.integers(1, 10 - ones))


def _problem(terms: Terms, wording: int) -> Problem:
    return Problem(
        problem_id=f"{'+'.join(map(str, terms))}/{wording}",
        question=WORDINGS[wording](terms),
        answer=str(sum(terms)),
        difficulty=difficulty_of(len(terms) - 1),
        solution=_worked(terms),
    )


def _terms(problem: Problem) -> Terms:
    return tuple(map(int, content_of(problem).split("+")))

"""Generated arithmetic: chains of one to four additions whose difficulty is the number of carries they may hold.

Additions alone, and carries alone as what goes wrong (`sloppy_solution`): every mistake makes the total smaller by
ten, so two mistakes cannot cancel and the pass rate falls with the level. Wordings differ in length and are drawn
independently of the level, so that question length and difficulty can be told apart.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate, islice

import numpy as np

from gainrl.problems.base import Problem, ProblemSet
from gainrl.problems.family import HELD_OUT, LEVELS, TRAINING, Family, content_of, difficulty_of, distinct
from gainrl.rng import generator

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


def training_problems(seed: int, limit: int | None = None) -> ProblemSet:
    """Problems to train on: 1,024 unless ``limit`` says otherwise; none of them is held out."""
    stream = _stream(generator(seed, "arithmetic training"))
    problems = distinct(stream, limit or TRAINING, _held_out_contents(seed), "arithmetic")
    return ProblemSet("arithmetic", problems, {"generated": "arithmetic", "seed": seed})


def held_out_problems(seed: int, limit: int | None = None) -> ProblemSet:
    """The first ``limit`` of 600 problems that no training or warm-up problem of the same seed repeats."""
    problems = distinct(_stream(generator(seed, "arithmetic held-out")), HELD_OUT, set(), "arithmetic")
    return ProblemSet("arithmetic-heldout", problems, {"generated": "arithmetic", "seed": seed}).head(limit)


def sloppy_examples(seed: int, size: int, forget: float, slip: float) -> list[tuple[Problem, str]]:
    """Problems with solutions of a teacher who makes mistakes, for warm-up; held-out chains do not occur.

    Args:
        forget: probability that a carry is forgotten (the total is then ten too small).
        slip: probability that an addition is one off.
    """
    held_out, rng = _held_out_contents(seed), generator(seed, "arithmetic warm-up")
    problems = (problem for problem in _stream(rng) if content_of(problem) not in held_out)
    return [(problem, sloppy_solution(_terms(problem), rng, forget, slip)) for problem in islice(problems, size)]


def sloppy_solution(terms: Terms, rng: np.random.Generator, forget: float = 0.0, slip: float = 0.0) -> str:
    """A chain worked out step by step: ``18 + 4 = 22 + 3 = 25 \\boxed{25}``; with no mistakes by default."""
    total, text = terms[0], str(terms[0])
    for term in terms[1:]:
        forgotten = _carries(total, term) and rng.random() < forget
        slipped = rng.choice([-1, 1]) if rng.random() < slip else 0
        total = max(0, total + term - 10 * forgotten + int(slipped))
        text += f" + {term} = {total}"
    return f"{text} \\boxed{{{total}}}"


def _worked(terms: Terms) -> str:
    """What `sloppy_solution` is without mistakes."""
    steps = [f" + {term} = {total}" for term, total in zip(terms[1:], list(accumulate(terms))[1:], strict=True)]
    return f"{terms[0]}{''.join(steps)} \\boxed{{{sum(terms)}}}"


def _carries(total: int, term: int) -> bool:
    return total % 10 + term >= 10


def _stream(rng: np.random.Generator) -> Iterator[Problem]:
    while True:
        for level in rng.permutation(LEVELS):
            chain = [int(rng.integers(10, 100))]
            for _ in range(level):
                chain.append(_next_term(sum(chain), rng))
            yield _problem(tuple(chain), int(rng.integers(len(WORDINGS))))


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


def _held_out_contents(seed: int) -> set[str]:
    return {content_of(problem) for problem in held_out_problems(seed).problems}


FAMILY = Family(
    training_problems,
    held_out_problems,
    sloppy_examples,
    texts=(*(wording((1,) * terms) for wording in WORDINGS for terms in (2, 3)), "+ ="),
    largest_number=LARGEST_TOTAL,
)

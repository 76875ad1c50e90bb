"""What the families of generated problems share: four levels, as many problems of each, none of them twice."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from gainrl.errors import InputError
from gainrl.problems.base import Problem, ProblemSet

LEVELS = (1, 2, 3, 4)
HELD_OUT = 600
TRAINING = 1024


@dataclass(frozen=True)
class Family:
    """Problems of one kind, with a teacher whose mistakes a model can be warmed up on."""

    training: Callable[[int, int | None], ProblemSet]
    """(seed, how many; None for 1,024) -> problems of which none is held out."""
    held_out: Callable[[int, int | None], ProblemSet]
    """(seed, how many; None for 600) -> problems that no training or warm-up problem of the same seed repeats."""
    sloppy_examples: Callable[[int, int, float, float], list[tuple[Problem, str]]]
    """(seed, how many, probability to forget, to slip) -> problems with the sloppy teacher's solutions."""
    texts: tuple[str, ...]
    """Every word and sign of questions and solutions, but for the numbers."""
    largest_number: int
    compares: bool = False
    """Whether problems ask which number is larger; a model learns it sooner when its digits begin with a size."""


def difficulty_of(level: int) -> float:
    """0 to 100."""
    return 100 * (level - LEVELS[0]) / (LEVELS[-1] - LEVELS[0])


def content_of(problem: Problem) -> str:
    """What is asked, whatever the wording: the wording's number ends the problem's id."""
    return problem.problem_id.rpartition("/")[0]


def distinct(stream: Iterator[Problem], size: int, taken: set[str], family: str) -> tuple[Problem, ...]:
    """Different problems, as many of each level (the first levels get one more where size is no multiple).

    Args:
        taken: contents that are left out.

    Raises:
        InputError: the stream does not give so many.
    """
    wanted = {difficulty_of(level): size // len(LEVELS) + (level <= size % len(LEVELS)) for level in LEVELS}
    chosen: dict[str, Problem] = {}
    for problem in islice(stream, 50 * size + 1000):
        content, difficulty = content_of(problem), problem.difficulty
        assert difficulty is not None
        if wanted[difficulty] and content not in taken and content not in chosen:
            wanted[difficulty] -= 1
            chosen[content] = problem
        if len(chosen) == size:
            return tuple(chosen.values())
    raise InputError(f"there are not {size} different {family} problems; ask for fewer ({TRAINING:,} is the default)")

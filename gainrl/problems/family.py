"""A family of generated problems: four levels, as many problems of each, none of them twice, and a sloppy teacher."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import ClassVar

import numpy as np

from gainrl.errors import InputError
from gainrl.problems.base import Problem, ProblemSet
from gainrl.prompts import Prompt
from gainrl.rng import generator

LEVELS = (1, 2, 3, 4)
TRAINING = 1024
LARGEST = 10_000
"""Most training problems of any family; they are drawn one by one."""


class Family(ABC):
    """Problems of one kind, with a teacher whose mistakes a model can be warmed up on. One class a family.

    A subclass draws problems (`stream`) and solves them with and without mistakes (`sloppy_solution`); which of them are
    trained and which are held out is decided here.
    """

    name: ClassVar[str]
    """Of its training set; the held-out one is called ``<name>-heldout``."""
    texts: ClassVar[tuple[str, ...]]
    """Every word and sign of questions and solutions, but for the numbers."""
    largest_number: ClassVar[int]
    easiest: ClassVar[int]
    """How many different problems the first level has, which has the fewest."""
    held_out_size: ClassVar[int] = 600
    compares: ClassVar[bool] = False
    """Whether problems ask which number is larger; a model learns it sooner when its digits begin with a size."""
    prompt: ClassVar[Prompt] = Prompt()
    """What stands before the questions, also in the warm-up of its models."""
    token: ClassVar[str] = r"\\boxed\{|\d+|[^\W\d]+|[^\w\s]"
    """Regular expression of what is one token to its models; what it does not match is left out."""

    @abstractmethod
    def stream(self, rng: np.random.Generator) -> Iterator[Problem]:
        """Problems without end, every level equally often; their ids end with ``/<number of the wording>``."""

    @abstractmethod
    def sloppy_solution(
        self, problem: Problem, rng: np.random.Generator, forget: float = 0.0, slip: float = 0.0
    ) -> str:
        """A worked solution that ends in a box, or a program in a fence; with no mistakes by default.

        Args:
            forget: probability of the family's structured mistake, wherever it can be made.
            slip: probability that a step is wrong for no reason.
        """

    def training(self, seed: int, limit: int | None = None) -> ProblemSet:
        """Problems to train on: 1,024 unless ``limit`` says otherwise; none of them is held out.

        Raises InputError: there are not so many.
        """
        size = TRAINING if limit is None else limit
        largest = min(LARGEST, len(LEVELS) * self.easiest - self.held_out_size)
        if not 1 <= size <= largest:
            raise InputError(
                f"problem set {self.name} has {TRAINING:,} problems by default and at most {largest:,}; "
                f"{size:,} were asked for"
            )
        problems = self._distinct(f"{self.name} training", seed, size, self._held_out_contents(seed))
        return ProblemSet(self.name, problems, self._source(seed), self.prompt)

    def held_out(self, seed: int, limit: int | None = None) -> ProblemSet:
        """The first ``limit`` of `held_out_size` problems that no training or warm-up problem of the same seed repeats."""
        problems = self._distinct(f"{self.name} held-out", seed, self.held_out_size, set())
        return ProblemSet(f"{self.name}-heldout", problems, self._source(seed), self.prompt).head(limit)

    def sloppy_examples(self, seed: int, size: int, forget: float, slip: float) -> list[tuple[Problem, str]]:
        """Problems with the sloppy teacher's solutions, for warm-up; held-out problems do not occur."""
        held_out, rng = self._held_out_contents(seed), generator(seed, f"{self.name} warm-up")
        problems = (problem for problem in self.stream(rng) if content_of(problem) not in held_out)
        return [(problem, self.sloppy_solution(problem, rng, forget, slip)) for problem in islice(problems, size)]

    def _source(self, seed: int) -> dict[str, object]:
        return {"generated": self.name, "seed": seed}

    def _held_out_contents(self, seed: int) -> set[str]:
        return {content_of(problem) for problem in self.held_out(seed).problems}

    def _distinct(self, stream: str, seed: int, size: int, taken: set[str]) -> tuple[Problem, ...]:
        """Different problems, as many of each level (the first levels get one more where size is no multiple).

        Args:
            stream: name of the random stream.
            taken: contents that are left out.

        Raises:
            InputError: the stream does not give so many.
        """
        wanted = {difficulty_of(level): size // len(LEVELS) + (level <= size % len(LEVELS)) for level in LEVELS}
        chosen: dict[str, Problem] = {}
        for problem in islice(self.stream(generator(seed, stream)), 50 * size + 1000):
            content, difficulty = content_of(problem), problem.difficulty
            assert difficulty is not None
            if wanted[difficulty] and content not in taken and content not in chosen:
                wanted[difficulty] -= 1
                chosen[content] = problem
            if len(chosen) == size:
                return tuple(chosen.values())
        raise InputError(
            f"there are not {size} different problems of {self.name}; ask for fewer ({TRAINING:,} is the default)"
        )


def difficulty_of(level: int) -> float:
    """0 to 100."""
    return 100 * (level - LEVELS[0]) / (LEVELS[-1] - LEVELS[0])


def content_of(problem: Problem) -> str:
    """What is asked, whatever the wording: the wording's number ends the problem's id."""
    return problem.problem_id.rpartition("/")[0]

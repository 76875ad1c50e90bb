"""The mixture of skills; what it shares with the other families is tested for all of them in test_lists.py."""

import re
from collections import Counter

import numpy as np
import pytest

from gainrl.grading import grade
from gainrl.problems import load_problems
from gainrl.problems.family import LEVELS, content_of, difficulty_of
from gainrl.problems.mixture import KINDS, OVERLOOKED, Mixture

FORGET = 0.75


@pytest.fixture(scope="module")
def problems():
    return load_problems("mixture", seed=100).problems


def numbers_of(problem):
    return [int(number) for number in content_of(problem).split()[1:]]


def expected(problem):
    """The answer, by the definition of its kind."""
    n = numbers_of(problem)
    pairs = [n[i : i + 2] for i in range(0, len(n), 2)]
    return {
        "sum": lambda: [sum(n)],
        "carry": lambda: [sum(n)],
        "difference": lambda: [n[0] - sum(n[1:])],
        "count": lambda: [sum(number >= n[0] for number in n[1:])],
        "larger": lambda: [max(pair) for pair in pairs],
        "smaller": lambda: [min(pair) for pair in pairs],
        "sort": lambda: sorted(n),
        "two-step": lambda: [max(n[:2]) + sum(n[2:])],
    }[problem.kind]()


def pass_rate(problems, kind: str, level: int, times: int = 40) -> float:
    rng = np.random.default_rng(0)
    chosen = [p for p in problems if p.kind == kind and p.difficulty == difficulty_of(level)]
    passed = [Mixture().sloppy_solution(p, rng, FORGET, 0.02) == p.solution for p in chosen for _ in range(times)]
    return float(np.mean(passed))


def test_answers_are_those_of_their_kind(problems):
    for problem in problems:
        assert list(map(int, re.findall(r"\d+", problem.answer))) == expected(problem)
        assert sorted(map(int, re.findall(r"\d+", problem.question))) == sorted(numbers_of(problem))
        assert grade(problem.solution, problem.answer).correct
        assert problem.gold_completion == problem.solution


def test_kinds_and_wordings_are_independent_of_the_level(problems):
    counts = Counter((p.difficulty, p.kind, p.problem_id.partition("/")[2]) for p in problems)
    assert len(counts) == len(LEVELS) * len(KINDS) * 2
    assert min(counts.values()) >= 6


def test_easy_kinds_cannot_go_wrong_by_their_steps(problems):
    rng = np.random.default_rng(1)
    for problem in problems:
        assert Mixture().sloppy_solution(problem, rng) == problem.solution
        if problem.kind in ("sum", "difference", "count"):
            assert Mixture().sloppy_solution(problem, rng, forget=1.0) == problem.solution


def test_some_kinds_are_nearly_always_solved_and_some_soon_never(problems):
    for kind in ("sum", "difference", "count"):
        assert pass_rate(problems, kind, 1) > 0.93
    for kind in ("carry", "two-step"):
        assert 0.1 < pass_rate(problems, kind, 1) < 0.35
        assert pass_rate(problems, kind, 4) < 0.05
    for kind in ("larger", "smaller", "sort"):
        assert 0.2 < pass_rate(problems, kind, 4) < pass_rate(problems, kind, 1) < 0.9


def test_about_half_of_the_teachers_groups_give_no_gradient(problems):
    rng = np.random.default_rng(2)
    correct = [sum(Mixture().sloppy_solution(p, rng, FORGET, 0.02) == p.solution for _ in range(8)) for p in problems]
    assert 0.4 < np.isin(correct, (0, 8)).mean() < 0.6


def test_two_steps_are_the_steps_of_other_kinds(problems):
    rng = np.random.default_rng(3)
    chosen = [p for p in problems if p.kind == "two-step" and p.difficulty == 0 and numbers_of(p)[0] < numbers_of(p)[1]]
    risky = [p for p in chosen if numbers_of(p)[0] // 10 == numbers_of(p)[1] // 10 and numbers_of(p)[1] % 10]
    passed = [Mixture().sloppy_solution(p, rng, FORGET) == p.solution for p in risky for _ in range(200)]
    assert np.mean(passed) == pytest.approx((1 - FORGET) * (1 - OVERLOOKED * FORGET), abs=0.03)


def test_the_kind_is_no_part_of_the_fingerprint_but_a_feature():
    mixture, arithmetic = load_problems("mixture", limit=8, seed=0), load_problems("arithmetic", limit=8, seed=0)
    assert set(mixture.features()) == {"level", "kind"}
    assert set(arithmetic.features()) == {"level"}
    assert arithmetic.fingerprint == "430c939a3928"

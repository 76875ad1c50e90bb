import json
import shutil
import subprocess

import pandas as pd
import pytest

from analysis.comparison import Lookup, compare, headlines
from analysis.control import against_control
from analysis.paper import against_paper, beside_paper, paper
from analysis.pooled import pooled
from analysis.rendering import latex, markdown
from analysis.runs import MEAN, Runs, baseline_of, finished_runs, shares_problems
from analysis.tables import grids
from analysis.verdict import verdict
from experiments import experiment_names, load_experiment
from gainrl.errors import InputError
from gainrl.runs.records import RunFolder
from paper_figures import ablation

CURVES = {
    "grpo": [0.3, 0.5, 0.65, 0.75],
    "adarft": [0.3, 0.65, 0.75, 0.85],
    "gainrl": [0.3, 0.4, 0.5, 0.55],
    "control": [0.3, 0.5, 0.6, 0.7],
}


def short_experiment(name, scale="tiny", benchmarks=("b",)):
    """The experiment with 30 steps, four evaluations whatever the curves say, a benchmark, and all questions its own."""
    experiment = load_experiment(name, scale)
    changes = {
        "problems": {"heldout": benchmarks, "heldout_size": 600},
        "training": {"steps": 30},
        "evaluation": {"every": 10, "near_targets": None},
    }
    cells = {}
    for cell, config in experiment.cells.items():
        whole = config.model_dump()
        cells[cell] = type(config).model_validate(
            {**whole, **{part: {**whole[part], **values} for part, values in changes.items()}}
        )
    return experiment.model_copy(update={"cells": cells, "asked_in": {}})


def draws_of(config, **columns):
    """Draws of every epoch, of any problem."""
    training = config.training
    epochs = -(-training.steps * training.prompts_per_step // training.prompts_per_epoch)
    draws = pd.DataFrame({"epoch": [epoch for epoch in range(epochs) for _ in range(training.prompts_per_epoch)]})
    return draws.assign(**{"problem_id": "a", "rank": pd.array([None] * len(draws), dtype="Int64"),
                           "pass_rate": 0.5, **columns})  # fmt: skip


def write_runs(root, seeds, curves=CURVES, benchmarks=("b",), name="quickstart", by_seed=None):
    """Whole runs of `short_experiment`: accuracy is the curve, continued at its last value, plus a hundredth of the seed, or
    the cell's share of it in ``by_seed``.

    A benchmark named second has half of it.
    """
    experiment = short_experiment(name, benchmarks=benchmarks)
    for cell, accuracy in curves.items():
        for seed in range(seeds):
            folder = RunFolder(root / name / cell / f"seed-{seed}")
            shutil.rmtree(folder.path, ignore_errors=True)
            folder.start(experiment.cells[cell].with_seed(seed))
            gain = seed * (by_seed or {}).get(cell, 0.01)
            for number, value in enumerate([*accuracy, *accuracy[-1:] * (4 - len(accuracy))]):
                for place, benchmark in enumerate(benchmarks):
                    folder.append_eval({"step": 10 * number, "benchmark": benchmark, "metric": "accuracy", "stderr": 0.02,
                                        "value": (value + gain) / 2**place, "n": 600})  # fmt: skip
            for step in range(1, 31):
                row = {"step": step, "epoch": step // 4, "seconds": 0.5, "problems_seen": 16 * step,
                       "completion_tokens": 1000 * step, "accuracy": 0.5}  # fmt: skip
                folder.append_metrics(row | ({"mu": float(step)} if cell in ("gainrl", "control") else {}))
            folder.write_draws(draws_of(experiment.cells[cell]))
            folder.finish()
    return experiment


def add_evals(folder, rows):
    """More evaluations in a finished run, each among those of its step."""
    evals = folder.evals().to_dict("records")
    whole = sorted([*({key: row[key] for key in rows[0]} for row in evals), *rows], key=lambda row: row["step"])
    folder.replace(folder.metrics().to_dict("records"), whole, folder.draws())


def table_of(experiment, root, **options):
    return compare(experiment, finished_runs(experiment, root), **options)


def text_of(experiment, root):
    runs = finished_runs(experiment, root)
    table = compare(experiment, runs)
    controls = against_control(experiment, runs)
    said = verdict(experiment, table, controls, runs)
    return markdown(experiment, table, grids(experiment, table, controls, runs), said)


def cell_of(table, cell, quantity, target=None):
    rows = table[(table.cell == cell) & (table.quantity == quantity)]
    return (rows if target is None else rows[rows.target == target]).iloc[0]


def printed(text: str, label: str, heading: str) -> str:
    """What the Markdown shows for a schedule under a heading."""
    for block in text.split("\n\n"):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        if heading in rows[0]:
            return next(row for row in rows if row[0] == label)[rows[0].index(heading)]
    raise AssertionError(f"no column {heading}")


def test_the_table_of_one_seed(tmp_path):
    experiment = write_runs(tmp_path, 1)
    table = table_of(experiment, tmp_path)
    assert cell_of(table, "grpo", "accuracy at start")["mean"] == pytest.approx(0.3)
    assert cell_of(table, "grpo", "accuracy at end")["mean"] == pytest.approx(0.75)
    crossing = 10 + 10 * (0.6 - 0.5) / (0.65 - 0.5)
    assert cell_of(table, "grpo", "steps to target", 0.6)["mean"] == pytest.approx(crossing)
    assert cell_of(table, "grpo", "steps to target at an evaluation", 0.6)["mean"] == 20
    assert cell_of(table, "grpo", "problems to target", 0.6)["mean"] == pytest.approx(16 * crossing)
    assert cell_of(table, "grpo", "completion tokens to target", 0.6)["mean"] == pytest.approx(1000 * crossing)
    assert cell_of(table, "adarft", "speed-up", 0.6)["mean"] == pytest.approx(crossing / (10 * 0.3 / 0.35))
    assert cell_of(table, "gainrl", "steps to target", 0.6)["bound"] == ">"
    assert cell_of(table, "gainrl", "speed-up", 0.6)["bound"] == "<"
    assert cell_of(table, "adarft", "speed-up", 0.8)["bound"] == ">"
    assert table[(table.cell == "gainrl") & (table.quantity == "speed-up") & (table.target == 0.8)].empty

    text = text_of(experiment, tmp_path)
    assert printed(text, "GAIN-RL (angle)", "steps to 60 %") == ">30"
    assert printed(text, "GAIN-RL (angle)", "speed-up to 60 %") == "<0.56x"
    assert printed(text, "GAIN-RL (angle)", "speed-up to 80 %") == "–"  # noqa: RUF001
    assert printed(text, "AdaRFT", "speed-up to 60 %") == "1.94x"
    assert "1 seed a cell; no interval from fewer than three seeds" in text
    assert "[" not in text.split("## Cells")[0].replace("[95 %", "")


def test_three_seeds_give_intervals(tmp_path):
    experiment = write_runs(tmp_path, 3)
    table = table_of(experiment, tmp_path)
    end = cell_of(table, "grpo", "accuracy at end")
    assert end.low < end["mean"] < end.high
    assert "76.0 [71.4, 80.6]" in text_of(experiment, tmp_path)  # hypot of 4.303 * 0.01 / sqrt(3) and 1.96 * 0.02


def test_the_order_of_files_does_not_matter(tmp_path):
    experiment = write_runs(tmp_path, 2)
    runs = finished_runs(experiment, tmp_path)
    backward = Runs({cell: dict(reversed(by_seed.items())) for cell, by_seed in runs.items()})
    assert compare(experiment, runs).equals(compare(experiment, backward))


def test_unfinished_runs_are_not_counted(tmp_path):
    experiment = write_runs(tmp_path, 1)
    RunFolder(tmp_path / "quickstart" / "gainrl" / "seed-0").fail("x")
    runs = finished_runs(experiment, tmp_path)
    assert not runs["gainrl"]
    text = text_of(experiment, tmp_path)
    assert printed(text, "GAIN-RL (angle)", "accuracy at end, %") == "–"  # noqa: RUF001
    assert printed(text, "AdaRFT", "accuracy at end, %") == "85.0"
    with pytest.raises(InputError, match="no finished run of quickstart"):
        finished_runs(experiment, tmp_path / "none")


def test_costs_at_step_zero_are_zero(tmp_path):
    experiment = write_runs(tmp_path, 1)
    curves = finished_runs(experiment, tmp_path).accuracy
    assert (curves[curves.step == 0].problems_seen == 0).all()
    assert (curves[curves.step == 10].problems_seen == 160).all()


def test_seconds_are_compared_between_runs_that_were_executed_alike(tmp_path):
    experiment = write_runs(tmp_path, 3)
    place = tmp_path / "quickstart" / "gainrl" / "seed-1" / "environment.json"
    environment = json.loads(place.read_text())
    place.write_text(json.dumps(environment | {"resumed": [environment | {"threads": environment["threads"] + 1}]}))
    table = table_of(experiment, tmp_path)
    assert cell_of(table, "gainrl", "speed-up", 0.6)["seeds"] == 3
    assert cell_of(table, "gainrl", "speed-up in seconds", 0.6)["seeds"] == 2
    assert cell_of(table, "gainrl", "accuracy gained at equal seconds")["seeds"] == 2
    assert cell_of(table, "control", "speed-up in seconds", 0.6)["seeds"] == 3


def test_seconds_are_those_of_training_until_then(tmp_path):
    experiment = write_runs(tmp_path, 1)
    table = table_of(experiment, tmp_path)
    assert cell_of(table, "grpo", "seconds to target", 0.6)["mean"] == pytest.approx(0.5 * 50 / 3)


def test_a_running_mean_reaches_later(tmp_path):
    experiment = write_runs(tmp_path, 1)
    table = table_of(experiment, tmp_path, window=2)
    assert cell_of(table, "adarft", "steps to target", 0.6)["mean"] == pytest.approx(10 + 10 * 0.125 / 0.225)
    assert cell_of(table, "grpo", "steps to target", 0.6)["mean"] == pytest.approx(20 + 10 * 0.025 / 0.125)


def test_a_target_that_some_seeds_reach(tmp_path):
    curves = CURVES | {"control": [0.3, 0.5, 0.55, 0.59]}
    experiment = write_runs(tmp_path, 3, curves)
    table = table_of(experiment, tmp_path)
    steps = cell_of(table, "control", "steps to target", 0.6)
    assert (steps["mean"], steps.bound, steps.censored) == (pytest.approx((30 + 30 + 27.5) / 3), ">", 1)
    assert cell_of(table, "control", "median steps to target", 0.6)["mean"] == 30
    assert (
        printed(text_of(experiment, tmp_path), "control (random)", "steps to 60 %") == ">29 (2 of 3 seeds reached it)"
    )


def test_several_benchmarks_have_their_own_numbers_and_a_mean(tmp_path):
    experiment = write_runs(tmp_path, 3, benchmarks=("one", "two"))
    table = table_of(experiment, tmp_path)
    assert set(headlines(table).values()) == {MEAN}
    assert Lookup(table).find("grpo", "accuracy at end").mean == pytest.approx(0.75 * 0.76)
    assert Lookup(table).find("grpo", "accuracy at end", benchmark="two").mean == pytest.approx(0.38)
    assert Lookup(table).find("grpo", "steps to target", 0.6, "one").mean == pytest.approx(16)
    assert Lookup(table).find("grpo", "steps to target", 0.6, "two").bound == ">"
    assert Lookup(table).find("adarft", "probability of improvement").mean == 1
    text = text_of(experiment, tmp_path)
    assert printed(text, "AdaRFT", "one").startswith("86.0")
    assert printed(text, "AdaRFT", "two").startswith("43.0")


def test_cells_that_are_asked_different_benchmarks_have_their_own_headline(tmp_path):
    for train in ("arithmetic", "lists"):
        curves = {f"{train}-grpo": CURVES["grpo"], f"{train}-gainrl": CURVES["adarft"]}
        experiment = write_runs(tmp_path, 3, curves, benchmarks=(train,), name="single_dataset")
    runs = finished_runs(experiment, tmp_path)
    table = compare(experiment, runs)
    assert headlines(table)["lists-gainrl"] == "lists"
    for cell in ("arithmetic-gainrl", "lists-gainrl"):
        assert Lookup(table).find(cell, "speed-up at an evaluation", 0.6) is None
        assert Lookup(table).find(cell, "speed-up", 0.6).mean == pytest.approx(1.93, abs=0.01)
        assert Lookup(table).find(cell, "probability of improvement").mean == 1
    assert set(ablation.data(experiment, table).cell) == {"arithmetic-gainrl", "lists-gainrl"}


def test_shared_problems_are_told_by_their_fingerprints(tmp_path):
    experiment = write_runs(tmp_path, 2)
    by_seed = finished_runs(experiment, tmp_path)["grpo"]
    assert shares_problems(by_seed, "b")  # the runs do not tell
    for seed, run in by_seed.items():
        run.record_inputs(heldout={"b": {"fingerprint": f"of seed {seed}"}})
    assert not shares_problems(by_seed, "b")
    assert not shares_problems(by_seed, MEAN)
    by_seed[1].record_inputs(heldout={"b": {"fingerprint": "of seed 0"}})
    assert shares_problems(by_seed, "b")


def test_the_primary_endpoint_is_adjusted_over_cells_and_all_else_over_targets_too(tmp_path):
    experiment = write_runs(tmp_path, 8, CURVES | {"gainrl": [0.3, 0.4, 0.45, 0.72]})
    table, smallest = table_of(experiment, tmp_path), 2 / 2**8
    primary = table[table.family == "primary"]
    assert set(primary.quantity) == {"speed-up"}
    assert set(primary.target) == {0.7}
    assert primary.p.tolist() == [smallest] * 3  # the same sign in eight seeds
    assert primary.p_holm.tolist() == [pytest.approx(3 * smallest)] * 3
    others = table[(table.quantity == "speed-up") & (table.family == "secondary")]
    assert set(others.target) == {0.6, 0.8}
    assert others.p_holm.min() == pytest.approx(len(others) * smallest)
    tokens = table[(table.quantity == "speed-up in tokens") & table.p.notna()]
    assert tokens.p_holm.min() == pytest.approx(len(tokens) * smallest)
    text = text_of(experiment, tmp_path)
    assert printed(text, "GAIN-RL (angle)", "speed-up to 70 % (primary)").endswith("*")


def test_average_accuracy_is_read_off_the_curves_at_the_same_steps(tmp_path):
    """One run was evaluated near a target too, and one missed an evaluation on a straight line."""
    experiment = write_runs(tmp_path, 3, CURVES | {"grpo": [0.3, 0.5, 0.625, 0.75]})
    runs = finished_runs(experiment, tmp_path)
    (row,) = runs.accuracy.query("cell == 'adarft' and seed == 0 and step == 10").to_dict("records")
    near_a_target = pd.DataFrame([{**row, "step": 12, "accuracy": 0.99}])
    missed = (runs.accuracy.cell == "grpo") & (runs.accuracy.seed == 2) & (runs.accuracy.step == 20)
    curves = pd.concat([runs.accuracy[~missed], near_a_target])
    runs.accuracy = curves.sort_values(["cell", "seed", "step"], ignore_index=True)
    table = compare(experiment, runs)
    assert cell_of(table, "grpo", "average accuracy")["mean"] == pytest.approx((0.5 + 0.625 + 0.75) / 3 + 0.01)
    gained = (0.65 + 0.75 + 0.85 - 0.5 - 0.625 - 0.75) / 3
    assert cell_of(table, "adarft", "average accuracy gained")["mean"] == pytest.approx(gained)


def test_few_seeds_are_judged_by_the_interval_of_the_average_gain(tmp_path):
    shares = {"grpo": 0.01, "adarft": 0.02, "gainrl": 0.0, "control": 0.005}
    experiment = write_runs(tmp_path, 3, CURVES | {"control": CURVES["gainrl"]}, by_seed=shares)
    experiment = experiment.model_copy(update={"judged_by": "average accuracy gained"})
    text = text_of(experiment, tmp_path)
    assert "**GAIN-RL: less accurate than the baseline.**" in text
    budgets = text.split("## Accuracy at an equal budget\n\n")[1]
    assert printed(budgets, "AdaRFT", "gained on average over a run, points (primary)").startswith("+12.7 [")
    assert text.count("(primary)") == 2
    adds = text.split("## What the order adds")[1].split("\n## ")[0]
    assert "gained on average over a run, points (primary)" in adds
    assert "-0.5 [-1.7, +0.7] |" in adds
    assert "GAIN-RL (angle) is less accurate than GRPO (uniform): -16.0 [-18.5, -13.5] points" in text
    order = "The angle's order is neither clearly better nor worse than the same Gaussian over a random order"
    assert f"{order}: -0.5 [-1.7, +0.7] points" in text
    assert "Accuracy of the other cells against GRPO (uniform): better: AdaRFT; worse: control (random)." in text


def test_cells_with_fewer_seeds_are_described_beside_those_that_are_tested(tmp_path):
    experiment = write_runs(tmp_path, 8)
    for seed in range(5, 8):
        RunFolder(tmp_path / "quickstart" / "adarft" / f"seed-{seed}").fail("no time")
    table = table_of(experiment, tmp_path)
    assert table[table.cell == "adarft"].p.isna().all()
    assert table[table.family == "primary"].cell.tolist() == ["gainrl", "control"]
    assert cell_of(table, "control", "speed-up", 0.7).p_holm == pytest.approx(2 * 2 / 2**8)
    text = text_of(experiment, tmp_path)
    assert "no `*` from fewer than 6 seeds" in text
    assert "against GRPO (uniform): slower: control (random); too few seeds for a test: AdaRFT." in text


def test_early_is_the_same_part_of_a_run_whatever_its_epochs(tmp_path):
    experiment = write_runs(tmp_path, 1)
    runs = finished_runs(experiment, tmp_path)
    epochs = (
        pd.DataFrame({"cell": "grpo", "seed": 0, "epoch": [0] * 4 + [1] * 8 + [2] * 12}),
        pd.DataFrame({"cell": "adarft", "seed": 0, "epoch": range(24)}),
    )
    drawn = pd.concat(epochs, ignore_index=True)
    runs.draws = drawn.assign(rank=1, pass_rate=[1.0] * 4 + [0.5] * 20 + [0.0] * 4 + [0.5] * 20)
    table = compare(experiment, runs)
    for cell in ("grpo", "adarft"):
        assert cell_of(table, cell, "early drawn without a gradient")["mean"] == 1
        assert cell_of(table, cell, "drawn without a gradient")["mean"] == pytest.approx(4 / 24)


def test_training_sets_without_runs_are_left_out_of_the_tables(tmp_path):
    plan = write_runs(tmp_path, 1, {"uniform": CURVES["grpo"], "mopps": CURVES["adarft"]}, name="selectors")
    asked = {"arithmetic-gainrl": "ablate_schedule", "gainrl": "ablate_schedule"}
    text = text_of(plan.model_copy(update={"asked_in": asked}), tmp_path)
    assert "| MoPPS" in text
    assert "| SPEED" in text  # of a set that has runs
    assert "arithmetic, " not in text
    assert "Tested in" not in text


@pytest.mark.parametrize("seeds", [3, 5])
def test_five_seeds_cannot_give_a_star(tmp_path, seeds):
    experiment = write_runs(tmp_path, seeds)
    table = table_of(experiment, tmp_path)
    assert table.p.isna().all() if seeds < 5 else table.p.min() == 0.0625
    text = text_of(experiment, tmp_path)
    assert "x]*" not in text
    assert ("no `*` from fewer than 6 seeds" in text) == (seeds == 5)


def test_cells_that_another_experiment_tests_have_no_p_here(tmp_path):
    experiment = write_runs(tmp_path, 8).model_copy(update={"asked_in": {"gainrl": "ablate_schedule"}})
    table = table_of(experiment, tmp_path)
    assert table[table.cell == "gainrl"].p.isna().all()
    assert table[table.cell == "adarft"].p_holm.min() == pytest.approx(2 * 2 / 2**8)  # of the two cells that are left
    assert "Tested in ablate_schedule, not here: GAIN-RL (angle)" in text_of(experiment, tmp_path)


def test_a_pair_of_cells_is_tested_in_one_experiment():
    asked = {}
    for name in experiment_names():
        experiment = load_experiment(name)
        for cell in set(experiment.cells) - set(experiment.asked_in):
            baseline = baseline_of(experiment, cell)
            pair = experiment.cells[cell].hash, experiment.cells[baseline].hash
            if baseline != cell:
                assert pair not in asked, f"{name}, {cell} is tested in {asked.get(pair)} too"
                asked[pair] = name


def test_models_are_compared_together_by_their_pairs(tmp_path):
    """Three seeds of four models are twelve pairs; a schedule that is slower in each of them is slower."""
    models = ("0.5b", "math-1.5b", "math-7b", "llama-3b")
    curves = {"grpo": [0.3, 0.6, 0.75, 0.85], "gainrl": [0.3, 0.45, 0.6, 0.8], "control": [0.3, 0.5, 0.65, 0.8]}
    all_curves = {f"{model}-{method}": curve for model in models for method, curve in curves.items()}
    experiment = write_runs(tmp_path, 3, all_curves, name="main_table")
    runs = finished_runs(experiment, tmp_path)
    pool, table, ((direct, against_random),) = pooled(experiment, runs)
    slower, row = Lookup(table), "0.5b-gainrl"
    found = slower.find(row, "speed-up", 0.7)
    alone = Lookup(compare(experiment, runs)).find("llama-3b-gainrl", "speed-up", 0.7)
    assert (found.seeds, found.family, found.p) == (12, "primary", 2 / 2**12)
    assert found.mean == pytest.approx(alone.mean)
    assert (direct.baseline, Lookup(against_random).find(row, "speed-up", 0.7).seeds) == ("0.5b-control", 12)
    assert pool.labels == {"0.5b-grpo": "GRPO (uniform)", "0.5b-adarft": "AdaRFT", "0.5b-gainrl": "GAIN-RL (angle)",
                           "0.5b-control": "control (random)"}  # fmt: skip
    text = text_of(experiment, tmp_path)
    assert "## All models together: Against GRPO (uniform)" in text
    words = verdict(experiment, compare(experiment, runs), against_control(experiment, runs), runs)
    assert words.answer == "GAIN-RL: slower than the baseline"
    assert words.sentences[0].startswith("All 4 models together: GAIN-RL (angle) needs more steps than GRPO (uniform)")
    assert pooled(load_experiment("quickstart"), runs) is None


def test_a_cell_is_compared_with_the_baseline_of_its_model():
    plan = load_experiment("quickstart")
    other = {
        name: run.model_copy(update={"model": run.model.model_copy(update={"name": "x"})})
        for name, run in plan.cells.items()
    }
    both = plan.model_copy(update={"cells": plan.cells | {f"x-{name}": run for name, run in other.items()}})
    assert {baseline_of(both, name) for name in plan.cells} == {"grpo"}
    assert {baseline_of(both, f"x-{name}") for name in plan.cells} == {"x-grpo"}


def test_the_papers_number_stands_beside_gain_rl_alone(tmp_path):
    experiment = write_runs(tmp_path, 3)
    table = against_paper(experiment, table_of(experiment, tmp_path))
    known = table.dropna(subset="paper")
    assert set(known.cell) == {"gainrl"}
    assert set(known.quantity) == {"speed-up"}
    text = text_of(experiment, tmp_path)
    assert ">2.50x (abstract)" in text
    assert "| learning rate" in text.split("Settings that differ from the release's scripts")[1]
    assert "order random, sigma 64" in text


def test_every_number_of_the_paper_has_a_source():
    content = paper()
    assert {number["source"] for number in content["numbers"]} <= set(content["sources"])
    assert {number["quantity"] for number in content["numbers"]} <= {"speed-up", "accuracy at end", "steps to target"}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_the_latex_tables_compile(tmp_path):
    experiment = write_runs(tmp_path, 3, benchmarks=("math500", "some_set & more"))
    runs = finished_runs(experiment, tmp_path)
    table = compare(experiment, runs)
    tables = grids(experiment, table, against_control(experiment, runs), runs)
    (tmp_path / "table.tex").write_text(latex(experiment, table, tables))
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx}"
    (tmp_path / "all.tex").write_text(
        rf"\documentclass{{article}}{packages}\begin{{document}}\input{{table}}\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:]
    assert (tmp_path / "all.pdf").stat().st_size > 10_000


def test_what_the_order_adds_is_told_against_the_same_schedule_over_a_random_order(tmp_path):
    curves = CURVES | {"gainrl": [0.3, 0.85, 0.9, 0.9]}  # faster than the control in every seed
    experiment = write_runs(tmp_path, 8, curves)
    runs = finished_runs(experiment, tmp_path)
    ((direct, comparison),) = controls = against_control(experiment, runs)
    assert (direct.baseline, list(direct.cells)) == ("control", ["gainrl", "control"])
    found = Lookup(comparison).find("gainrl", "speed-up", 0.6)
    assert found.low < found.mean < found.high
    assert Lookup(comparison).find("gainrl", "speed-up in tokens", 0.6).mean == pytest.approx(found.mean)
    primary = Lookup(comparison).find("gainrl", "speed-up", 0.7)
    assert primary.p_holm == primary.p == 2 / 2**8  # of one comparison, though the table has three against uniform
    tables = grids(experiment, compare(experiment, runs), controls, runs)
    (grid,) = [one for one in tables if "What the order adds" in one.title]
    assert grid.table.cell.tolist() == [experiment.labels["gainrl"]]
    (printed_ratio,) = grid.table["speed-up to 70 % (primary)"]
    assert printed_ratio.endswith("x]*")
    without = experiment.model_copy(
        update={"cells": {name: run for name, run in experiment.cells.items() if name != "control"}}
    )
    assert against_control(without, finished_runs(without, tmp_path)) == []


def test_a_config_is_shown_beside_the_releases_values():
    shown = beside_paper(load_experiment("quickstart").cells["gainrl"]).splitlines()
    lines = {line[2:].split()[0]: line for line in shown if line}
    assert lines["training.learning_rate"].startswith("!")
    assert lines["training.learning_rate"].endswith("release: 1e-06")
    assert lines["schedule.options.alpha"].startswith("  ")
    assert lines["schedule.options.alpha"].endswith("as released")
    assert "the paper's is n/2" in lines["schedule.options.amplitude"]
    unknown = {*paper()["settings"], *paper()["further_settings"]} - set(lines)
    assert not unknown, "settings that no config has"


@pytest.mark.parametrize("name", ["quickstart", "single_dataset"])  # one model; two that learn different things
def test_models_are_taken_together_where_they_learn_the_same_alone(name):
    assert pooled(load_experiment(name), Runs()) is None

import shutil
import subprocess

import pandas as pd
import pytest

from analysis.comparison import Lookup, compare, headlines
from analysis.control import against_control
from analysis.paper import against_paper, beside_paper, paper
from analysis.rendering import latex, markdown
from analysis.runs import MEAN, Runs, baseline_of, finished_runs, shares_problems
from analysis.tables import grids
from experiments import load_experiment
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
    """The experiment with 30 steps, four evaluations and a benchmark that is asked whatever the curves say; it asks about its cells itself."""
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
    return draws.assign(**{"problem_id": "a", "rank": pd.array([None] * len(draws), dtype="Int64"), **columns})


def write_runs(root, seeds, curves=CURVES, benchmarks=("b",), name="quickstart"):
    """Whole runs of `short_experiment`: accuracy is the curve, continued at its last value, plus a hundredth of the seed.

    A benchmark named second has half of it.
    """
    experiment = short_experiment(name, benchmarks=benchmarks)
    for cell, accuracy in curves.items():
        for seed in range(seeds):
            folder = RunFolder(root / name / cell / f"seed-{seed}")
            folder.start(experiment.cells[cell].with_seed(seed), overwrite=True)
            for number, value in enumerate([*accuracy, *accuracy[-1:] * (4 - len(accuracy))]):
                for place, benchmark in enumerate(benchmarks):
                    folder.append_eval({"step": 10 * number, "benchmark": benchmark, "metric": "accuracy", "stderr": 0.02,
                                        "value": (value + seed / 100) / 2**place, "n": 600})  # fmt: skip
            for step in range(1, 31):
                row = {"step": step, "epoch": step // 4, "seconds": 0.5, "problems_seen": 16 * step,
                       "completion_tokens": 1000 * step, "accuracy": 0.5}  # fmt: skip
                folder.append_metrics(row | ({"mu": float(step)} if cell in ("gainrl", "control") else {}))
            folder.write_draws(draws_of(experiment.cells[cell]))
            folder.finish()
    return experiment


def table_of(experiment, root, **options):
    return compare(experiment, finished_runs(experiment, root), **options)


def text_of(experiment, root):
    runs = finished_runs(experiment, root)
    table = compare(experiment, runs)
    return markdown(experiment, table, grids(experiment, table, against_control(experiment, runs), runs))


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
    assert cell_of(table, "grpo", "steps to target", 0.6)["mean"] == 20
    assert cell_of(table, "grpo", "problems to target", 0.6)["mean"] == 320
    assert cell_of(table, "grpo", "completion tokens to target", 0.6)["mean"] == 20_000
    assert cell_of(table, "adarft", "speed-up", 0.6)["mean"] == pytest.approx(2.0)
    assert cell_of(table, "gainrl", "steps to target", 0.6)["bound"] == ">"
    assert cell_of(table, "gainrl", "speed-up", 0.6)["bound"] == "<"
    assert cell_of(table, "adarft", "speed-up", 0.8)["bound"] == ">"
    assert table[(table.cell == "gainrl") & (table.quantity == "speed-up") & (table.target == 0.8)].empty

    text = text_of(experiment, tmp_path)
    assert printed(text, "GAIN-RL (angle)", "steps to 60 %") == ">30"
    assert printed(text, "GAIN-RL (angle)", "speed-up to 60 %") == "<0.67x"
    assert printed(text, "GAIN-RL (angle)", "speed-up to 80 %") == "–"  # noqa: RUF001
    assert printed(text, "AdaRFT", "speed-up to 60 %") == "2.00x"
    assert "1 seed a cell; no interval from fewer than three seeds" in text
    assert "[" not in text.split("## Cells")[0].replace("[95 %", "")


def test_three_seeds_give_intervals(tmp_path):
    experiment = write_runs(tmp_path, 3)
    table = table_of(experiment, tmp_path)
    end = cell_of(table, "grpo", "accuracy at end")
    assert end.low < end["mean"] < end.high
    assert "76.0 [72.0, 80.0]" in text_of(experiment, tmp_path)


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


def test_seconds_are_those_of_training_until_then(tmp_path):
    experiment = write_runs(tmp_path, 1)
    table = table_of(experiment, tmp_path)
    assert cell_of(table, "grpo", "seconds to target", 0.6)["mean"] == pytest.approx(20 * 0.5)


def test_a_running_mean_reaches_later(tmp_path):
    experiment = write_runs(tmp_path, 1)
    table = table_of(experiment, tmp_path, window=2)
    assert cell_of(table, "adarft", "steps to target", 0.6)["mean"] == 20
    assert cell_of(table, "grpo", "steps to target", 0.6)["mean"] == 30


def test_a_target_that_some_seeds_reach(tmp_path):
    curves = CURVES | {"control": [0.3, 0.5, 0.55, 0.59]}
    experiment = write_runs(tmp_path, 3, curves)
    table = table_of(experiment, tmp_path)
    steps = cell_of(table, "control", "steps to target", 0.6)
    assert (steps["mean"], steps.bound, steps.censored) == (30, ">", 1)
    assert cell_of(table, "control", "median steps to target", 0.6)["mean"] == 30
    assert (
        printed(text_of(experiment, tmp_path), "control (random)", "steps to 60 %") == ">30 (2 of 3 seeds reached it)"
    )


def test_several_benchmarks_have_their_own_numbers_and_a_mean(tmp_path):
    experiment = write_runs(tmp_path, 3, benchmarks=("one", "two"))
    table = table_of(experiment, tmp_path)
    assert set(headlines(table).values()) == {MEAN}
    assert Lookup(table).find("grpo", "accuracy at end").mean == pytest.approx(0.75 * 0.76)
    assert Lookup(table).find("grpo", "accuracy at end", benchmark="two").mean == pytest.approx(0.38)
    assert Lookup(table).find("grpo", "steps to target", 0.6, "one").mean == 20
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
        assert Lookup(table).find(cell, "speed-up", 0.6).mean == 2
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


def test_comparisons_of_many_cells_are_adjusted(tmp_path):
    experiment = write_runs(tmp_path, 3)
    gained = table_of(experiment, tmp_path).query("quantity == 'accuracy gained'")
    assert gained.p.tolist() == [0.25] * 3  # the same difference in three seeds
    assert gained.p_holm.tolist() == [0.75] * 3


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
    assert known.difference.tolist() == pytest.approx((known["mean"] - 2.5).tolist())
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
    curves = CURVES | {"gainrl": [0.3, 0.85, 0.9, 0.9]}  # 60 % at step 10, the control at step 20, whatever the seed
    experiment = write_runs(tmp_path, 8, curves)
    runs = finished_runs(experiment, tmp_path)
    ((direct, comparison),) = controls = against_control(experiment, runs)
    assert (direct.baseline, list(direct.cells)) == ("control", ["gainrl", "control"])
    found = Lookup(comparison).find("gainrl", "speed-up", 0.6)
    assert (found.mean, found.low, found.high, found.seeds) == (2, 2, 2, 8)
    assert Lookup(comparison).find("gainrl", "speed-up in tokens", 0.6).mean == 2  # 1,000 tokens a step in all runs
    assert found.p_holm == found.p < 0.05  # of one comparison, though the table has three cells against uniform
    tables = grids(experiment, compare(experiment, runs), controls, runs)
    (grid,) = [one for one in tables if "What the order adds" in one.title]
    assert grid.table.cell.tolist() == [experiment.labels["gainrl"]]
    assert grid.table["speed-up to 60 %"].tolist() == ["2.00x [2.00x, 2.00x]*"]
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

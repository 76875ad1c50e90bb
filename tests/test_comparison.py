import pandas as pd
import pytest

from analysis.comparison import compare, markdown
from analysis.runs import accuracy_curves, finished_runs
from experiments.base import load_experiment
from gainrl.errors import InputError
from gainrl.records import RunFolder
from paper_figures import learning_curves, style

CURVES = {
    "grpo": [0.3, 0.5, 0.65, 0.75],
    "adarft": [0.3, 0.65, 0.75, 0.85],
    "gainrl": [0.3, 0.4, 0.5, 0.55],
    "control": [0.3, 0.5, 0.6, 0.7],
}


def write_runs(root, seeds, curves=CURVES):
    experiment = load_experiment("quickstart")
    for cell, accuracy in curves.items():
        for seed in range(seeds):
            folder = RunFolder(root / "quickstart" / cell / f"seed-{seed}")
            folder.start(experiment.cells[cell].with_seed(seed))
            for number, value in enumerate(accuracy):
                folder.append_eval({"step": 10 * number, "benchmark": "b", "metric": "accuracy", "value": value + seed / 100,
                                    "stderr": 0.02, "n": 600})  # fmt: skip
            for step in range(1, 31):
                row = {"step": step, "epoch": step // 4, "seconds": 0.5, "problems_seen": 16 * step,
                       "completion_tokens": 1000 * step, "accuracy": 0.5}  # fmt: skip
                folder.append_metrics(row | ({"mu": float(step)} if cell in ("gainrl", "control") else {}))
            folder.write_draws(pd.DataFrame({"epoch": [0], "problem_id": ["a"]}))
            folder.finish()
    return experiment


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
    table = compare(experiment, finished_runs(experiment, tmp_path))
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

    text = markdown(experiment, table)
    assert printed(text, "GAIN-RL (angle)", "steps to 60 %") == ">30"
    assert printed(text, "GAIN-RL (angle)", "speed-up to 60 %") == "<0.67x"
    assert printed(text, "GAIN-RL (angle)", "speed-up to 80 %") == "–"  # noqa: RUF001
    assert printed(text, "AdaRFT", "speed-up to 60 %") == "2.00x"
    assert "1 seed a cell; no interval" in text


def test_three_seeds_give_intervals(tmp_path):
    experiment = write_runs(tmp_path, 3)
    table = compare(experiment, finished_runs(experiment, tmp_path))
    end = cell_of(table, "grpo", "accuracy at end")
    assert end.low < end["mean"] < end.high
    assert "76.0 [75.0, 77.0]" in markdown(experiment, table)


def test_the_order_of_files_does_not_matter(tmp_path):
    experiment = write_runs(tmp_path, 2)
    runs = finished_runs(experiment, tmp_path)
    backward = {cell: dict(reversed(by_seed.items())) for cell, by_seed in runs.items()}
    assert compare(experiment, runs).equals(compare(experiment, backward))


def test_unfinished_runs_are_not_counted(tmp_path):
    experiment = write_runs(tmp_path, 1)
    RunFolder(tmp_path / "quickstart" / "gainrl" / "seed-0").fail("x")
    runs = finished_runs(experiment, tmp_path)
    assert not runs["gainrl"]
    text = markdown(experiment, compare(experiment, runs))
    assert printed(text, "GAIN-RL (angle)", "accuracy at end, %") == "–"  # noqa: RUF001
    assert printed(text, "AdaRFT", "accuracy at end, %") == "85.0"
    with pytest.raises(InputError, match="no finished run of quickstart"):
        finished_runs(experiment, tmp_path / "none")


def test_costs_at_step_zero_are_zero(tmp_path):
    experiment = write_runs(tmp_path, 1)
    curves = accuracy_curves(finished_runs(experiment, tmp_path))
    assert (curves[curves.step == 0].problems_seen == 0).all()
    assert (curves[curves.step == 10].problems_seen == 160).all()


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_figure_draws_every_cell_and_its_interval(tmp_path, seeds):
    experiment = write_runs(tmp_path, seeds)
    frame = learning_curves.data(experiment, finished_runs(experiment, tmp_path))
    assert set(frame[frame.panel == "mu"].schedule) == {"GAIN-RL (angle)", "control (random)"}
    figure = learning_curves.plot(experiment, frame)
    top, bottom = figure.axes
    assert [text.get_text() for text in top.get_legend().get_texts()] == list(experiment.labels.values())
    assert len(top.collections) == (4 if seeds == 3 else 0)
    assert len(bottom.lines) >= 2
    style.save(figure, tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 10_000

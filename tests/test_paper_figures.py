import json
import shutil

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from analysis.comparison import compare
from analysis.control import against_control
from analysis.orders import order_correlations
from analysis.runs import finished_runs
from gainrl.problems import load_problems
from gainrl.schedules import ORDERS
from gainrl.scoring import Scores
from gainrl.scoring.scores import SCORE_COLUMNS
from gainrl.statistics import summarize
from gainrl.training.inputs import rollouts_path
from paper_figures import ablation, drawn_ranks, learning_curves, of_experiment, steps_to_target, style
from paper_figures import order_correlations as order_figure
from tests.test_comparison import CURVES, cell_of, table_of, write_runs


def labels_of(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def ranks_of(cell, seed, ranks_by_epoch):
    """Draws of a run."""
    rows = [(cell, seed, epoch, rank) for epoch, ranks in enumerate(ranks_by_epoch) for rank in ranks]
    return pd.DataFrame(rows, columns=["cell", "seed", "epoch", "rank"]).astype({"rank": "Int64"})


@pytest.mark.parametrize("seeds", [1, 3])
def test_learning_curves_draw_every_cell_and_its_interval(tmp_path, seeds):
    experiment = write_runs(tmp_path, seeds)
    frame = learning_curves.data(experiment, finished_runs(experiment, tmp_path))
    assert set(frame[frame.panel == "mu"].schedule) == {"GAIN-RL (angle)", "control (random)"}
    figure = learning_curves.plot(experiment, frame)
    top, bottom = figure.axes
    assert [text.get_text() for text in top.get_legend().get_texts()] == list(experiment.labels.values())
    assert len(top.collections) == 4
    widths = [np.ptp(path.vertices[:, 1]) for band in top.collections for path in band.get_paths()]
    assert (max(widths, default=0) > 0.5) == (seeds == 3)
    assert len(bottom.lines) >= 2
    assert f"({seeds} seed" in top.get_title(loc="left")
    style.save(figure, tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 10_000


def test_runs_with_evaluations_of_their_own_are_drawn_on_one_grid():
    straight = pd.DataFrame({"cell": "a", "seed": 0, "step": [0, 5, 7, 9, 20, 120], "accuracy": 0.0})
    straight["accuracy"] = straight.step / 120
    other = straight[straight.step != 7].assign(seed=1)
    drawn = learning_curves.on_one_grid(pd.concat([straight, other]))
    assert drawn.step.tolist() == 2 * list(range(0, 121, 5))
    assert drawn.accuracy.tolist() == pytest.approx((drawn.step / 120).tolist())
    assert drawn.groupby("seed").size().tolist() == [25, 25]


def test_the_band_is_the_tables_interval(tmp_path):
    experiment = write_runs(tmp_path, 4)
    curves = finished_runs(experiment, tmp_path).accuracy.query("cell == 'adarft' and step == 10").accuracy
    saved = cell_of(table_of(experiment, tmp_path), "adarft", "seconds a step")
    assert saved.low is None or pd.isna(saved.low), "no interval of zero width"
    assert style.band([0.5] * 4) == (0.5, 0.5)
    expected = summarize(curves.tolist())
    assert style.band(curves.tolist()) == (expected.low, expected.high)
    assert style.band([0.5, 0.7]) == (0.6, 0.6)


def test_many_cells_are_drawn_over_their_baseline(tmp_path):
    experiment = write_runs(tmp_path, 1)
    frame = learning_curves.data(experiment, finished_runs(experiment, tmp_path))
    many = pd.concat([frame.assign(cell=frame.cell + "-" + str(k)) for k in range(2)])
    names = {f"{name}-{k}": name for k in range(2) for name in experiment.cells}
    wide = experiment.model_copy(
        update={
            "cells": {new: experiment.cells[old] for new, old in names.items()},
            "labels": {new: new for new in names},
            "baseline": "grpo-0",
        }
    )
    figure = learning_curves.plot(wide, many)
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == 7
    for ax in shown:
        baseline, _own = ax.lines[0], ax.lines[1]
        assert baseline.get_ydata() == pytest.approx([100 * value for value in CURVES["grpo"]])


def test_a_bar_is_hatched_where_a_seed_never_reached_the_target(tmp_path):
    experiment = write_runs(tmp_path, 3, CURVES | {"control": [0.3, 0.5, 0.55, 0.59]})
    frame = steps_to_target.data(experiment, finished_runs(experiment, tmp_path))
    assert len(frame) == 4 * 3 * 3
    control = frame[(frame.cell == "control") & (frame.target == 0.6)]
    assert control.censored.tolist() == [True, False, False]
    figure = steps_to_target.plot(experiment, frame)
    bars = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert len(bars) == 12
    assert {bar.get_hatch() for bar in bars} == {None, "////"}
    assert labels_of(figure)[-1] == "at least: not reached by every seed (arrows)"
    mean = cell_of(table_of(experiment, tmp_path), "grpo", "steps to target", 0.6)["mean"]
    assert mean in {bar.get_width() for bar in bars}


def test_the_ribbons_are_quantiles_of_the_drawn_ranks(tmp_path):
    experiment = write_runs(tmp_path, 2)
    assert drawn_ranks.data(experiment, finished_runs(experiment, tmp_path)).empty  # no draws with ranks
    runs = finished_runs(experiment, tmp_path)
    first = ranks_of("gainrl", 0, [range(0, 50), range(50, 100)])
    runs.draws = pd.concat([first, ranks_of("gainrl", 1, [range(50, 101), range(100, 150)])])
    frame = drawn_ranks.data(experiment, runs)
    first = frame[frame.epoch == 0].set_index("quantile")["rank"]
    assert first[0.5] == 50
    assert first.iloc[0] == pytest.approx(5)
    assert first.iloc[-1] == pytest.approx(95)
    assert (frame.seeds == 2).all()
    figure = drawn_ranks.plot(experiment, frame)
    assert "mu, mean over seeds" in labels_of(figure)


def test_the_ablation_shows_the_tables_numbers(tmp_path):
    experiment = write_runs(tmp_path, 3)
    table = table_of(experiment, tmp_path)
    frame = ablation.data(experiment, table)
    row = frame[(frame.cell == "adarft") & (frame.panel == "speed-up") & (frame.target == 0.6)].iloc[0]
    assert row.value == cell_of(table, "adarft", "speed-up", 0.6)["mean"]
    assert frame[frame.panel == "accuracy gained"].set_index("cell").value["adarft"] == pytest.approx(10)
    assert "grpo" not in set(frame.cell)
    figure = ablation.plot(experiment, frame)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        experiment.labels[cell] for cell in ("adarft", "gainrl", "control")
    ]


def test_the_ablation_shows_the_accuracy_that_decides(tmp_path):
    experiment = write_runs(tmp_path, 3).model_copy(update={"judged_by": "average accuracy gained"})
    table = table_of(experiment, tmp_path)
    frame = ablation.data(experiment, table)
    shown = frame[frame.panel == "average accuracy gained"].set_index("cell").value
    assert shown["adarft"] == pytest.approx(100 * cell_of(table, "adarft", "average accuracy gained", None)["mean"])
    assert "accuracy gained" not in set(frame.panel)
    assert ablation.plot(experiment, frame).axes[1].get_xlabel() == "points gained on average"


def shared_scores(root, problems, *, model, definition="paper", sign=1.0):
    """Scores whose angle falls with the question's length."""
    length_N = np.arange(len(problems), dtype=float)
    angle = {"c_intra": -sign * length_N, "c_inter": np.cos(length_N), "angle": -sign * length_N}
    table = pd.DataFrame({"problem_id": problems.ids, **angle, "question_tokens": length_N, "prefix_tokens": 3})
    made_with = {"model": model, "dtype": "float32", "problem_set": problems.fingerprint}
    metadata = made_with | {"definition": definition, "layer": "-1"}
    Scores(table[list(SCORE_COLUMNS)], metadata).save(root / "shared" / "scores" / f"{model}-{definition}.parquet")


def test_orders_are_compared_where_runs_share_their_scores(tmp_path):
    experiment = write_runs(tmp_path, 1)
    runs = finished_runs(experiment, tmp_path)
    assert order_correlations(runs, tmp_path / "shared").empty
    problems = load_problems("arithmetic", limit=1024, seed=0)
    for by_seed in runs.values():
        by_seed[0].record_inputs(model="m", train={"fingerprint": problems.fingerprint})
    shared_scores(tmp_path, problems, model="m")
    shared_scores(tmp_path, problems, model="m", definition="released", sign=-1.0)
    shared_scores(tmp_path, problems, model="m", definition="off-diagonal")  # its file comes before the paper's
    shared_scores(tmp_path, problems, model="other")
    config = runs["grpo"][0].config()
    rollouts = rollouts_path(tmp_path / "shared" / "scores", config, "m", "float32", problems.fingerprint)
    correct_N = np.arange(len(problems)) < 300  # of these and no others half of the completions are right
    pairs = {"problem_id": np.repeat(problems.ids, 2), "sample": [0, 1] * len(problems)}
    pairs["correct"] = np.ravel([[right, False] for right in correct_N])
    pd.DataFrame(pairs).to_parquet(rollouts)
    found = order_correlations(runs, tmp_path / "shared")
    pairs = {(row.first, row.second): row.correlation for row in found.itertuples()}
    assert all(list(ORDERS).index(first) < list(ORDERS).index(second) for first, second in pairs)
    assert pairs["angle", "length"] == pytest.approx(1)
    assert pairs["angle", "released"] == pytest.approx(-1)
    assert pairs["length", "reward-variance"] == pytest.approx(
        0.79, abs=0.01
    )  # large variance where the question is short
    assert abs(pairs["angle", "difficulty"]) < 0.5  # the rows are in no order of difficulty
    assert set(found.model) == {"m"}
    pd.testing.assert_frame_equal(order_correlations(runs, tmp_path / "elsewhere", found), found)
    assert order_correlations(runs, tmp_path / "elsewhere", found.assign(model="other")).empty
    figure = order_figure.plot(order_figure.data(found))
    assert len(figure.axes[0].texts) == len(pairs)


def test_the_matrix_of_orders_is_a_triangle_whatever_was_scored_first():
    pairs = [("angle", "c_intra", "m"), ("angle", "length", "m"), ("c_intra", "length", "m"), ("angle", "c_intra", "n")]
    late = [(first, second, "n") for first, second in (("angle", "off-diagonal"), ("off-diagonal", "c_intra"))]
    columns = ["first", "second", "model"]
    frame = pd.DataFrame([*pairs, *late], columns=columns).assign(problem_set="p", correlation=0.5, problems=9)
    figure = order_figure.plot(order_figure.data(frame))
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["angle", "off-diagonal", "c_intra"]
    assert all(text.get_position()[0] <= text.get_position()[1] for text in ax.texts)
    assert "1 to 2 models a pair" in figure.get_suptitle()


def test_an_experiment_has_the_figures_that_it_has_data_for(tmp_path):
    experiment = write_runs(tmp_path, 1, {"grpo": CURVES["grpo"]})
    runs = finished_runs(experiment, tmp_path)
    figures = of_experiment.figures(experiment, runs, compare(experiment, runs), [], pd.DataFrame())
    assert set(figures) == {"learning_curves", "steps_to_target"}
    assert all(picture.caption for picture in of_experiment.pictures(figures))


def test_every_control_has_a_figure_of_its_own(tmp_path):
    one = write_runs(tmp_path, 3)
    cells = {
        f"other-{name}": run.model_copy(update={"model": run.model.model_copy(update={"name": "other"})})
        for name, run in one.cells.items()
    }
    both = one.model_copy(update={"cells": one.cells | cells, "labels": {name: name for name in [*one.cells, *cells]}})
    for name in cells:
        shutil.copytree(tmp_path / one.name / name.removeprefix("other-"), tmp_path / one.name / name)
        for path in (tmp_path / one.name / name).glob("*/config.json"):
            config = json.loads(path.read_text())
            path.write_text(json.dumps(config | {"model": config["model"] | {"name": "other"}}))
    runs = finished_runs(both, tmp_path)
    figures = of_experiment.figures(both, runs, compare(both, runs), against_control(both, runs), pd.DataFrame())
    assert {"order_adds-control", "order_adds-other-control"} <= set(figures)
    captions = {picture.name: picture.caption for picture in of_experiment.pictures(figures)}
    assert captions["order_adds-control"] == captions["order_adds-other-control"]


def test_text_is_never_read_as_mathematics(tmp_path):
    style.use()
    figure, (ax,) = style.panels(1, height=1, limits=((0, 1), (0, 1)), words="step")
    style.panel_title(ax, r"of $\frac{$")
    style.save_all(figure, tmp_path / "figure", ("svg",))
    assert r"of $\frac{$" in (tmp_path / "figure.svg").read_text()

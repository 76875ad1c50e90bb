"""Which skill was learnt when, and which was drawn when."""

import pandas as pd
import pytest

from analysis import kinds as by_kind
from analysis.runs import finished_runs
from analysis.tables import grids
from gainrl.problems import load_problems
from gainrl.runs.records import RunFolder
from paper_figures import kinds as figure
from tests.test_comparison import add_evals, draws_of, table_of, write_runs

CELLS = ("lists-grpo", "lists-gainrl")
LEARNT = {"floor": [0.2, 0.2, 0.5, 0.8], "pairs": [0.3, 0.6, 0.6, 0.6]}
"""Kind -> its accuracy at steps 0, 10, 20 and 30."""


@pytest.fixture
def runs(tmp_path):
    """Two cells, two seeds; GAIN-RL learns a tenth more, draws pairs alone in its first third and floors afterwards."""
    experiment = write_runs(tmp_path, 2, {cell: [0.3, 0.5] for cell in CELLS}, ("lists",), "single_dataset")
    for cell in CELLS:
        for seed in range(2):
            folder = RunFolder(tmp_path / "single_dataset" / cell / f"seed-{seed}")
            more = 0.1 * (cell == "lists-gainrl") + seed / 50
            add_evals(
                folder,
                [
                    {"step": step, "benchmark": "lists", "metric": f"accuracy of {kind}", "value": value + more,
                     "stderr": 0.0, "n": 200}
                    for kind, values in LEARNT.items()
                    for step, value in zip((0, 10, 20, 30), values, strict=True)
                ],
            )  # fmt: skip
            folder.write_draws(draws(experiment.cells[cell].with_seed(seed), slides=cell == "lists-gainrl"))
    return experiment, finished_runs(experiment, tmp_path)


def draws(config, *, slides: bool) -> pd.DataFrame:
    problems = load_problems("lists", seed=config.seed, limit=1024)
    ids = pd.Series(problems.ids).groupby([problem.kind for problem in problems.problems]).first()
    table = draws_of(config)
    epochs = table.epoch.max() + 1
    named = "pairs" if not slides else None
    return table.assign(
        problem_id=[ids[named or ("pairs" if 3 * epoch < epochs else "floor")] for epoch in table.epoch]
    )


def test_a_kind_is_told_at_the_start_and_after_every_third(runs):
    accuracy = by_kind.at_parts(by_kind.accuracy_by_kind(runs[1]))
    floor = accuracy[(accuracy.cell == "lists-grpo") & (accuracy.kind == "floor")]
    assert floor.step.tolist() == [0, 10, 20, 30]
    assert floor.accuracy.tolist() == pytest.approx([0.21, 0.21, 0.51, 0.81])  # the mean of seeds


def test_what_was_drawn_is_told_by_thirds(runs):
    shares = by_kind.drawn_by_kind(runs[1]).pivot_table(index=["cell", "part"], columns="kind", values="share")
    assert shares.loc["lists-gainrl"].pairs.tolist() == pytest.approx([1, 0, 0])
    assert shares.loc["lists-grpo"].pairs.tolist() == pytest.approx([1, 1, 1])
    assert shares.fillna(0).sum(axis=1).tolist() == pytest.approx([1] * 6)


def test_a_seed_that_never_draws_a_kind_counts_as_none_of_it(runs):
    experiment, found = runs
    run = found["lists-gainrl"][1]
    run.write_draws(draws(run.config(), slides=False))
    shares = by_kind.drawn_by_kind(finished_runs(experiment, run.path.parents[2]))
    floors = shares[(shares.cell == "lists-gainrl") & (shares.kind == "floor")].sort_values("part")
    assert floors.share.tolist() == pytest.approx([0, 0.5, 0.5])


def test_the_tables_have_a_row_a_cell_and_a_column_a_kind(runs, tmp_path):
    experiment, found = runs
    tables = {grid.title: grid for grid in grids(experiment, table_of(experiment, tmp_path), [], found)}
    accuracy, drawn = tables["Accuracy by kind, %: lists"], tables["Drawn by kind, %: lists"]
    assert accuracy.note == "At steps 0, 10, 20, 30; mean over seeds."
    assert accuracy.table.set_index("cell").loc["lists, GAIN-RL (angle)", "floor"] == "31 / 31 / 61 / 91"
    assert drawn.table.set_index("cell").loc["lists, GAIN-RL (angle)", "pairs"] == "100 / 0 / 0"
    plain = write_runs(tmp_path / "plain", 1)
    none = grids(plain, table_of(plain, tmp_path / "plain"), [], finished_runs(plain, tmp_path / "plain"))
    assert not [grid.title for grid in none if "by kind" in grid.title]


def test_the_figure_has_a_panel_a_kind_and_is_left_out_where_lines_are_too_many(runs, monkeypatch):
    experiment, found = runs
    drawn = figure.plot(experiment, figure.data(experiment, found))
    assert [ax.get_title(loc="left") for ax in drawn.axes if ax.get_visible()] == ["floor", "pairs"]
    assert [len(ax.lines) for ax in drawn.axes if ax.get_visible()] == [2, 2]
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == ["lists, GRPO (uniform)", "lists, GAIN-RL (angle)"]
    monkeypatch.setattr(figure, "MOST_CELLS", 1)
    assert figure.data(experiment, found).empty

import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from analysis.comparison import MISSING, Lookup, compare
from analysis.control import against_control
from analysis.leaderboard import boards, families, label_of, leaderboards, together
from analysis.report import page, section
from analysis.runs import finished_runs
from experiments import load_experiment
from gainrl.cli import reporting
from gainrl.runs.records import RunFolder
from paper_figures import leaderboard, of_experiment
from tests.helpers import gainrl
from tests.test_comparison import write_runs
from tests.test_report import all_of, browser, column, sort  # noqa: F401 (a fixture)

SLOW, MIDDLE, FAST, BEST = (
    [0.3, *rest] for rest in ([0.5, 0.65, 0.75], [0.6, 0.7, 0.8], [0.65, 0.78, 0.85], [0.8, 0.9, 0.9])
)
CURVES = {
    "mopps": MIDDLE,
    "dapo": FAST,
    "oracle": BEST,
    "uniform": SLOW,
    "gainrl": [0.3, 0.4, 0.5, 0.71],
    "arithmetic-uniform": SLOW,
    "arithmetic-mopps": FAST,
}
STEPS_TO_70 = "speed-up to 70 %, steps"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three seeds a cell, of gainrl only two; dapo samples twice as many rollouts as it trains, and choosing takes time."""
    root = tmp_path_factory.mktemp("runs")
    write_runs(root, 3, CURVES, name="selectors")
    RunFolder(root / "selectors" / "gainrl" / "seed-2").fail("no time")
    for path in root.glob("selectors/*/*/metrics.jsonl"):
        factor = 2 if "/dapo/" in str(path) else 1
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        more = [
            {"rollouts": 128 * factor * row["step"], "completion_tokens": 1000 * factor * row["step"],
             "choosing_seconds": 0.125 * row["step"]}
            for row in rows
        ]  # fmt: skip
        path.write_text("".join(json.dumps(row | new) + "\n" for row, new in zip(rows, more, strict=True)))
    return root


@pytest.fixture(scope="module")
def found(root):
    """The experiment, its runs, their comparison."""
    experiment = write_runs(root, 0, name="selectors")
    runs = finished_runs(experiment, root)
    return experiment, runs, compare(experiment, runs)


def page_of(experiment, runs, comparison):
    controls = against_control(experiment, runs)
    pictures = of_experiment.pictures(of_experiment.figures(experiment, runs, comparison, controls, pd.DataFrame()))
    return page([section(experiment, runs, comparison, controls, pictures, [])])


def test_every_family_has_the_same_methods_under_the_same_names():
    experiment = load_experiment("selectors")
    found = families(experiment)
    assert [family.name for family in found] == ["mixture", "arithmetic", "lists"]
    assert len({tuple(family.cells) for family in found}) == 1
    assert sorted(cell for family in found for cell in family.cells.values()) == sorted(experiment.cells)
    assert label_of(experiment, "mopps", "lists-mopps") == "MoPPS"
    assert label_of(experiment, "oracle", "arithmetic-oracle") == "oracle (no method)"


def test_rows_are_ordered_by_effect_and_say_how_many_seeds_they_have(found):
    experiment, _, comparison = found
    mixture, arithmetic = boards(experiment, comparison).values()
    rows = mixture.table.set_index("method")
    assert list(rows.index)[:5] == ["DAPO", "MoPPS", "uniform", "GAIN-RL (angle)", "oracle (no method)"]
    assert rows.seeds["GAIN-RL (angle)"] == "2 of 3"
    assert rows.seeds["AdaRFT"] == "0 of 3"
    assert set(rows.loc["AdaRFT"]) == {"0 of 3", "\u2013"}
    assert rows[STEPS_TO_70]["uniform"] == "1.00x"
    expected = Lookup(comparison).find("mopps", "speed-up", 0.7)
    assert rows[STEPS_TO_70]["MoPPS"] == f"{expected.mean:.2f}x [{expected.low:.2f}x, {expected.high:.2f}x]"
    assert "No runs yet: control (random), AdaRFT, E2H" in mixture.note
    assert arithmetic.table.method.tolist()[:2] == ["MoPPS", "uniform"]


def test_who_throws_rollouts_away_pays_for_them(found):
    _, _, comparison = found
    rows = Lookup(comparison)
    for quantity in ("speed-up in rollouts", "speed-up in tokens"):
        half = rows.find("dapo", "speed-up", 0.7).mean / 2
        assert rows.find("dapo", quantity, 0.7).mean == pytest.approx(half)
        assert rows.find("mopps", quantity, 0.7).mean == pytest.approx(rows.find("mopps", "speed-up", 0.7).mean)
    assert rows.find("dapo", "rollouts to target", 0.7).mean == pytest.approx(
        256 * rows.find("dapo", "steps to target", 0.7).mean
    )
    assert rows.find("dapo", "accuracy gained").mean == pytest.approx(0.1)
    equal = rows.find("dapo", "accuracy gained at equal rollouts")  # its 15th step against the baseline's 30th
    assert equal.mean == pytest.approx((0.65 + 0.78) / 2 - 0.75)
    assert rows.find("mopps", "accuracy gained at equal rollouts").mean == pytest.approx(0.05)


def test_rollouts_without_a_gradient_are_a_share_of_all_that_were_sampled(found):
    experiment, _, _ = found
    runs = finished_runs(experiment, next(iter(found[1]["dapo"].values())).path.parents[2])
    flat = runs.draws.groupby(["cell", "seed"]).cumcount() % 4 == 0
    runs.draws = runs.draws.assign(pass_rate=runs.draws.pass_rate.mask(flat, 1.0)).groupby(["cell", "seed"]).head(480)
    rows = Lookup(compare(experiment, runs))
    assert rows.find("mopps", "rollouts without a gradient").mean == pytest.approx(0.25)
    assert rows.find("dapo", "rollouts without a gradient").mean == pytest.approx(1 - 0.75 / 2)
    assert rows.find("dapo", "drawn without a gradient").mean == pytest.approx(0.25)


def test_choosing_is_told_in_seconds_and_as_a_share(found):
    rows = Lookup(found[2])
    assert rows.find("mopps", "seconds of choosing a step").mean == pytest.approx(0.125)
    assert rows.find("mopps", "share of choosing").mean == pytest.approx(0.2)  # of 0.5 + 0.125 seconds
    assert rows.find("mopps", "speed-up in seconds", 0.7).mean == pytest.approx(
        rows.find("mopps", "speed-up", 0.7).mean
    )


def test_families_are_taken_together_as_strata(found):
    experiment, runs, comparison = found
    grid = together(experiment, runs)
    assert grid.table.method.tolist() == ["MoPPS", "uniform"], "no other method has runs of both families"
    middle = np.mean([0.81, 0.81, 0.82, 0.85, 0.86, 0.86])  # of 0.80 to 0.82 and 0.85 to 0.87 all but the extremes
    assert float(grid.table["interquartile mean at end, %"][0].split()[0]) == pytest.approx(100 * middle, abs=1.1)
    assert grid.table["probability of improvement"].tolist() == ["1.00", "\u2013"]
    assert grid.table.seeds.tolist() == ["3", "3"]
    assert len(set(grid.table["of the baseline, %"])) == 1
    fewer = runs.only(list(runs))
    fewer.accuracy = runs.accuracy[(runs.accuracy.cell != "arithmetic-mopps") | (runs.accuracy.seed > 0)]
    uneven = together(experiment, fewer).table.set_index("method")
    assert uneven.seeds.to_dict() == {"MoPPS": "2", "uniform": "3"}
    assert len(set(uneven["of the baseline, %"])) == 2, "of the method's seeds"
    assert [one.title for one in leaderboards(experiment, comparison, runs)] == [
        "Leaderboard: mixture", "Leaderboard: arithmetic", "Leaderboard: all families (mixture, arithmetic)",
    ]  # fmt: skip
    assert leaderboards(load_experiment("quickstart"), comparison, runs) == []


def test_bars_are_in_the_tables_order_and_the_oracle_is_a_line(found):
    experiment, _, comparison = found
    (mixture, *_) = families(experiment)
    frame = leaderboard.data(experiment, comparison, mixture)
    figure = leaderboard.plot(experiment, mixture, frame)
    speeds, chances, _ = figure.axes
    names = [text.get_text() for text in speeds.get_yticklabels()]
    assert names == ["DAPO", "MoPPS", "uniform", "GAIN-RL (angle) (2)"]
    bars = [patch for patch in speeds.patches if isinstance(patch, Rectangle) and patch.get_height() < 1]
    rows = Lookup(comparison)
    assert [1 + bar.get_width() for bar in bars] == pytest.approx(
        [rows.find(cell, "speed-up", 0.7).mean for cell in ("dapo", "mopps", "gainrl")]
    )
    lines = {line.get_label(): line.get_xdata()[0] for line in speeds.lines}
    diamonds = [tuple(map(float, line.get_data()[0])) for line in speeds.lines if line.get_marker() == "D"]
    assert diamonds == [(pytest.approx(rows.find("dapo", "speed-up in rollouts", 0.7).mean),)]
    assert lines["oracle (no method)"] == pytest.approx(rows.find("oracle", "speed-up", 0.7).mean)
    assert len([line for line in chances.lines if line.get_marker() == "o"]) == 3


def test_the_page_begins_with_the_leaderboard_and_can_be_read_without_javascript(found):
    text = page_of(*found)
    assert text.index("Leaderboard: mixture") < text.index("Leaderboard: arithmetic") < text.index("Does it hold?")
    plain = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    (first, *_) = re.findall(r'<table class="sortable board".*?</table>', plain, re.DOTALL)
    assert [*re.findall(r'<tr data-cell="([\w-]+)"', first)][:3] == ["dapo", "mopps", "uniform"]
    assert re.search(r"1\.\d\dx <span class=\"interval\">\[", first)
    assert "A row of your own" in plain
    assert "docs/adding.md" in plain
    (data,) = re.findall(r'<script type="application/json" id="methods-selectors">(.*?)</script>', text, re.DOTALL)
    curves = json.loads(data)["curves"]
    assert set(curves) == set(CURVES)
    assert curves["dapo"]["held-out accuracy, % against step"][-1] == [30, 86.0]
    assert curves["dapo"]["held-out accuracy, % against thousands of rollouts"][-1] == [7.68, 86.0]
    assert curves["dapo"]["pass rate of the drawn problems, % against step"][0] == [4, 50]


def test_where_the_average_over_a_run_decides_rows_are_ordered_by_it(found):
    experiment, runs, _ = found
    by_average = experiment.model_copy(update={"judged_by": "average accuracy gained"})
    board = boards(by_average, compare(by_average, runs))["mixture"]
    gained = board.table.set_index("method")["gained on average over a run, points (primary)"]
    with_runs = gained[gained != MISSING]
    assert [*with_runs.index] == [
        experiment.labels["dapo"],
        experiment.labels["mopps"],
        "GAIN-RL (angle)",
        "oracle (no method)",
    ]
    points = with_runs.str.extract(r"([+-][\d.]+)")[0].astype(float)
    assert points.iloc[:3].is_monotonic_decreasing
    assert [*gained.index].index("uniform") == 2  # gains 0: between those above and GAIN-RL
    assert "primary endpoint, points gained on average over a run." in board.note


def test_where_methods_are_compared_each_training_set_has_its_figures(found):
    experiment, runs, comparison = found
    figures = of_experiment.figures(experiment, runs, comparison, [], pd.DataFrame())
    one_each = {"leaderboard", "learning_curves", "steps_to_target", "ablation"}
    assert set(figures) == {f"{name}-{family}" for name in one_each for family in ("mixture", "arithmetic")}
    shown = {text.get_text() for text in figures["ablation-mixture"].axes[0].get_yticklabels()}
    assert shown == {experiment.labels[cell] for cell in ("gainrl", "mopps", "dapo", "oracle")}


def test_experiments_with_a_leaderboard_come_first(tmp_path):
    for name in ("ablate_prior", "selectors"):
        RunFolder(tmp_path / name / "uniform" / "seed-0").fail("not yet")
    assert [plan.name for plan in reporting._all_with_runs("tiny", tmp_path)] == ["selectors", "ablate_prior"]


@pytest.mark.slow
def test_a_leaderboard_is_published_with_the_seeds_that_there_are(
    root, short_experiments, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    code, _, err = gainrl(monkeypatch, capsys, "publish", "selectors", "--runs-dir", str(root))
    assert (code, "gainrl seed 2 (failed: no time)" in err) == (0, True)
    published = tmp_path / "results" / "selectors"
    text = (published / "report.html").read_text()  # made from what is published
    assert text.index("Leaderboard: mixture") < text.index("2 of 3") < text.index("Does it hold?")
    assert "## Leaderboard: mixture" in (published / "table.md").read_text()
    assert (published / "leaderboard-mixture.png").exists()


@pytest.mark.browser
def test_a_leaderboard_sorts_and_its_rows_open(browser, found, tmp_path):  # noqa: F811 (the fixture)
    (tmp_path / "report.html").write_text(page_of(*found))
    browser.set_window_size(1280, 1600)
    browser.get((tmp_path / "report.html").as_uri())
    assert column(browser, 0, 0)[:2] == ["DAPO", "MoPPS"]
    sort(browser, 0, 3)  # rollouts, the smallest first
    assert column(browser, 0, 0)[:2] == ["GAIN-RL (angle)", "DAPO"]
    assert column(browser, 0, 3)[-1] == "\u2013"
    button = next(one for one in all_of(browser, ".board tbody th button") if one.text == "DAPO")
    button.click()
    (details,) = all_of(browser, ".run-details")
    assert len(details.find_elements("css selector", "svg path")) == 8, (
        "four charts, the method's curve and the baseline's"
    )
    assert "DAPO solid, uniform dashed" in details.text
    button.click()
    assert not all_of(browser, ".run-details")
    assert browser.get_log("browser") == []

"""Published runs: in a few files an experiment, each once, and back again."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from analysis import engines
from analysis.angle_gradient.summary import side_by_side
from analysis.patterns import over_seeds
from analysis.runs import finished_runs
from experiments import SCALES, load_experiment, of_scale
from experiments.questions import document
from gainrl.cli.reporting import write_table
from gainrl.files import write_json_lines
from gainrl.launch.estimate import costs
from gainrl.runs.plan import plan_runs
from gainrl.runs.published import ROWS, TEXTS, add_measurements, published_runs, stored_runs, write_published
from gainrl.runs.records import RunFolder
from tests.helpers import gainrl
from tests.test_comparison import CURVES, draws_of, short_experiment, write_runs


@pytest.fixture
def work(tmp_path, monkeypatch, short_experiments):
    """A working directory; runs work in its runs/. What tests of the command and the page draw is not drawn here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gainrl.cli.reporting.write_report", lambda *arguments: None)
    monkeypatch.setattr("gainrl.cli.reporting.write_figure", lambda *arguments: None)
    return tmp_path


def files_of(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def publish(runs_dir, results, name):
    write_published(finished_runs(short_experiment(name), runs_dir), name, results, results / name)


def share(work, experiment, cell, seed=0):
    """The run of quickstart's grpo is one of this experiment too."""
    path = work / "runs" / experiment / cell / f"seed-{seed}"
    path.parent.mkdir(parents=True)
    path.symlink_to(work / "runs" / "quickstart" / "grpo" / f"seed-{seed}")


def test_a_published_run_comes_back_in_full(work):
    experiment = write_runs(work / "runs", 2)
    folder = RunFolder(work / "runs" / "quickstart" / "gainrl" / "seed-1")
    rows = folder.metrics().to_dict("records")
    write_json_lines(
        folder.path / "metrics.jsonl", [*rows[:-1], rows[-1] | {"seconds": 0.1 + 0.2, "why": "é", "late": 3}]
    )
    draws = draws_of(folder.config(), angle=None)
    draws.loc[0, ["rank", "angle"]] = [3, 0.1]
    folder.write_draws(draws.astype({"angle": float}))
    publish(work / "runs", work / "results", "quickstart")
    before, after = finished_runs(experiment, work / "runs"), finished_runs(experiment, work / "results")
    assert {cell: list(by_seed) for cell, by_seed in before.items()} == {cell: [0, 1] for cell in after}
    for cell, by_seed in before.items():
        for seed, run in by_seed.items():
            published = after[cell][seed]
            assert [published.text(name) for name in TEXTS] == [run.text(name) for name in TEXTS]
            assert (published.hash, published.config()) == (run.config().hash, run.config())
            for read in ("metrics", "evals", "draws"):
                assert_frame_equal(getattr(published, read)(), getattr(run, read)(), check_exact=True)
    assert_frame_equal(before.draws, after.draws)
    assert costs(after["grpo"].values()) == costs(before["grpo"].values())
    assert {path.name for path in (work / "results" / "quickstart").rglob("*.*")} == {
        "runs.csv", "runs.parquet", "evaluations.parquet", "metrics.parquet", "draws.parquet"
    }  # fmt: skip


def test_runs_are_keyed_by_the_hash_of_their_config_as_it_stands(work):
    write_runs(work / "runs", 1)
    path = work / "runs" / "quickstart" / "grpo" / "seed-0" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "field_of_old": 1}))
    publish(work / "runs", work / "results", "quickstart")
    run = published_runs(work / "results", "quickstart")["grpo"][0]
    assert run.hash != short_experiment("quickstart").cells["grpo"].hash
    assert run.hash in stored_runs(work / "results")
    assert run.where("config.json").startswith("results/quickstart/runs/runs.parquet, run ")  # no path of this machine


def test_a_shared_run_is_stored_once_and_survives_the_other_being_published_anew(work):
    write_runs(work / "runs", 1)
    share(work, "ablate_schedule", "uniform")
    publish(work / "runs", work / "results", "quickstart")
    publish(work / "runs", work / "results", "ablate_schedule")
    shared = RunFolder(work / "runs" / "quickstart" / "grpo" / "seed-0")
    assert len(pq.read_table("results/ablate_schedule/runs/runs.parquet")) == 0
    assert pq.read_table("results/quickstart/runs/metrics.parquet")["hash"].to_pylist().count(shared.hash) == 30
    (run,) = finished_runs(short_experiment("ablate_schedule"), work / "results")["uniform"].values()
    assert_frame_equal(run.metrics(), shared.metrics())

    runs = finished_runs(short_experiment("quickstart"), work / "runs")
    write_published({"gainrl": runs["gainrl"]}, "quickstart", work / "results", work / "new")
    shutil.rmtree("results/quickstart")
    (work / "new").rename("results/quickstart")
    assert list(published_runs(work / "results", "quickstart")) == ["gainrl"]
    assert len(stored_runs(work / "results")) == 2
    (run,) = finished_runs(short_experiment("ablate_schedule"), work / "results")["uniform"].values()
    assert_frame_equal(run.evals(), shared.evals())


def test_each_file_is_opened_once_whatever_the_number_of_runs(work, monkeypatch):
    experiment = write_runs(work / "runs", 5)
    publish(work / "runs", work / "results", "quickstart")
    opened, read_table = [], pq.read_table
    monkeypatch.setattr(pq, "read_table", lambda path, **kwargs: opened.append(path.name) or read_table(path, **kwargs))
    for _ in range(2):
        runs = finished_runs(experiment, work / "results")
        assert len(runs.training) == 20 * 30
        assert len(runs.evaluations) == 20 * 4
        assert len(runs.draws) == sum(5 * len(draws_of(config)) for config in experiment.cells.values())
    assert sorted(opened) == ["draws.parquet", "evaluations.parquet", "metrics.parquet", "runs.parquet"]


def test_a_restored_run_is_found_finished(work, monkeypatch, capsys):
    write_runs(work / "runs", 1)
    folder = work / "runs" / "quickstart" / "gainrl" / "seed-0"
    before, run_hash = files_of(folder), RunFolder(folder).hash
    share(work, "ablate_schedule", "uniform")
    assert gainrl(monkeypatch, capsys, "publish", "quickstart")[0] == 0
    shutil.rmtree(work / "runs")
    (run,) = plan_runs(short_experiment("quickstart"), cells=["gainrl"], seeds=[0], runs_dir=work / "runs")
    assert not run.is_finished()  # nothing in results/ counts
    code, out, _ = gainrl(monkeypatch, capsys, "restore", "quickstart/gainrl/seed-0")
    assert (code, out.strip()) == (0, str(folder))
    assert run.is_finished()
    assert (folder.is_symlink(), folder.resolve()) == (True, run.home.resolve())
    again = files_of(run.home)
    assert_frame_equal(RunFolder(run.home).draws(), stored_runs(work / "results")[run_hash].draws())
    assert {name: again[name] for name in before if name != "draws.parquet"} == {
        name: text for name, text in before.items() if name != "draws.parquet"
    }
    code, out, _ = gainrl(monkeypatch, capsys, "train", "quickstart", "--cell", "gainrl")
    assert (code, out.strip()) == (0, str(folder))
    code, _, err = gainrl(monkeypatch, capsys, "restore", run_hash)
    assert (code, err) == (2, f"gainrl: {folder} already exists; remove it first\n")
    code, _, err = gainrl(monkeypatch, capsys, "restore", "quickstart/gainrl/seed-7")
    assert (code, err.count("\n")) == (2, 1)
    assert (
        "no run 'quickstart/gainrl/seed-7' under results; valid: a hash, or one of 4 names or what these begin with: "
        "quickstart/grpo/seed-0, " in err
    )


def test_all_runs_of_an_experiment_come_back_at_once(work, monkeypatch, capsys):
    experiment = write_runs(work / "runs", 2)
    assert gainrl(monkeypatch, capsys, "publish", "quickstart")[0] == 0
    kept, gone = (work / "runs" / "quickstart" / cell for cell in ("gainrl", "grpo"))
    (kept / "seed-0" / "mine").write_text("stays")
    shutil.rmtree(gone / "seed-0")
    code, out, _ = gainrl(monkeypatch, capsys, "restore", "quickstart/grpo")
    assert (code, out.split()) == (0, [str(gone / "seed-0")])
    shutil.rmtree(gone)
    shutil.rmtree(kept / "seed-1")
    code, out, _ = gainrl(monkeypatch, capsys, "restore", "quickstart")
    assert (code, sorted(out.split())) == (0, sorted(map(str, (gone / "seed-0", gone / "seed-1", kept / "seed-1"))))
    assert (kept / "seed-0" / "mine").read_text() == "stays"
    assert all(len(finished_runs(experiment, work / "runs")[cell]) == 2 for cell in experiment.cells)
    code, out, _ = gainrl(monkeypatch, capsys, "restore", "quickstart")
    assert (code, out) == (0, "")
    assert gainrl(monkeypatch, capsys, "restore", "quick")[0] == 2


@pytest.mark.parametrize("name", ["environment.json", "metrics.jsonl", "table"])
def test_a_publish_that_fails_leaves_what_was_published(work, monkeypatch, capsys, name):
    write_runs(work / "runs", 1)
    assert gainrl(monkeypatch, capsys, "publish", "quickstart")[0] == 0
    before = files_of(work / "results")
    write_runs(work / "runs", 2, CURVES | {"grpo": [0.1, 0.2]})
    if name == "table":

        def broken(*arguments):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("gainrl.cli.reporting.write_report", broken)
    else:
        (work / "runs" / "quickstart" / "control" / "seed-1" / name).unlink()
    code, _, err = gainrl(monkeypatch, capsys, "publish", "quickstart")
    assert (code, err.count("\n")) == (2, 1)
    assert files_of(work / "results") == before
    assert [path.name for path in (work / "results").iterdir()] == ["quickstart"]


def test_runs_are_not_published_onto_themselves(work, monkeypatch, capsys):
    write_runs(work / "results", 1)
    before = files_of(work / "results")
    code, _, err = gainrl(monkeypatch, capsys, "publish", "quickstart", "--runs-dir", "results")
    assert (code, err.count("\n")) == (2, 1)
    assert "results is where runs are published" in err
    assert files_of(work / "results") == before


def test_publishing_anew_replaces_runs_and_keeps_the_other_experiments(work, monkeypatch, capsys):
    write_runs(work / "runs", 1)
    share(work, "ablate_schedule", "uniform")
    publish(work / "runs", work / "results", "ablate_schedule")
    other = files_of(work / "results" / "ablate_schedule")
    for seeds in (1, 2):
        write_runs(work / "runs", seeds)
        assert gainrl(monkeypatch, capsys, "publish", "quickstart")[0] == 0
    assert files_of(work / "results" / "ablate_schedule") == other
    assert len(stored_runs(work / "results")) == 8


def test_measurements_are_published_with_their_tables_together(work, monkeypatch, capsys):
    write_runs(work / "runs", 1)
    measured = work / "runs" / "quickstart" / "patterns"
    for name, value in (("grpo-seed-0", 0.1), ("gainrl-seed-0", 0.2)):
        (measured / name).mkdir(parents=True)
        (measured / name / "report.md").write_text(name)
        for left_out in ("training_patterns.svg", "step-4.parquet"):
            (measured / name / left_out).write_text("")
        (measured / name / "training_patterns.png").write_bytes(b"png")
        pd.DataFrame({"step": [0, 4], "angle": [value, None]}).to_parquet(
            measured / name / "patterns.parquet", index=False
        )
        (measured / name / "summary.csv").write_text(f"quantity,value\nrise,{value}000\n")
    (measured / "summary.md").write_text("over seeds")
    assert gainrl(monkeypatch, capsys, "publish", "quickstart")[0] == 0
    results = work / "results" / "quickstart"
    assert {path.name for path in (results / "grpo-seed-0").iterdir()} == {"report.md", "training_patterns.png"}
    assert (results / "summary.md").read_text() == "over seeds"
    text = "measurement,quantity,value\ngainrl-seed-0,rise,0.2000\ngrpo-seed-0,rise,0.1000\n"
    assert (results / "summary.csv").read_text() == text
    (measured / "grpo-seed-0" / "summary.csv").write_text("quantity,value\nrise,0.3\n")
    add_measurements([measured / "grpo-seed-0"], results)
    assert (results / "summary.csv").read_text() == text.replace("0.1000", "0.3")
    assert pd.read_parquet(results / "patterns.parquet").angle.tolist()[::2] == [0.2, 0.1]


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] + (b"\n" if path.suffix == ".jsonl" else b""))


def change_rows(path, change):
    """What ``change`` makes of the rows of a file."""
    if path.suffix == ".parquet":
        return change(pd.read_parquet(path)).to_parquet(path, index=False)
    rows = change(pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()]))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows.to_dict("records")))


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_loop(path):
    path.unlink()
    path.symlink_to(path)


HARM = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": cut,
    "NUL": lambda path: path.write_bytes(bytes(100) + b"\n"),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{}\n"),
    "wrong type": lambda path: path.write_text("[1]\n"),
    "nested": lambda path: path.write_text("[" * 100_000 + "\n"),
    "folder": a_folder,
    "loop": a_loop,
}
FILES = (*TEXTS, "metrics.jsonl", "evals.jsonl", "draws.parquet")
WRONG_ROWS = {
    "no column": lambda rows: rows.drop(columns=["step" if "step" in rows else "epoch"]),
    "text": lambda rows: rows.assign(**{"step" if "step" in rows else "epoch": "three"}),
    "duplicated": lambda rows: pd.concat([rows, rows.tail(1)]),
    "out of order": lambda rows: rows[::-1],
    "too few": lambda rows: rows.head(1),
}
WRONG_VALUES = [
    *(("evals.jsonl", "value", value) for value in (17.0, -0.1, float("nan"), float("inf"), None, "high", True)),
    ("evals.jsonl", "step", 7),
    ("evals.jsonl", "benchmark", "another"),
    ("evals.jsonl", "n", 601),
    ("metrics.jsonl", "completion_tokens", -1),
    ("metrics.jsonl", "accuracy", 1.5),
    ("metrics.jsonl", "seconds", float("inf")),
    ("draws.parquet", "rank", 10**6),
]


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    write_runs(root, 2)
    return root


def left_out(experiment, root):
    runs = finished_runs(experiment, root)
    assert sum(map(len, runs.values())) == 7
    (line,) = runs.left_out
    return line


@pytest.fixture
def copied(whole_runs, tmp_path):
    shutil.copytree(whole_runs, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", HARM)
def test_a_run_with_a_damaged_file_is_left_out_and_the_file_is_named(copied, harm, file):
    HARM[harm](copied / "quickstart" / "adarft" / "seed-1" / file)
    line = left_out(short_experiment("quickstart"), copied)
    assert line.startswith("adarft seed 1: ")
    assert f"seed-1/{file}" in line
    assert "\n" not in line


@pytest.mark.parametrize("file", FILES[3:])
@pytest.mark.parametrize("harm", WRONG_ROWS)
def test_a_run_with_wrong_rows_is_left_out(copied, harm, file):
    change_rows(copied / "quickstart" / "adarft" / "seed-1" / file, WRONG_ROWS[harm])
    assert f"seed-1/{file}" in left_out(short_experiment("quickstart"), copied)


@pytest.mark.parametrize(("file", "column", "value"), WRONG_VALUES)
def test_a_run_with_a_value_that_cannot_be_is_left_out(copied, file, column, value):
    def change(rows):
        values = rows[column].astype(object).tolist()
        return rows.assign(**{column: [*values[:-1], value]})

    change_rows(copied / "quickstart" / "adarft" / "seed-1" / file, change)
    line = left_out(short_experiment("quickstart"), copied)
    assert f"seed-1/{file}" in line


@pytest.mark.parametrize("config", ["{}", "another cell's", "another seed's"])
def test_a_run_with_the_config_of_another_is_left_out(copied, config):
    path = copied / "quickstart" / "gainrl" / "seed-1" / "config.json"
    other = {"another cell's": "grpo/seed-1", "another seed's": "gainrl/seed-0"}.get(config)
    path.write_text("{}" if other is None else (copied / "quickstart" / other / "config.json").read_text())
    assert "seed-1/config.json" in left_out(short_experiment("quickstart"), copied)


def test_runs_that_are_measured_otherwise_are_told_and_counted(copied):
    experiment = short_experiment("quickstart")
    cells = {
        name: cell.model_copy(update={"evaluation": cell.evaluation.model_copy(update={"every": 5})})
        for name, cell in experiment.cells.items()
    }
    runs = finished_runs(experiment.model_copy(update={"cells": cells}), copied)
    assert (sum(map(len, runs.values())), runs.left_out) == (8, ())
    assert "8 runs of quickstart" in runs.notes[0]
    assert "evaluation.every" in runs.notes[0]


def test_only_folders_named_after_a_seed_are_runs(copied):
    folder = copied / "quickstart" / "grpo"
    for name in ("seed-0.bak", "seed-x", "seed-01", "seed--1", ".seed-2"):
        shutil.copytree(folder / "seed-0", folder / name)
    (folder / "seed-7").write_text("a file")
    (folder / "seed-8").symlink_to("nowhere")
    runs = finished_runs(short_experiment("quickstart"), copied)
    assert (list(runs["grpo"]), runs.left_out) == ([0, 1], ())


def test_an_extra_key_is_no_damage(copied):
    path = copied / "quickstart" / "grpo" / "seed-0"
    change_rows(path / "metrics.jsonl", lambda rows: rows.assign(more=1))
    for name in TEXTS:
        (path / name).write_text(json.dumps({**json.loads((path / name).read_text()), "more": 1}))
    assert finished_runs(short_experiment("quickstart"), copied).left_out == ()


@pytest.mark.parametrize("file", ["runs.csv", *(f"runs/{name}.parquet" for name in ("runs", *ROWS))])
@pytest.mark.parametrize("harm", ["missing", "empty", "NUL", "not UTF-8", "wrong type", "folder", "loop"])
def test_damaged_published_files_are_one_line(copied, work, monkeypatch, capsys, harm, file):
    publish(copied, work / "results", "quickstart")
    HARM[harm](work / "results" / "quickstart" / file)
    for command in (("table", "quickstart", "--from", "results"), ("restore", "quickstart/grpo/seed-0")):
        code, _, err = gainrl(monkeypatch, capsys, *command, "--runs-dir", str(work / "again"))
        assert (code, err.count("\n")) == (2, 1)
    assert not (work / "again").exists()


@pytest.mark.parametrize("row", ["../../out,0,{}", "/out,0,{}", "grpo,7,../../../out", "=cmd(),0,{}", "grpo,0,{}0"])
def test_an_index_names_folders_and_hashes_only(copied, work, monkeypatch, capsys, row):
    publish(copied, work / "results", "quickstart")
    index = work / "results" / "quickstart" / "runs.csv"
    known = index.read_text().splitlines()
    index.write_text("\n".join([known[0], row.format(known[1][-12:])]) + "\n")
    code, _, err = gainrl(monkeypatch, capsys, "restore", "quickstart", "--runs-dir", str(work / "again"))
    assert (code, err.count("\n")) == (2, 1)
    assert "row 1: " in err
    assert not (work / "again").exists()


@pytest.mark.parametrize("harm", [{"resumed": [5]}, {"cpus": [1]}, {"peak_gib": "x"}])
def test_a_run_with_an_environment_that_cannot_be_is_left_out(copied, harm):
    path = copied / "quickstart" / "adarft" / "seed-1" / "environment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **harm}))
    assert f"seed-1/environment.json: {next(iter(harm))}" in left_out(short_experiment("quickstart"), copied)


def test_a_published_run_that_is_not_finished_is_not_restored(copied, work, monkeypatch, capsys):
    publish(copied, work / "results", "quickstart")
    change_rows(
        work / "results" / "quickstart" / "runs" / "runs.parquet",
        lambda rows: rows.assign(**{"status.json": '{"state": "running"}'}),
    )
    code, _, err = gainrl(monkeypatch, capsys, "restore", "quickstart/grpo/seed-0", "--runs-dir", str(work / "again"))
    assert code == 2
    assert "status.json does not say that the run is finished" in err


def test_a_damaged_run_is_named_and_not_published(copied, work, monkeypatch, capsys):
    cut(copied / "quickstart" / "adarft" / "seed-1" / "evals.jsonl")
    code, _, err = gainrl(monkeypatch, capsys, "table", "quickstart")
    assert (code, err.count("\n")) == (0, 1)
    assert "left out: adarft seed 1: " in err
    code, _, err = gainrl(monkeypatch, capsys, "publish", "quickstart")
    assert (code, err.count("\n")) == (2, 1)
    assert "1 runs of quickstart are damaged, nothing is published" in err
    assert not (work / "results").exists()


RESULTS = Path(__file__).parents[1] / "results"


PUBLISHED = [(scale, path.parent.name) for scale in SCALES for path in sorted(of_scale(RESULTS, scale).glob("*/runs"))]


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "name"), PUBLISHED)
def test_a_published_table_is_what_its_runs_give(scale, name, tmp_path):
    (tmp_path / name).mkdir()
    results = of_scale(RESULTS, scale)
    for path in (
        *results.iterdir(),
        *(results / name).iterdir(),
    ):  # all as it is, but for the tables, which are made anew
        if path.stem not in (name, "table"):
            (tmp_path / path.relative_to(results)).symlink_to(path)
    assert write_table(load_experiment(name, scale), tmp_path) == (results / name / "table.md").read_text()
    made, published = (pd.read_csv(folder / name / "table.csv") for folder in (tmp_path, results))
    assert_frame_equal(made, published, rtol=1e-9)


def test_runs_by_verl_are_published_apart_with_those_by_trl_beside_them(work, monkeypatch, capsys):
    write_runs(work / "runs", 2)
    write_runs(work / "runs" / "verl", 1)
    assert gainrl(monkeypatch, capsys, "publish", "quickstart", "--engine", "verl")[0] == 0
    assert not (work / "results" / "verl" / "quickstart" / "engines.md").exists()  # none by TRL to compare with
    assert gainrl(monkeypatch, capsys, "publish", "quickstart")[0] == 0
    assert gainrl(monkeypatch, capsys, "publish", "quickstart", "--engine", "verl")[0] == 0
    assert len(published_runs(work / "results" / "verl", "quickstart")["grpo"]) == 1
    assert len(published_runs(work / "results", "quickstart")["grpo"]) == 2
    told = gainrl(monkeypatch, capsys, "engines", "quickstart", "--from", "results")[1]
    assert (work / "results" / "verl" / "quickstart" / "engines.md").read_text() == told


@pytest.mark.slow
def test_published_answers_and_summaries_are_what_runs_and_measurements_give(tmp_path):
    assert document(RESULTS) == (RESULTS / "answers.md").read_text()
    shutil.copy(RESULTS / "patterns" / "summary.csv", tmp_path)
    assert over_seeds(tmp_path) == (RESULTS / "patterns" / "summary.md").read_text()
    correlations = side_by_side([RESULTS / "angle_gradient"], tmp_path / "correlations.md")
    assert correlations == (RESULTS / "angle_gradient" / "summary.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.parent.name for path in RESULTS.glob("verl/*/engines.md")))
def test_both_engines_side_by_side_are_what_their_runs_give(name):
    plan = load_experiment(name)
    table = engines.side_by_side(plan, finished_runs(plan, RESULTS), finished_runs(plan, RESULTS / "verl"))
    assert engines.markdown(table) + "\n" == (RESULTS / "verl" / name / "engines.md").read_text()

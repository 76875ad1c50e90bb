import json
from dataclasses import replace

import pandas as pd
import pytest

from experiments import load_experiment
from gainrl.errors import InputError
from gainrl.files import write_atomically
from gainrl.runs.plan import claim, plan_runs
from gainrl.runs.records import RunFolder, find_run
from tests.helpers import evals_row, metrics_row


@pytest.fixture
def config():
    return load_experiment("quickstart").cells["gainrl"]


@pytest.fixture
def folder(tmp_path, config):
    folder = RunFolder(tmp_path / "run")
    folder.start(config)
    return folder


def test_a_run_folder_says_what_it_is(folder, config):
    assert folder.status() == ("running", None)
    assert folder.config() == config
    environment = json.loads((folder.path / "environment.json").read_text())
    assert {"git_commit", "git_dirty", "packages", "cpus", "threads", "command"} <= set(environment)
    assert environment["packages"]["trl"] == "1.16.0"


def test_rows_are_appended_and_read_back(folder):
    folder.append_metrics(metrics_row(1, loss=0.5))
    folder.append_metrics(metrics_row(2, loss=0.25, mu=3.0))
    folder.append_eval(evals_row(0, 0.3))
    folder.write_draws(pd.DataFrame({"epoch": [0], "problem_id": ["a"], "rank": [0]}))
    assert folder.metrics().loss.tolist() == [0.5, 0.25]
    assert folder.evals().value.tolist() == [0.3]
    assert folder.draws().problem_id.tolist() == ["a"]


def test_a_torn_last_line_is_left_out(folder):
    folder.append_metrics(metrics_row(1))
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    assert folder.metrics().step.tolist() == [1]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, lambda file: file.write_text("old"))

    def broken(file):
        file.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, broken)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_finished_runs_are_found_by_their_config(folder, config, tmp_path):
    assert find_run(tmp_path / "none", config) == "unfinished"
    assert find_run(folder.path, config) == "unfinished"
    folder.fail("broken off")
    assert folder.status() == ("failed", "broken off")
    assert find_run(folder.path, config) == "unfinished"
    folder.finish()
    assert find_run(folder.path, config) == "finished"


def test_a_finished_run_of_another_config_is_not_overwritten_in_silence(folder, config):
    folder.finish()
    other = config.with_seed(4)
    with pytest.raises(InputError, match=f"{config.hash}, now {other.hash}; they differ in seed.*--overwrite"):
        find_run(folder.path, other)


def test_a_finished_run_of_another_version_is_told_apart(folder, config):
    folder.finish()
    path = folder.path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "field_of_old": 1}))
    with pytest.raises(InputError, match="they differ in field_of_old"):
        find_run(folder.path, config)


def test_starting_again_removes_what_an_unfinished_attempt_left(folder, config):
    folder.append_metrics(metrics_row(1))
    folder.start(config)
    assert folder.metrics().empty


@pytest.mark.parametrize("status", ["", "\0\0\0", "[]", '{"state'])
def test_a_run_whose_status_cannot_be_read_is_not_removed(folder, config, status):
    folder.append_metrics(metrics_row(1))
    (folder.path / "status.json").write_text(status)
    with pytest.raises(InputError, match=r"status.json.*; nothing was removed"):
        folder.start(config)
    assert folder.metrics().step.tolist() == [1]


def test_a_finished_run_without_a_readable_config_is_one_line(folder, config):
    folder.finish()
    (folder.path / "config.json").write_text('{"seed": ')
    with pytest.raises(InputError, match="a finished run whose config.json cannot be read; --overwrite replaces it"):
        find_run(folder.path, config)


def test_a_folder_in_the_way_of_the_link_to_a_run_is_left_alone(tmp_path):
    (run,) = plan_runs(load_experiment("quickstart"), cells=["grpo"], seeds=[0], runs_dir=tmp_path)
    run.path.mkdir(parents=True)
    (run.path / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="is a folder where the link to a run belongs; move it away"):
            claim(replace(run, overwrite=overwrite))
    assert (run.path / "notes.txt").read_text() == "mine"

"""A two-step run end to end, through the command line's own path."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from experiments import load_experiment
from gainrl.errors import InputError
from gainrl.models.loading import load_model
from gainrl.problems import load_problems
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Experiment
from gainrl.runs.records import RunFolder
from gainrl.training.inputs import BASE_ROLLOUTS, base_pass_rates, rollouts_path, training_problems
from gainrl.training.run import train_run
from tests.helpers import TIMES, run_experiment, shrink


@pytest.fixture
def experiment(small_recipe) -> Experiment:
    full = load_experiment("quickstart")
    return Experiment.model_validate(
        {**full.model_dump(), "cells": {name: shrink(run).model_dump() for name, run in full.cells.items()}}
    )


def run(experiment, tmp_path, name="runs", **options):
    options = {"cells": list(experiment.cells), "seeds": [0], **options}
    run_experiment(experiment, runs_dir=tmp_path / name, **options)
    return {cell: RunFolder(tmp_path / name / "quickstart" / cell / "seed-0") for cell in options["cells"]}


def silent(what: str, done: int, of: int) -> None:
    pass


def test_all_cells_run_and_leave_whole_folders(experiment, tmp_path):
    for cell, folder in run(experiment, tmp_path).items():
        assert folder.status() == ("finished", None)
        assert folder.config() == experiment.cells[cell]
        metrics, evals, draws = folder.metrics(), folder.evals(), folder.draws()
        assert metrics.step.tolist() == [1, 2, 3, 4]
        assert metrics.epoch.tolist() == [0, 0, 1, 1]
        assert metrics.problems_seen.tolist() == [2, 4, 6, 8]
        assert {"seconds", "completion_tokens", "reward", "accuracy", "loss", "grad_norm"} <= set(metrics)
        assert evals.step.tolist() == [0, 3, 4]
        assert {"benchmark", "metric", "value", "stderr", "n", "truncated", "unparseable"} <= set(evals)
        assert len(draws) == 8
        assert draws.pass_rate.between(0, 1).all()
        assert draws[draws.epoch == 0].problem_id.is_unique
        environment = json.loads((folder.path / "environment.json").read_text())
        inputs = environment["inputs"]
        assert 0.1 < environment["peak_gib"] < 50
        assert inputs["train"]["fingerprint"] == load_problems("arithmetic", limit=12).fingerprint
        assert len(inputs["model"]) == 12
        sliding = cell in ("gainrl", "control")
        assert ("mu" in metrics) == sliding
        assert ("angle" in metrics) == sliding
        assert draws["angle"].notna().all() == sliding
        assert draws["rank"].notna().all() == sliding
        assert (folder.checkpoints / "step-4" / "model.safetensors").exists()


def test_mu_moves_as_the_update_says(experiment, tmp_path):
    folder = run(experiment, tmp_path, cells=["gainrl"])["gainrl"]
    first = folder.draws().query("epoch == 0")
    step = 2 * math.tanh(2 * (first.pass_rate.mean() - 0.5)) + 2 * math.tanh(2 * first["angle"].mean())
    mu = folder.metrics().mu
    assert mu[0] == mu[1] == 0
    assert mu[2] == pytest.approx(min(11, max(0, step)), abs=1e-6)


def test_the_same_config_gives_the_same_run(experiment, tmp_path):
    one, two = (run(experiment, tmp_path, name, cells=["gainrl"])["gainrl"] for name in ("one", "two"))
    assert one.draws().equals(two.draws())
    assert one.metrics().drop(columns=TIMES).equals(two.metrics().drop(columns=TIMES))
    assert one.evals().equals(two.evals())


def test_the_same_seed_starts_all_schedules_from_the_same_accuracy(experiment, tmp_path):
    starts = {folder.evals().value[0] for folder in run(experiment, tmp_path).values()}
    assert len(starts) == 1


def test_finished_runs_are_skipped_and_unfinished_ones_started_again(experiment, tmp_path):
    folders = run(experiment, tmp_path, cells=["grpo", "adarft"])
    before = {cell: (folder.path / "status.json").stat().st_mtime_ns for cell, folder in folders.items()}
    folders["adarft"].fail("power cut")
    run(experiment, tmp_path, cells=["grpo", "adarft"])
    after = {cell: (folder.path / "status.json").stat().st_mtime_ns for cell, folder in folders.items()}
    assert after["grpo"] == before["grpo"]
    assert folders["adarft"].status() == ("finished", None)
    run(experiment, tmp_path, cells=["grpo"], overwrite=True)
    assert (folders["grpo"].path / "status.json").stat().st_mtime_ns > before["grpo"]


def test_ctrl_c_marks_the_run_as_broken_off_and_leaves_files_whole(experiment, tmp_path):
    def interrupt(what: str, done: int, of: int) -> None:
        if what == "training" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(experiment.cells["grpo"], tmp_path / "run", tmp_path / "shared", interrupt)
    folder = RunFolder(tmp_path / "run")
    assert folder.status() == ("failed", "interrupted by Ctrl-C; the same command resumes the run")
    assert folder.metrics().step.tolist() == [1, 2, 3]
    assert len(folder.draws()) == 4
    assert json.loads((folder.path / "config.json").read_text())


def test_in_bf16_a_step_that_16_bits_would_lose_still_changes_the_weights(experiment, tmp_path, monkeypatch):
    def parity(completion_ids, **columns):
        return [float(sum(ids) % 2) for ids in completion_ids]

    monkeypatch.setattr("gainrl.training.run.accuracy_reward", parity)
    whole = experiment.cells["gainrl"].model_dump()
    changes = {"bf16": True, "learning_rate": 1e-6}
    config = RunConfig.model_validate({**whole, "training": {**whole["training"], **changes}})
    train_run(config, tmp_path / "run", tmp_path / "shared", silent)
    start = load_model(config.model.name, cache=tmp_path / "shared" / "models").model.state_dict()
    end = load_model(str(tmp_path / "run" / "checkpoints" / "step-4"), cache=tmp_path).model.state_dict()
    large = {name: tensor.abs() > 0.01 for name, tensor in start.items()}  # a step is less than a 16-bit unit there
    for before in (start, {name: tensor.bfloat16().float() for name, tensor in start.items()}):
        changed = torch.cat([(end[name] != before[name])[large[name]] for name in start])
        assert changed.float().mean() > 0.5


def test_an_error_is_in_the_status(experiment, tmp_path):
    bad = experiment.cells["grpo"].model_dump()
    bad["problems"]["train"] = "arithmetics"
    with pytest.raises(InputError):
        train_run(RunConfig.model_validate(bad), tmp_path / "run", tmp_path / "shared", silent)
    state, why = RunFolder(tmp_path / "run").status()
    assert state == "failed"
    assert why.startswith("InputError: unknown problem set 'arithmetics'")


def test_prompts_that_leave_no_room_for_completions_are_named(experiment, tmp_path):
    bad = experiment.cells["grpo"].model_dump()
    bad["training"]["max_completion_tokens"] = bad["evaluation"]["max_completion_tokens"] = 250
    with pytest.raises(
        InputError, match="tokens; the model's context has room for 6, with 250 reserved for the completion"
    ):
        train_run(RunConfig.model_validate(bad), tmp_path / "run", tmp_path / "shared", silent)


def test_scores_are_shared_between_runs(experiment, tmp_path):
    seen = []
    for name in ("a", "b"):
        train_run(experiment.cells["gainrl"], tmp_path / name, tmp_path / "shared", lambda what, *_: seen.append(what))
    assert seen.count("scoring") == 1
    assert seen.count("warm-up") == 3  # once as it begins, then after each of two steps
    assert len(list((tmp_path / "shared" / "scores").glob("*.parquet"))) == 1


def test_the_oracle_draws_by_the_variance_of_the_reward_and_shares_its_rollouts(experiment, tmp_path):
    run = experiment.cells["gainrl"]
    narrow = {"name": "gaussian", "order": "reward-variance", "options": {"sigma": 0.01}}
    oracle = RunConfig.model_validate({**run.model_dump(), "schedule": narrow, "seed": 4})
    graded = alternately_correct(oracle, tmp_path / "shared")
    train_run(oracle, tmp_path / "run", tmp_path / "shared", silent)
    first = RunFolder(tmp_path / "run").draws().query("epoch == 0").problem_id
    assert sorted(first) == sorted(graded[:4]), "half of their completions are correct, of the others none or all"


def alternately_correct(config: RunConfig, shared: Path) -> list[str]:
    """Replace the kept rollouts: every third problem is answered correctly half of the time. Returns these problems."""
    loaded = load_model(config.model.name, cache=shared / "models", seed=config.seed)
    problems = training_problems(config, loaded)
    pass_rate_N = base_pass_rates(config, loaded, problems, shared / "scores", silent)
    assert len(pass_rate_N) == len(problems)
    (path,) = (shared / "scores").glob("rollouts-*.parquet")
    graded = pd.read_parquet(path)
    assert graded.groupby("problem_id").size().tolist() == [BASE_ROLLOUTS] * len(problems)
    row = graded.problem_id.map({name: row for row, name in enumerate(problems.ids)})
    graded["correct"] = (row % 3 == 1) | ((row % 3 == 0) & (graded["sample"] % 2 == 0))
    graded.to_parquet(path)
    assert base_pass_rates(config, loaded, problems, shared / "scores", silent)[:3].tolist() == [0.5, 1.0, 0.0]
    return problems.ids[::3]


def test_damaged_rollouts_are_one_line(tiny, problems, tmp_path):
    config = load_experiment("quickstart").cells["gainrl"]
    path = rollouts_path(tmp_path, config, tiny.version, "float32", problems.fingerprint)
    pd.DataFrame({"problem_id": problems.ids[1:], "sample": 0, "correct": True}).to_parquet(path)
    for message in ("holds no completion of .*; remove it", "is not a whole Parquet file"):
        with pytest.raises(InputError, match=f"rollouts-.*.parquet {message}"):
            base_pass_rates(config, tiny, problems, tmp_path, silent)
        path.write_bytes(path.read_bytes()[:99])


def test_another_seed_has_other_problems_and_another_model(experiment, tmp_path):
    run_experiment(experiment, cells=["grpo"], seeds=[0, 1], runs_dir=tmp_path)
    draws = [RunFolder(tmp_path / "quickstart" / "grpo" / f"seed-{seed}").draws().problem_id for seed in (0, 1)]
    assert len(np.intersect1d(*draws)) < 4
    assert len(list((tmp_path / "shared" / "models").glob("tiny-*"))) == 2


def test_an_order_of_the_release_and_its_definition_can_be_trained_on(experiment, tmp_path):
    config = experiment.cells["gainrl"]
    rows = np.random.default_rng(0).permutation(12)
    torch.save(torch.tensor(rows), tmp_path / "order.pt")
    for order in (str(tmp_path / "order.pt"), "released", "off-diagonal"):
        schedule = {"name": "gaussian", "order": order, "options": {"sigma": 0.01}}
        one = RunConfig.model_validate({**config.model_dump(), "schedule": schedule})
        place = tmp_path / f"run-{Path(order).stem}"
        train_run(one, place, tmp_path / "shared", silent)
        draws = RunFolder(place).draws()
        if order.endswith(".pt"):
            ids = load_problems("arithmetic", limit=12).ids
            assert draws[draws.epoch == 0].problem_id.tolist() == [ids[row] for row in rows[:4]]
    assert len(list((tmp_path / "shared" / "scores").glob("*.parquet"))) == 2
    with pytest.raises(ValidationError, match="unknown order .* or a .pt file of the release"):
        RunConfig.model_validate({**config.model_dump(), "schedule": {"name": "gaussian", "order": "nothing"}})


def test_the_released_definition_is_not_fed_back(experiment, tmp_path):
    config = experiment.cells["gainrl"]
    one = RunConfig.model_validate({**config.model_dump(), "signal": {"definition": "released"}})
    with pytest.raises(InputError, match="orders problems only; during training use 'paper' or 'off-diagonal'"):
        train_run(one, tmp_path / "run", tmp_path / "shared", silent)

import pandas as pd
import pytest
from transformers import AutoModelForCausalLM

from experiments import patterns as experiment
from gainrl import patterns
from gainrl.config import Experiment
from gainrl.errors import InputError
from gainrl.launch import run_experiment
from paper_figures import training_patterns
from tests.test_train import shrink


def silent(what: str, done: int, of: int) -> None:
    pass


@pytest.fixture
def kept(small_recipe, tmp_path):
    """Checkpoints of a run of four steps that keeps every second one."""
    full = experiment.experiment()
    cell = shrink(full.cells["grpo"])
    cell = cell.model_copy(update={"training": cell.training.model_copy(update={"keep_every": 2})})
    plan = Experiment.model_validate(
        {**full.model_dump(), "cells": {"grpo": cell.model_dump()}, "labels": {"grpo": "GRPO"}}
    )
    run_experiment(plan, cells=["grpo"], seeds=[0], runs_dir=tmp_path / "runs")
    return tmp_path / "runs" / "patterns" / "grpo" / "seed-0" / "checkpoints"


def test_a_run_keeps_the_checkpoints_that_it_is_asked_to(kept):
    assert list(patterns.checkpoints(kept)) == [0, 2, 4]


def test_every_checkpoint_is_traced_once_on_the_same_problems(kept, problems, tmp_path, monkeypatch):
    folders = patterns.checkpoints(kept)
    last = AutoModelForCausalLM.from_pretrained(folders[4])  # a random model earns no reward, so training moved nothing
    last.model.layers[0].self_attn.v_proj.weight.data *= 3
    last.save_pretrained(folders[4])
    frame = patterns.trace(folders, problems, tmp_path / "out", max_completion_tokens=4, report=silent)
    assert frame.groupby("step").problem_id.apply(list).tolist() == [problems.ids] * 3
    assert frame.groupby("step").weights.first().nunique() == 2
    assert frame.groupby("problem_id")["angle"].nunique().max() == 2
    assert frame.groupby("step").neuron_agreement.nunique().min() > 1
    monkeypatch.setattr(patterns, "load_model", None)
    again = patterns.trace(folders, problems, tmp_path / "out", max_completion_tokens=4, report=silent)
    pd.testing.assert_frame_equal(frame, again)
    summary = training_patterns.summary(frame)
    assert "rise of neuron_agreement" in set(summary.quantity)
    assert {"rise of c_intra", "rise of c_inter"} <= set(summary.quantity)


def test_a_table_of_an_earlier_version_is_made_again(kept, problems, tmp_path):
    folders = patterns.checkpoints(kept)
    frame = patterns.trace(folders, problems, tmp_path / "out", max_completion_tokens=4, report=silent)
    path = tmp_path / "out" / "step-2.parquet"
    pd.read_parquet(path).drop(columns="neuron_agreement").to_parquet(path)
    again = patterns.trace(folders, problems, tmp_path / "out", max_completion_tokens=4, report=silent)
    pd.testing.assert_frame_equal(frame, again)


def test_a_folder_without_checkpoints_is_named(tmp_path):
    (tmp_path / "step-3").mkdir()
    with pytest.raises(InputError, match="holds 1 checkpoints named step-N or checkpoint-N; at least 2 are needed"):
        patterns.checkpoints(tmp_path)

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from analysis import patterns as pattern_statistics
from experiments import patterns as experiment
from gainrl.errors import InputError
from gainrl.prompts import Prompt, encode_prompts
from gainrl.runs.config import SignalConfig
from gainrl.runs.experiment import Experiment
from gainrl.scoring.hooks import has_site
from gainrl.scoring.prefill import BATCH_TOKENS
from gainrl.studies import patterns
from gainrl.studies.patterns import agreement, neuron_directions
from tests.helpers import run_experiment, shrink


def silent(what: str, done: int, of: int) -> None:
    pass


@pytest.fixture
def kept(small_recipe, tmp_path):
    """Checkpoints of a run of four steps that keeps every second one."""
    full = experiment.experiment()
    cell = shrink(full.cells["grpo"])
    cell = cell.model_copy(update={"training": cell.training.model_copy(update={"keep_every": 2})})
    only = {"cells": {"grpo": cell.model_dump()}, "labels": {"grpo": "GRPO"}, "execution": {}}
    plan = Experiment.model_validate({**full.model_dump(), **only})
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
    summary = pattern_statistics.summary(frame)
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


@pytest.mark.parametrize("layer", [-1, 0])
def test_directions_are_those_of_one_plain_forward_pass_a_problem(tiny, problems, layer, monkeypatch):
    monkeypatch.setitem(BATCH_TOKENS, "cpu", 300)  # several batches, padded
    found = neuron_directions(tiny.model, tiny.tokenizer, problems, layer=layer)
    mlp = tiny.model.model.layers[layer].mlp
    for row, problem in enumerate(problems.problems):
        (one,) = encode_prompts(tiny.tokenizer, [Prompt().messages(problem.question)], ["x"])
        read = []
        handle = mlp.register_forward_pre_hook(lambda _module, inputs, read=read: read.append(inputs[0]))
        with torch.no_grad():
            tiny.model(torch.tensor(one.ids[None], dtype=torch.long))
            neurons = mlp.act_fn(mlp.gate_proj(read[0])) * mlp.up_proj(read[0])
        handle.remove()
        mean = neurons[0, one.prefix_tokens : one.question_end].mean(0)
        torch.testing.assert_close(found[row], mean / mean.norm(), atol=1e-5, rtol=0)


def test_agreement_is_the_mean_cosine_with_the_others():
    directions = torch.nn.functional.normalize(torch.randn(7, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    cosines = (directions @ directions.T).numpy()
    expected = [np.delete(cosines[row], row).mean() for row in range(7)]
    np.testing.assert_allclose(agreement(directions), expected, atol=1e-6)
    np.testing.assert_allclose(agreement(directions[:1].repeat(4, 1)), 1, atol=1e-6)


def test_a_layer_without_such_neurons_is_named(tiny, problems):
    del tiny.model.model.layers[-1].mlp.down_proj
    assert not has_site(tiny.model, SignalConfig(site="neurons"))
    assert has_site(tiny.model, SignalConfig(site="neurons", layer=0))
    with pytest.raises(InputError, match="has no site neurons: its Qwen2MLP has no down_proj; try residual"):
        neuron_directions(tiny.model, tiny.tokenizer, problems)


@pytest.mark.parametrize("text", ["", "quantity\nrise\n", "quantity,value\nrise,high\n", "\0\0"])
def test_a_damaged_summary_is_one_line(tmp_path, text):
    place = tmp_path / "grpo-seed-0" / "summary.csv"
    place.parent.mkdir()
    place.write_text(text)
    with pytest.raises(InputError, match=r"grpo-seed-0/summary\.csv"):
        pattern_statistics.over_seeds(tmp_path)

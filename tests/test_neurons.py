import numpy as np
import pytest
import torch

from gainrl.config import SignalConfig
from gainrl.errors import InputError
from gainrl.probe import agreement, has_site, neuron_directions
from gainrl.probe.batching import BATCH_TOKENS
from gainrl.prompts import Prompt, encode_prompts


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

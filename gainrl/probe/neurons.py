"""Which neurons a problem excites: the hidden units of an MLP, and how alike problems are in them."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gainrl.probe.batching import batch_tokens_of, batches, evaluating, pad
from gainrl.probe.sites import prefill_to_sites, span_masks
from gainrl.problems import ProblemSet
from gainrl.prompts import Prompt, encode_prompts, require_fit
from gainrl.schedules import Floats


def neuron_directions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: ProblemSet,
    prompt: Prompt | None = None,
    *,
    layer: int = -1,
) -> Tensor:
    """Unit vectors of the neurons' activations, averaged over each problem's question tokens: (N, F), fp32 on the CPU.

    A layer's neurons are what its MLP's last projection reads (site ``neurons``). Raises InputError where a model has
    none, or where a prompt does not fit its context.
    """
    prompt = prompt or Prompt()
    encoded = encode_prompts(tokenizer, [prompt.messages(p.question) for p in problems.problems], problems.ids)
    require_fit(encoded, problems.ids, int(model.config.max_position_embeddings))
    directions: dict[int, Tensor] = {}
    with evaluating(model):
        for rows in batches([len(one.ids) for one in encoded], batch_tokens_of(model)):
            batch, states = [encoded[row] for row in rows], dict[int, Tensor]()
            ids_BT, _ = pad([one.ids for one in batch], model.device)
            prefill_to_sites(model, "neurons", [layer], states.__setitem__, input_ids=ids_BT, use_cache=False)
            _, question_BT = span_masks(batch, states[layer])
            sum_BF = torch.einsum("btf,bt->bf", states[layer].float(), question_BT.float())
            directions |= dict(zip(rows, nn.functional.normalize(sum_BF, dim=-1).cpu(), strict=True))
    return torch.stack([directions[row] for row in range(len(problems))])


def agreement(direction_NF: Tensor) -> Floats:
    """Mean cosine of each problem's direction with those of all others, (N,); N >= 2."""
    u_NF = direction_NF.double()
    others_N = u_NF @ u_NF.sum(0) - u_NF.square().sum(1)
    mean_N: Floats = (others_N / (len(u_NF) - 1)).numpy()
    return mean_N

"""Norms of every sample's gradient, all parameters: `squared_gradient_norms` against one backward pass a sample.

The other way is plain autograd with one sample a pass. The two take turns on the same samples, and must agree.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
import tyro
from rich.progress import track
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gainrl.errors import InputError
from gainrl.models import SHAPES, TINY_RECIPES
from gainrl.models.text import bpe_tokenizer, random_model
from gainrl.models.tiny import random_tiny_model, tiny_tokenizer
from gainrl.problems import ProblemSet, load_problems
from gainrl.prompts import Prompt, encode_problems
from gainrl.rng import torch_seed
from gainrl.studies.gradients import squared_gradient_norms
from speed.report import publish
from speed.scoring import choose, generated_problems

Batch = tuple[Tensor, Tensor, Tensor]
"""ids, mask and weights, (R, T) each"""


def one_by_one(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Squared gradient norms by autograd, (R,)."""
    norms = []
    parameters = list(model.parameters())
    for ids, mask, weight in zip(*batch, strict=True):
        length = int(mask.sum())
        logp = model(input_ids=ids[None, :length]).logits[0, :-1].float().log_softmax(-1)
        loss = -(weight[1:length] * logp.gather(1, ids[1:length, None])[:, 0]).sum()
        norms.append(torch.stack([g.square().sum() for g in torch.autograd.grad(loss, parameters)]).sum())
    return torch.stack(norms)


def all_at_once(model: PreTrainedModel, batch: Batch) -> Tensor:
    return torch.stack(list(squared_gradient_norms(model, *batch).values())).sum(0)


def samples(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, problems: ProblemSet, completion_tokens: int
) -> Batch:
    """Prompts with random completions, sorted by length, the mean of whose tokens' losses is the loss."""
    encoded = encode_problems(tokenizer, problems.problems, Prompt())
    encoded = sorted(encoded, key=lambda encoding: len(encoding.ids))
    draw = torch.Generator().manual_seed(torch_seed(0, "benchmark completions"))
    longest = len(encoded[-1].ids) + completion_tokens
    ids, mask, weight = torch.zeros(3, len(encoded), longest).unbind()
    ids = ids.long()
    for row, encoding in enumerate(encoded):
        end = len(encoding.ids) + completion_tokens
        ids[row, : len(encoding.ids)] = torch.as_tensor(encoding.ids, dtype=torch.long)
        ids[row, len(encoding.ids) : end] = torch.randint(len(tokenizer), (completion_tokens,), generator=draw)
        mask[row, :end], weight[row, len(encoding.ids) : end] = 1, 1 / completion_tokens
    return tuple(tensor.to(model.device) for tensor in (ids, mask.long(), weight))  # type: ignore[return-value]


def _parts(batch: Batch, size: int) -> Iterator[Batch]:
    """Smaller batches, without the columns that are padding in all their rows."""
    for ids, mask, weight in zip(*(torch.split(tensor, size) for tensor in batch), strict=True):
        longest = int(mask.sum(1).max())
        yield ids[:, :longest], mask[:, :longest], weight[:, :longest]


def measure(name: str, model: PreTrainedModel, batch: Batch, size: int, rounds: int) -> dict[str, object]:
    """A row of the table; ours in batches of ``size`` samples."""

    def ours() -> Tensor:
        return torch.cat([all_at_once(model, part) for part in _parts(batch, size)])

    ways: dict[str, Callable[[], Tensor]] = {"one": lambda: one_by_one(model, batch), "all": ours}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):  # the first warms
        for way, action in ways.items():
            began = time.perf_counter()
            result = action()
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            times[way].append(time.perf_counter() - began)
            if way == "one":
                expected = result
    error = float((result / expected - 1).abs().max())
    if error > 1e-3:
        raise InputError(f"the two ways differ by {error:.2g} at {name}; nothing is published")
    one, every = (float(np.median(times[way][1:])) for way in ("one", "all"))
    tokens = float(batch[1].sum(1).float().mean())
    return {
        "model": name,
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        "samples": len(batch[0]),
        "tokens a sample": tokens,
        "one by one, s": one,
        "gainrl, s": every,
        "times as fast": one / every,
        "largest relative difference, millionths": 1e6 * error,
    }


def main(data: str | None = None, rounds: int = 5, completion_tokens: int = 24, large: bool = True) -> None:
    """Measure and publish.

    Args:
        data: Problem file or set for the larger models; generated words if not given.
        rounds: The two ways take turns.
        completion_tokens: Of each sample.
        large: Also at Qwen2.5-0.5B's shape.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    everything = generated_problems() if data is None else load_problems(data, drop_null_answers=True)
    tokenizer = bpe_tokenizer([problem.question for problem in everything.problems], 16_384)
    tiny, own = tiny_tokenizer(), load_problems("arithmetic", limit=128)
    cases = [("tiny", random_tiny_model(TINY_RECIPES["tiny"], tiny, 0).eval().to(device), tiny, own, 64)]
    for shape, size, batch_size in (("small", 64, 8), *([("qwen2.5-0.5b", 8, 2)] if large else [])):
        model = random_model(SHAPES[shape], tokenizer, 0, device=device)
        cases.append((shape, model, tokenizer, choose(everything, size), batch_size))
    rows = []
    for name, model, its_tokenizer, problems, size in track(cases, description="models"):
        batch = samples(model, its_tokenizer, problems, completion_tokens)
        rows.append(measure(name, model, batch, size, rounds if name != "qwen2.5-0.5b" else 2))
    note = (
        f"Random weights, fp32; norms over all parameters. Medians of {rounds} rounds in turns (2 at qwen2.5-0.5b). Ours in "
        "batches of 64, 8 and 2 samples."
    )
    publish("gradient_norms", "Gradient norms of single samples", pd.DataFrame(rows), note)


if __name__ == "__main__":
    tyro.cli(main)

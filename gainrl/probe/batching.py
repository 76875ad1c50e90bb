"""Prompts in batches: how many, in which order, padded how; and the model as it should be while they go through it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from gainrl.prompts import Ids

BATCH_TOKENS = {"cpu": 1024, "cuda": 16_384}
"""By device. On a CPU larger batches fall out of its caches (measured: `speed.scoring`); on a GPU they fill it."""


def batch_tokens_of(model: PreTrainedModel) -> int:
    """Most tokens of a batch on the model's device, `BATCH_TOKENS`."""
    return BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cpu"])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Rows by falling length, so that padding is small and a batch that does not fit memory comes first."""
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while rows:
        size = max(1, batch_tokens // lengths[rows[0]])
        yield rows[:size]
        rows = rows[size:]


def pad(questions: Sequence[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids (B, Q) padded on the right, and lengths (B,). No mask: no token of a causal model sees what is after it."""
    tensors = [torch.as_tensor(question, dtype=torch.long) for question in questions]
    lengths = torch.tensor([len(question) for question in questions])
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True).to(device), lengths.to(device)

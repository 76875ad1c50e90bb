"""The angle, read on verl's workers in the forward pass that verl makes anyway for the old log-probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from verl.utils import tensordict_utils
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from gainrl.angle import angle_concentration
from gainrl.prompts import EncodedPrompt
from gainrl.runs.config import SignalConfig
from gainrl.scoring import capture, span_masks
from gainrl.verl.rollouts import plain
from gainrl.verl.rows import SPANS

REQUEST = "gainrl_signal"
"""Key of the batch's information under which the trainer asks for the angle: a `SignalConfig` as a dictionary."""
_NO_IDS = np.empty(0, dtype=np.int32)


class AngleEngine(FSDPEngineWithLMHead):
    """verl's FSDP engine; a batch that asks for it gets ``angle`` beside its log-probabilities, one number a rollout."""

    def forward_step(self, micro_batch: Any, loss_function: Any, forward_only: bool) -> Any:
        request = tensordict_utils.get_non_tensor_data(micro_batch, key=REQUEST, default=None)
        if request is None or not forward_only:
            return super().forward_step(micro_batch, loss_function, forward_only)
        signal = SignalConfig.model_validate(request)
        with capture(self.module, signal) as captured:
            loss, output = super().forward_step(micro_batch, loss_function, forward_only)
        (hidden_BTD,) = captured
        packed = tensordict_utils.get_non_tensor_data(micro_batch, key="use_remove_padding", default=True)
        offsets = micro_batch["input_ids"].offsets().tolist()
        angle_B = prompt_angles(hidden_BTD, offsets if packed else None, list(micro_batch["extra_info"]), signal)
        one_each = torch.arange(len(angle_B) + 1, device=angle_B.device)
        output["model_output"]["angle"] = torch.nested.nested_tensor_from_jagged(angle_B, one_each)
        return loss, output


def prompt_angles(
    hidden_BTD: Tensor, offsets: Sequence[int] | None, extra: Sequence[Any], signal: SignalConfig
) -> Tensor:
    """Angle of each sequence's prompt, (B,) in at least 32 bits.

    Args:
        hidden_BTD: hidden states; of packed sequences (1, tokens of all, D), else padded on the right.
        offsets: where the packed sequences begin, and the end of the last; None where they are padded.
        extra: ``extra_info`` of each sequence, with `SPANS`.
    """
    infos = [plain(info) for info in extra]
    ends = [int(info[SPANS[1]]) for info in infos]
    prompts = [
        EncodedPrompt(_NO_IDS, int(info[SPANS[0]]), end - int(info[SPANS[0]]))
        for info, end in zip(infos, ends, strict=True)
    ]
    if offsets is not None:
        rows = [hidden_BTD[0, start : start + end] for start, end in zip(offsets, ends, strict=False)]
        hidden_BTD = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    else:
        hidden_BTD = hidden_BTD[:, : max(ends)]
    prefix_BT, question_BT = span_masks(prompts, hidden_BTD)
    return angle_concentration(hidden_BTD, prefix_BT, question_BT, signal.definition).angle

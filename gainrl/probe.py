"""Prefill a problem set once and read the signal: scores, one row a problem, with what they were made from."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gainrl.config import SignalConfig
from gainrl.errors import InputError
from gainrl.models.loading import weights_hash
from gainrl.models.tiny import Progress
from gainrl.problems import ProblemSet
from gainrl.prompts import EncodedPrompt, Prompt, encode_prompts, require_fit
from gainrl.records import write_atomically
from gainrl.schedules import Floats, sort_key
from gainrl.signal import angle_concentration

COLUMNS = ("problem_id", "c_intra", "c_inter", "angle", "question_tokens", "prefix_tokens")
_METADATA_KEY = b"gainrl"


@dataclass(frozen=True)
class Scores:
    """The table (a row a problem, in the set's order; `COLUMNS`) and what it was made from."""

    table: pd.DataFrame
    metadata: Mapping[str, str]

    def save(self, path: Path) -> None:
        table = pyarrow.Table.from_pandas(self.table, preserve_index=False)
        table = table.replace_schema_metadata(
            {**(table.schema.metadata or {}), _METADATA_KEY: json.dumps(dict(self.metadata))}
        )
        write_atomically(path, lambda file: pyarrow.parquet.write_table(table, file))

    @classmethod
    def load(cls, path: Path, expected: Mapping[str, str] | None = None) -> "Scores":
        """Read a scores file. Raises InputError: not one, or made from something else than ``expected`` says."""
        try:
            table = pyarrow.parquet.read_table(path)
            metadata = json.loads((table.schema.metadata or {})[_METADATA_KEY])
        except (OSError, pyarrow.ArrowInvalid, KeyError, ValueError) as error:
            raise InputError(f"{path} is not a scores file of this suite; gainrl score writes one") from error
        if missing := sorted(set(COLUMNS) - set(table.column_names)):
            raise InputError(f"scores file {path} has no column {', '.join(missing)}")
        for key, wanted in (expected or {}).items():
            if metadata.get(key) != wanted:
                raise InputError(
                    f"scores file {path} was made for {key} {metadata.get(key)}, not for {wanted}; score again"
                )
        return cls(table.to_pandas(), metadata)

    def sort_key(self, order: str, problems: ProblemSet | None = None, *, seed: int = 0) -> Floats:
        """What a schedule takes, for an order by name (`schedules.ORDERS` or ``random``). Difficulty needs ``problems``."""
        columns: dict[str, Any] = {name: self.table[name].to_numpy() for name in COLUMNS[1:]}
        if problems is not None:
            if list(self.table.problem_id) != problems.ids:
                raise InputError(f"the scores are not of the problems of {problems.name}, in that order")
            columns["difficulty"] = problems.difficulties()
        return sort_key(order, columns, size=len(self.table), seed=seed)


def signal_metadata(model_version: str, problems: ProblemSet, prompt: Prompt, signal: SignalConfig) -> dict[str, str]:
    """What scores depend on; two scores files with the same metadata hold the same scores."""
    return {
        "model": model_version,
        "prompt": prompt.hash,
        "problem_set": problems.fingerprint,
        "definition": signal.definition,
        "site": signal.site,
        "layer": str(signal.layer),
    }


def score_problems(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: ProblemSet,
    prompt: Prompt | None = None,
    *,
    signal: SignalConfig | None = None,
    model_version: str | None = None,
    batch_tokens: int = 16_384,
    progress: Progress | None = None,
) -> Scores:
    """Angle concentration of every problem, from one prefill of each prompt by the decoder alone (no LM head).

    Args:
        model_version: what to call the weights in the metadata; a hash of them if not given.
        batch_tokens: most tokens of a batch, padding included.
        progress: called with (finished problems, all problems).

    Raises:
        InputError: a prompt that cannot be encoded or is longer than the context, a probe site or layer that the model
            does not have, a score that is not finite (which problem).
    """
    prompt, signal = prompt or Prompt(), signal or SignalConfig()
    encoded = encode_prompts(tokenizer, [prompt.messages(p.question) for p in problems.problems], problems.ids)
    require_fit(encoded, problems.ids, int(model.config.max_position_embeddings))
    decoder = cast(nn.Module, model.get_decoder())
    device = next(model.parameters()).device
    c_intra_N, c_inter_N = np.empty(len(encoded)), np.empty(len(encoded))

    training = model.training
    model.eval()
    done = 0
    with torch.no_grad(), capture(model, signal) as captured:
        for rows in _batches(encoded, batch_tokens):
            ids_BT, mask_BT = _pad([encoded[row].ids for row in rows])
            captured.clear()
            decoder(input_ids=ids_BT.to(device), attention_mask=mask_BT.to(device), use_cache=False)
            (hidden_BTD,) = captured
            prefix_BT, question_BT = span_masks([encoded[row] for row in rows], hidden_BTD)
            c_intra_N[rows], c_inter_N[rows] = (
                value.double().cpu().numpy()
                for value in angle_concentration(hidden_BTD, prefix_BT, question_BT, signal.definition)
            )
            done += len(rows)
            if progress is not None:
                progress(done, len(encoded))
    model.train(training)

    table = pd.DataFrame(
        {
            "problem_id": problems.ids,
            "c_intra": c_intra_N,
            "c_inter": c_inter_N,
            "angle": c_intra_N + c_inter_N,
            "question_tokens": [prompt.question_tokens for prompt in encoded],
            "prefix_tokens": [prompt.prefix_tokens for prompt in encoded],
        }
    )
    if not np.isfinite(table["angle"]).all():
        bad = table.problem_id[~np.isfinite(table["angle"])]
        raise InputError(f"the score of {bad.iloc[0]} is not finite ({len(bad)} of {len(table)} problems)")
    metadata = signal_metadata(model_version or weights_hash(model), problems, prompt, signal)
    return Scores(table, {**metadata, "version": version("gainrl")})


@contextmanager
def capture(model: nn.Module, signal: SignalConfig) -> Iterator[list[Tensor]]:
    """While open, every forward pass appends the hidden states (B, T, D) at the probe site to the list, detached."""
    module, is_input = _probed_module(cast(PreTrainedModel, model), signal)
    captured: list[Tensor] = []

    def keep(_module: nn.Module, inputs: Any, output: Any = None) -> None:
        states = inputs if is_input else output
        captured.append((states[0] if isinstance(states, tuple) else states).detach())

    handle = module.register_forward_pre_hook(keep) if is_input else module.register_forward_hook(keep)
    try:
        yield captured
    finally:
        handle.remove()


def _probed_module(model: PreTrainedModel, signal: SignalConfig) -> tuple[nn.Module, bool]:
    """The module whose input (True) or output (False) is probed."""
    decoder = model.get_decoder()
    layers = getattr(decoder, "layers", None)
    if layers is None:
        raise InputError(f"{type(model).__name__} has no decoder layers that this suite can probe")
    if not -len(layers) <= signal.layer < len(layers):
        raise InputError(f"layer {signal.layer} is out of range; valid: {-len(layers)} to {len(layers) - 1}")
    if signal.site == "final_norm":
        if signal.layer not in (-1, len(layers) - 1):
            raise InputError(f"site final_norm lies after the last layer; layer is {signal.layer}, valid: -1")
        return cast(nn.Module, decoder.norm), False
    layer = layers[signal.layer]
    return (layer.mlp, True) if signal.site == "mlp_input" else (layer, False)


def span_masks(
    prompts: Sequence[EncodedPrompt], hidden_BTD: Tensor, starts_B: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Which tokens are prefix and which are question, (B, T) each; ``starts_B``: column of each first token (left padding)."""
    device = hidden_BTD.device
    column_BT = torch.arange(hidden_BTD.shape[1], device=device).expand(len(prompts), -1)
    if starts_B is not None:
        column_BT = column_BT - starts_B[:, None]
    prefix_B = torch.tensor([prompt.prefix_tokens for prompt in prompts], device=device)[:, None]
    end_B = torch.tensor([prompt.question_end for prompt in prompts], device=device)[:, None]
    return (column_BT >= 0) & (column_BT < prefix_B), (column_BT >= prefix_B) & (column_BT < end_B)


def _batches(encoded: Sequence[EncodedPrompt], batch_tokens: int) -> Iterator[list[int]]:
    """Rows by falling length, so that padding is small and a batch that does not fit memory comes first."""
    rows = sorted(range(len(encoded)), key=lambda row: -len(encoded[row].ids))
    while rows:
        size = max(1, batch_tokens // len(encoded[rows[0]].ids))
        yield rows[:size]
        rows = rows[size:]


def _pad(ids: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Token ids and mask, padded on the right; the padding token never matters in a causal model."""
    tensors = [torch.tensor(row) for row in ids]
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in tensors], batch_first=True)
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True), mask

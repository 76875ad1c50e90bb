"""Concentration and correctness on fixed problems along a training run: every saved checkpoint is scored and evaluated."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gainrl.columns import Column, Rows, read_rows
from gainrl.errors import InputError
from gainrl.files import write_atomically
from gainrl.models.generation.rollouts import sample_completions
from gainrl.models.loading import LoadedModel, context_length, load_model
from gainrl.problems import ProblemSet
from gainrl.progress import Report
from gainrl.prompts import Prompt, encode_problems, length_batches, require_fit
from gainrl.runs.config import SignalConfig
from gainrl.schedules import Floats
from gainrl.scoring import score_problems, span_masks
from gainrl.scoring.hooks import has_site, hidden_states
from gainrl.scoring.prefill import batch_tokens_of, evaluating, pad

PATTERN_COLUMNS = ("c_intra", "c_inter", "angle", "neuron_agreement")
PATTERN_ROWS = Rows(
    {
        "problem_id": Column("text"),
        **dict.fromkeys(PATTERN_COLUMNS, Column(nullable=True)),
        "step": Column("whole number", low=0),
        "correct": Column("whole number", low=0, high=1),
        "weights": Column("text"),
    }
)
_NAME = re.compile(r"(?:step|checkpoint)-(\d+)")


def checkpoints(folder: Path) -> dict[int, Path]:
    """Step -> model folder, in order of steps, for those named step-N (this suite) or checkpoint-N (transformers).

    Raises InputError if there are fewer than two.
    """
    by_step = {int(match[1]): path for path in folder.glob("*") if (match := _NAME.fullmatch(path.name))}
    if len(by_step) < 2:
        raise InputError(
            f"{folder} holds {len(by_step)} checkpoints named step-N or checkpoint-N; at least 2 are needed "
            "(an experiment's training.keep_every keeps them)"
        )
    return dict(sorted(by_step.items()))


def trace(
    folders: dict[int, Path],
    problems: ProblemSet,
    out: Path,
    prompt: Prompt | None = None,
    *,
    signal: SignalConfig | None = None,
    max_completion_tokens: int,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    bf16: bool = False,
    report: Report,
) -> pd.DataFrame:
    """One row per (step, problem): step, problem_id, `PATTERN_COLUMNS`, correct (greedy), weights (a hash).

    ``neuron_agreement``: how similar a problem's neuron activations in the signal's layer are to the other problems' (mean
    cosine, `agreement`); NaN for a model without that site. A finished checkpoint leaves ``out/step-N.parquet``, and is not
    computed again while its problems are the same. ``bf16``: answers multiply in 16 bits, as in the run.
    Raises InputError as `load_model` and `score_problems` do.
    """
    tables = []
    for number, (step, folder) in enumerate(folders.items()):
        report("checkpoints", number, len(folders))
        path = out / f"step-{step}.parquet"
        if not _is_finished(path, problems):
            loaded = load_model(str(folder), cache=folder, dtype=dtype)
            loaded.model.to(device)
            scores = score_problems(loaded.model, loaded.tokenizer, problems, prompt, signal=signal)
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
                answers = sample_completions(
                    loaded.model,
                    loaded.tokenizer,
                    problems,
                    prompt,
                    samples=1,
                    temperature=0,
                    max_completion_tokens=max_completion_tokens,
                )
            table = scores.table.assign(
                neuron_agreement=_neuron_agreement(loaded, problems, prompt, (signal or SignalConfig()).layer)
            )
            table = table[["problem_id", *PATTERN_COLUMNS]].assign(
                step=step, correct=answers["correct"].astype(int).to_numpy(), weights=loaded.version
            )
            write_atomically(path, partial(table.to_parquet, index=False))
        tables.append(read_rows(path, PATTERN_ROWS))
    report("checkpoints", len(folders), len(folders))
    return pd.concat(tables, ignore_index=True)


def _is_finished(path: Path, problems: ProblemSet) -> bool:
    """Whether a checkpoint's table exists, for these problems, with all columns (earlier versions had no neurons)."""
    if not path.exists():
        return False
    table = read_rows(path, Rows({"problem_id": Column("text")}))
    return table.problem_id.tolist() == problems.ids and set(PATTERN_COLUMNS) <= set(table)


def _neuron_agreement(loaded: LoadedModel, problems: ProblemSet, prompt: Prompt | None, layer: int) -> Floats:
    if len(problems) < 2 or not has_site(loaded.model, SignalConfig(site="neurons", layer=layer)):
        return np.full(len(problems), np.nan)
    return agreement(neuron_directions(loaded.model, loaded.tokenizer, problems, prompt, layer=layer))


def neuron_directions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: ProblemSet,
    prompt: Prompt | None = None,
    *,
    layer: int = -1,
) -> Tensor:
    """Unit vectors of the neurons' activations, averaged over each problem's question tokens: (N, F), fp32 on the CPU.

    A layer's neurons are what its MLP's last projection reads (site ``neurons``). Raises InputError if the model has
    none, or a prompt does not fit its context.
    """
    prompt = prompt or problems.prompt
    encoded = encode_problems(tokenizer, problems.problems, prompt)
    require_fit(encoded, problems.ids, context_length(model.config))
    directions: dict[int, Tensor] = {}
    with evaluating(model):
        for rows in length_batches([len(encoding.ids) for encoding in encoded], batch_tokens_of(model)):
            batch = [encoded[row] for row in rows]
            ids_BT, _ = pad([encoding.ids for encoding in batch], model.device)
            (states_BTF,) = hidden_states(model, [("neurons", layer)], input_ids=ids_BT, use_cache=False)
            _, question_BT = span_masks(batch, states_BTF)
            sum_BF = torch.einsum("btf,bt->bf", states_BTF.float(), question_BT.float())
            directions |= dict(zip(rows, nn.functional.normalize(sum_BF, dim=-1).cpu(), strict=True))
    return torch.stack([directions[row] for row in range(len(problems))])


def agreement(direction_NF: Tensor) -> Floats:
    """Mean cosine of each problem's direction with those of all others, (N,); N >= 2."""
    u_NF = direction_NF.double()
    others_N = u_NF @ u_NF.sum(0) - u_NF.square().sum(1)
    mean_N: Floats = (others_N / (len(u_NF) - 1)).numpy()
    return mean_N

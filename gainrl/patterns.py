"""Concentration and correctness of fixed problems along a training run: every saved checkpoint, scored and asked."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gainrl.config import SignalConfig
from gainrl.errors import InputError
from gainrl.models.loading import LoadedModel, load_model
from gainrl.probe import agreement, has_site, neuron_directions, score_problems
from gainrl.problems import ProblemSet
from gainrl.prompts import Prompt
from gainrl.records import Report, write_atomically
from gainrl.rollouts import sample_completions
from gainrl.schedules import Floats

COLUMNS = ("c_intra", "c_inter", "angle", "neuron_agreement")
_NAME = re.compile(r"(?:step|checkpoint)-(\d+)")


def checkpoints(folder: Path) -> dict[int, Path]:
    """Step -> model folder, rising, of those named step-N (this suite) or checkpoint-N (transformers) in ``folder``.

    Raises InputError if there are fewer than two.
    """
    found = {int(match[1]): path for path in folder.glob("*") if (match := _NAME.fullmatch(path.name))}
    if len(found) < 2:
        raise InputError(
            f"{folder} holds {len(found)} checkpoints named step-N or checkpoint-N; at least 2 are needed "
            "(an experiment's training.keep_every keeps them)"
        )
    return dict(sorted(found.items()))


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
    report: Report,
) -> pd.DataFrame:
    """A row a (step, problem): step, problem_id, `COLUMNS`, correct (greedy), weights (a hash).

    ``neuron_agreement``: how alike the neurons are that a problem and the others excite in the signal's layer (mean cosine,
    `agreement`); NaN for a model without that site. A finished checkpoint leaves ``out/step-N.parquet``, and is not computed
    again while its problems are the same. Raises InputError as `load_model` and `score_problems` do.
    """
    tables = []
    for number, (step, folder) in enumerate(folders.items()):
        report("checkpoints", number, len(folders))
        path = out / f"step-{step}.parquet"
        if not _is_finished(path, problems):
            loaded = load_model(str(folder), cache=folder, dtype=dtype)
            loaded.model.to(device)
            scores = score_problems(loaded.model, loaded.tokenizer, problems, prompt, signal=signal)
            answers = sample_completions(
                loaded.model,
                loaded.tokenizer,
                problems,
                prompt,
                samples=1,
                temperature=0,
                max_completion_tokens=max_completion_tokens,
            )
            alike = _neuron_agreement(loaded, problems, prompt, (signal or SignalConfig()).layer)
            correct = answers["correct"].astype(int).to_numpy()
            table = scores.table.assign(neuron_agreement=alike)[["problem_id", *COLUMNS]].assign(
                step=step, correct=correct, weights=loaded.version
            )
            write_atomically(path, partial(table.to_parquet, index=False))
        tables.append(pd.read_parquet(path))
    report("checkpoints", len(folders), len(folders))
    return pd.concat(tables, ignore_index=True)


def _is_finished(path: Path, problems: ProblemSet) -> bool:
    """Whether the table of a checkpoint is there, of these problems, and whole (an earlier version knew no neurons)."""
    if not path.exists():
        return False
    table = pd.read_parquet(path)
    return table.problem_id.tolist() == problems.ids and set(COLUMNS) <= set(table)


def _neuron_agreement(loaded: LoadedModel, problems: ProblemSet, prompt: Prompt | None, layer: int) -> Floats:
    if len(problems) < 2 or not has_site(loaded.model, SignalConfig(site="neurons", layer=layer)):
        return np.full(len(problems), np.nan)
    return agreement(neuron_directions(loaded.model, loaded.tokenizer, problems, prompt, layer=layer))

"""Concentration and correctness of fixed problems along a training run: every saved checkpoint, scored and asked."""

import re
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from gainrl.config import SignalConfig
from gainrl.errors import InputError
from gainrl.models.loading import load_model
from gainrl.probe import score_problems
from gainrl.problems import ProblemSet
from gainrl.prompts import Prompt
from gainrl.records import Report, write_atomically
from gainrl.rollouts import sample_completions

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
    """A row a (step, problem): step, problem_id, c_intra, c_inter, angle, correct (greedy).

    A finished checkpoint leaves ``out/step-N.parquet``, and is not computed again while its problems are the same.
    Raises InputError as `load_model` and `score_problems` do.
    """
    tables = []
    for number, (step, folder) in enumerate(folders.items()):
        report("checkpoints", number, len(folders))
        path = out / f"step-{step}.parquet"
        if not (path.exists() and pd.read_parquet(path).problem_id.tolist() == problems.ids):
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
            table = scores.table[["problem_id", "c_intra", "c_inter", "angle"]].assign(
                step=step, correct=answers["correct"].astype(int).to_numpy(), weights=loaded.version
            )
            write_atomically(path, partial(table.to_parquet, index=False))
        tables.append(pd.read_parquet(path))
    report("checkpoints", len(folders), len(folders))
    return pd.concat(tables, ignore_index=True)

"""The measurement in stages (scores, rollouts, gradients), each kept in a file, so that an interrupted command resumes."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gainrl.columns import Column, Rows, read_rows
from gainrl.errors import InputError
from gainrl.files import claim_settings, is_unicode, parse_json, read_text, write_atomically, write_text
from gainrl.models.generation.rollouts import sample_completions
from gainrl.models.loading import LoadedModel
from gainrl.problems import ProblemSet
from gainrl.progress import Report
from gainrl.prompts import Prompt
from gainrl.runs.config import SignalConfig
from gainrl.runs.records import environment
from gainrl.scoring import Scores, score_problems, signal_metadata
from gainrl.scoring.hooks import probed_module
from gainrl.studies.angle_gradient.measure import DECOMPOSED, Measured, measure

_NUMBER, _TEXT = Column(nullable=True), Column("text")
MEASURED = Rows(
    {
        "problem_id": _TEXT,
        "layer": Column("whole number"),
        "loss": _TEXT,
        "gradient_model": Column(low=0),
        **dict.fromkeys(("angle", "c_intra", "c_inter"), _NUMBER),
        "pass_rate": Column(low=0, high=1, optional=True, nullable=True),
        "completion_tokens": Column(low=1, optional=True),
    }
)
PARTS = Rows({"problem_id": _TEXT, "layer": Column("whole number"), "log_squared_norm": _NUMBER})
ROLLOUTS = Rows(
    {
        "problem_id": _TEXT,
        "sample": Column("whole number", low=0),
        "ids": Column("list"),
        "text": _TEXT,
        "correct": Column("truth value"),
    },
    unique=("problem_id", "sample"),
)


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement beside model, problems and prompt. ``samples`` 0: no rollouts, and so no GRPO loss.

    ``decomposed``: how many problems have parts of their gradient, the first ones.
    """

    signal: SignalConfig
    samples: int = 8
    temperature: float = 1.0
    max_completion_tokens: int = 256
    seed: int = 0
    decomposed: int = DECOMPOSED


def measure_into(
    folder: Path,
    loaded: LoadedModel,
    problems: ProblemSet,
    prompt: Prompt,
    settings: Settings,
    completions: Mapping[str, str] | None,
    report: Report,
) -> Measured:
    """`measure`, with every stage kept in ``folder``; a stage that is finished is read from there.

    Raises InputError: the model has no such site or layer, or the folder holds a measurement with other settings (the
    error says which differ).
    """
    claim(folder, loaded, problems, prompt, settings, completions)
    table_path, parts_path = folder / "measured.parquet", folder / "parts.parquet"
    if parts_path.exists():  # written last
        return Measured(read_rows(table_path, MEASURED), read_rows(parts_path, PARTS))
    scores = _scores(folder, loaded, problems, prompt, settings, report)
    rollouts = _rollouts(folder, loaded, problems, prompt, settings, report) if settings.samples else None
    measured = measure(
        loaded.model,
        loaded.tokenizer,
        problems,
        scores,
        prompt,
        signal=settings.signal,
        completions=completions,
        rollouts=rollouts,
        temperature=settings.temperature,
        decomposed=settings.decomposed,
        unfinished=(unfinished := folder / "gradients.unfinished"),
        progress=lambda done, of: report("gradients", done, of),
    )
    write_atomically(table_path, lambda path: measured.table.to_parquet(path, index=False))
    write_atomically(parts_path, lambda path: measured.parts.to_parquet(path, index=False))
    unfinished.unlink(missing_ok=True)
    return measured


def claim(
    folder: Path,
    loaded: LoadedModel,
    problems: ProblemSet,
    prompt: Prompt,
    settings: Settings,
    completions: Mapping[str, str] | None,
) -> None:
    """Write down what is measured in the folder, or check that it is what the folder holds; raises as `measure_into` does."""
    probed_module(loaded.model, settings.signal)
    claims = _describe(loaded, problems, prompt, settings, completions)
    claim_settings(folder / "settings.json", claims, "a measurement")
    if not (folder / "environment.json").exists():
        write_text(folder / "environment.json", json.dumps(environment(), indent=1))


def read_completions(path: Path) -> dict[str, str]:
    """problem_id -> completion from a JSONL file with these columns. Raises InputError: no such file, or a bad line."""
    completions: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        row = parse_json(line, f"{path}, line {number}")
        if not (isinstance(row, dict) and isinstance(row.get("completion"), str) and "problem_id" in row):
            raise InputError(f"{path}, line {number}: needs problem_id and completion, a string")
        if str(row["problem_id"]) in completions:
            raise InputError(f"{path}, line {number}: problem_id {row['problem_id']!r} stands in an earlier line")
        if not is_unicode(row["completion"]):
            raise InputError(f"{path}, line {number}: completion holds a lone surrogate, which is half of a character")
        completions[str(row["problem_id"])] = row["completion"]
    return completions


def _describe(
    loaded: LoadedModel,
    problems: ProblemSet,
    prompt: Prompt,
    settings: Settings,
    completions: Mapping[str, str] | None,
) -> dict[str, Any]:
    given = json.dumps(completions, sort_keys=True).encode()
    return {
        **signal_metadata(loaded.version, str(loaded.model.dtype), problems, prompt, settings.signal),
        **{key: value for key, value in asdict(settings).items() if key not in ("signal", "decomposed")},
        "model_name": loaded.name,
        "problem_set_name": problems.name,
        "problems": len(problems),
        "completions": "gold" if completions is None else hashlib.sha256(given).hexdigest()[:12],
    }


def _scores(
    folder: Path, loaded: LoadedModel, problems: ProblemSet, prompt: Prompt, settings: Settings, report: Report
) -> Scores:
    path = folder / "scores.parquet"
    if path.exists():
        return Scores.load(path)
    scores = score_problems(
        loaded.model,
        loaded.tokenizer,
        problems,
        prompt,
        signal=settings.signal,
        layers=[-1] if settings.signal.site == "final_norm" else "all",
        model_version=loaded.version,
        unfinished=folder / "scores.unfinished",
        progress=lambda done, of: report("scoring", done, of),
    )
    scores.save(path)
    return scores


def _rollouts(
    folder: Path, loaded: LoadedModel, problems: ProblemSet, prompt: Prompt, settings: Settings, report: Report
) -> pd.DataFrame:
    path = folder / "rollouts.parquet"
    if path.exists():
        return read_rows(path, ROLLOUTS)
    rollouts = sample_completions(
        loaded.model,
        loaded.tokenizer,
        problems,
        prompt,
        samples=settings.samples,
        max_completion_tokens=settings.max_completion_tokens,
        temperature=settings.temperature,
        seed=settings.seed,
        progress=lambda done, of: report("sampling", done, of),
    )
    write_atomically(path, lambda file: rollouts.to_parquet(file, index=False))
    return rollouts

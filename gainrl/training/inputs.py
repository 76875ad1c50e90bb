"""What a run starts from: its training problems, its held-out problems, and its schedule with the scores."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.typing import ArrayLike

from gainrl.angle import DEFINITIONS
from gainrl.columns import Column, Rows, read_rows
from gainrl.errors import InputError
from gainrl.evaluation.benchmarks import load_benchmark
from gainrl.evaluation.heldout import HeldOut
from gainrl.files import write_atomically
from gainrl.models.generation.rollouts import sample_completions
from gainrl.models.loading import LoadedModel
from gainrl.problems import ProblemSet, load_problems
from gainrl.progress import Report
from gainrl.prompts import encode_problems, require_fit, too_long
from gainrl.runs.config import RunConfig, SignalConfig
from gainrl.schedules import ORDERS, SCHEDULES, Floats, Schedule, sort_key
from gainrl.scoring import SCORE_COLUMNS, Scores, load_released_order, score_problems, signal_metadata

BASE_ROLLOUTS = 16
"""Completions a problem from which the order ``reward-variance`` is made."""


def training_problems(config: RunConfig, loaded: LoadedModel) -> ProblemSet:
    """The problems to train on, without those whose prompt is longer than the config allows.

    Raises InputError: a prompt leaves no room for the completion, or as `load_problems` does.
    """
    settings, seed = config.problems, config.seed
    limit = None if settings.sample else settings.train_size
    problems = load_problems(settings.train, limit=limit, seed=seed, revision=settings.revision)
    encoded = encode_problems(loaded.tokenizer, problems.problems, config.prompt)
    if settings.longest_prompt is not None:
        skipped = set(too_long(encoded, settings.longest_prompt))
        problems = problems.without(skipped)
        encoded = [encoding for row, encoding in enumerate(encoded) if row not in skipped]
    require_fit(encoded, problems.ids, loaded.context, config.training.max_completion_tokens)
    return problems.sample(settings.train_size, seed) if settings.sample else problems


def held_out_problems(name: str, config: RunConfig, loaded: LoadedModel) -> HeldOut:
    """A benchmark that is evaluated during training."""
    return HeldOut(
        load_benchmark(name, seed=config.seed, limit=config.problems.heldout_size),
        config.prompt,
        loaded.tokenizer,
        context=loaded.context,
        max_completion_tokens=config.evaluation.max_completion_tokens,
        batch_size=config.evaluation.batch_size,
    )


def build_schedule(
    config: RunConfig, loaded: LoadedModel, problems: ProblemSet, scores_folder: Path, report: Report
) -> Schedule:
    """The schedule of a run; if its order needs scores, they are read from ``scores_folder`` or made there first."""
    order, seed = config.schedule.order, config.seed
    if order is None:
        key_N = np.zeros(len(problems))
    elif order.endswith(".pt"):
        key_N = load_released_order(Path(order), len(problems))
    elif order in ORDERS and ORDERS[order][0] in SCORE_COLUMNS:
        definition = order if order in DEFINITIONS else config.signal.definition
        signal = config.signal.model_copy(update={"definition": definition})
        key_N = shared_scores(config, signal, loaded, problems, scores_folder, report).sort_key(order, problems)
    elif order == "reward-variance":
        pass_rate_N = base_pass_rates(config, loaded, problems, scores_folder, report)
        key_N = sort_key(order, {"reward_variance": pass_rate_N * (1 - pass_rate_N)}, size=len(problems))
    else:
        key_N = sort_key(order, {"difficulty": problems.difficulties()}, size=len(problems), seed=seed)
    if config.schedule.name not in SCHEDULES:
        raise InputError(
            f"no schedule is called {config.schedule.name!r} in this process; a class of your own belongs into "
            f"gainrl/schedules/ and its registry, SCHEDULES, which has {', '.join(SCHEDULES)}"
        )
    schedule = SCHEDULES[config.schedule.name](key_N, seed=seed, **config.schedule.options)
    if schedule.wanted_features or schedule.optional_features:
        schedule.tell(features_of(config, schedule, loaded, problems, scores_folder, report))
    return schedule


def features_of(
    config: RunConfig, schedule: Schedule, loaded: LoadedModel, problems: ProblemSet, folder: Path, report: Report
) -> dict[str, ArrayLike]:
    """What is known of each problem before training: name -> N values.

    ``level`` and ``kind`` where the set has them, ``length`` in tokens of the question; the signals of the scores file only
    if the schedule wants one, because they take a pass over the set.
    """
    encoded = encode_problems(loaded.tokenizer, problems.problems, config.prompt)
    features: dict[str, ArrayLike] = {
        "length": [encoding.question_tokens for encoding in encoded],
        **problems.features(),
    }
    signals = {"angle", "c_intra", "c_inter"}
    if signals.intersection(schedule.wanted_features):
        table = shared_scores(config, config.signal, loaded, problems, folder, report).table
        features |= {name: table[name].to_numpy() for name in signals}
    return features


ROLLOUTS = "rollouts-"
"""What the names of files of completions begin with, beside the scores."""
ROLLOUT_ROWS = Rows(
    {"problem_id": Column("text"), "sample": Column("whole number", low=0), "correct": Column("truth value")},
    unique=("problem_id", "sample"),
)


def rollouts_path(folder: Path, config: RunConfig, model_version: str, dtype: str, problem_set: str) -> Path:
    """Where the graded completions of a model before training are kept.

    Args:
        dtype: as the metadata of scores name it: ``float32``.
    """
    training = config.training
    made_with = [model_version, f"torch.{dtype}", problem_set, config.prompt.hash, config.seed]
    made_with += [BASE_ROLLOUTS, training.temperature, training.max_completion_tokens]
    return folder / f"{ROLLOUTS}{hashlib.sha256(repr(made_with).encode()).hexdigest()[:12]}.parquet"


def pass_rates(path: Path) -> "pd.Series[float]":
    """By problem_id, the share of right completions in such a file. Raises InputError: it is damaged."""
    rates: pd.Series[float] = read_rows(path, ROLLOUT_ROWS).groupby("problem_id", sort=False).correct.mean()
    return rates


def base_pass_rates(
    config: RunConfig, loaded: LoadedModel, problems: ProblemSet, folder: Path, report: Report
) -> Floats:
    """Share of `BASE_ROLLOUTS` completions of each training problem that the model answers correctly before training: (N,).

    Sampled as in training, with a seed of its own; read from ``folder`` if they were made before, else made and saved there.

    Raises InputError: the file there is damaged.
    """
    training = config.training
    dtype = str(loaded.model.dtype).removeprefix("torch.")
    path = rollouts_path(folder, config, loaded.version, dtype, problems.fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{path.name}.lock"):
        if not path.exists():
            rollouts = sample_completions(
                loaded.model,
                loaded.tokenizer,
                problems,
                config.prompt,
                samples=BASE_ROLLOUTS,
                max_completion_tokens=training.max_completion_tokens,
                temperature=training.temperature,
                seed=config.seed,
                progress=lambda done, of: report("rollouts before training", done, of),
            )
            graded = rollouts[list(ROLLOUT_ROWS.columns)]
            write_atomically(path, lambda file: graded.to_parquet(file, index=False))
        rate_N = pass_rates(path).reindex(problems.ids)
        if rate_N.isna().any():
            raise InputError(
                f"{path} holds no completion of {rate_N.index[rate_N.isna()][0]}; remove it, to make it again"
            )
        return np.asarray(rate_N, dtype=np.float64)


def shared_scores(
    config: RunConfig, signal: SignalConfig, loaded: LoadedModel, problems: ProblemSet, folder: Path, report: Report
) -> Scores:
    """Scores of the training problems, read from ``folder`` if they were made before, else made and saved there."""
    metadata = signal_metadata(loaded.version, str(loaded.model.dtype), problems, config.prompt, signal)
    path = folder / f"{hashlib.sha256(repr(sorted(metadata.items())).encode()).hexdigest()[:12]}.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{path.name}.lock"):
        if path.exists():
            return Scores.load(path, metadata)
        scores = score_problems(
            loaded.model,
            loaded.tokenizer,
            problems,
            config.prompt,
            signal=signal,
            model_version=loaded.version,
            progress=lambda done, of: report("scoring", done, of),
        )
        scores.save(path)
    return scores

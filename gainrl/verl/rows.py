"""The rows of verl's training set: which is which, where their questions lie, and the schedule that is built for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from torch.utils.data import Dataset

from gainrl.angle import DEFINITIONS
from gainrl.errors import InputError, one_line
from gainrl.prompts import encode_prompts
from gainrl.schedules import ORDERS, SCHEDULES, Schedule, sort_key
from gainrl.scoring import SCORE_COLUMNS, Scores, load_released_order
from gainrl.verl.settings import Settings

SPANS = ("prefix_tokens", "question_end")
"""In ``extra_info``: tokens before the question, and the token after its last, counted from the first of the prompt."""
KEY = "sort_key"


class Rows(Dataset[dict[str, Any]]):
    """verl's training set, in which each row knows its number (``index``) and, after `find_questions`, where its question lies.

    A row's own ``index`` cannot be relied on: it is what the file says, and verl leaves out rows whose prompt is too long.

    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.extra = [dict(extra or {}) for extra in _column(dataset, "extra_info")]
        self.spans: list[tuple[int, int]] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> dict[str, Any]:
        item: dict[str, Any] = self.dataset[row]
        item["index"] = row
        if self.spans is not None:
            item["extra_info"] = {**item["extra_info"], **dict(zip(SPANS, self.spans[row], strict=True))}
        return item

    @property
    def names(self) -> list[str] | None:
        """The rows' ``extra_info.problem_id``; None where they have none."""
        names = [extra.get("problem_id") for extra in self.extra]
        return None if None in names else [str(name) for name in names]

    def columns(self) -> dict[str, list[Any]]:
        """What ``extra_info`` says of every row: name -> N values."""
        names = {name for extra in self.extra[:1] for name in extra}
        values = {name: [extra.get(name) for extra in self.extra] for name in sorted(names)}
        return {name: values_N for name, values_N in values.items() if None not in values_N}

    def find_questions(self, tokenizer: Any) -> None:
        """Take the spans from ``extra_info``, or find them in the conversations. Raises InputError as `encode_prompts` does."""
        if all(extra.get(name) is not None for extra in self.extra for name in SPANS):
            self.spans = [(int(extra[SPANS[0]]), int(extra[SPANS[1]])) for extra in self.extra]
            return
        prompts = [list(prompt) for prompt in _column(self.dataset, self.dataset.prompt_key)]
        names = self.names or [f"row {row}" for row in range(len(prompts))]
        encoded = encode_prompts(tokenizer, prompts, names)
        self.spans = [(prompt.prefix_tokens, prompt.question_end) for prompt in encoded]


def build_schedule(settings: Settings, rows: Rows) -> Schedule:
    """The schedule that draws these rows; the same generators as in a run by TRL, so the same first draw.

    Raises InputError: the scores are absent, made otherwise than ``gainrl.signal`` says, or of other problems.
    """
    key_N, features = _key_and_features(settings, rows)
    schedule = SCHEDULES[settings.schedule.name](key_N, seed=settings.seed, **settings.schedule.options)
    if schedule.wanted_features or schedule.optional_features:
        schedule.tell(features)
    return schedule


def _key_and_features(settings: Settings, rows: Rows) -> tuple[ArrayLike, dict[str, ArrayLike]]:
    """One number a row, smallest first, and what else is known of the rows."""
    order, size, file = settings.schedule.order, len(rows), settings.scores
    if file is not None and (finished := _sort_keys(file)) is not None:
        table = _aligned(finished, rows, file)
        names = [str(name) for name in table if name not in ("problem_id", KEY)]
        return table[KEY].to_numpy(), {name: table[name].to_numpy() for name in names}
    features: dict[str, ArrayLike] = dict(rows.columns())
    if "difficulty" in features:
        features.setdefault("level", features["difficulty"])
    by_scores = order in ORDERS and ORDERS[order][0] in SCORE_COLUMNS
    if file is not None:
        scores = _scores(settings, rows)
        features |= {name: scores.table[name].to_numpy() for name in ("c_intra", "c_inter", "angle")}
        features["length"] = scores.table.question_tokens.to_numpy()
        if by_scores:
            return scores.sort_key(str(order)), features
    if by_scores:
        raise InputError(f"order {order!r} needs gainrl.scores, a scores file; python -m gainrl.verl.score writes one")
    if order is None:
        return np.zeros(size), features
    if order.endswith(".pt"):
        return load_released_order(Path(order), size), features
    return sort_key(order, features, size=size, seed=settings.seed), features


def _sort_keys(path: Path) -> pd.DataFrame | None:
    """A table with finished sort keys; None if the file is not one."""
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # a damaged file can fail anywhere in pyarrow
        raise InputError(f"gainrl.scores: {path} cannot be read as Parquet: {one_line(error)}") from error
    return table if KEY in table else None


def _scores(settings: Settings, rows: Rows) -> Scores:
    assert settings.scores is not None
    order, signal = settings.schedule.order, settings.signal
    definition = order if order in DEFINITIONS else signal.definition
    expected = {"definition": definition, "site": signal.site, "layer": str(signal.layer)}
    scores = Scores.load(settings.scores, expected)
    return Scores(_aligned(scores.table, rows, settings.scores), scores.metadata)


def _aligned(table: pd.DataFrame, rows: Rows, path: Path) -> pd.DataFrame:
    """The file's rows in the training set's order: by problem_id where the training set has them, else as they stand."""
    names = rows.names
    if names is not None and "problem_id" in table:
        missing = sorted(set(names) - set(table.problem_id))
        if missing or not table.problem_id.is_unique:
            raise InputError(
                f"gainrl.scores: {path} has no score of {missing[0]} ({len(missing)} of {len(names)} are missing); score again"
                if missing
                else f"gainrl.scores: {path} has several rows of one problem; take one layer and site"
            )
        return table.set_index("problem_id").loc[names].reset_index()
    if len(table) != len(rows):
        raise InputError(
            f"gainrl.scores: {path} has {len(table)} rows, the training set {len(rows)}; score the set as it is trained, or "
            "give its rows the problem_id of the scores in extra_info"
        )
    return table


def _column(dataset: Any, name: str) -> Sequence[Any]:
    table = dataset.dataframe
    return list(table[name]) if name in table.column_names else [None] * len(table)

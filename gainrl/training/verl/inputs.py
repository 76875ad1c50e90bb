"""What verl reads of a run: problems as Parquet, the schedule's columns, and a folder with the start model."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

from gainrl.errors import InputError
from gainrl.evaluation.heldout import HeldOut
from gainrl.files import made_once, write_atomically
from gainrl.models.loading import LoadedModel
from gainrl.problems import ProblemSet
from gainrl.prompts import EncodedPrompt, Prompt, encode_problems
from gainrl.runs.verl import VERL_TOKENIZER
from gainrl.schedules import Schedule

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
EXTRA = pa.struct(
    [
        ("split", pa.string()),
        ("index", pa.int64()),
        ("problem_id", pa.string()),
        ("kind", pa.string()),
        ("prefix_tokens", pa.int64()),
        ("question_end", pa.int64()),
    ]
)
SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(MESSAGE)),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        ("extra_info", EXTRA),
    ]
)
"""verl's columns; ``extra_info`` is passed on to the reward and the plug-in."""

TURN_ENDS = ("\n", "<|im_end|>")
"""What verl wants to be one token each with a model of Qwen's family, to continue conversations; the suite's have one turn."""


def write_problems(
    path: Path, name: str, split: str, problems: ProblemSet, prompt: Prompt, encoded: Sequence[EncodedPrompt]
) -> None:
    """A row a problem, in the set's order: the conversation, the gold answer, the row and the spans of its tokens.

    verl renders the conversation by the model's chat template, which gives the tokens of ``encoded``.

    Args:
        name: of the set, by which verl keeps benchmarks apart.
        split: ``train`` or ``test``.
    """
    rows = [
        {
            "data_source": name,
            "prompt": prompt.messages(problem.question),
            "reward_model": {"style": "rule", "ground_truth": problem.answer},
            "extra_info": {
                "split": split,
                "index": row,
                "problem_id": problem.problem_id,
                "kind": problem.kind,
                "prefix_tokens": encoding.prefix_tokens,
                "question_end": encoding.question_end,
            },
        }
        for row, (problem, encoding) in enumerate(zip(problems.problems, encoded, strict=True))
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    write_atomically(path, lambda file: pq.write_table(table, file))


def write_sets(
    folder: Path, name: str, problems: ProblemSet, held_out: dict[str, HeldOut], prompt: Prompt, loaded: LoadedModel
) -> int:
    """train.parquet and heldout-<benchmark>.parquet in ``folder``; returns the longest prompt's tokens."""
    encoded = _encoded(loaded, problems, prompt)
    write_problems(folder / "train.parquet", name, "train", problems, prompt, encoded)
    longest = max(len(encoding.ids) for encoding in encoded)
    for benchmark, held in held_out.items():
        encoded = _encoded(loaded, held.problems, prompt)
        write_problems(folder / f"heldout-{benchmark}.parquet", benchmark, "test", held.problems, prompt, encoded)
        longest = max(longest, *(len(encoding.ids) for encoding in encoded))
    return longest


def write_schedule(path: Path, schedule: Schedule, problem_ids: Sequence[str]) -> None:
    """A row a training problem: its sort key and the features that the schedule was told, from which verl builds it again."""
    columns = {"problem_id": list(problem_ids), "sort_key": schedule.sort_key_N, **schedule.features}
    write_atomically(path, lambda file: pd.DataFrame(columns).to_parquet(file, index=False))


def tokenizer_for_verl(loaded: LoadedModel) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a token of its own for each of `TURN_ENDS` that has none, if verl asks for them.

    They lie beyond the model's vocabulary, and no prompt may hold them.
    """
    tokenizer = copy.deepcopy(loaded.tokenizer)
    if loaded.model.config.model_type.startswith("qwen"):
        missing = [text for text in TURN_ENDS if len(tokenizer.encode(text, add_special_tokens=False)) != 1]
        tokenizer.add_tokens(missing)
    return tokenizer


def _encoded(loaded: LoadedModel, problems: ProblemSet, prompt: Prompt) -> list[EncodedPrompt]:
    """The prompts, made sure to be the same for verl. Raises InputError: one holds a text for which only verl has a token."""
    encoded, tokenizer = encode_problems(loaded.tokenizer, problems.problems, prompt), tokenizer_for_verl(loaded)
    if len(tokenizer) > len(loaded.tokenizer):
        by_verl = encode_problems(tokenizer, problems.problems, prompt)
        for problem, mine, other in zip(problems.problems, encoded, by_verl, strict=True):
            if not np.array_equal(mine.ids, other.ids):
                raise InputError(
                    f"prompt of {problem.problem_id} holds a line break or <|im_end|>, for which the model has no token "
                    "and verl wants one; reword it"
                )
    return encoded


def model_folder(loaded: LoadedModel, models: Path) -> Path:
    """The start model as a folder that verl loads, which all runs from it share, with its tokenizer and verl's in it.

    They have folders of their own, because beside a config.json transformers would choose their class by the model.
    """

    def make(folder: Path) -> None:
        loaded.model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder / "tokenizer")
        tokenizer_for_verl(loaded).save_pretrained(folder / VERL_TOKENIZER)

    dtype = str(loaded.model.dtype).removeprefix("torch.")
    return made_once((models / f"for-verl-{loaded.version}-{dtype}").absolute(), make)

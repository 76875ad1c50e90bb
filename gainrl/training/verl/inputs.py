"""What verl reads of a run: problems as Parquet, the schedule's columns, and a folder with the start model."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gainrl.evaluation.heldout import HeldOut
from gainrl.files import made_once, write_atomically
from gainrl.models.loading import LoadedModel
from gainrl.problems import ProblemSet
from gainrl.prompts import EncodedPrompt, Prompt, encode_problems
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
    encoded = encode_problems(loaded.tokenizer, problems.problems, prompt)
    write_problems(folder / "train.parquet", name, "train", problems, prompt, encoded)
    longest = max(len(encoding.ids) for encoding in encoded)
    for benchmark, held in held_out.items():
        encoded = encode_problems(loaded.tokenizer, held.problems.problems, prompt)
        write_problems(folder / f"heldout-{benchmark}.parquet", benchmark, "test", held.problems, prompt, encoded)
        longest = max(longest, *(len(encoding.ids) for encoding in encoded))
    return longest


def write_schedule(path: Path, schedule: Schedule, problem_ids: Sequence[str]) -> None:
    """A row a training problem: its sort key and the features that the schedule was told, from which verl builds it again."""
    columns = {"problem_id": list(problem_ids), "sort_key": schedule.sort_key_N, **schedule.features}
    write_atomically(path, lambda file: pd.DataFrame(columns).to_parquet(file, index=False))


def model_folder(loaded: LoadedModel, models: Path) -> Path:
    """The start model as a folder that verl loads, which all runs from it share; its tokenizer lies in ``tokenizer``.

    A folder of its own, because beside a model's config.json transformers would choose the tokenizer's class by the model.
    """

    def make(folder: Path) -> None:
        loaded.model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder / "tokenizer")

    dtype = str(loaded.model.dtype).removeprefix("torch.")
    return made_once((models / f"for-verl-{loaded.version}-{dtype}").absolute(), make)

"""Problem sets from the Hugging Face hub; the commit that was read is recorded in the set's source.

Columns as the sets' cards and public code give them. None of them could be reached from the machines that this suite
was built on: the loading code is tested on local folders of the same columns.
"""

from dataclasses import dataclass
from pathlib import Path

from gainrl.errors import InputError
from gainrl.problems.base import ProblemSet, from_rows


@dataclass(frozen=True)
class HubSet:
    """Where a set lies on the hub, and which of its columns are which."""

    path: str
    split: str
    config: str | None = None
    question: str = "problem"
    answer: str = "answer"
    answer_after: str | None = None


HUB_SETS: dict[str, HubSet] = {
    "gsm8k": HubSet("openai/gsm8k", "train", "main", question="question", answer_after="####"),
    "gsm8k-test": HubSet("openai/gsm8k", "test", "main", question="question", answer_after="####"),
    "math500": HubSet("HuggingFaceH4/MATH-500", "test"),
    "aime24": HubSet("HuggingFaceH4/aime_2024", "train"),
    "amc23": HubSet("math-ai/amc23", "test", question="question"),
    "minervamath": HubSet("math-ai/minervamath", "test", question="question"),
    "olympiadbench": HubSet("math-ai/olympiadbench", "test", question="question", answer="final_answer"),
    "deepscaler": HubSet("agentica-org/DeepScaleR-Preview-Dataset", "train"),
    "deepscaler-difficulty": HubSet("lime-nlp/DeepScaleR_Difficulty", "train"),
}


def load_hub(name: str, hub_set: HubSet, revision: str | None, drop_null_answers: bool = False) -> ProblemSet:
    """Download (or take from the cache) a hub set. ``path`` may be a local folder of data files, for tests and mirrors.

    Raises:
        InputError: the hub cannot be reached or does not hold the set, or a row cannot be used.
    """
    import datasets  # slow to import, and most commands need no hub
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        commit = None if Path(hub_set.path).is_dir() else HfApi().dataset_info(hub_set.path, revision=revision).sha
        table = datasets.load_dataset(hub_set.path, hub_set.config, split=hub_set.split, revision=commit)
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"problem set {name}: {hub_set.path} cannot be read from the hub: {reason}") from error
    return from_rows(
        name,
        ((f"row {number}", row) for number, row in enumerate(table, 1)),
        source={"hub": hub_set.path, "config": hub_set.config, "split": hub_set.split, "commit": commit},
        question=hub_set.question,
        answer=hub_set.answer,
        answer_after=hub_set.answer_after,
        drop_null_answers=drop_null_answers,
    )

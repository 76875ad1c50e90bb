"""Benchmarks on a model: lm-eval builds the requests, a backend answers them, the one grader grades.

Every finished chunk of problems is kept, so that an interrupted evaluation resumes.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate as lm_evaluate
from lm_eval.tasks import TaskManager
from transformers import PreTrainedTokenizerBase

from gainrl.columns import Column, Rows, read_rows
from gainrl.errors import InputError, one_line
from gainrl.evaluation.benchmarks import PREFIX, TASKS
from gainrl.files import (
    append_json_line,
    claim_settings,
    exclusive,
    read_json_lines,
    require_settings,
    write_atomically,
)
from gainrl.grading import grade_batch
from gainrl.models.generation import Backend, Completion
from gainrl.problems import Problem, ProblemSet
from gainrl.progress import Report
from gainrl.prompts import Prompt, encode_problems, require_fit
from gainrl.rng import torch_seed

logging.getLogger("lm_eval").setLevel(logging.ERROR)

CHUNK = 64
"""Problems that are answered at a time; an interrupted evaluation loses no more than these."""
LONGEST = 8192
"""Most completion tokens by default: the largest limit that the authors train with."""

SAMPLE_ROWS = Rows(
    {
        "problem_id": Column("text"),
        "sample": Column("whole number", low=0),
        "completion": Column("text"),
        "correct": Column("truth value"),
        "reason": Column("text"),
        "tokens": Column("whole number", low=0),
        "truncated": Column("truth value"),
    },
    unique=("problem_id", "sample"),
)
SAMPLE_COLUMNS = tuple(SAMPLE_ROWS.columns)


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn. Temperature 0 is greedy, with one sample."""

    samples: int = 1
    temperature: float = 0.0
    max_completion_tokens: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"samples is {self.samples}; at least 1 is needed")
        if self.samples > 1 and self.temperature == 0:
            raise InputError(f"{self.samples} greedy samples would be the same; give a temperature above 0")


class BackendLM(LM):
    """A backend as lm-eval sees it. Each request keeps its completions, in the order of its samples."""

    def __init__(self, backend: Backend, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
        super().__init__()
        self.backend, self.tokenizer, self.seed = backend, tokenizer, seed

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        text: str = self.tokenizer.apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return text

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
        texts = [request.args[0] for request in requests]
        settings = requests[0].args[1]
        prompts = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        try:
            completions = self.backend(
                prompts,
                max_tokens=settings["max_gen_toks"],
                temperature=settings["temperature"] if settings.get("do_sample") else 0.0,
                seed=torch_seed(self.seed, f"evaluation of {texts[0]}"),
            )
        except Exception as error:  # a backend fails in many ways: memory, a worker, a driver
            raise InputError(
                f"the {self.backend.name} backend failed: {one_line(error)}; "
                "finished problems are kept, and the same command resumes with the others"
            ) from error
        answers: list[str] = self.tokenizer.batch_decode([completion.text_ids for completion in completions])
        for request, completion, text in zip(requests, completions, answers, strict=True):
            vars(request).setdefault("completions", []).append((text, completion))
        return answers

    def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> Any:
        raise NotImplementedError("the suite's benchmarks ask only for completions")

    loglikelihood_rolling = loglikelihood


@dataclass(frozen=True)
class Evaluation:
    """A benchmark, what answers it and how. Without a prompt it is the problems' own (`ProblemSet.prompt`)."""

    name: str
    problems: ProblemSet
    backend: Backend
    tokenizer: PreTrainedTokenizerBase
    sampling: Sampling
    model_version: str
    prompt: Prompt | None = None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the samples depend on, and ``<out>/<name>.json`` says.

        Raises InputError: a prompt leaves no room for a completion.
        """
        prompt, asked = self._prompt, self.sampling.max_completion_tokens
        tokens = completion_limit(self.name, self.problems, self.backend.context, self.tokenizer, prompt, asked)
        return {
            **asdict(self.sampling),
            "max_completion_tokens": tokens,
            "model": self.model_version,
            "backend": self.backend.name,
            "prompt": prompt.hash,
            "problems": self.problems.fingerprint,
        }

    @property
    def _prompt(self) -> Prompt:
        return self.prompt or self.problems.prompt

    def require_same(self, out: Path) -> None:
        """Raises InputError: ``out`` holds files of other settings (the error says which differ)."""
        require_settings(out / f"{self.name}.json", self.settings, self.name)

    def run(self, out: Path, report: Report) -> pd.DataFrame:
        """One row per (problem, sample), `SAMPLE_COLUMNS`, kept in ``out/<name>.parquet``; read from there if complete.

        Raises InputError: a prompt leaves no room for a completion, ``out`` holds files of other settings or not these
        samples, or the backend fails midway.
        """
        with exclusive(out / f".{self.name}.lock", f"evaluates {self.name} into {out}"):
            samples = SampleFile(out, self.name, self.settings)
            if (finished := samples.finished(self.problems.ids)) is not None:
                return finished
            finished_ids = {row["problem_id"] for row in samples.rows()}
            todo = [problem for problem in self.problems.problems if problem.problem_id not in finished_ids]
            lm = BackendLM(self.backend, self.tokenizer, self.sampling.seed)
            tasks = TaskManager(include_defaults=False, include_path=str(TASKS))
            for first in range(0, len(todo), CHUNK):
                report(self.name, len(finished_ids) + first, len(self.problems))
                task = self._task(todo[first : first + CHUNK])
                samples.add(_chunk_rows(tasks.load([{"group": "gainrl_chunk", "task": [task]}]), lm))
            report(self.name, len(self.problems), len(self.problems))
            return samples.finish(self.problems.ids)

    def _task(self, problems: Sequence[Problem]) -> dict[str, Any]:
        """The YAML task with this prompt, these problems and this sampling."""
        from datasets import Dataset

        rows = [
            {"problem_id": problem.problem_id, "question": problem.question, "answer": problem.answer}
            for problem in problems
        ]
        prompt, sampling = self._prompt, self.sampling
        temperature = {"temperature": sampling.temperature} if sampling.temperature else {}
        return {
            "task": f"{PREFIX}{self.name}",
            "custom_dataset": lambda **_: {"test": Dataset.from_list(rows)},
            "description": prompt.system or "",
            "num_fewshot": 1 if prompt.example else 0,
            "fewshot_config": {
                "sampler": "first_n",
                "samples": [prompt.example.model_dump()] if prompt.example else [],
            },
            "generation_kwargs": {
                "until": [],
                "do_sample": sampling.temperature > 0,
                "max_gen_toks": self.settings["max_completion_tokens"],
                **temperature,
            },
            "repeats": sampling.samples,
        }


def completion_limit(
    name: str,
    problems: ProblemSet,
    context: int,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    requested: int | None,
) -> int:
    """Completion tokens: as requested, or what the longest prompt leaves of the context, at most `LONGEST`."""
    encoded = encode_problems(tokenizer, problems.problems, prompt)
    require_fit(encoded, problems.ids, context, requested or 1)
    return requested or min(LONGEST, context - max(len(encoding.ids) for encoding in encoded))


def _chunk_rows(tasks: Any, lm: BackendLM) -> list[dict[str, Any]]:
    lm_evaluate(lm, tasks, apply_chat_template=True, fewshot_as_multiturn=True, bootstrap_iters=2, log_samples=False)
    (task,) = tasks["tasks"].values()
    samples: list[tuple[Any, int, str, Completion]] = [
        (request.doc, sample, text, completion)
        for request in task.instances
        for sample, (text, completion) in enumerate(request.completions)
    ]
    verdicts = grade_batch(
        [text for _, _, text, _ in samples],
        [document["answer"] for document, *_ in samples],
        [completion.truncated for *_, completion in samples],
    )
    rows = []
    for (document, sample, text, completion), verdict in zip(samples, verdicts, strict=True):
        values = (document["problem_id"], sample, text, verdict.correct, verdict.reason)
        rows.append(dict(zip(SAMPLE_COLUMNS, (*values, len(completion.ids), completion.truncated), strict=True)))
    return rows


class SampleFile:
    """The graded samples of one benchmark: JSON lines while it is evaluated, Parquet when it is complete."""

    def __init__(self, out: Path, name: str, settings: dict[str, Any]) -> None:
        self.path, self.unfinished = out / f"{name}.parquet", out / f"{name}.unfinished"
        self.samples: int = settings["samples"]
        claim_settings(out / f"{name}.json", settings, name)

    def finished(self, order: Sequence[str]) -> pd.DataFrame | None:
        """The table of all samples, None where it is not there yet."""
        return self._whole(read_rows(self.path, SAMPLE_ROWS), order, self.path) if self.path.exists() else None

    def rows(self) -> list[dict[str, Any]]:
        """Those of finished chunks, without a chunk that was cut off while it was being written."""
        chunks = read_json_lines(self.unfinished, mend=True)
        for number, chunk in enumerate(chunks, 1):
            if not (isinstance(chunk, list) and all(isinstance(row, dict) for row in chunk)):
                raise InputError(
                    f"{self.unfinished}, row {number}: is no list of samples; remove it, or choose another --out"
                )
            SAMPLE_ROWS.check(pd.DataFrame(chunk), f"{self.unfinished}, row {number}")
        return [row for chunk in chunks for row in chunk]

    def add(self, rows: list[dict[str, Any]]) -> None:
        append_json_line(self.unfinished, rows)

    def finish(self, order: Sequence[str]) -> pd.DataFrame:
        """The table of all samples, saved, its problems in this order of ids."""
        position = {problem_id: index for index, problem_id in enumerate(order)}
        table = pd.DataFrame(self.rows(), columns=list(SAMPLE_COLUMNS))
        table = table.sort_values(
            ["problem_id", "sample"],
            key=lambda column: column.map(position) if column.name == "problem_id" else column,
        )
        table = self._whole(table.reset_index(drop=True), order, self.unfinished)
        write_atomically(self.path, lambda path: table.to_parquet(path, index=False))
        self.unfinished.unlink()
        return table

    def _whole(self, table: pd.DataFrame, order: Sequence[str], where: Path) -> pd.DataFrame:
        expected = [(problem_id, sample) for problem_id in order for sample in range(self.samples)]
        if list(zip(table.problem_id, table["sample"], strict=True)) != expected:
            raise InputError(
                f"{where} holds {len(table)} samples that are not {self.samples} of each of the {len(order)} problems; "
                "remove it, and give the command again"
            )
        return table

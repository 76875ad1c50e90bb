"""Evaluation through lm-eval: greedy, on problems held in memory, with the grader and the prompt of training."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import datasets
import torch
from lm_eval.evaluator import evaluate as lm_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gainrl.grading import grade
from gainrl.problems import ProblemSet
from gainrl.prompts import Prompt, encode_prompts, require_fit

logging.getLogger("lm_eval").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Accuracy:
    """Share of correct answers with its standard error over problems; shares of truncated and of answerless ones."""

    value: float
    stderr: float
    n: int
    truncated: float
    unparseable: float


class _InMemory(HFLM):
    """HFLM around a model that is being trained; counts the answers that were cut off at the token limit."""

    truncated = 0

    def generate_until(self, requests: Any, disable_tqdm: bool = True) -> list[str]:
        return super().generate_until(requests, disable_tqdm=True)  # type: ignore[no-any-return]

    def _model_generate(self, context: torch.Tensor, max_length: int, stop: list[str], **kwargs: Any) -> torch.Tensor:
        output: torch.Tensor = super()._model_generate(context, max_length, stop, **kwargs)
        ended = (output[:, context.shape[1] :] == self.eot_token_id).any(dim=1)
        self.truncated += int((~ended).sum())
        return output


class HeldOut:
    """Held-out problems as an lm-eval task, built once and evaluated again and again while a model is trained."""

    def __init__(
        self,
        problems: ProblemSet,
        prompt: Prompt,
        tokenizer: PreTrainedTokenizerBase,
        *,
        context: int,
        max_completion_tokens: int,
        batch_size: int,
    ) -> None:
        encoded = encode_prompts(tokenizer, [prompt.messages(p.question) for p in problems.problems], problems.ids)
        require_fit(encoded, problems.ids, context, max_completion_tokens)
        self.name, self.tokenizer, self.batch_size = problems.name, tokenizer, batch_size
        rows = [{"question": p.question, "answer": p.answer} for p in problems.problems]
        self.config = _task(
            self.name, lambda **_: {"test": datasets.Dataset.from_list(rows)}, prompt, max_completion_tokens
        )
        self.tasks = TaskManager(include_defaults=False)

    def evaluate(self, model: PreTrainedModel) -> Accuracy:
        """Greedy accuracy. Leaves the model's mode and every random state as they were."""
        training, python_state = model.training, random.getstate()
        lm = _InMemory(pretrained=model, tokenizer=self.tokenizer, batch_size=self.batch_size)
        model.eval()
        try:
            # lm_eval.simple_evaluate would seed the global generators, and so repeat the rollouts after each evaluation.
            output = lm_evaluate(
                lm,
                self.tasks.load([self.config]),
                apply_chat_template=True,
                fewshot_as_multiturn=True,
                bootstrap_iters=2,  # the mean's standard error has a closed form; 0 would leave it out
                log_samples=False,
            )
        finally:
            model.train(training)
            random.setstate(python_state)
        result = output["results"][self.name]
        return Accuracy(
            value=result["accuracy,none"],
            stderr=result["accuracy_stderr,none"],
            n=result["sample_len"],
            truncated=lm.truncated / result["sample_len"],
            unparseable=result["unparseable,none"],
        )


def _task(name: str, dataset: Callable[..., Any], prompt: Prompt, max_completion_tokens: int) -> dict[str, Any]:
    example = prompt.example
    return {
        "task": name,
        "custom_dataset": dataset,
        "test_split": "test",
        "description": prompt.system or "",
        "num_fewshot": 1 if example else 0,
        "fewshot_config": {"sampler": "first_n", "samples": [example.model_dump()] if example else []},
        "doc_to_text": lambda doc: doc["question"],
        "doc_to_target": lambda doc: doc["answer"],
        "target_delimiter": "",
        "fewshot_delimiter": "",
        "output_type": "generate_until",
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": max_completion_tokens},
        "process_results": _grade_one,
        "metric_list": [
            {"metric": "accuracy", "aggregation": "mean", "higher_is_better": True},
            {"metric": "unparseable", "aggregation": "mean", "higher_is_better": False},
        ],
    }


def _grade_one(doc: dict[str, Any], completions: list[str]) -> dict[str, float]:
    verdict = grade(completions[0], doc["answer"])
    return {"accuracy": float(verdict.correct), "unparseable": float(verdict.reason == "no_answer")}

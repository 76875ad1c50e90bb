"""Greedy accuracy on held-out problems, with the backend, prompt and grader of the benchmarks but without a harness."""

from dataclasses import dataclass

import pandas as pd
from transformers import PreTrainedTokenizerBase

from gainrl.grading import grade_batch
from gainrl.models.generation import Backend
from gainrl.problems import ProblemSet
from gainrl.prompts import Prompt, encode_problems, require_fit


@dataclass(frozen=True)
class Accuracy:
    """Share of correct answers with its standard error over problems; shares of truncated and of unparseable ones."""

    value: float
    stderr: float
    n: int
    truncated: float
    unparseable: float


class HeldOut:
    """Held-out problems, encoded once and evaluated repeatedly while a model is trained.

    The accuracy is that of `Evaluation` through lm-eval (a test compares the two).
    """

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
        encoded = encode_problems(tokenizer, problems.problems, prompt)
        require_fit(encoded, problems.ids, context, max_completion_tokens)
        self.problems, self.tokenizer, self.max_completion_tokens = problems, tokenizer, max_completion_tokens
        self.prompts = [encoding.ids.tolist() for encoding in encoded]
        self.golds = [problem.answer for problem in problems.problems]
        self.kinds = [problem.kind for problem in problems.problems]
        self.batch_tokens = batch_size * (max(map(len, self.prompts)) + max_completion_tokens)

    def evaluate(self, backend: Backend) -> Accuracy:
        """Greedy, so that no random state changes."""
        return self.by_metric(backend)["accuracy"]

    def by_metric(self, backend: Backend) -> dict[str, Accuracy]:
        """``accuracy`` of all problems, and ``accuracy of <kind>`` for each kind that two problems or more are of; greedy."""
        completions = backend(self.prompts, max_tokens=self.max_completion_tokens, temperature=0, seed=0)
        texts = self.tokenizer.batch_decode([completion.text_ids for completion in completions])
        truncated = [completion.truncated for completion in completions]
        verdicts = grade_batch(texts, self.golds, truncated)
        table = pd.DataFrame(verdicts)[["correct", "reason"]].assign(
            truncated=truncated, kind=pd.Series(self.kinds, dtype=object)
        )
        kinds = {f"accuracy of {kind}": _accuracy(rows) for kind, rows in table.groupby("kind") if len(rows) > 1}
        return {"accuracy": _accuracy(table), **kinds}


def _accuracy(table: pd.DataFrame) -> Accuracy:
    correct_N = table.correct.to_numpy(dtype=float)
    return Accuracy(
        value=float(correct_N.mean()),
        stderr=float(correct_N.std(ddof=1) / len(correct_N) ** 0.5) if len(correct_N) > 1 else float("nan"),
        n=len(correct_N),
        truncated=float(table.truncated.mean()),
        unparseable=float(table.reason.isin(["no_answer", "truncated"]).mean()),
    )

from dataclasses import replace

import pytest
import torch

from gainrl.errors import InputError
from gainrl.evaluation import heldout
from gainrl.evaluation.harness import Evaluation, Sampling
from gainrl.evaluation.heldout import HeldOut
from gainrl.evaluation.summary import summarize_samples
from gainrl.grading import Verdict
from gainrl.models.generation.hf import hf_backend
from gainrl.problems import Problem, ProblemSet
from gainrl.prompts import Prompt


def held_out(tiny, problems, prompt=None, **changes):
    settings = {"context": 256, "max_completion_tokens": 6, "batch_size": 5, **changes}
    return HeldOut(problems, prompt or Prompt(), tiny.tokenizer, **settings)


def greedy(tiny, question: str, tokens: int) -> tuple[str, bool]:
    """One completion and whether it was cut off; one prompt at a time, without lm-eval."""
    ids = tiny.tokenizer.apply_chat_template(
        Prompt().messages(question), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    output = tiny.model.generate(ids, max_new_tokens=tokens, do_sample=False)[0, ids.shape[1] :]
    return tiny.tokenizer.decode(output, skip_special_tokens=True).strip(), tiny.tokenizer.eos_token_id not in output


def test_accuracy_and_truncation_are_those_of_plain_greedy_generation(tiny, problems, monkeypatch):
    with torch.no_grad():  # the random model then ends some of its answers, not all
        tiny.model.lm_head.weight[tiny.tokenizer.eos_token_id] *= 4
    completions = [greedy(tiny, p.question, 6) for p in problems.problems]
    golds = [text if row % 3 else "other" for row, (text, _) in enumerate(completions)]
    known = ProblemSet("known", tuple(replace(p, answer=g) for p, g in zip(problems.problems, golds, strict=True)))
    special = dict.fromkeys(tiny.tokenizer.all_special_tokens, "")

    def same(texts, golds, truncated):
        plain = [" ".join(word for word in text.split() if word not in special) for text in texts]
        return [Verdict(text == " ".join(gold.split()), "no_answer") for text, gold in zip(plain, golds, strict=True)]

    monkeypatch.setattr(heldout, "grade_batch", same)
    result = held_out(tiny, known).evaluate(hf_backend(tiny.model, tiny.tokenizer))
    assert result.value == sum(row % 3 > 0 for row in range(16)) / 16
    assert result.stderr == pytest.approx((result.value * (1 - result.value) / 15) ** 0.5)
    assert result.n == 16
    assert result.truncated == sum(cut for _, cut in completions) / 16
    assert 0 < result.truncated < 1


@pytest.mark.parametrize("prompt", [Prompt(), Prompt(system=None), Prompt(example=None)])
def test_evaluation_uses_the_tokens_of_training(tiny, problems, prompt, monkeypatch):
    contexts = []
    generate = type(tiny.model).generate

    def spy(self, input_ids, attention_mask, **kwargs):
        contexts.extend(ids[mask.bool()].tolist() for ids, mask in zip(input_ids, attention_mask, strict=True))
        return generate(self, input_ids=input_ids, attention_mask=attention_mask, **kwargs)

    monkeypatch.setattr(type(tiny.model), "generate", spy)
    held_out(tiny, problems, prompt).evaluate(hf_backend(tiny.model, tiny.tokenizer))
    rendered = tiny.tokenizer.apply_chat_template(
        [prompt.messages(p.question) for p in problems.problems], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert sorted(contexts) == sorted(rendered)


def test_evaluation_leaves_random_states_and_mode_alone(tiny, problems):
    import random

    import numpy as np

    tiny.model.train()
    before = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    held_out(tiny, problems).evaluate(hf_backend(tiny.model, tiny.tokenizer))
    after = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert tiny.model.training


def test_a_prompt_that_leaves_no_room_is_named(tiny):
    long = ProblemSet("long", (Problem("p9", " + ".join(["1"] * 100), "100"),))
    with pytest.raises(InputError, match="prompt of p9 .* with 26 reserved for the completion"):
        held_out(tiny, long, max_completion_tokens=26)


def test_it_is_what_the_benchmark_gives_through_lm_eval(tiny, problems, tmp_path):
    with torch.no_grad():
        tiny.model.lm_head.weight[tiny.tokenizer.eos_token_id] *= 4
    backend = hf_backend(tiny.model, tiny.tokenizer)
    sampling = Sampling(max_completion_tokens=6)
    samples = Evaluation("arithmetic", problems, backend, tiny.tokenizer, sampling, "v").run(tmp_path, lambda *_: None)
    (benchmark,) = summarize_samples(samples).to_dict("records")
    mine = vars(held_out(tiny, problems).evaluate(hf_backend(tiny.model, tiny.tokenizer)))
    assert {"metric": "accuracy", **mine} == benchmark


def test_accuracy_by_kind_is_that_of_the_kinds_problems(tiny, problems):
    some = tuple(replace(p, kind=("sum", "story", None)[row % 3]) for row, p in enumerate(problems.problems))
    some += (replace(problems.problems[0], problem_id="alone", kind="alone"),)
    found = held_out(tiny, ProblemSet("kinds", some)).by_metric(hf_backend(tiny.model, tiny.tokenizer))
    assert set(found) == {"accuracy", "accuracy of sum", "accuracy of story"}
    for kind in ("sum", "story"):
        own = ProblemSet(kind, tuple(problem for problem in some if problem.kind == kind))
        alone = held_out(tiny, own).evaluate(hf_backend(tiny.model, tiny.tokenizer))
        assert vars(found[f"accuracy of {kind}"]) == pytest.approx(vars(alone), nan_ok=True)

import json

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import gradient_parts
from analysis.angle_gradient import correlations
from gainrl.errors import InputError
from gainrl.grading import grade
from gainrl.models.generation.rollouts import ROLLOUT_COLUMNS, sample_completions
from gainrl.problems import Problem, ProblemSet
from gainrl.prompts import Prompt, encode_prompts
from gainrl.runs.config import SignalConfig
from gainrl.scoring import score_problems
from gainrl.studies.angle_gradient import Settings, cosine_matrices, measure, measure_into, read_completions, stages

SHORT = {"max_completion_tokens": 6, "samples": 4}


@pytest.fixture
def scores(tiny, problems):
    return score_problems(tiny.model, tiny.tokenizer, problems, layers="all")


def rewarded(rollouts: pd.DataFrame) -> pd.DataFrame:
    """A random model solves nothing; give it some answers."""
    correct = [(row.sample % 2 == 0) if i % 3 else False for i, row in enumerate(rollouts.itertuples())]
    return rollouts.assign(correct=correct)


def autograd(model, losses: torch.Tensor, names: list[str]) -> float:
    wanted = [p for name, p in model.named_parameters() if name in names]
    return float(sum(g.double().square().sum() for g in torch.autograd.grad(losses, wanted)).sqrt())


def completion_logp(model, prompt_ids, completion, temperature=1.0):
    ids = torch.tensor([[*prompt_ids, *completion]], dtype=torch.long)
    logp = (model(ids).logits[0, :-1] / temperature).log_softmax(-1)
    return logp.gather(1, ids[0, 1:, None])[-len(completion) :, 0]


def test_the_supervised_gradient_is_of_the_mean_over_the_gold_completion(tiny, problems, scores):
    table = measure(tiny.model, tiny.tokenizer, problems, scores).table
    assert set(table.loss) == {"supervised"}
    assert len(table) == 2 * len(problems)
    everything = [name for name, _ in tiny.model.named_parameters()]
    up_gate = [f"model.layers.1.mlp.{name}_proj.weight" for name in ("up", "gate")]
    in_layer = [name for name in everything if "layers.1." in name]
    for row in (0, 5):
        problem = problems.problems[row]
        (one,) = encode_prompts(tiny.tokenizer, [Prompt().messages(problem.question)], ["x"])
        gold = tiny.tokenizer(problem.gold_completion)["input_ids"] + [tiny.tokenizer.eos_token_id]
        mine = table[(table.problem_id == problem.problem_id) & (table.layer == 1)].iloc[0]
        for column, names in (
            ("gradient_model", everything),
            ("gradient_layer", in_layer),
            ("gradient_projection", up_gate),
        ):
            loss = -completion_logp(tiny.model, one.ids, gold).mean()
            assert mine[column] == pytest.approx(autograd(tiny.model, loss, names), rel=1e-4)


def test_the_grpo_gradient_is_of_the_groups_advantages(tiny, problems, scores):
    rollouts = rewarded(sample_completions(tiny.model, tiny.tokenizer, problems, temperature=0.7, **SHORT))
    table = measure(tiny.model, tiny.tokenizer, problems, scores, rollouts=rollouts, temperature=0.7).table
    grpo = table[(table.loss == "grpo") & (table.layer == 0)].set_index("problem_id")
    everything = [name for name, _ in tiny.model.named_parameters()]
    for name, group in list(rollouts.groupby("problem_id"))[:3]:
        problem = next(p for p in problems.problems if p.problem_id == name)
        (one,) = encode_prompts(tiny.tokenizer, [Prompt().messages(problem.question)], ["x"])
        reward = torch.tensor(group.correct.astype(float).tolist())
        advantage = (reward - reward.mean()) / (reward.std() + 1e-4)
        logps = [completion_logp(tiny.model, one.ids, ids, 0.7).mean() for ids in group.ids]
        loss = -(advantage * torch.stack(logps)).mean()
        assert grpo.gradient_model[name] == pytest.approx(autograd(tiny.model, loss, everything), rel=1e-4)
        assert grpo.pass_rate[name] == group.correct.mean()


def test_groups_of_one_reward_have_no_gradient(tiny, problems, scores):
    rollouts = sample_completions(tiny.model, tiny.tokenizer, problems, **SHORT).assign(correct=True)
    table = measure(tiny.model, tiny.tokenizer, problems, scores, rollouts=rollouts).table
    assert (table[table.loss == "grpo"].gradient_model == 0).all()
    assert (table[table.loss == "supervised"].gradient_model > 0).all()


def test_batches_do_not_change_the_measurement(tiny, problems, scores):
    rollouts = rewarded(sample_completions(tiny.model, tiny.tokenizer, problems, **SHORT))
    together = measure(tiny.model, tiny.tokenizer, problems, scores, rollouts=rollouts).table
    alone = measure(tiny.model, tiny.tokenizer, problems, scores, rollouts=rollouts, batch_tokens=1).table
    for column in ("gradient_model", "gradient_projection"):
        np.testing.assert_allclose(together[column], alone[column], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(together.question_share, alone.question_share, atol=1e-5)


@pytest.mark.parametrize("decomposed", [0, 3])
def test_a_measurement_that_was_broken_off_goes_on_where_it_stopped(tiny, problems, scores, tmp_path, decomposed):
    rollouts = rewarded(sample_completions(tiny.model, tiny.tokenizer, problems, **SHORT))
    settings = {"rollouts": rollouts, "batch_tokens": 60, "decomposed": decomposed}
    whole = measure(tiny.model, tiny.tokenizer, problems, scores, **settings)
    path = tmp_path / "gradients.unfinished"

    def stop(done, _of):
        if done > len(problems) + 2:  # in the second loss
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(tiny.model, tiny.tokenizer, problems, scores, unfinished=path, progress=stop, **settings)
    path.write_text(path.read_text() + '[{"loss": "grpo", "ro')  # killed while it wrote
    resumed = measure(tiny.model, tiny.tokenizer, problems, scores, unfinished=path, **settings)
    pd.testing.assert_frame_equal(resumed.table, whole.table)
    pd.testing.assert_frame_equal(resumed.parts, whole.parts)
    assert len({row["row"] for line in path.read_text().splitlines() for row in json.loads(line)}) == len(problems)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[1]", "no list of rows"),
        ('[{"loss": "grpo", "row": 0, "layer": 0, "gradient_model": -1, "gradient_layer": 0}]', "gradient_model"),
        ('[{"loss": "grpo", "row": 99, "layer": 0, "gradient_model": 1, "gradient_layer": 0}]', "more than"),
    ],
)
def test_a_damaged_file_of_finished_batches_is_refused(tiny, problems, scores, tmp_path, line, fault):
    path = tmp_path / "gradients.unfinished"
    path.write_text(f"{line}\n")
    with pytest.raises(InputError, match=fault):
        measure(tiny.model, tiny.tokenizer, problems, scores, unfinished=path)


def test_angles_beside_the_gradients_are_the_scores(tiny, problems, scores):
    table = measure(tiny.model, tiny.tokenizer, problems, scores).table.set_index(["problem_id", "layer"])
    bare = score_problems(
        tiny.model, tiny.tokenizer, problems, signal=SignalConfig(definition="off-diagonal"), layers="all"
    ).table.set_index(["problem_id", "layer"])
    np.testing.assert_allclose(table.off_diagonal, bare["angle"].loc[table.index], atol=1e-5)
    np.testing.assert_array_equal(table["angle"], scores.table.set_index(["problem_id", "layer"])["angle"][table.index])


def test_question_tokens_have_no_gradient_in_the_last_layer(tiny, problems, scores):
    table = measure(tiny.model, tiny.tokenizer, problems, scores).table
    share = table.groupby("layer").question_share
    assert (share.max()[1], share.min()[1]) == (0, 0)
    assert share.min()[0] > 0


def test_parts_are_of_the_very_gradient(tiny, problems, scores):
    measured = measure(tiny.model, tiny.tokenizer, problems, scores)
    both = measured.parts.merge(measured.table, on=["layer", "problem_id"])
    assert len(both) == len(problems)  # the middle layer of two is the last one
    np.testing.assert_allclose(np.exp(both.log_squared_norm), both.gradient_projection**2, rtol=1e-4)
    shares = gradient_parts.shares(measured.parts, resamples=50)
    assert shares.share.sum() == pytest.approx(1)
    assert (shares.low <= shares.share).all()
    assert (shares.share <= shares.high).all()
    notes = "\n".join(gradient_parts.notes(measured.table, measured.parts, shares))
    assert "layer 1 0 %; in the last layer no question token can have any" in notes
    assert "(16 gradients)" in notes


def test_a_residual_site_has_no_projection(tiny, problems):
    signal = SignalConfig(site="residual")
    scores = score_problems(tiny.model, tiny.tokenizer, problems, signal=signal, layers="all")
    measured = measure(tiny.model, tiny.tokenizer, problems, scores, signal=signal)
    assert measured.table.gradient_projection.isna().all()
    assert measured.parts.empty
    table = correlations(measured.table, probed_layer=1, resamples=20)
    assert set(table.weights) == {"model", "layer", "model, summed over tokens"}
    assert gradient_parts.notes(measured.table, measured.parts, gradient_parts.shares(measured.parts)) == []


def test_completions_can_be_given(tiny, problems, scores, tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps({"problem_id": p, "completion": "1 + 1"}) + "\n" for p in problems.ids))
    given = measure(tiny.model, tiny.tokenizer, problems, scores, completions=read_completions(path)).table
    gold = measure(tiny.model, tiny.tokenizer, problems, scores).table
    assert not np.allclose(given.gradient_model, gold.gradient_model)
    with pytest.raises(InputError, match=r"no completion for problem .* \(15 have none\)"):
        measure(tiny.model, tiny.tokenizer, problems, scores, completions={problems.ids[0]: "1"})
    row = '{"problem_id": "a", "completion": "1\u2028"}\n'
    path.write_text(f"\ufeff{row}\n")
    assert read_completions(path) == {"a": "1\u2028"}
    for content, message in {
        '{"problem_id": "a"}\n': "c.jsonl, line 1: needs problem_id and completion",
        f"{row}{row}": "c.jsonl, line 2: problem_id 'a' stands in an earlier line",
        '{"problem_id": "a", "completion": "\\ud800"}': "c.jsonl, line 1: completion holds a lone surrogate",
        f"{row}{'[' * 100_000}": "c.jsonl, line 2: lists or objects are nested too deeply",
        f"{row}{{": "c.jsonl, line 2: not JSON",
    }.items():
        path.write_text(content)
        with pytest.raises(InputError, match=message):
            read_completions(path)
    with pytest.raises(InputError, match="No such file"):
        read_completions(tmp_path / "none.jsonl")


def test_gradients_that_are_not_finite_are_named(tiny, problems, scores):
    with torch.no_grad():
        tiny.model.model.layers[0].self_attn.q_proj.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match="the gradient of the supervised loss of .* is not finite"):
        measure(tiny.model, tiny.tokenizer, problems, scores)


def test_stages_that_are_there_are_not_computed_again(tiny, problems, tmp_path, monkeypatch):
    settings = Settings(SignalConfig(), **SHORT)

    def go(settings=settings):
        return measure_into(tmp_path, tiny, problems, Prompt(), settings, None, lambda *_: None)

    first = go()
    (tmp_path / "parts.parquet").unlink()
    for stage in ("score_problems", "sample_completions"):
        monkeypatch.setattr(stages, stage, None)
    again = go()
    monkeypatch.setattr(stages, "measure", None)
    read = go()
    pd.testing.assert_frame_equal(first.table, again.table)
    pd.testing.assert_frame_equal(first.table, read.table)
    with pytest.raises(InputError, match=r"other settings \(samples differ\); remove it, or write to another --out"):
        go(Settings(SignalConfig(), samples=2, max_completion_tokens=6))


def test_cosine_matrices_have_the_segments_of_the_prompt(tiny, problems):
    problem = problems.problems[0]
    matrices, segments = cosine_matrices(tiny.model, tiny.tokenizer, problem, Prompt(), SignalConfig())
    (one,) = encode_prompts(tiny.tokenizer, [Prompt().messages(problem.question)], ["x"])
    assert list(matrices) == [0, 1]
    assert matrices[0].shape == (len(one.ids), len(one.ids))
    np.testing.assert_allclose(np.diag(matrices[1]), 1, atol=1e-6)
    assert [name for name, _, _ in segments] == ["system", "example", "answer", "question"]
    assert segments[-1][1:] == (one.prefix_tokens, one.question_end)
    inside = tiny.tokenizer.decode(one.ids[segments[1][1] : segments[1][2]].tolist())
    assert inside == tiny.tokenizer.decode(tiny.tokenizer(Prompt().example.question)["input_ids"])


def test_rollouts_are_seeded_and_end_with_the_end_token(tiny, problems):
    rollouts = sample_completions(tiny.model, tiny.tokenizer, problems, samples=2, max_completion_tokens=8)
    assert tuple(rollouts.columns) == ROLLOUT_COLUMNS
    assert rollouts.problem_id.tolist() == [name for name in problems.ids for _ in range(2)]
    assert rollouts["sample"].tolist() == [0, 1] * len(problems)
    for row in rollouts.itertuples():
        assert row.truncated == (row.ids[-1] != tiny.tokenizer.eos_token_id)
        assert tiny.tokenizer.eos_token_id not in row.ids[:-1]
        assert len(row.ids) <= 8
    again = sample_completions(tiny.model, tiny.tokenizer, problems, samples=2, max_completion_tokens=8)
    other = sample_completions(tiny.model, tiny.tokenizer, problems, samples=2, max_completion_tokens=8, seed=1)
    pd.testing.assert_frame_equal(rollouts, again)
    assert rollouts.ids.tolist() != other.ids.tolist()


def test_greedy_rollouts_are_the_most_likely_tokens_whatever_the_padding(tiny, problems):
    rollouts = sample_completions(
        tiny.model, tiny.tokenizer, problems, samples=1, temperature=0, max_completion_tokens=5
    )
    for problem, row in zip(problems.problems[:4], rollouts.itertuples(), strict=False):
        (one,) = encode_prompts(tiny.tokenizer, [Prompt().messages(problem.question)], ["x"])
        ids = one.ids.tolist()
        for token in row.ids:
            assert tiny.model(torch.tensor([ids])).logits[0, -1].argmax() == token
            ids.append(token)
        assert row.correct == grade(row.text, problem.answer).correct


def test_a_completion_that_does_not_fit_is_named(tiny):
    long = ProblemSet("long", (Problem("p", " + ".join(["1"] * 90), "90", solution="1 " * 60),))
    scores = score_problems(tiny.model, tiny.tokenizer, long, layers="all")
    with pytest.raises(InputError, match="prompt of p has .* reserved"):
        measure(tiny.model, tiny.tokenizer, long, scores)

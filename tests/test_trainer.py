from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig

from gainrl.errors import InputError
from gainrl.grading import accuracy_reward
from gainrl.models.tiny import random_tiny_model, tiny_tokenizer
from gainrl.problems import load_problems
from gainrl.schedules import DAPO, SCHEDULES, SPEED, Feedback, Gaussian, Oracle, Schedule, Uniform
from gainrl.scoring import score_problems
from gainrl.training import shared_prompts
from gainrl.training.trainer import ROW, ScheduledGRPOTrainer, ScheduledRLOOTrainer, training_dataset
from tests.conftest import SMALL


def arguments(tmp_path, config=GRPOConfig, **changes):
    settings = {
        "per_device_train_batch_size": 4,
        "num_generations": 2,
        "max_completion_length": 4,
        "max_steps": 6,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    return config(output_dir=str(tmp_path), **{**settings, **changes})


class Log:
    """A reward that logs the rows of each call, and gives each problem's parity as its correctness."""

    __name__ = "parity"

    def __init__(self):
        self.calls = []

    def __call__(self, completions, **columns):
        self.calls.append(columns[ROW])
        return [float(row % 2) for row in columns[ROW]]


def make(tiny, tmp_path, problems, schedule, *, reward=None, per_epoch=4, **changes):
    return ScheduledGRPOTrainer(
        model=tiny.model,
        processing_class=tiny.tokenizer,
        reward_funcs=reward or Log(),
        args=arguments(tmp_path, **changes),
        train_dataset=training_dataset(problems),
        schedule=schedule,
        prompts_per_epoch=per_epoch,
    )


class Spy(Uniform):
    """Writes down what it is asked and told, in order."""

    def __init__(self, size, **options):
        super().__init__(np.zeros(size), **options)
        self.events = []

    def _draw(self, n):
        rows = super()._draw(n)
        self.events.append(("draw", rows.tolist()))
        return rows

    def observe(self, feedback):
        self.events.append(("observe", feedback))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gradient_accumulation_steps": 2, "max_steps": 3},
        {"steps_per_generation": 2, "max_steps": 6},
        {"num_iterations": 2, "max_steps": 12},
    ],
    ids=["plain", "accumulation", "steps_per_generation", "iterations"],
)
def test_what_is_drawn_is_trained_in_groups_and_fed_back_before_the_next_draw(tiny, tmp_path, problems, changes):
    spy, reward = Spy(len(problems)), Log()
    trainer = make(tiny, tmp_path, problems, spy, reward=reward, **changes)
    trainer.train()

    kinds = [kind for kind, _ in spy.events]
    assert kinds == ["draw", "observe"] * (len(kinds) // 2)  # lag 0: nothing is drawn ahead of the feedback
    drawn = [row for kind, rows in spy.events if kind == "draw" for row in rows]
    trained = [row for call in reward.calls for row in call]
    assert trained == [row for row in drawn for _ in range(2)]
    assert len(trainer.epochs) == len(kinds) // 2 >= 3

    for epoch, (_, feedback) in zip(trainer.epochs, spy.events[1::2], strict=True):
        assert feedback.pass_rates == {row: float(row % 2) for row in epoch.rows_n.tolist()}
        assert feedback.accuracy == pytest.approx(np.mean([row % 2 for row in epoch.rows_n]))
        assert feedback.angle is None
        assert {(outcome.rollouts, outcome.correct) for outcome in feedback.trained.values()} <= {(2, 0.0), (2, 2.0)}
        assert feedback.discarded == {}
        np.testing.assert_array_equal(epoch.pass_rate_n, epoch.rows_n % 2)


def test_rows_are_the_datasets_rows(tiny, tmp_path, problems):
    seen = []

    def reward(completions, problem_id, **columns):
        seen.extend(zip(columns[ROW], problem_id, strict=True))
        return [0.0] * len(completions)

    make(tiny, tmp_path, problems, Uniform(np.zeros(16)), reward=reward, max_steps=2).train()
    assert all(problems.ids[row] == name for row, name in seen)


@pytest.mark.parametrize("changes", [{}, {"gradient_accumulation_steps": 2}, {"num_iterations": 2}])
def test_the_hooks_angle_is_the_probes(tiny, tmp_path, problems, changes):
    scores = score_problems(tiny.model, tiny.tokenizer, problems).table["angle"].to_numpy()
    schedule = Gaussian(-scores, sigma=5)
    trainer = make(tiny, tmp_path, problems, schedule, learning_rate=0.0, max_steps=4, **changes)
    trainer.train()
    assert trainer.epochs
    for epoch in trainer.epochs:
        np.testing.assert_allclose(epoch.angle_n, scores[epoch.rows_n], atol=1e-5)
        assert epoch.feedback.angle == pytest.approx(scores[epoch.rows_n].mean(), abs=1e-5)


def test_the_hooks_angle_is_of_the_weights_in_training(tiny, tmp_path, problems):
    expected = []

    class Probe(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            expected.append(score_problems(model, tiny.tokenizer, problems).table["angle"].to_numpy())

    trainer = make(
        tiny, tmp_path, problems, Gaussian(np.arange(16), sigma=5), reward=token_parity, per_epoch=2, max_steps=3
    )
    trainer.add_callback(Probe())
    trainer.train()
    assert not np.allclose(expected[0], expected[-1], atol=1e-4)
    for epoch, angles in zip(trainer.epochs, expected, strict=True):
        np.testing.assert_allclose(epoch.angle_n, angles[epoch.rows_n], atol=1e-5)


def test_a_schedule_without_angle_pays_for_none(tiny, tmp_path, problems, monkeypatch):
    monkeypatch.setattr("gainrl.training.trainer.capture", None)
    monkeypatch.setattr("gainrl.training.trainer.encode_prompts", None)
    make(tiny, tmp_path, problems, Gaussian(np.arange(16), angle_term=False), max_steps=1).train()


def test_a_schedule_that_wants_the_angle_gets_no_step_otherwise(tiny, tmp_path, problems, monkeypatch):
    monkeypatch.setattr("gainrl.training.trainer.capture", None)
    with pytest.raises(TypeError):
        make(tiny, tmp_path, problems, Gaussian(np.arange(16)), max_steps=1).train()


def test_the_schedules_metrics_are_in_trls_log(tiny, tmp_path, problems):
    trainer = make(tiny, tmp_path, problems, Gaussian(np.arange(16), sigma=5))
    trainer.train()
    steps = [row for row in trainer.state.log_history if "loss" in row]
    # two steps an epoch: mu is the one in force when the epoch was drawn
    assert [row["schedule/mu"] for row in steps[:2]] == [0.0, 0.0]
    assert steps[2]["schedule/mu"] == steps[3]["schedule/mu"] > 0
    assert [row["problems_seen"] for row in steps] == [2, 4, 6, 8, 10, 12]
    assert all({"accuracy", "angle", "completion_tokens"} <= set(row) for row in steps)
    assert [row["rollouts"] for row in steps] == [4, 8, 12, 16, 20, 24]
    assert all(row["choosing_seconds"] > 0 for row in steps)
    outcomes = [outcome for epoch in trainer.epochs for outcome in epoch.feedback.trained.values()]
    assert sum(outcome.completion_tokens for outcome in outcomes) == steps[-1]["completion_tokens"]
    assert steps[-1]["completion_tokens"] == sum(round(4 * row["completions/mean_length"]) for row in steps)


def test_with_the_uniform_order_of_trl_training_is_trls(tiny, tmp_path, problems):
    """The same rows in the same order give the same weights, bit for bit, as the trainer that it subclasses."""

    class AsTRL(Schedule):
        def __init__(self, order):
            super().__init__(np.zeros(len(order)))
            self.order = np.array(order)

        def _draw(self, n):
            rows, self.order = self.order[:n], np.roll(self.order, -n)
            return rows

    start = {name: tensor.clone() for name, tensor in tiny.model.state_dict().items()}
    settings = {"processing_class": tiny.tokenizer, "reward_funcs": [token_parity]}
    plain = GRPOTrainer(
        model=tiny.model, args=arguments(tmp_path), train_dataset=training_dataset(problems), **settings
    )
    order = list(plain._get_train_sampler())[::2]
    plain.train()
    theirs = {name: tensor.clone() for name, tensor in tiny.model.state_dict().items()}
    tiny.model.load_state_dict(start)
    make(tiny, tmp_path, problems, AsTRL(order), reward=[token_parity], per_epoch=16).train()
    assert any(not torch.equal(theirs[name], start[name]) for name in start)
    for name, tensor in tiny.model.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0)


def token_parity(completion_ids, **columns):
    return [float(sum(ids) % 2) for ids in completion_ids]


def test_accuracy_can_stand_beside_a_shaped_reward(tiny, tmp_path, problems):
    def shaped(completions, **columns):
        return [5.0] * len(completions)

    spy = Spy(16)
    trainer = ScheduledGRPOTrainer(
        model=tiny.model,
        processing_class=tiny.tokenizer,
        reward_funcs=[shaped, accuracy_reward],
        args=arguments(tmp_path, max_steps=2),
        train_dataset=training_dataset(problems),
        schedule=spy,
        prompts_per_epoch=4,
        accuracy="accuracy_reward",
    )
    trainer.train()
    assert isinstance(spy.events[-1][1], Feedback)
    assert spy.events[-1][1].accuracy == 0.0
    with pytest.raises(InputError, match=r"mean accuracy is 5.0, not in \[0, 1\]: 'shaped' is shaped"):
        make(tiny, tmp_path, problems, Uniform(np.zeros(16)), reward=shaped, max_steps=2).train()


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (16, {"per_epoch": 3}, "prompts_per_epoch is 3; it must be a multiple of 2"),
        (16, {"per_epoch": 18}, "at most 16"),
        (10, {}, "schedule has 10 problems, the training set 16"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tiny, tmp_path, problems, size, options, message):
    with pytest.raises(InputError, match=message):
        make(tiny, tmp_path, problems, Uniform(np.zeros(size)), **options)


def test_unknown_accuracy_function_lists_the_valid_ones(tiny, tmp_path, problems):
    with pytest.raises(InputError, match="no reward function 'acc'; available: accuracy_reward"):
        ScheduledGRPOTrainer(
            model=tiny.model,
            processing_class=tiny.tokenizer,
            reward_funcs=accuracy_reward,
            args=arguments(tmp_path),
            train_dataset=training_dataset(problems),
            schedule=Uniform(np.zeros(16)),
            prompts_per_epoch=4,
            accuracy="acc",
        )


def test_the_angle_of_plain_texts_is_refused(tiny, tmp_path, problems):
    texts = training_dataset(problems).map(lambda row: {"prompt": row["prompt"][-1]["content"]})
    with pytest.raises(InputError, match="prompts must be conversations"):
        ScheduledGRPOTrainer(
            model=tiny.model,
            processing_class=tiny.tokenizer,
            reward_funcs=accuracy_reward,
            args=arguments(tmp_path),
            train_dataset=texts,
            schedule=Gaussian(np.zeros(16)),
            prompts_per_epoch=4,
        )


def test_trained_prompts_have_the_probes_tokens(tiny, tmp_path):
    problems = load_problems("arithmetic", limit=4, seed=0)
    trainer = make(tiny, tmp_path, problems, Gaussian(np.arange(4)), per_epoch=4)
    prompt_ids, _, _ = trainer._tokenize_prompts(list(trainer.train_dataset["prompt"]))
    assert prompt_ids == [span.ids.tolist() for span in trainer.spans]


def in_between(completion_ids, **columns):
    """Every third problem is always right, the next one never, the last one half of the time."""
    rows = columns[ROW]
    seen = Counter()
    rewards = []
    for row in rows:
        seen[row] += 1
        rewards.append(float((row % 3 == 0) or (row % 3 == 2 and seen[row] % 2 == 0)))
    return rewards


@pytest.mark.parametrize("trainer_class", [ScheduledGRPOTrainer, ScheduledRLOOTrainer])
@pytest.mark.parametrize(
    ("make_schedule", "first"), [(DAPO, 4), (partial(SPEED, screening=2), 2)], ids=["dapo", "speed"]
)
def test_groups_without_gradient_are_thrown_away_drawn_again_and_counted(
    tiny, tmp_path, problems, trainer_class, make_schedule, first
):
    sampled = Counter()

    def reward(completion_ids, **columns):
        sampled.update(columns[ROW])
        return in_between(completion_ids, **columns)

    config = {ScheduledGRPOTrainer: GRPOConfig, ScheduledRLOOTrainer: RLOOConfig}[trainer_class]
    changes = {"num_generations": 4, "per_device_train_batch_size": 8, "max_steps": 2, "beta": 0.0}
    trainer = trainer_class(
        model=tiny.model,
        processing_class=tiny.tokenizer,
        reward_funcs=reward,
        args=arguments(tmp_path, config, **changes),
        train_dataset=training_dataset(problems),
        schedule=make_schedule(np.zeros(16)),
        prompts_per_epoch=2,
    )
    trainer.train()
    for epoch in trainer.epochs:
        assert set(epoch.rows_n % 3) == {2}
        assert epoch.pass_rate_n.tolist() == [0.5, 0.5]
        assert {row % 3 for row in epoch.feedback.discarded} <= {0, 1}
        assert {outcome.rollouts for outcome in epoch.feedback.trained.values()} == {4}
        assert {outcome.rollouts for outcome in epoch.feedback.discarded.values()} <= {first}
    discarded = sum(len(epoch.feedback.discarded) for epoch in trainer.epochs)
    assert discarded > 0
    log = [row for row in trainer.state.log_history if "loss" in row][-1]
    assert log["problems_seen"] == 4 + discarded
    assert log["rollouts"] == sum(sampled.values()) == 4 * 4 + first * discarded
    outcomes = [outcome for epoch in trainer.epochs for outcome in epoch.feedback.sampled.values()]
    assert log["completion_tokens"] == sum(outcome.completion_tokens for outcome in outcomes)
    assert log["accuracy"] == 0.5


def test_where_nothing_has_a_gradient_the_last_groups_are_trained_after_all(tiny, tmp_path, problems):
    def wrong(completion_ids, **columns):
        return [0.0] * len(completion_ids)

    schedule = DAPO(np.zeros(16), redraws=2)
    trainer = make(tiny, tmp_path, problems, schedule, reward=wrong, per_epoch=2, max_steps=2)
    trainer.train()
    assert [len(epoch.feedback.discarded) for epoch in trainer.epochs] == [4, 4]
    assert [len(epoch.feedback.trained) for epoch in trainer.epochs] == [2, 2]
    assert trainer.tally.rollouts == 2 * 2 * 6


def test_screening_needs_larger_groups(tiny, tmp_path, problems):
    with pytest.raises(InputError, match="screening is 4; it must be less than the 2 rollouts of a group"):
        make(tiny, tmp_path, problems, SPEED(np.zeros(16)))


def test_keeping_every_group_is_plain_training(tiny, tmp_path, problems):
    """Sampled beforehand or by TRL, bit for bit the same weights."""

    class KeepsAll(Uniform):
        redraws = 1

        def keeps(self, outcome):
            return True

    start = {name: tensor.clone() for name, tensor in tiny.model.state_dict().items()}
    ends = []
    for schedule in (Uniform(np.zeros(16)), KeepsAll(np.zeros(16))):
        tiny.model.load_state_dict(start)
        trainer = make(
            tiny, tmp_path, problems, schedule, reward=[token_parity], gradient_accumulation_steps=2, max_steps=3
        )
        trainer.train()
        ends.append({name: tensor.clone() for name, tensor in tiny.model.state_dict().items()})
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], rtol=0, atol=0)
    assert any(not torch.equal(ends[0][name], start[name]) for name in start)


def test_an_oracle_measures_the_current_model_before_each_draw_and_it_costs_no_budget(tiny, tmp_path, problems):
    schedule = Oracle(np.zeros(16), rollouts=2)
    trainer = make(tiny, tmp_path, problems, schedule, reward=in_between, per_epoch=4, max_steps=4)
    trainer.train()
    assert schedule.pass_rate_N.tolist() == [(1.0, 0.0, 0.5)[row % 3] for row in range(16)]
    assert all(set(epoch.rows_n % 3) == {2} for epoch in trainer.epochs)
    assert trainer.tally.rollouts == 4 * 2 * 2
    assert trainer.tally.problems == 8


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_ten_steps_with_every_schedule(tiny, tmp_path, problems, name):
    options = {"screening": 2} if name == "speed" else {}
    schedule = SCHEDULES[name](np.arange(16), **options)
    rows = np.arange(16)
    schedule.tell(
        {"angle": np.sin(rows), "length": rows, "level": rows % 4, "kind": [f"kind {row % 3}" for row in rows]}
    )
    changes = {"num_generations": 4, "per_device_train_batch_size": 8, "max_steps": 10}
    trainer = make(tiny, tmp_path, problems, schedule, reward=token_parity, **changes)
    trainer.train()
    assert len(trainer.epochs) == 5
    for epoch in trainer.epochs:
        assert len(set(epoch.rows_n.tolist())) == 4
        assert set(epoch.feedback.trained) == set(epoch.rows_n.tolist())
        assert not set(epoch.feedback.trained) & set(epoch.feedback.discarded)


@pytest.mark.parametrize("beginnings", ["with each prompt", "apart"])
@pytest.mark.parametrize("architecture", ["qwen2", "llama"])
@pytest.mark.parametrize("trainer_class", [ScheduledGRPOTrainer, ScheduledRLOOTrainer])
def test_shared_prompts_train_the_same_by_fewer_tokens(
    tmp_path, problems, trainer_class, architecture, beginnings, monkeypatch
):
    """Prompts of different lengths, so that there is padding; completions of different rewards."""
    if beginnings == "apart":
        monkeypatch.setattr(shared_prompts, "WORTH_A_PASS", 1)
    tokenizer, config = tiny_tokenizer(), GRPOConfig if trainer_class is ScheduledGRPOTrainer else RLOOConfig
    recipe = SMALL.model_copy(update={"architecture": architecture})
    logs, weights, trained = [], [], []
    for sharing in (False, True):
        trainer = trainer_class(
            model=random_tiny_model(recipe, tokenizer, seed=0),
            processing_class=tokenizer,
            reward_funcs=token_parity,
            args=arguments(
                tmp_path, config, per_device_train_batch_size=8, num_generations=4, temperature=0.7, beta=0.0
            ),
            train_dataset=training_dataset(problems),
            schedule=Gaussian(np.arange(16), sigma=5),
            prompts_per_epoch=4,
            share_prompts=sharing,
        )
        tokens = Counter()
        trainer.model.base_model.embed_tokens.register_forward_pre_hook(
            lambda module, ids, tokens=tokens: tokens.update({torch.is_grad_enabled(): ids[0].numel()})
        )
        trainer.train()
        logs.append(pd.DataFrame([entry for entry in trainer.state.log_history if "loss" in entry]))
        weights.append(trainer.model.state_dict())
        trained.append(tokens[True])
    for column in ("accuracy", "angle", "grad_norm", "completions/mean_length"):
        assert logs[0][column].std() > 0
        np.testing.assert_allclose(logs[1][column], logs[0][column], rtol=1e-4, atol=1e-6)
    for name, tensor in weights[1].items():
        torch.testing.assert_close(tensor, weights[0][name], rtol=1e-3, atol=1e-4)
    assert trained[1] < (0.3 if beginnings == "apart" else 0.5) * trained[0]


def test_shared_prompts_without_an_angle(tiny, tmp_path, problems):
    trainer = ScheduledGRPOTrainer(
        model=tiny.model,
        processing_class=tiny.tokenizer,
        reward_funcs=token_parity,
        args=arguments(tmp_path, max_steps=2),
        train_dataset=training_dataset(problems),
        schedule=Uniform(np.zeros(16)),
        prompts_per_epoch=4,
        share_prompts=True,
    )
    trainer.train()
    assert [len(epoch.rows_n) for epoch in trainer.epochs] == [4]


def test_shared_prompts_and_gradient_checkpointing_are_refused(tiny, tmp_path, problems):
    with pytest.raises(InputError, match="share_prompts keeps the prompts' keys and values"):
        ScheduledGRPOTrainer(
            model=tiny.model,
            processing_class=tiny.tokenizer,
            reward_funcs=token_parity,
            args=arguments(tmp_path, gradient_checkpointing=True),
            train_dataset=training_dataset(problems),
            schedule=Uniform(np.zeros(16)),
            prompts_per_epoch=4,
            share_prompts=True,
        )

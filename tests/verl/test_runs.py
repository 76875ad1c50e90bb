"""Runs by verl itself: Ray, FSDP2 between two processes, weights handed to a rollout server, checkpoints. On a CPU."""

import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gainrl.files import read_json_lines
from gainrl.models.tiny import random_tiny_model, tiny_tokenizer
from gainrl.problems import load_problems
from gainrl.schedules import SCHEDULES, Feedback, Outcome
from gainrl.scoring import Scores, score_problems
from tests.conftest import SMALL
from tests.verl.launch import (
    CPU_OVERRIDES,
    KEEP_OLD_WEIGHTS,
    REWARD,
    ROOT,
    VLLM_ENVIRONMENT,
    VLLM_OVERRIDES,
    one_machine,
    run_verl,
    two_nodes,
)
from tests.verl.reward import UNGRADABLE

pytestmark = pytest.mark.verl

PROBLEMS, DRAW, BATCH, ROLLOUTS, STEPS, SEED, SIGMA = 24, 8, 4, 4, 6, 3, 4.0
SAMPLER_TO_TRAINER = 1e-5
"""Largest KL between the sampler and the trainer when both have the same weights."""


def verl_rows(problems, split: str) -> list[dict]:
    """Rows of verl's Parquet. They do not say where the question lies: the plug-in finds that out."""
    return [
        {
            "data_source": problems.name,
            "prompt": problems.prompt.messages(problem.question),
            "reward_model": {"style": "rule", "ground_truth": problem.answer},
            "extra_info": {"index": 0, "split": split, "problem_id": problem.problem_id, "kind": kind},
        }
        for problem, kind in zip(problems.problems, "ab" * len(problems), strict=False)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A random tiny model, its problems as verl wants them, and their scores in another order."""
    folder = tmp_path_factory.mktemp("verl")
    tokenizer, problems = tiny_tokenizer(), load_problems("arithmetic", limit=PROBLEMS, seed=0)
    llama = SMALL.model_copy(
        update={
            "architecture": "llama",  # of Qwen's tokenizer verl wants a token for the newline
            "heads": 1,  # of 32 dimensions, which vLLM on a CPU can do; of 16 it cannot
        }
    )
    model = random_tiny_model(llama, tokenizer, seed=0).eval()
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    rows = verl_rows(problems, "train")
    pd.DataFrame(rows).to_parquet(folder / "train.parquet")
    pd.DataFrame(verl_rows(load_problems("arithmetic-heldout", limit=6, seed=0), "test")).to_parquet(
        folder / "val.parquet"
    )
    pd.DataFrame(rows[:DRAW]).to_parquet(folder / "eight.parquet")
    rows[5]["reward_model"]["ground_truth"] = UNGRADABLE
    pd.DataFrame(rows[:DRAW]).to_parquet(folder / "ungradable.parquet")
    scores = score_problems(model, tokenizer, problems)
    Scores(scores.table[::-1].reset_index(drop=True), scores.metadata).save(folder / "scores.parquet")
    return folder


def options(folder: Path, out: Path, *more: str) -> list[str]:
    return [
        "trainer.v1.trainer_mode=gainrl",
        f"+gainrl={{prompts_per_epoch:{DRAW},seed:{SEED},record:'{out}/record'}}",
        "algorithm.adv_estimator=grpo",
        f"data.val_files={folder}/val.parquet",
        f"data.train_batch_size={BATCH}",
        "data.max_prompt_length=128",
        "data.max_response_length=8",
        "data.dataloader_num_workers=0",
        f"actor_rollout_ref.model.path={folder}/model",
        "actor_rollout_ref.model.enable_gradient_checkpointing=False",
        f"actor_rollout_ref.rollout.n={ROLLOUTS}",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={BATCH}",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
        "actor_rollout_ref.actor.optim.lr=1e-2",
        "trainer.val_before_train=False",
        "trainer.test_freq=-1",
        f"trainer.default_local_dir={out}/checkpoints",
        "actor_rollout_ref.model.use_remove_padding=False",
        *CPU_OVERRIDES,
        *REWARD,
        *more,
    ]


class Record:
    """What a run wrote down."""

    def __init__(self, out: Path) -> None:
        self.draws, self.steps, self.evaluations = (
            read_json_lines(out / "record" / f"{name}.jsonl") for name in ("draws", "steps", "evaluations")
        )

    def drawn(self) -> list[list[int]]:
        """Rows of each epoch's draw."""
        epochs = defaultdict(list)
        for draw in self.draws:
            assert draw["position"] == len(epochs[draw["epoch"]])
            epochs[draw["epoch"]].append(draw["row"])
        assert list(epochs) == list(range(len(epochs)))
        return list(epochs.values())

    def feedback(self, epoch: int) -> Feedback:
        """What the schedule must have observed of an epoch, from the rollouts of its steps."""
        steps = [step for step in self.steps if step["epoch"] == epoch]
        columns = {
            name: [value for step in steps for value in step.get(name, [])]
            for name in ("rows", "correct", "tokens", "angles")
        }
        table = pd.DataFrame({name: values for name, values in columns.items() if values})
        groups = table.groupby("rows")
        trained = {
            int(row): Outcome(len(of_row), float(of_row.correct.sum()), int(of_row.tokens.sum()))
            for row, of_row in groups
        }
        angle = float(groups.angles.mean().mean()) if "angles" in table else None
        return Feedback(float(table.correct.mean()), angle, trained)


def reached(out: Path, step: int):
    """Whether verl's checkpoint of a step is whole."""
    file = out / "checkpoints" / "latest_checkpointed_iteration.txt"
    return lambda: file.exists() and file.read_text() == str(step)


@pytest.fixture(scope="module")
def story(folder) -> Record:
    """A run on two Ray nodes, killed in the middle of its second epoch; continued, killed at the epoch's end; finished."""
    out = folder / "story"
    out.mkdir()
    angle = f"{{name:gaussian,order:angle,options:{{sigma:{SIGMA}}}}}"
    run = options(
        folder,
        out,
        f"data.train_files={folder}/train.parquet",
        f"+gainrl.schedule={angle}",
        f"+gainrl.scores={folder}/scores.parquet",
        "+gainrl.evaluation={every:2,max_completion_tokens:8}",
        f"trainer.total_training_steps={STEPS}",
        "trainer.save_freq=1",
    )
    before, nodes = two_nodes()
    run_verl([*run, *nodes], folder / "two_nodes.log", before=before, kill_when=reached(out, 3))
    run = [*run, *one_machine(2)]
    packed = "actor_rollout_ref.model.use_remove_padding=True"
    run_verl([*run, packed], folder / "resumed.log", kill_when=reached(out, 4))
    run_verl(run, folder / "finished.log")
    return Record(out)


def test_rows_trained_are_rows_drawn(story):
    assert [step["step"] for step in story.steps] == list(range(1, STEPS + 1))
    drawn = story.drawn()
    assert len(drawn) == STEPS * BATCH // DRAW
    for number, step in enumerate(story.steps):
        first = number * BATCH % DRAW
        expected = drawn[step["epoch"]][first : first + BATCH]
        assert sorted(step["rows"]) == sorted(expected * ROLLOUTS)
        assert step["rollouts"] == BATCH * ROLLOUTS
        assert step["completion_tokens"] == sum(step["tokens"]) > 0


def test_draws_and_mu_are_as_the_formula_says_though_the_run_was_killed_twice(story, folder):
    """The draws that follow depend on every result before them, so none was lost and none counted twice."""
    table = Scores.load(folder / "scores.parquet").table[::-1].reset_index(drop=True)
    schedule = SCHEDULES["gaussian"](-table.angle.to_numpy(), seed=SEED, sigma=SIGMA)
    mu = 0.0
    for epoch, rows in enumerate(story.drawn()):
        assert schedule.draw(DRAW).tolist() == rows
        assert [step["schedule/mu"] for step in story.steps if step["epoch"] == epoch] == pytest.approx(
            [mu, mu], abs=1e-6
        )
        feedback = story.feedback(epoch)
        assert 0 < feedback.accuracy < 1
        mu += DRAW / 2 * (np.tanh(2 * (feedback.accuracy - 0.5)) + np.tanh(2 * feedback.angle))
        mu = min(mu, PROBLEMS - 1)
        schedule.observe(feedback)
        assert schedule.mu == pytest.approx(mu, abs=1e-6)
    assert mu > 4


def test_the_angle_of_the_first_step_is_that_of_the_scores_file(story, folder):
    table = Scores.load(folder / "scores.parquet").table[::-1].reset_index(drop=True)
    first, later = story.steps[0], story.steps[-1]
    assert first["angles"] == pytest.approx(table.angle[first["rows"]].tolist(), abs=2e-6)
    assert np.ptp(first["angles"]) > 1e-3  # else the comparison says little
    assert np.abs(later["angles"] - table.angle[later["rows"]].to_numpy()).max() > 1e-4  # by then the model is another


def test_new_weights_reach_the_rollouts(story):
    assert max(step["rollout_kl"] for step in story.steps) < SAMPLER_TO_TRAINER
    assert min(step["grad_norm"] for step in story.steps) > 0


def test_benchmarks_are_evaluated_at_the_suites_steps(story):
    evaluations = pd.DataFrame(story.evaluations)
    assert evaluations.groupby("step").metric.agg(list).to_dict() == {
        step: ["accuracy", "accuracy of a", "accuracy of b"] for step in (0, 2, 4, 6)
    }
    assert set(evaluations.n[evaluations.metric == "accuracy"]) == {6}
    assert set(evaluations.benchmark) == {"arithmetic-heldout"}
    assert evaluations.truncated.max() > 0


def test_a_schedule_with_a_memory_a_grader_that_dies_and_old_weights_that_are_noticed(folder):
    """One launch for three things: an epoch closes though verl dropped a group, and the KL tells that no weights came."""
    out = folder / "memory"
    out.mkdir()
    run = options(
        folder,
        out,
        f"data.train_files={folder}/ungradable.parquet",
        "+gainrl.schedule={name:learnability}",
        "trainer.total_epochs=2",
        *one_machine(1),
    )
    run_verl(run, folder / "memory.log", environment={"VERL_ENGINE_VENDOR": "", KEEP_OLD_WEIGHTS: "1"})
    record = Record(out)
    assert len(record.steps) == 4
    assert 5 in record.drawn()[0]
    schedule = SCHEDULES["learnability"](np.zeros(DRAW), seed=SEED)
    for epoch, rows in enumerate(record.drawn()):
        assert schedule.draw(DRAW).tolist() == rows
        feedback = record.feedback(epoch)
        assert set(feedback.trained) == set(range(DRAW)) - {5}
        assert feedback.angle is None
        schedule.observe(feedback)
    assert [step["schedule/seen"] for step in record.steps] == [0, 0, DRAW - 1, DRAW - 1]
    assert max(step["rollout_kl"] for step in record.steps) > 100 * SAMPLER_TO_TRAINER


@pytest.mark.vllm
def test_vllm_writes_the_completions_with_the_weights_of_each_step(folder):
    """verl's own server of vLLM, which the suite's settings name; only what the CPU build needs is different."""
    out = folder / "vllm"
    out.mkdir()
    run = options(
        folder,
        out,
        f"data.train_files={folder}/train.parquet",
        "+gainrl.schedule={name:uniform}",
        "trainer.total_training_steps=3",
        *VLLM_OVERRIDES,
        *one_machine(1),
    )
    run_verl(run, folder / "vllm.log", environment=VLLM_ENVIRONMENT)
    record = Record(out)
    assert len(record.steps) == 3
    schedule = SCHEDULES["uniform"](np.zeros(PROBLEMS), seed=SEED)
    for epoch, rows in enumerate(record.drawn()):
        assert schedule.draw(DRAW).tolist() == rows
        if epoch == 0:
            schedule.observe(record.feedback(epoch))
    assert min(step["grad_norm"] for step in record.steps) > 0
    assert max(step["rollout_kl"] for step in record.steps) < SAMPLER_TO_TRAINER


def test_the_commands_of_the_docs_run_as_they_stand(folder):
    """With a tiny model in place of a real one, packed sequences as verl has them by default, and the suite's own reward."""
    page = (ROOT / "docs" / "verl.md").read_text().replace("\\\n", " ")
    score, train = (
        shlex.split(re.search(f"^    (.*{module}.*)$", page, re.MULTILINE)[1])
        for module in ("gainrl.verl.score", "main_ppo")
    )
    assert score[:3] == ["python", "-m", "gainrl.verl.score"]
    (folder / "scores.parquet").rename(folder / "others.parquet")
    subprocess.run([sys.executable, *score[1:]], check=True, cwd=folder)
    table, before = Scores.load(folder / "scores.parquet").table, Scores.load(folder / "others.parquet").table[::-1]
    assert table.angle.tolist() == pytest.approx(before.angle.tolist(), abs=2e-6)
    assert train[:4] == ["VERL_ENGINE_VENDOR=gainrl", "python", "-m", "verl.trainer.main_ppo"]
    small = [
        f"gainrl.prompts_per_epoch={BATCH}",
        f"+gainrl.record={folder}/docs/record",
        f"data.train_batch_size={BATCH}",
        "data.max_response_length=8",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={BATCH}",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
        "actor_rollout_ref.rollout.n=2",
        "trainer.total_training_steps=2",
        "trainer.val_before_train=False",
    ]
    run_verl([*train[4:], *small, *CPU_OVERRIDES, *one_machine(1)], folder / "docs.log")
    record = Record(folder / "docs")
    schedule = SCHEDULES["gaussian"](-table.angle.to_numpy())
    for epoch, rows in enumerate(record.drawn()):
        assert schedule.draw(BATCH).tolist() == rows
        schedule.observe(record.feedback(epoch))
    first = record.steps[0]
    assert first["angles"] == pytest.approx(table.angle[first["rows"]].tolist(), abs=2e-6)

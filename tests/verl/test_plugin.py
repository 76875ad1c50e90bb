"""The parts of the plug-in, without a run: refusals, the sampler in verl's loader, angles of packed sequences, the record."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from torch.utils.data import Dataset
from torchdata.stateful_dataloader import StatefulDataLoader
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.workers.engine import EngineRegistry

from gainrl.errors import InputError
from gainrl.files import read_json_lines
from gainrl.prompts import encode_problems
from gainrl.runs.config import SignalConfig
from gainrl.schedules import SCHEDULES, Gaussian
from gainrl.scoring import capture, score_problems
from gainrl.verl.angle import AngleEngine, prompt_angles
from gainrl.verl.record import Record
from gainrl.verl.reward import compute_score
from gainrl.verl.rollouts import accuracies
from gainrl.verl.rows import Rows, build_schedule
from gainrl.verl.sampler import ScheduleSampler
from gainrl.verl.settings import Settings, require_schedule, require_usable
from gainrl.verl.trainer import ScheduledTrainer

pytestmark = pytest.mark.verl

GAUSSIAN = {"schedule": {"name": "gaussian", "order": "angle"}, "prompts_per_epoch": 8}


def config(*changes: str, **own):
    """verl's whole config, as its command makes it, with a section gainrl."""
    from hydra import compose, initialize_config_module

    with initialize_config_module("verl.trainer.config", version_base=None):
        composed = compose("ppo_trainer", ["data.train_batch_size=4", "data.dataloader_num_workers=0", *changes])
    OmegaConf.set_struct(composed, False)
    composed.gainrl = GAUSSIAN | own
    return composed


def check(composed) -> None:
    settings = Settings.read(composed)
    require_usable(composed, settings)
    schedule = SCHEDULES[settings.schedule.name](np.arange(16.0), **settings.schedule.options)
    require_schedule(composed, settings, schedule)


def test_verl_finds_the_mode_and_the_engine_by_itself(monkeypatch):
    monkeypatch.setenv("VERL_ENGINE_VENDOR", "gainrl")
    monkeypatch.setenv("VERL_ENGINE_DEVICE", "cuda")
    assert get_trainer_cls("gainrl") is ScheduledTrainer
    assert EngineRegistry.get_engine_cls("language_model", "fsdp2") is AngleEngine
    monkeypatch.delenv("VERL_ENGINE_VENDOR")
    assert EngineRegistry.get_engine_cls("language_model", "fsdp2") is not AngleEngine


@pytest.mark.parametrize(
    ("changes", "own", "message"),
    [
        (["algorithm.filter_groups.enable=True"], {}, "filter_groups.enable is True: .* set it to False"),
        (
            ["trainer.v1.sampler.sync_refill_failed_groups=True"],
            {},
            "sync_refill_failed_groups is True: .* set it to False",
        ),
        (["data.dataloader_num_workers=8"], {}, "dataloader_num_workers is 8: .* set it to 0"),
        (["skip.rollout_tq.enable=True"], {}, "skip.rollout_tq.enable is True"),
        (["trainer.v1.sampler.custom_sampler.path=x.py"], {}, "custom_sampler.path is x.py"),
        (["actor_rollout_ref.hybrid_engine=False"], {}, "rollouts would run ahead"),
        (
            ["actor_rollout_ref.actor.ulysses_sequence_parallel_size=2"],
            {},
            "ulysses_sequence_parallel_size is 2, set it to 1",
        ),
        (
            ["algorithm.rollout_correction.bypass_mode=True"],
            {},
            "set algorithm.rollout_correction.bypass_mode to False",
        ),
        (["data.train_batch_size=3"], {}, "prompts_per_epoch is 8, no multiple of data.train_batch_size 3"),
        ([], {"signal": {"definition": "released"}}, "'released' orders problems only"),
        ([], {"schedule": {"name": "dapo"}}, "schedule 'dapo' replaces groups"),
        ([], {"schedule": {"name": "greso"}}, "set its option redraws to 0"),
        ([], {"schedule": {"name": "oracle"}}, "schedule 'oracle' measures pass rates"),
        ([], {"schedule": {"name": "gausian"}}, "unknown schedule 'gausian'; valid: .*gaussian"),
        ([], {"prompts_per_epoch": 0}, "prompts_per_epoch: Input should be greater than 0"),
        ([], {"evaluation": {"every": 2, "max_completion_tokens": 8}}, "needs gainrl.record"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(changes, own, message, monkeypatch):
    monkeypatch.setenv("VERL_ENGINE_VENDOR", "gainrl")
    with pytest.raises(InputError, match=message) as refusal:
        check(config(*changes, **own))
    assert "\n" not in str(refusal.value)


def test_verls_defaults_are_accepted_and_the_angle_needs_the_engine(monkeypatch):
    monkeypatch.setenv("VERL_ENGINE_VENDOR", "gainrl")
    check(config())
    monkeypatch.delenv("VERL_ENGINE_VENDOR")
    with pytest.raises(InputError, match="set VERL_ENGINE_VENDOR=gainrl"):
        check(config())
    check(config(schedule={"name": "gaussian", "order": "angle", "options": {"angle_term": False}}))
    with pytest.raises(InputError, match="needs the section gainrl"):
        Settings.read(OmegaConf.create({}))


class _Numbers(Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, row):
        return row


def test_a_loader_continues_wherever_it_was_saved():
    """Saved and loaded after every step, in the middle of epochs and at their ends, as an undisturbed one."""

    def loader():
        sampler = ScheduleSampler(Gaussian(np.arange(16.0), sigma=3.0, angle_term=False), 8, lambda *_: None)
        return StatefulDataLoader(_Numbers(), batch_size=4, sampler=sampler, drop_last=True), sampler

    def next_batch(data, iterator):
        try:
            return next(iterator), iterator
        except StopIteration:
            iterator = iter(data)
            return next(iterator), iterator

    def step(data, sampler, iterator):
        batch, iterator = next_batch(data, iterator)
        rows = [row for row in batch.tolist() if row != 3]  # its group is always dropped
        sampler.observe(rows, [float(row % 4 > 0) for row in rows], [5] * len(rows), None)
        return batch.tolist(), iterator

    plain, plain_sampler = loader()
    iterator = iter(plain)
    undisturbed = []
    for _ in range(10):
        batch, iterator = step(plain, plain_sampler, iterator)
        undisturbed.append(batch)
    assert any(3 in batch for batch in undisturbed)

    state, disturbed = None, []
    for _ in range(10):
        data, sampler = loader()
        if state is not None:
            data.load_state_dict(state)
        batch, _ = step(data, sampler, iter(data))
        disturbed.append(batch)
        state = data.state_dict()
    assert disturbed == undisturbed
    assert sampler.schedule.mu == plain_sampler.schedule.mu > 0
    assert sampler.tally.epochs == plain_sampler.tally.epochs == 5


def test_a_state_of_another_size_or_schedule_is_refused():
    sampler = ScheduleSampler(Gaussian(np.arange(16.0), angle_term=False), 8, lambda *_: None)
    next(iter(sampler))
    state = sampler.state_dict()
    with pytest.raises(InputError, match="draws have 8 problems, gainrl.prompts_per_epoch is 4"):
        ScheduleSampler(sampler.schedule, 4, lambda *_: None).load_state_dict(state)
    other = ScheduleSampler(SCHEDULES["uniform"](np.arange(16.0)), 8, lambda *_: None)
    with pytest.raises(InputError, match="the state belongs to schedule Gaussian"):
        other.load_state_dict(state)


def test_a_shaped_reward_is_no_accuracy():
    sampler = ScheduleSampler(Gaussian(np.arange(16.0), angle_term=False), 2, lambda *_: None)
    rows = list(sampler)
    with pytest.raises(InputError, match=r"mean accuracy is 1.5, .* return the correctness as 'acc'"):
        sampler.observe(rows, [1.5, 1.5], [1, 1], None)


def test_angles_of_padded_and_of_packed_sequences_are_those_of_the_scores(tiny, problems):
    scores = score_problems(tiny.model, tiny.tokenizer, problems)
    encoded = encode_problems(tiny.tokenizer, problems.problems, problems.prompt)
    extra = [{"prefix_tokens": prompt.prefix_tokens, "question_end": prompt.question_end} for prompt in encoded]
    sequences = [torch.tensor([*prompt.ids.tolist(), *range(7, 7 + row)]) for row, prompt in enumerate(encoded)]
    states = []
    for ids in sequences:
        with capture(tiny.model, SignalConfig()) as captured, torch.no_grad():
            tiny.model(input_ids=ids[None])
        states.append(captured[0][0])
    offsets = np.cumsum([0, *map(len, states)]).tolist()
    packed = prompt_angles(torch.cat(states)[None], offsets, extra, SignalConfig())
    padded = prompt_angles(torch.nn.utils.rnn.pad_sequence(states, batch_first=True), None, extra, SignalConfig())
    assert packed.tolist() == pytest.approx(scores.table.angle.tolist(), abs=2e-6)
    assert padded.tolist() == pytest.approx(scores.table.angle.tolist(), abs=2e-6)


class _Parquet(Dataset):
    """As much of verl's data set as the plug-in asks of it."""

    prompt_key = "prompt"

    def __init__(self, rows):
        import datasets

        self.dataframe = datasets.Dataset.from_list(rows)

    def __len__(self):
        return len(self.dataframe)

    def __getitem__(self, row):
        return {**self.dataframe[row], "index": 0}


def rows_of(problems, **extra) -> Rows:
    return Rows(
        _Parquet(
            [
                {
                    "prompt": problems.prompt.messages(problem.question),
                    "extra_info": {name: values[number] for name, values in extra.items()},
                }
                for number, problem in enumerate(problems.problems)
            ]
        )
    )


def test_rows_know_their_numbers_and_their_questions(tiny, problems):
    rows, encoded = (
        rows_of(problems, problem_id=problems.ids),
        encode_problems(tiny.tokenizer, problems.problems, problems.prompt),
    )
    rows.find_questions(tiny.tokenizer)
    for number in (0, 5):
        assert rows[number]["index"] == number
        assert rows[number]["extra_info"]["prefix_tokens"] == encoded[number].prefix_tokens
        assert rows[number]["extra_info"]["question_end"] == encoded[number].question_end


def test_scores_go_to_their_problems_whatever_their_order(tiny, problems, tmp_path):
    scores = score_problems(tiny.model, tiny.tokenizer, problems)
    shuffled = type(scores)(scores.table.sample(frac=1, random_state=0).reset_index(drop=True), scores.metadata)
    shuffled.save(tmp_path / "scores.parquet")
    settings = Settings(**GAUSSIAN, scores=tmp_path / "scores.parquet")
    named = build_schedule(settings, rows_of(problems, problem_id=problems.ids))
    assert named.sort_key_N.tolist() == (-scores.table.angle).tolist()
    plain = build_schedule(settings, rows_of(problems, index=range(len(problems))))
    assert plain.sort_key_N.tolist() == (-shuffled.table.angle).tolist()
    with pytest.raises(InputError, match="scores.parquet has 16 rows, the training set 8"):
        build_schedule(settings, rows_of(problems.head(8), index=range(8)))
    with pytest.raises(InputError, match=r"has no score of x \(1 of 16 are missing\)"):
        build_schedule(settings, rows_of(problems, problem_id=["x", *problems.ids[1:]]))
    with pytest.raises(InputError, match="made for layer -1, not for 0"):
        build_schedule(
            Settings(**GAUSSIAN, scores=settings.scores, signal={"layer": 0}),
            rows_of(problems, problem_id=problems.ids),
        )
    with pytest.raises(InputError, match="order 'angle' needs gainrl.scores"):
        build_schedule(Settings(**GAUSSIAN), rows_of(problems))


def test_orders_and_features_of_the_rows_themselves(problems, tmp_path):
    levels = problems.difficulties()
    rows = rows_of(problems, difficulty=levels, problem_id=problems.ids)
    by_level = {"name": "ordered", "order": "difficulty"}
    assert build_schedule(Settings(**GAUSSIAN | {"schedule": by_level}), rows).sort_key_N.tolist() == list(levels)
    kinds = ["sum", "carry"] * 8
    sec = {"name": "sec", "options": {"arms": "kind"}}
    told = build_schedule(Settings(**GAUSSIAN | {"schedule": sec}), rows_of(problems, kind=kinds))
    assert told.features["kind"].tolist() == kinds
    with pytest.raises(InputError, match="needs the feature 'kind'; available: difficulty, level, problem_id"):
        build_schedule(Settings(**GAUSSIAN | {"schedule": sec}), rows)
    pd.DataFrame({"problem_id": problems.ids, "sort_key": np.arange(16.0)[::-1], "level": 1.0}).to_parquet(
        tmp_path / "key.parquet"
    )
    keyed = Settings(**GAUSSIAN | {"schedule": {"name": "ordered", "order": "random"}}, scores=tmp_path / "key.parquet")
    assert build_schedule(keyed, rows).sort_key_N.tolist() == list(range(15, -1, -1))


def test_the_reward_is_the_suites_grade():
    assert compute_score("x", "so \\boxed{4}", "4") == {"score": 1.0, "acc": 1.0, "unparseable": 0.0}
    assert compute_score("x", "so \\boxed{5}", "4") == {"score": 0.0, "acc": 0.0, "unparseable": 0.0}
    assert compute_score("x", "no idea", "4", {"index": 1}) == {"score": 0.0, "acc": 0.0, "unparseable": 1.0}


def test_an_answer_whose_grader_died_counts_as_wrong():
    asked = [("a", "1"), ("a", "2"), ("b", "3")]
    infos = {"reward": [0.5, 0.5], "acc": [1.0, 1.0], "unparseable": [0.0, 0.0]}
    known = {uid: {"truncated": float(uid == "3"), "kind": None} for uid in ("1", "3")}
    first, second = accuracies(asked, ["1", "3"], infos, known)
    assert (first["benchmark"], first["accuracy"], first["n"], first["truncated"]) == ("a", 0.5, 2, 0.0)
    assert (second["benchmark"], second["accuracy"], second["n"], second["truncated"]) == ("b", 1.0, 1, 1.0)


def test_a_resumed_record_has_no_line_of_steps_that_are_taken_again(tmp_path: Path):
    record = Record(tmp_path / "record")
    for epoch in range(3):
        record.drawn(epoch, np.array([4, 5]), None)
    for step in range(1, 6):
        record.trained({"step": step, "loss": float("nan"), "correct": [1.0, float("nan")], "grad_norm": np.float32(2)})
        record.evaluated({"step": step, "metric": "accuracy", "accuracy": 0.1 * step})
    with (tmp_path / "record" / "steps.jsonl").open("a") as file:
        file.write('{"step": 6, "los')
    record.cut_back(step=4, draws=2)
    assert [line["epoch"] for line in read_json_lines(tmp_path / "record" / "draws.jsonl")] == [0, 0, 1, 1]
    steps = (tmp_path / "record" / "steps.jsonl").read_text().splitlines()
    assert json.loads(steps[-1]) == {"step": 4, "loss": None, "correct": [1.0, None], "grad_norm": 2.0}
    assert record.accuracies() == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4})
    record.cut_back(step=0, draws=0)
    assert record.accuracies() == {}

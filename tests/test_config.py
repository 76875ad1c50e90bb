import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from experiments import load_experiment
from gainrl.angle import DEFINITIONS
from gainrl.runs import config
from gainrl.runs.config import EvaluationConfig, RunConfig, ScheduleConfig, TrainingConfig
from gainrl.schedules import SCHEDULES, Ordered


@pytest.fixture
def run() -> RunConfig:
    return load_experiment("quickstart").cells["gainrl"]


def test_a_config_reads_back_as_it_was(run):
    assert RunConfig.model_validate_json(run.model_dump_json()) == run


def test_every_option_of_a_schedule_is_in_the_config(run):
    options = run.schedule.options
    assert options == {
        "sigma": 64.0, "alpha": 2.0, "beta": 0.5, "amplitude": None, "accuracy_term": True, "angle_term": True,
        "update": "paper",
    }  # fmt: skip
    assert SCHEDULES["gaussian"]([1, 2], **options).sigma == 64.0


def test_the_hash_follows_what_the_run_does(run):
    assert run.hash == run.with_seed(0).hash
    assert run.hash != run.with_seed(1).hash
    other = run.model_copy(update={"schedule": ScheduleConfig(name="gaussian", order="angle")})
    assert other.hash != run.hash


def test_the_definitions_that_a_config_takes_are_those_there_are():
    assert typing.get_args(config.Definition) == DEFINITIONS


def test_a_schedule_is_one_class_and_one_registry_line(monkeypatch):
    class HardFirst(Ordered):
        def __init__(self, sort_key_N, *, seed: int = 0, power: float = 1.0):
            super().__init__(-(sort_key_N**power), seed=seed)

    monkeypatch.setitem(SCHEDULES, "hard-first", HardFirst)
    assert ScheduleConfig(name="hard-first", order="difficulty").options == {"power": 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": {"name": "gauss"}}, "unknown schedule 'gauss'; valid: adarft, dapo, e2h, gaussian"),
        (
            {"schedule": {"name": "gaussian", "order": "size"}},
            "unknown order of schedule 'gaussian' 'size'; valid: angle",
        ),
        ({"schedule": {"name": "gaussian"}}, "'None'; valid: angle"),
        ({"schedule": {"name": "uniform", "order": "angle"}}, "schedule 'uniform' takes no order"),
        ({"schedule": {"name": "adarft", "order": "angle"}}, "valid: difficulty"),
        (
            {"schedule": {"name": "gaussian", "order": "angle", "options": {"sigm": 1}}},
            "schedule 'gaussian', option sigm: Extra inputs are not permitted; valid: sigma, alpha",
        ),
        (
            {"schedule": {"name": "gaussian", "order": "angle", "options": {"sigma": "wide"}}},
            "schedule 'gaussian', option sigma",
        ),
        ({"schedule": {"name": ["x"]}}, "schedule.name\n.*valid string"),
        ({"schedule": {"name": "uniform", "options": [1]}}, "'uniform', options: Input should be a valid dictionary"),
        ({"schedule": {"name": "uniform", "options": 5}}, "'uniform', options: Input should be a valid dictionary"),
        (
            {"schedule": {"name": "gaussian", "order": "angle", "options": {"sigma": -1}}},
            "schedule 'gaussian': sigma is -1.0; it must be above 0",
        ),
        ({"schedule": {"name": "prior", "options": {"features": "zzz"}}}, "'prior': unknown feature 'zzz'; valid: all"),
        ({"schedule": {"name": "greso", "options": {"redraws": -5}}}, "'greso': step is 0.01, redraws -5; both must"),
        (
            {"schedule": {"name": "e2h", "order": "random", "options": {"sigma": 1e308}}},
            r"'e2h': sigma is 1e\+308; a number from",
        ),
        ({"schedule": {"name": "speed", "options": {"screening": 99}}}, "screening is 99; it must be less than the"),
        ({"sede": 1}, "sede"),
        ({"problems": {"train": "arithmetic", "heldout": ["arithmetic"], "train_size": 32}}, "prompts_per_epoch is 64"),
        ({"evaluation": {"every": 5, "max_completion_tokens": 10}}, "evaluation allows shorter completions"),
    ],
)
def test_a_bad_config_raises_with_the_valid_names(run, changes, message):
    with pytest.raises(ValidationError, match=message):
        RunConfig.model_validate({**run.model_dump(), **changes})


FLOATS = [name for name, field in TrainingConfig.model_fields.items() if field.annotation is float]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1.0])
@pytest.mark.parametrize("name", [*FLOATS, "adam_betas"])
def test_no_number_of_training_is_one_that_means_nothing(run, name, value):
    training = {**run.training.model_dump(), name: (0.9, value) if name == "adam_betas" else value}
    with pytest.raises(ValidationError, match=name):
        RunConfig.model_validate({**run.model_dump(), "training": training})


@pytest.mark.parametrize("option", ["sigma", "alpha", "beta", "amplitude"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_option_of_a_schedule_is_infinite(option, value):
    with pytest.raises(ValidationError, match=f"option {option}.*: Input should be a finite number"):
        ScheduleConfig(name="gaussian", order="angle", options={option: value})


@pytest.mark.parametrize("seed", [-1, 2**32, 2**64, float("nan")])
def test_a_seed_is_one_of_32_bits(run, seed):
    with pytest.raises(ValidationError, match="seed"):
        run.with_seed(seed)


def test_the_bounds_of_adarft_may_lie_anywhere():
    ScheduleConfig(name="adarft", order="difficulty", options={"lowest": 10, "start": 10, "highest": 20})


def test_an_epoch_is_a_whole_number_of_steps(run):
    training = {**run.training.model_dump(), "prompts_per_epoch": 24}
    with pytest.raises(ValidationError, match="24 is not a multiple of the 16 prompts of a generation"):
        RunConfig.model_validate({**run.model_dump(), "training": training})


def test_configs_cannot_be_changed(run):
    with pytest.raises(ValidationError, match="frozen"):
        run.seed = 3


def evaluation(near: dict | None = None) -> EvaluationConfig:
    return EvaluationConfig(every=5, max_completion_tokens=8, near_targets=near)


NEAR = {"targets": (0.6, 0.7), "every": 2, "afterwards": 20}


@pytest.mark.parametrize(
    ("near", "step", "accuracies", "expected"),
    [
        (None, 0, [0.9], 5),
        (None, 7, [0.1], 10),
        (NEAR, 0, [0.3], 5),  # far from the next target
        (NEAR, 5, [0.3, 0.55], 6),  # within the margin
        (NEAR, 6, [0.55, 0.62], 10),  # the first is reached, the second is far
        (NEAR, 12, [0.62, 0.66], 14),
        (NEAR, 14, [0.66, 0.6], 15),  # it fell back
        (NEAR, 14, [0.66, 0.7, 0.3], 20),  # all are reached, whatever comes after
        (NEAR, 20, [0.7], 40),
    ],
)
def test_evaluations_are_frequent_near_targets_and_rare_afterwards(near, step, accuracies, expected):
    assert evaluation(near).next_step(step, accuracies) == expected


@given(st.lists(st.floats(0, 1), min_size=1), st.integers(0, 200), st.booleans())
def test_the_next_evaluation_is_ahead_and_not_far(accuracies, step, near):
    following = evaluation(NEAR if near else None).next_step(step, accuracies)
    assert step < following <= step + (20 if near else 5)


def test_all_steps_of_a_run_follow_from_what_it_found():
    accuracies = {0: 0.5, 5: 0.56, 6: 0.58, 8: 0.63, 10: 0.66, 12: 0.71, 20: 0.8, 30: 0.8}
    assert evaluation(NEAR).steps(accuracies, 30) == [0, 5, 6, 8, 10, 12, 20, 30]
    assert evaluation().steps(dict.fromkeys(range(13), 0.1), 12) == [0, 5, 10, 12]
    assert evaluation().steps({0: 0.1, 10: 0.2}, 12) == [0, 5], "the one at 5 is missing"


def test_a_config_without_targets_keeps_its_hash():
    assert "near_targets" not in evaluation().model_dump()
    assert evaluation(NEAR).model_dump()["near_targets"]["margin"] == 0.05

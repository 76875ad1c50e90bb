"""What experiments share: the settings of all scales, and the functions that build cells from them.

Cells with the same meaning have equal configs in every experiment, so that they share a run.

``tiny``: the suite's own models on generated problems, minutes on a CPU. ``small``: a real model of 135 million parameters on
generated questions, under an hour on a core with AMX. ``paper``: models and sets of the hub on GPUs.
Settings at ``paper`` are those of the release's verl scripts; where there is no script, or it cannot be followed, a note beside
the value says so. Weight decay is 0 and AdamW's betas are torch's; see `analysis/paper.json` for the release's.
"""

from typing import Any, NamedTuple

from experiments import paper
from gainrl.models import TINY_RECIPES
from gainrl.problems import FAMILIES
from gainrl.prompts import PROGRAM_PROMPT, Prompt
from gainrl.runs.config import (
    EvaluationConfig,
    ModelConfig,
    NearTargets,
    ProblemsConfig,
    RunConfig,
    ScheduleConfig,
    TrainingConfig,
)
from gainrl.runs.experiment import Execution, Experiment

MODELS = {
    "0.5b": ("Qwen2.5-0.5B", {"tiny": "tiny-small", "paper": "qwen2.5-0.5b-instruct"}),
    "math-1.5b": ("Qwen2.5-Math-1.5B", {"tiny": "tiny", "paper": "qwen2.5-math-1.5b-instruct"}),
    "math-7b": ("Qwen2.5-Math-7B", {"tiny": "tiny-large", "paper": "qwen2.5-math-7b-instruct"}),
    "135m": ("SmolLM2-135M", {"small": "smollm2-135m-q4"}),
    "llama-3b": ("LLaMA-3.2-3B", {"tiny": "tiny-llama", "paper": "llama-3.2-3b-instruct"}),
}
"""Key -> (the model's name in print, registered model by scale); the paper has all but SmolLM2."""
STUDIED = {
    "tiny": ("tiny", "arithmetic"),
    "small": ("smollm2-135m-q4", "skills"),
    "paper": ("qwen2.5-0.5b-instruct", "gsm8k"),
}
"""(model, training set) of the ablations; at ``paper`` the cheapest for which the release has a script."""
BENCHMARKS = ("math500", "aime24", "amc23", "gsm8k", "olympiadbench", "minervamath")
"""The paper's six."""
CODE_BENCHMARKS = ("livecodebench-v5", "humanevalplus")
"""What code is evaluated on at ``paper``."""
PROGRAM_SETS = ("programs", "deepcoder")
"""Training sets that ask for programs, with the prompt for those."""
SIGMA_AT = {"tiny": 64.0, "small": 64.0, "paper": paper.SIGMA}
"""At ``tiny`` and ``small`` a sixteenth of the order, at ``tiny`` the width of one draw too; the paper's is for some
40,000 problems."""
TARGETS = {"tiny": (0.6, 0.7, 0.8), "small": (0.3, 0.35, 0.4), "paper": (0.3, 0.4, 0.5)}
"""The paper's targets are not known; these are the suite's."""
TINY_DRAW, TINY_STEP = 64, 16
"""Prompts of a draw (the paper's n) and of an optimizer step."""
EACH_STEP = ("adarft", "e2h", "greso", "insight", "learnability", "mopps", "prior", "sec")
"""Schedules that choose anew for every generation, as in their authors' code: of one step here, of one to four there."""
TINY_COMPLETION = {"arithmetic": 26, "lists": 34, "mixture": 34, "programs": 50}
"""Longest completion in tokens, a little more than the longest worked solution."""
TINY_LEARNING_RATE = {"arithmetic": 2e-4, "lists": 5e-5, "mixture": 2e-4, "programs": 1e-4}
"""So that uniform sampling needs some 20 to 50 steps to the targets, on seeds that no experiment uses (from 100 on). Lists are
learned sooner: at 2e-4 from 38 to 76 % in ten steps. Programs need 24 to 31 at 1e-4, and 15 at 2e-4. The mixture: 29 to 54."""
SMALL_DRAW, SMALL_STEP = 32, 8
"""As at ``tiny`` a draw is four steps."""
SMALL_COMPLETION = 32
"""Longest completion in tokens; the longest worked solution of `skills` has 26 without its box."""
SMALL_KEPT = 20
"""Steps between models that are kept, 540 MB each: `patterns` looks at them, and the last one meets other benchmarks."""
SMALL_TEMPERATURE = 0.7
"""At 1 the quantized model mostly writes nonsense."""
SMALL_LEARNING_RATE = 1e-5
"""On seed 100, which no experiment uses, uniform sampling goes from 21 to 44 % in 60 steps; at 4e-5 the policy collapses."""
MIDDLE_LAYER = 15
"""Of SmolLM2's 30: halfway; `real_signal` names none that predicts p(1-p) better than the last."""


ABOUT_KEPT_MODELS = ("patterns", "angle_gradient")
"""Experiments that measure the models which runs keep along training."""


class Lengths(NamedTuple):
    """From the release's script for a training set: prompts per draw (n), longest prompt and completion in tokens."""

    draw: int
    prompt: int
    completion: int


LENGTHS = {
    "gsm8k": Lengths(256, 512, 512),
    "math": Lengths(256, 512, 512),  # no verl script; the release's TRL script has these for the 0.5B model
    "amc": Lengths(256, 512, 512),  # as for math
    "deepscaler-difficulty": Lengths(1024, 1024, 3000),  # the 0.5B and LLaMA models have no script: as for Math-1.5B
    "deepcoder": Lengths(1024, 1024, 3000),  # the release has no script for code: as for DeepScaleR
}
MATH_COMPLETION = 2560
"""Longest completion of the Qwen2.5-Math models. The release's scripts ask for 3,000 (1.5B) and 8,192 (7B); the models'
context is 4,096 (their config.json), and OlympiadBench's longest question takes about 1,300 (counted roughly)."""

WHOSE = {"tiny": "tiny models", "small": "a real model of 135 million parameters", "paper": "models of the paper"}
EXECUTION = {
    "smollm2-135m-q4": Execution(
        checkpoint_every=8, share_prompts=True, completions_per_device=32
    ),  # two runs fit 24 GB
    **dict.fromkeys(TINY_RECIPES, Execution(share_prompts=True)),
    "qwen2.5-0.5b-instruct": Execution(gpus=1, completions_per_device=32, hours=24),
    "qwen2.5-math-1.5b-instruct": Execution(gpus=8, completions_per_device=8, gradient_checkpointing=True, hours=48),
    "llama-3.2-3b-instruct": Execution(
        gpus=8, completions_per_device=4, gradient_checkpointing=True, accelerate="fsdp.yaml", vllm_sleep=True, hours=72
    ),
    "qwen2.5-coder-3b-instruct": Execution(
        gpus=8, completions_per_device=4, gradient_checkpointing=True, accelerate="fsdp.yaml", vllm_sleep=True, hours=96
    ),
    "qwen2.5-math-7b-instruct": Execution(
        gpus=8,
        completions_per_device=2,
        gradient_checkpointing=True,
        accelerate="fsdp.yaml",
        vllm_gpu_memory=0.35,
        vllm_sleep=True,
        hours=96,
    ),
}
"""By model, where it is not the default. Of the paper's models for one node of GPUs with 80 GB, vLLM on the same GPUs. None of
it could be tried: it is a first guess. 8 GPUs as in the release's verl scripts, one for the 0.5B model as in its TRL script.
With gradients and optimizer a model takes 16 bytes a parameter; from 3B on that is shared out (FSDP)."""

VERL_GPUS = {"tiny": 1, "small": 1, "paper": 8}
"""GPUs of a run by verl; 8 on one node in all of the release's scripts for it, for every model."""

UNIFORM = ScheduleConfig(name="uniform")
ADARFT = ScheduleConfig(name="adarft", order="difficulty")


def gaussian(scale: str, order: str = "angle", **options: float | bool | str) -> ScheduleConfig:
    """GAIN-RL's schedule, over any order, with the paper's values for all options that are not given."""
    return ScheduleConfig(name="gaussian", order=order, options={"sigma": SIGMA_AT[scale], **options})


def methods(scale: str) -> dict[str, tuple[str, ScheduleConfig]]:
    """The paper's three: cell -> (label, schedule)."""
    return {
        "grpo": ("GRPO (uniform)", UNIFORM),
        "adarft": ("AdaRFT", ADARFT),
        "gainrl": ("GAIN-RL (angle)", gaussian(scale)),
    }


def control(scale: str) -> dict[str, tuple[str, ScheduleConfig]]:
    """GAIN-RL's schedule over a random order: what it shares with GAIN-RL is not due to the angle."""
    return {"control": ("control (random)", gaussian(scale, "random"))}


def middle(scale: str) -> dict[str, tuple[str, ScheduleConfig]]:
    """GAIN-RL's schedule by another layer's angle (`MIDDLE_LAYER`), where a model has layers enough to differ."""
    return {"middle": (f"GAIN-RL (angle of layer {MIDDLE_LAYER})", gaussian(scale))} if scale == "small" else {}


def cell(
    scale: str,
    schedule: ScheduleConfig,
    *,
    model: str | None = None,
    train: str | None = None,
    problems: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    signal: dict[str, Any] | None = None,
) -> RunConfig:
    """One run on `STUDIED`, or on another model and training set, with further changes by field."""
    build = {"tiny": _tiny, "small": _small, "paper": _paper}
    whole = build[scale](model or STUDIED[scale][0], train or STUDIED[scale][1], schedule).model_dump()
    changes = {"problems": problems, "training": training, "signal": signal}
    return RunConfig.model_validate({**whole, **{key: {**whole[key], **new} for key, new in changes.items() if new}})


def assemble(
    scale: str,
    name: str,
    title: str,
    cells: dict[str, tuple[str, RunConfig]],
    *,
    baseline: str,
    reference: str = "",
    asked_in: dict[str, str] | None = None,
    leaderboard: bool = False,
    targets: tuple[float, ...] | None = None,
) -> Experiment:
    """An experiment from (label, run) by cell. ``asked_in`` names cells tested in another experiment; not used at ``paper``.

    Args:
        targets: where they are not the scale's.
    """
    runs = {key: run for key, (_, run) in cells.items()}
    return Experiment(
        name=name,
        title=f"{title}, {WHOSE[scale]}",
        cells=runs,
        labels={key: label for key, (label, _) in cells.items()},
        execution={key: EXECUTION[run.model.name] for key, run in runs.items() if run.model.name in EXECUTION},
        baseline=baseline,
        targets=targets or TARGETS[scale],
        judged_by="average accuracy gained"
        if scale == "small"
        else "speed-up",  # runs are too dear for seeds enough to test
        asked_in=asked_in if asked_in and scale != "paper" else {},
        leaderboard=leaderboard,
        reference=reference,
    )


def by_verl(experiment: Experiment, scale: str) -> Experiment:
    """The same cells, trained by verl: other runs and title, on the GPUs of `VERL_GPUS`; verl shards the weights itself.

    Models along training, which verl does not keep, stay asked for only where the experiment is about them; it is refused.
    """
    changes = {"gpus": VERL_GPUS[scale], "accelerate": None}
    kept = {} if experiment.name in ABOUT_KEPT_MODELS else {"keep_every": None}
    return experiment.model_copy(
        update={
            "title": f"{experiment.title}, by verl",
            "cells": {
                name: run.model_copy(update={"engine": "verl", "training": run.training.model_copy(update=kept)})
                for name, run in experiment.cells.items()
            },
            "execution": {name: experiment.execution_of(name).model_copy(update=changes) for name in experiment.cells},
        }
    )


def _prompt(train: str) -> Prompt:
    """The set's own, as training and the measurements of the set have it."""
    if train in FAMILIES:
        return FAMILIES[train].prompt
    return PROGRAM_PROMPT if train in PROGRAM_SETS else Prompt()


def _tiny(model: str, train: str, schedule: ScheduleConfig) -> RunConfig:
    return RunConfig(
        model=ModelConfig(name=model),
        problems=ProblemsConfig(train=train, heldout=(train,), train_size=1024, heldout_size=600),
        prompt=_prompt(train),
        schedule=schedule,
        training=TrainingConfig(
            steps=120,
            prompts_per_step=TINY_STEP,
            generations=paper.GENERATIONS,
            prompts_per_epoch=TINY_STEP if schedule.name in EACH_STEP else TINY_DRAW,
            learning_rate=TINY_LEARNING_RATE[train],
            max_completion_tokens=TINY_COMPLETION[train],
        ),
        evaluation=EvaluationConfig(
            every=5,
            max_completion_tokens=TINY_COMPLETION[train],
            near_targets=NearTargets(targets=TARGETS["tiny"], every=2, afterwards=20),
        ),
    )


def _small(model: str, train: str, schedule: ScheduleConfig) -> RunConfig:
    return RunConfig(
        model=ModelConfig(name=model),
        problems=ProblemsConfig(train=train, heldout=(train,), train_size=1024, heldout_size=400),
        prompt=_prompt(train),
        schedule=schedule,
        training=TrainingConfig(
            steps=60,
            prompts_per_step=SMALL_STEP,
            generations=paper.GENERATIONS,
            prompts_per_epoch=SMALL_STEP if schedule.name in EACH_STEP else SMALL_DRAW,
            learning_rate=SMALL_LEARNING_RATE,
            bf16=True,
            temperature=SMALL_TEMPERATURE,
            keep_every=SMALL_KEPT,
            max_completion_tokens=SMALL_COMPLETION,
        ),
        evaluation=EvaluationConfig(every=10, max_completion_tokens=SMALL_COMPLETION, batch_size=200),
    )


def _paper(model: str, train: str, schedule: ScheduleConfig) -> RunConfig:
    draw, longest_prompt, longest = LENGTHS[train]
    completion = min(longest, MATH_COMPLETION) if "math" in model else longest
    steps_per_draw = draw // paper.MINI_BATCH
    return RunConfig(
        model=ModelConfig(name=model),
        problems=ProblemsConfig(
            train=train, heldout=CODE_BENCHMARKS if train in PROGRAM_SETS else BENCHMARKS, longest_prompt=longest_prompt
        ),
        prompt=_prompt(train),
        schedule=schedule,
        training=TrainingConfig(
            steps=paper.EPOCHS * steps_per_draw,
            prompts_per_step=paper.MINI_BATCH,
            generations=paper.GENERATIONS,
            prompts_per_epoch=draw,
            prompts_per_generation=draw,  # verl samples a whole draw, then takes its mini-batches
            learning_rate=paper.LEARNING_RATE,
            kl=paper.KL,
            max_completion_tokens=completion,
            bf16=True,
            generation="vllm",
        ),
        evaluation=EvaluationConfig(
            every=paper.EVALUATE_EVERY * steps_per_draw, max_completion_tokens=completion, batch_size=128
        ),
    )

"""A run's settings as verl's: its whole configuration, environment and command. Imports neither verl nor torch.

verl reads the file over its own defaults, so what is not said here is verl's default. Where it counts or averages in another
way than TRL, a comment says so; docs/verl_engine.md lists what remains different.
"""

import os
import shlex
from pathlib import Path
from typing import Any

import yaml

from gainrl.errors import InputError
from gainrl.rng import torch_seed
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Execution

AGGREGATION = {
    "grpo": "seq-mean-token-mean",
    "dapo": "token-mean",
    "bnpo": "token-mean",  # TRL takes the mean of each forward pass, verl of the whole step
    "dr_grpo": "seq-mean-token-sum-norm",
}
"""TRL's loss -> how verl averages the same over tokens and completions."""
CLIP = 0.2
"""TRL's default on both sides of 1."""
PYTHON = "GAINRL_VERL_PYTHON"
"""Environment variable that names the Python of verl's environment."""
FOLDER = "verl"
"""In a run's folder: the files that verl reads and writes."""
CONFIG_NAME = "run"
VERL_TOKENIZER = "tokenizer-for-verl"
"""In the start model's folder."""
PLACEHOLDER = Path("RUN")
"""Stands for the folder of a run that is only shown."""
MEASURED = "???"
"""Stands for what is known when the model is loaded; Hydra's own mark for a value that is missing."""


def require_supported(config: RunConfig, execution: Execution | None = None) -> None:
    """Raises InputError: the run asks for what verl, or the suite's plug-in for it, does not do (which, and what would do)."""
    training, evaluation = config.training, config.evaluation
    schedule = config.schedule.example()
    steps = [evaluation.every]
    if evaluation.near_targets is not None:
        steps += [evaluation.near_targets.every, evaluation.near_targets.afterwards]
    refusals = {
        f"RLOO; choose algorithm grpo, not {training.algorithm}": training.algorithm != "grpo",
        f"schedule {config.schedule.name}, which throws groups away and samples others in their place": schedule.redraws,
        f"schedule {config.schedule.name}, which measures pass rates before a draw": schedule.measures,
        f"optimizer {training.optimizer}; choose adamw_torch": training.optimizer != "adamw_torch",
        f"lr_scheduler {training.lr_scheduler}; choose constant": training.lr_scheduler != "constant",
        "keep_every, which keeps models along training": training.keep_every is not None,
        "an evaluation whose completions may be longer than in training": (
            evaluation.max_completion_tokens != training.max_completion_tokens
        ),
        f"{training.steps} steps, {training.steps_per_generation} to a generation; a run is a whole number of generations": (
            training.steps % training.steps_per_generation
        ),
        "evaluations between the steps of one generation": any(step % training.steps_per_generation for step in steps),
        "a vLLM server of TRL's": execution is not None and execution.vllm_mode == "server",
    }
    for refusal, applies in refusals.items():
        if applies:
            raise InputError(f"--engine verl does not do {refusal}; --engine trl does")
    if training.generation == "transformers" and not _names_rollout(execution):
        raise InputError("verl samples with vLLM, this run with transformers; add --generation vllm")


def _names_rollout(execution: Execution | None) -> bool:
    options = () if execution is None else execution.verl_options
    return any(option.lstrip("+").startswith("actor_rollout_ref.rollout.name=") for option in options)


def verl_config(
    config: RunConfig, execution: Execution, folder: Path, models: Path | None = None, prompt_tokens: int | None = None
) -> dict[str, Any]:
    """All that the suite tells verl of a run.

    Args:
        folder: the run's.
        models: folder of the start model, with a folder `VERL_TOKENIZER`; None where it is not known yet.
        prompt_tokens: of the longest prompt, trained or held out; None where it is not known yet.

    Raises InputError: as `require_supported`, or the completions of a step cannot be shared out evenly.
    """
    require_supported(config, execution)
    training, own = config.training, absolute(folder) / FOLDER
    per_generation = training.prompts_per_generation or training.prompts_per_step
    return {
        "defaults": ["ppo_trainer", "_self_"],
        "hydra": {"run": {"dir": str(own / "hydra")}, "output_subdir": None},
        "gainrl": _for_the_plugin(config, own),
        "data": {
            "train_files": str(own / "train.parquet"),
            "val_files": [str(own / f"heldout-{name}.parquet") for name in config.problems.heldout],
            "max_prompt_length": prompt_tokens or MEASURED,
            "max_response_length": training.max_completion_tokens,
            "train_batch_size": per_generation,
            "shuffle": False,
            "validation_shuffle": False,
            "seed": _seed(config),
            "dataloader_num_workers": 0,  # one that fetches ahead draws before the schedule has observed
            "filter_overlong_prompts": False,
            "truncation": "error",
        },
        "actor_rollout_ref": {
            "model": {
                "path": str(models or MEASURED),
                "tokenizer_path": str(models / VERL_TOKENIZER if models else MEASURED),
                "enable_gradient_checkpointing": execution.gradient_checkpointing,
                "use_remove_padding": False,  # as TRL; with flash attention the other is faster
                "override_config": {"attn_implementation": "sdpa"},
            },
            "actor": _actor(config, execution),
            "ref": {"log_prob_micro_batch_size_per_gpu": _per_device(config, execution), "fsdp_config": _fsdp(config)},
            "rollout": _rollout(config, execution),
        },
        "reward": {
            "num_workers": max(1, execution.gpus),
            "custom_reward_function": {"path": "pkg://gainrl.verl.reward", "name": "compute_score"},
        },
        "algorithm": {
            "adv_estimator": "grpo",
            "norm_adv_by_std_in_grpo": True,
            "use_kl_in_reward": False,
            "filter_groups": {"enable": False},
        },
        "trainer": _trainer(config, execution, folder),
    }


def _for_the_plugin(config: RunConfig, own: Path) -> dict[str, Any]:
    dumped = config.model_dump(mode="json")
    return {
        "schedule": dumped["schedule"],
        "signal": dumped["signal"],
        "evaluation": dumped["evaluation"],
        "scores": str(own / "schedule.parquet"),
        "prompts_per_epoch": config.training.prompts_per_epoch,
        "seed": config.seed,
        "record": str(own / "record"),
    }


def _actor(config: RunConfig, execution: Execution) -> dict[str, Any]:
    training = config.training
    return {
        "strategy": "fsdp2",
        "ppo_mini_batch_size": training.prompts_per_step,
        "ppo_micro_batch_size_per_gpu": _per_device(config, execution),
        "ppo_epochs": 1,
        "shuffle": False,
        "data_loader_seed": _seed(config),
        "use_dynamic_bsz": False,
        "use_torch_compile": False,
        "clip_ratio": CLIP,
        "clip_ratio_low": CLIP,
        "clip_ratio_high": CLIP,
        "loss_agg_mode": AGGREGATION[training.loss],
        "loss_scale_factor": training.max_completion_tokens if training.loss == "dr_grpo" else None,
        "entropy_coeff": 0,
        "use_kl_loss": training.kl > 0,
        "kl_loss_coef": training.kl,
        "kl_loss_type": "low_var_kl+",  # TRL's estimator, with the gradient that its correction by the ratio gives
        "optim": {
            "optimizer": "AdamW",
            "optimizer_impl": "torch.optim",
            "lr": training.learning_rate,
            "lr_scheduler_type": "constant",
            "lr_warmup_steps": 0,
            "betas": list(training.adam_betas),
            "weight_decay": training.weight_decay,
            "clip_grad": training.max_grad_norm,
        },
        "grad_clip": training.max_grad_norm,
        "fsdp_config": _fsdp(config),
        "checkpoint": {
            "save_contents": ["model", "optimizer", "extra", "hf_model"],
            "load_contents": ["model", "optimizer", "extra"],
        },
    }


def _fsdp(config: RunConfig) -> dict[str, Any]:
    """In bf16 the weights that the optimizer changes stay in 32 bits, as by TRL."""
    if config.training.bf16:
        precision: dict[str, Any] = {"dtype": "bfloat16"}
    else:
        names = ("param_dtype", "reduce_dtype", "buffer_dtype")
        precision = {"dtype": "float32", "mixed_precision": dict.fromkeys(names, "fp32")}
    return {"model_dtype": "fp32", "seed": _seed(config), "use_torch_compile": False, **precision}


def _rollout(config: RunConfig, execution: Execution) -> dict[str, Any]:
    training = config.training
    return {
        "name": training.generation,
        "mode": "async",  # verl's word for its servers; the trainer waits for all completions
        "n": training.generations,
        "temperature": training.temperature,
        "top_p": 1.0,
        "top_k": -1,
        "seed": _seed(config),
        "dtype": "bfloat16" if training.bf16 else "float32",
        "calculate_log_probs": True,  # to compare with the trainer's
        "tensor_model_parallel_size": execution.vllm_tensor_parallel,
        "gpu_memory_utilization": execution.vllm_gpu_memory,
        "log_prob_micro_batch_size_per_gpu": _per_device(config, execution),
        "agent": {"num_workers": max(1, execution.gpus)},
        "val_kwargs": {"temperature": 0, "do_sample": False, "n": 1},
    }


def _trainer(config: RunConfig, execution: Execution, folder: Path) -> dict[str, Any]:
    training = config.training
    return {
        "v1": {"trainer_mode": "gainrl"},
        "nnodes": execution.nodes,
        "n_gpus_per_node": max(1, execution.gpus) // execution.nodes,
        "total_epochs": -(-training.steps * training.prompts_per_step // training.prompts_per_epoch),
        "total_training_steps": training.steps // training.steps_per_generation,  # verl's step is a generation
        "val_before_train": False,  # the plug-in evaluates, at the suite's steps
        "test_freq": -1,
        "save_freq": -(-execution.checkpoint_every // training.steps_per_generation),
        "max_actor_ckpt_to_keep": 2,
        "resume_mode": "auto",
        "default_local_dir": str(checkpoints(folder)),
        "project_name": "gainrl",
        "experiment_name": config.hash,
        "logger": ["console", *execution.report_to],
    }


def absolute(folder: Path) -> Path:
    """verl's workers have a working directory of their own, so it gets whole paths; a placeholder stays as it is."""
    return folder if folder == PLACEHOLDER else folder.absolute()


def checkpoints(folder: Path) -> Path:
    """Where verl keeps the checkpoints of a run."""
    return absolute(folder) / "checkpoints" / FOLDER


def checkpoint_step(folder: Path) -> int:
    """verl's step of the newest whole checkpoint, 0 if there is none."""
    try:
        return int((checkpoints(folder) / "latest_checkpointed_iteration.txt").read_text())
    except (OSError, ValueError):
        return 0


def _seed(config: RunConfig) -> int:
    return torch_seed(config.seed, "training")


def _per_device(config: RunConfig, execution: Execution) -> int:
    """Completions of one forward and backward pass."""
    training, processes = config.training, max(1, execution.gpus)
    if processes % execution.nodes:
        raise InputError(f"{processes} GPUs cannot be shared out evenly among {execution.nodes} nodes")
    completions = training.prompts_per_step * training.generations
    per_device = execution.completions_per_device or completions // processes
    if not per_device or completions % (per_device * processes):
        raise InputError(
            f"{completions} completions per step are not a multiple of {processes} GPUs with {per_device} each; "
            "choose another completions_per_device"
        )
    return per_device


def as_yaml(settings: dict[str, Any]) -> str:
    """The configuration as verl reads it."""
    return str(yaml.safe_dump(settings, sort_keys=False, width=120))


def command(folder: Path, execution: Execution, address: str | None = None, python: str = "python") -> list[str]:
    """What starts verl on a run, once its files are written.

    Args:
        address: of a running Ray cluster; None lets verl start one on this machine.
        python: of verl's environment.
    """
    cluster = [] if address is None else [f"+ray_kwargs.ray_init.address={address}"]
    own = str(absolute(folder) / FOLDER)
    return [
        *(python, "-m", "verl.trainer.main_ppo", "--config-dir", own, "--config-name", CONFIG_NAME),
        *cluster,
        *execution.verl_options,
    ]


def environment(config: RunConfig) -> dict[str, str]:
    """Environment variables that bring the suite's plug-in into verl; modules that are named there already stay."""
    named = [name for name in os.environ.get("VERL_USE_EXTERNAL_MODULES", "").split(",") if name]
    variables = {"VERL_USE_EXTERNAL_MODULES": ",".join(dict.fromkeys([*named, "gainrl.verl.plugin"]))}
    if config.schedule.example().wants_angle:
        variables["VERL_ENGINE_VENDOR"] = "gainrl"  # the engine that reads the angle; other runs do not pay for it
    return variables


def preview(config: RunConfig, execution: Execution, folder: Path) -> str:
    """The whole configuration and command of a run, before its model and problems are loaded."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in environment(config).items()]
    words = [shlex.quote(word) for word in command(folder, execution)]
    text = as_yaml(verl_config(config, execution, folder))
    return (
        f"# {folder / FOLDER / CONFIG_NAME}.yaml; {MEASURED} is known when the model and the problems are loaded\n{text}\n"
        f"# the command, by the Python of verl's environment\n{' '.join([*variables, *words])}"
    )

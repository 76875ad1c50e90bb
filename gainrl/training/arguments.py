"""A run's settings as TRL's arguments."""

from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig, RLOOConfig

from gainrl.errors import InputError
from gainrl.rng import torch_seed
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Execution


def trl_arguments(config: RunConfig, output: Path, execution: Execution | None = None) -> GRPOConfig | RLOOConfig:
    """TRL's arguments of a run, for any number of processes.

    Raises InputError: the completions of a step cannot be shared out evenly.
    """
    training, execution = config.training, execution or Execution()
    processes, completions = max(1, execution.gpus), training.prompts_per_step * training.generations
    per_device = execution.completions_per_device or completions // processes
    if completions % (per_device * processes):
        raise InputError(
            f"{completions} completions per step are not a multiple of {processes} processes with {per_device} each; "
            "choose another completions_per_device"
        )
    accumulation = completions // (per_device * processes)
    settings: dict[str, Any] = {"loss_type": training.loss} if training.algorithm == "grpo" else {}
    if training.generation == "vllm":
        settings |= {
            "use_vllm": True,
            "vllm_mode": execution.vllm_mode,
            "vllm_server_base_url": execution.vllm_server,
            "vllm_gpu_memory_utilization": execution.vllm_gpu_memory,
            "vllm_tensor_parallel_size": execution.vllm_tensor_parallel,
            "vllm_enable_sleep_mode": execution.vllm_sleep,
        }
    beta1, beta2 = training.adam_betas
    return (GRPOConfig if training.algorithm == "grpo" else RLOOConfig)(
        output_dir=str(output),
        max_steps=training.steps,
        per_device_train_batch_size=per_device,
        gradient_accumulation_steps=accumulation,
        steps_per_generation=accumulation * training.steps_per_generation,
        num_generations=training.generations,
        max_completion_length=training.max_completion_tokens,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.lr_scheduler,
        optim=training.optimizer,
        adam_beta1=beta1,
        adam_beta2=beta2,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        beta=training.kl,
        temperature=training.temperature,
        seed=torch_seed(config.seed, "training"),
        bf16=training.bf16,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=execution.gradient_checkpointing,
        dataloader_pin_memory=torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",
        report_to=list(execution.report_to),
        disable_tqdm=True,
        **settings,
    )

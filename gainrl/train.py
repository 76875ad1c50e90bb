"""One run, from its config to a finished run folder."""

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, RLOOConfig

from gainrl.benchmarks import load_benchmark
from gainrl.config import Execution, RunConfig, SignalConfig
from gainrl.errors import InputError
from gainrl.evaluate import HeldOut
from gainrl.grading import accuracy_reward
from gainrl.models.loading import LoadedModel, load_model
from gainrl.probe import COLUMNS, Scores, load_released_order, score_problems, signal_metadata
from gainrl.problems import ProblemSet, load_problems
from gainrl.prompts import encode_prompts, require_fit, too_long
from gainrl.records import Report, RunFolder
from gainrl.schedules import ORDERS, SCHEDULES, Schedule, sort_key
from gainrl.seeding import torch_seed
from gainrl.signal import DEFINITIONS
from gainrl.trainer import Epoch, ScheduledGRPOTrainer, training_dataset


def train_run(config: RunConfig, path: Path, shared: Path, report: Report) -> None:
    """Train one run into the folder ``path``, from the beginning.

    Args:
        shared: folder of what runs share: warmed-up models and scores.

    Raises:
        InputError: what the config names cannot be used. Whatever is raised, the folder's status says why.
    """
    folder = RunFolder(path)
    folder.start(config)
    try:
        _train(config, folder, shared, report)
    except KeyboardInterrupt:
        folder.fail("broken off by the user (Ctrl-C)")
        raise
    except BaseException as error:
        folder.fail(f"{type(error).__name__}: {' '.join(str(error).split())}")
        raise
    folder.finish()


def _train(config: RunConfig, folder: RunFolder, shared: Path, report: Report) -> None:
    loaded = load_model(
        config.model.name,
        cache=shared / "models",
        seed=config.seed,
        revision=config.model.revision,
        dtype=torch.bfloat16 if config.training.bf16 else torch.float32,
        progress=lambda done, of: report("warm-up", done, of),
    )
    problems = training_problems(config, loaded)
    held_out = {name: _held_out(name, config, loaded) for name in config.problems.heldout}
    folder.record_inputs(
        model=loaded.version,
        train=_resolved(problems),
        heldout={name: _resolved(one.problems) for name, one in held_out.items()},
    )
    schedule = build_schedule(config, loaded, problems, shared / "scores", report)
    trainer = ScheduledGRPOTrainer(
        model=loaded.model,
        processing_class=loaded.tokenizer,
        reward_funcs=accuracy_reward,
        args=trl_arguments(config, folder.checkpoints),
        train_dataset=training_dataset(problems, config.prompt),
        schedule=schedule,
        prompts_per_epoch=config.training.prompts_per_epoch,
        signal=config.signal,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_Recorder(config, folder, trainer, held_out, problems.ids, report))
    trainer.train()
    trainer.save_model(str(folder.checkpoints / f"step-{config.training.steps}"))


def training_problems(config: RunConfig, loaded: LoadedModel) -> ProblemSet:
    """The problems that are trained, those with too long a prompt left out if the config says what is too long.

    Raises InputError: a prompt leaves no room for the completion, or what `load_problems` raises.
    """
    settings, seed = config.problems, config.seed
    limit = None if settings.sample else settings.train_size
    problems = load_problems(settings.train, limit=limit, seed=seed, revision=settings.revision)
    names = problems.ids
    encoded = encode_prompts(loaded.tokenizer, [config.prompt.messages(p.question) for p in problems.problems], names)
    if settings.longest_prompt is not None:
        long = too_long(encoded, settings.longest_prompt)
        left = set(range(len(names))) - set(long)
        problems, encoded = problems.without(long), [encoded[row] for row in sorted(left)]
    require_fit(encoded, problems.ids, loaded.context, config.training.max_completion_tokens)
    return problems.sample(settings.train_size, seed) if settings.sample else problems


def _held_out(name: str, config: RunConfig, loaded: LoadedModel) -> HeldOut:
    return HeldOut(
        load_benchmark(name, seed=config.seed, limit=config.problems.heldout_size),
        config.prompt,
        loaded.tokenizer,
        context=loaded.context,
        max_completion_tokens=config.evaluation.max_completion_tokens,
        batch_size=config.evaluation.batch_size,
    )


def _resolved(problems: ProblemSet) -> dict[str, Any]:
    return {"fingerprint": problems.fingerprint, **problems.source}


def build_schedule(
    config: RunConfig, loaded: LoadedModel, problems: ProblemSet, scores_folder: Path, report: Report
) -> Schedule:
    """The schedule of a run; scores the problems first (or reads the shared scores) if its order needs them."""
    order, seed = config.schedule.order, config.seed
    if order is None:
        key_N = np.zeros(len(problems))
    elif order.endswith(".pt"):
        key_N = load_released_order(Path(order), len(problems))
    elif order in ORDERS and ORDERS[order][0] in COLUMNS:
        definition = order if order in DEFINITIONS else config.signal.definition
        signal = config.signal.model_copy(update={"definition": definition})
        key_N = shared_scores(config, signal, loaded, problems, scores_folder, report).sort_key(order, problems)
    else:
        key_N = sort_key(order, {"difficulty": problems.difficulties()}, size=len(problems), seed=seed)
    return SCHEDULES[config.schedule.name](key_N, seed=seed, **config.schedule.options)


def shared_scores(
    config: RunConfig, signal: SignalConfig, loaded: LoadedModel, problems: ProblemSet, folder: Path, report: Report
) -> Scores:
    """Scores of the training problems, from ``folder`` if these very ones were made before."""
    metadata = signal_metadata(loaded.version, str(loaded.model.dtype), problems, config.prompt, signal)
    path = folder / f"{hashlib.sha256(repr(sorted(metadata.items())).encode()).hexdigest()[:12]}.parquet"
    if path.exists():
        return Scores.load(path, metadata)
    scores = score_problems(
        loaded.model,
        loaded.tokenizer,
        problems,
        config.prompt,
        signal=signal,
        model_version=loaded.version,
        progress=lambda done, of: report("scoring", done, of),
    )
    scores.save(path)
    return scores


def trl_arguments(config: RunConfig, output: Path, execution: Execution | None = None) -> GRPOConfig | RLOOConfig:
    """TRL's settings of a run, for any number of processes.

    Raises InputError: the completions of a step cannot be shared out evenly.
    """
    training, execution = config.training, execution or Execution()
    processes, completions = max(1, execution.gpus), training.prompts_per_step * training.generations
    per_device = execution.completions_per_device or completions // processes
    if completions % (per_device * processes):
        raise InputError(
            f"{completions} completions a step are no multiple of {processes} processes with {per_device} each; "
            "choose another completions_per_device"
        )
    accumulation = completions // (per_device * processes)
    settings: dict[str, Any] = {"loss_type": training.loss} if training.algorithm == "grpo" else {}
    if training.generation == "vllm":
        settings |= {
            "use_vllm": True,
            "vllm_mode": execution.vllm_mode,
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
        use_cpu=execution.gpus == 0 and not torch.cuda.is_available(),
        gradient_checkpointing=execution.gradient_checkpointing,
        dataloader_pin_memory=torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",
        report_to=list(execution.report_to),
        disable_tqdm=True,
        **settings,
    )


class _Recorder(TrainerCallback):
    """Writes metrics, draws and evaluations as training goes on."""

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        trainer: ScheduledGRPOTrainer,
        held_out: dict[str, HeldOut],
        problem_ids: list[str],
        report: Report,
    ) -> None:
        self.config, self.folder, self.trainer, self.held_out = config, folder, trainer, held_out
        self.problem_ids, self.report = problem_ids, report
        self.draws: list[pd.DataFrame] = []
        self.began = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._evaluate(0)
        self._keep(0)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        if "loss" not in logs:  # the summary after the last step
            return
        names = ("problems_seen", "completion_tokens", "reward", "accuracy", "angle", "loss", "grad_norm")
        metrics = {name: logs[name] for name in names if name in logs}
        metrics |= {name.removeprefix("schedule/"): logs[name] for name in logs if name.startswith("schedule/")}
        seconds = time.perf_counter() - self.began
        epoch = len(self.trainer.epochs)
        self.folder.append_metrics({"step": state.global_step, "epoch": epoch, "seconds": seconds, **metrics})
        if state.global_step % self.config.evaluation.every == 0 or state.global_step == state.max_steps:
            self._evaluate(state.global_step)
        self.report("training", state.global_step, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._keep(state.global_step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.draws.append(_draws(self.trainer.epochs[-1], self.problem_ids))
        self.folder.write_draws(pd.concat(self.draws, ignore_index=True))

    def _keep(self, step: int) -> None:
        every = self.config.training.keep_every
        if every is not None and step % every == 0:
            self.trainer.save_model(str(self.folder.checkpoints / f"step-{step}"))

    def _evaluate(self, step: int) -> None:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        for name, held_out in self.held_out.items():
            accuracy = held_out.evaluate(model)
            self.folder.append_eval({"step": step, "benchmark": name, "metric": "accuracy", **vars(accuracy)})


def _draws(epoch: Epoch, problem_ids: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": epoch.number,
            "problem_id": [problem_ids[row] for row in epoch.rows_n],
            "rank": pd.array(epoch.ranks_n if epoch.ranks_n is not None else [None] * len(epoch.rows_n), dtype="Int64"),
            "pass_rate": epoch.pass_rate_n,
            "angle": epoch.angle_n,
        }
    )

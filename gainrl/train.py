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
from trl import GRPOConfig

from gainrl.config import RunConfig, SignalConfig
from gainrl.evaluate import HeldOut
from gainrl.grading import accuracy_reward
from gainrl.models.loading import LoadedModel, load_model
from gainrl.probe import COLUMNS, Scores, load_released_order, score_problems, signal_metadata
from gainrl.problems import ProblemSet, load_problems
from gainrl.prompts import encode_prompts, require_fit
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
    problems = load_problems(
        config.problems.train,
        limit=config.problems.train_size,
        seed=config.seed,
        revision=config.problems.revision,
    )
    held_out_problems = load_problems(config.problems.heldout, limit=config.problems.heldout_size, seed=config.seed)
    folder.record_inputs(model=loaded.version, train=_resolved(problems), heldout=_resolved(held_out_problems))
    held_out = HeldOut(
        held_out_problems,
        config.prompt,
        loaded.tokenizer,
        context=loaded.context,
        max_completion_tokens=config.evaluation.max_completion_tokens,
        batch_size=config.evaluation.batch_size,
    )
    names = problems.ids
    encoded = encode_prompts(loaded.tokenizer, [config.prompt.messages(p.question) for p in problems.problems], names)
    require_fit(encoded, names, loaded.context, config.training.max_completion_tokens)
    schedule = build_schedule(config, loaded, problems, shared / "scores", report)
    trainer = ScheduledGRPOTrainer(
        model=loaded.model,
        processing_class=loaded.tokenizer,
        reward_funcs=accuracy_reward,
        args=grpo_arguments(config, folder.checkpoints),
        train_dataset=training_dataset(problems, config.prompt),
        schedule=schedule,
        prompts_per_epoch=config.training.prompts_per_epoch,
        signal=config.signal,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_Recorder(config, folder, trainer, held_out, problems.ids, report))
    trainer.train()
    trainer.save_model(str(folder.checkpoints / f"step-{config.training.steps}"))


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


def grpo_arguments(config: RunConfig, output: Path) -> GRPOConfig:
    """TRL's settings of a run; a step is one generation batch and one optimizer step."""
    training = config.training
    return GRPOConfig(
        output_dir=str(output),
        max_steps=training.steps,
        per_device_train_batch_size=training.prompts_per_step * training.generations,
        num_generations=training.generations,
        max_completion_length=training.max_completion_tokens,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.lr_scheduler,
        beta=training.kl,
        loss_type=training.loss,
        temperature=training.temperature,
        max_grad_norm=training.max_grad_norm,
        weight_decay=training.weight_decay,
        seed=torch_seed(config.seed, "training"),
        bf16=training.bf16,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


class _Recorder(TrainerCallback):
    """Writes metrics, draws and evaluations as training goes on."""

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        trainer: ScheduledGRPOTrainer,
        held_out: HeldOut,
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
        accuracy = self.held_out.evaluate(self.trainer.accelerator.unwrap_model(self.trainer.model))
        row = {"step": step, "benchmark": self.held_out.name, "metric": "accuracy", **vars(accuracy)}
        self.folder.append_eval(row)


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

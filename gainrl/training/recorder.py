"""Writes a run's metrics, draws and evaluations during training, and decides when to take a checkpoint."""

import time
from contextlib import nullcontext
from typing import Any

import pandas as pd
from accelerate.utils import gather_object
from transformers import TrainerCallback

from gainrl.evaluation.heldout import HeldOut
from gainrl.files import whole_folder
from gainrl.models.generation.trl import trainer_backend
from gainrl.progress import Report
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Execution
from gainrl.runs.records import RunFolder
from gainrl.schedules.epoch import Epoch
from gainrl.training.interruption import Interruption
from gainrl.training.trainer import Scheduled

VLLM_DRIFT = "sampling/sampling_logp_difference/max"
"""TRL's metric: a step's largest difference between vLLM's and the trained model's log-probability of a sampled token."""


class Recorder(TrainerCallback):
    """Keeps the run folder. In a run of several processes only the first writes; all evaluate.

    After an interruption it asks for a checkpoint as soon as one can be taken, and then for the end of training.
    """

    def __init__(
        self,
        config: RunConfig,
        execution: Execution,
        folder: RunFolder,
        trainer: Scheduled,
        held_out: dict[str, HeldOut],
        problem_ids: list[str],
        report: Report,
        interruption: Interruption,
    ) -> None:
        self.config, self.execution, self.folder, self.trainer = config, execution, folder, trainer
        self.held_out, self.problem_ids, self.report = held_out, problem_ids, report
        self.interruption = interruption
        self.draws: list[pd.DataFrame] = []
        self.evaluated: dict[int, float] = {}
        """Step -> mean accuracy over the benchmarks, by rising step."""
        self.began = 0.0
        self.last_checkpoint = 0
        self.writes = bool(trainer.accelerator.is_main_process)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.last_checkpoint = state.global_step
        epochs_written = self.trainer.tally.epochs - len(self.trainer.epochs)
        if self.writes:
            self.folder.cut_back(step=state.global_step, epochs=epochs_written)
        self.trainer.accelerator.wait_for_everyone()
        self.draws = [self.folder.draws()] if epochs_written else []
        if self.trainer.epochs:  # the checkpoint was taken before its last epoch was written
            self._write_draws()
        self._count(self.folder.evals())
        if self._is_due(state):
            self._evaluate(state.global_step)
        if state.global_step == 0:
            self._keep(0)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._keep(state.global_step)
        if state.global_step == state.max_steps or not self.trainer.between_generations:
            return
        signalled = self.interruption.signum is not None
        self.interruption.ends = any(gather_object([signalled]))  # a signal may reach processes in different steps
        if self.interruption.ends or state.global_step - self.last_checkpoint >= self.execution.checkpoint_every:
            control.should_save, self.last_checkpoint = True, state.global_step
        if self.interruption.ends:
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        if "loss" not in logs:  # the summary after the last step
            return
        sampled = ("problems_seen", "rollouts", "completion_tokens", "choosing_seconds")
        names = (*sampled, "reward", "accuracy", "angle", "loss", "grad_norm")
        metrics = {name: logs[name] for name in names if name in logs}
        if VLLM_DRIFT in logs:
            metrics["vllm_logp_difference"] = logs[VLLM_DRIFT]
        metrics |= {name.removeprefix("schedule/"): logs[name] for name in logs if name.startswith("schedule/")}
        seconds = time.perf_counter() - self.began
        epoch = self.trainer.tally.epochs
        if self.writes:
            self.folder.append_metrics({"step": state.global_step, "epoch": epoch, "seconds": seconds, **metrics})
        # an interrupted run may have little time left; the run that resumes it evaluates
        if self._is_due(state) and not self.interruption.ends:
            self._evaluate(state.global_step)
        self.report("training", state.global_step, state.max_steps)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.interruption.ends:
            self._write_draws()

    def _write_draws(self) -> None:
        self.draws.append(draws_of(self.trainer.epochs[-1], self.problem_ids))
        if self.writes:
            self.folder.write_draws(pd.concat(self.draws, ignore_index=True))

    def _keep(self, step: int) -> None:
        every = self.config.training.keep_every
        if every is not None and step % every == 0:
            save_model(self.trainer, self.folder, step)

    def _count(self, evals: pd.DataFrame) -> None:
        """Go on from the evaluations that the folder holds."""
        means = (
            evals[evals.metric == "accuracy"].groupby("step")["value"].mean() if len(evals) else pd.Series(dtype=float)
        )
        self.evaluated = dict(zip(means.index.tolist(), means.tolist(), strict=True))

    def _is_due(self, state: Any) -> bool:
        if not self.evaluated:
            return True
        latest = max(self.evaluated)
        due = self.config.evaluation.next_step(latest, list(self.evaluated.values()))
        return bool(state.global_step >= due or latest < state.global_step == state.max_steps)

    def _evaluate(self, step: int) -> None:
        accuracies = []
        for name, held_out in self.held_out.items():
            with trainer_backend(self.trainer, held_out.batch_tokens) as backend:
                found = held_out.by_metric(backend)
            accuracies.append(found["accuracy"].value)
            for metric, accuracy in found.items() if self.writes else ():
                self.folder.append_eval({"step": step, "benchmark": name, "metric": metric, **vars(accuracy)})
        self.evaluated[step] = sum(accuracies) / len(accuracies)


def save_model(trainer: Scheduled, folder: RunFolder, step: int) -> None:
    """Save the current model in checkpoints/step-N, whole or not at all. Raises InputError: it cannot be written."""
    place = folder.checkpoints / f"step-{step}"
    first = trainer.accelerator.is_main_process  # the others take part in the saving, and write nothing
    shared = place.with_name(f".{place.name}.unfinished")
    with whole_folder(place) if first else nullcontext(shared) as unfinished:
        trainer.save_model(str(unfinished))
    trainer.accelerator.wait_for_everyone()


def draws_of(epoch: Epoch, problem_ids: list[str]) -> pd.DataFrame:
    """One row per problem that was drawn to be trained."""
    rows, trained = epoch.rows_n.tolist(), epoch.feedback.trained
    return pd.DataFrame(
        {
            "epoch": epoch.number,
            "problem_id": [problem_ids[row] for row in rows],
            "rank": pd.array(epoch.ranks_n if epoch.ranks_n is not None else [None] * len(rows), dtype="Int64"),
            "pass_rate": epoch.pass_rate_n,
            "rollouts": pd.array([trained[row].rollouts if row in trained else None for row in rows], dtype="Int64"),
            "completion_tokens": pd.array(
                [trained[row].completion_tokens if row in trained else None for row in rows], dtype="Int64"
            ),
            "angle": epoch.angle_n,
        }
    )

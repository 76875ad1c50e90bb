"""verl's synchronous trainer, drawing from a schedule: ``trainer.v1.trainer_mode=gainrl``. How verl trains does not change."""

import time
from typing import Any

import numpy as np
from omegaconf import open_dict
from torchdata.stateful_dataloader import StatefulDataLoader
from verl.trainer.ppo.v1 import PPOTrainerSync
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.dataset.rl_dataset import collate_fn

from gainrl.schedules import Ints
from gainrl.verl.angle import REQUEST
from gainrl.verl.record import Record
from gainrl.verl.rollouts import accuracies, answered, trained
from gainrl.verl.rows import Rows, build_schedule
from gainrl.verl.sampler import ScheduleSampler, mean_of
from gainrl.verl.settings import Settings, require_schedule, require_usable

METRICS = {
    "loss": "actor/pg_loss",
    "kl": "actor/kl_loss",
    "rollout_kl": "rollout_corr/kl",
    "grad_norm": "actor/grad_norm",
}
"""Numbers of the record -> their names among verl's own metrics."""


class ScheduledTrainer(PPOTrainerSync):
    """`PPOTrainerSync` plus the section ``gainrl`` of the config (`Settings`): an epoch is one draw of the schedule.

    The schedule observes the epoch's accuracy, angle and per-problem results before the step's checkpoint is written, so that
    a run that was broken off continues with the same draws. ``trainer.total_epochs`` counts draws, unless
    ``trainer.total_training_steps`` is given.

    Raises InputError (`require_usable`, `require_schedule`): verl's settings cannot be used with the schedule.
    """

    def __init__(self, config: Any) -> None:
        self.settings = Settings.read(config)
        require_usable(config, self.settings)
        with open_dict(
            config
        ):  # verl's tests of the mode ask for this name, which it does not let anybody register twice
            config.trainer.v1.trainer_mode = "sync"
        self.record = Record(self.settings.record)
        self.evaluated: dict[int, float] = {}
        """Step -> mean accuracy over the benchmarks, by rising step."""
        self.answered: dict[str, dict[str, Any]] = {}
        super().__init__(config)

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps of one step of verl's."""
        actor, batch = self.config.actor_rollout_ref.actor, int(self.config.data.train_batch_size)
        return max(1, batch // int(actor.ppo_mini_batch_size)) * int(actor.ppo_epochs)

    def _init_tokenizer(self) -> None:
        super()._init_tokenizer()
        model = omega_conf_to_dataclass(self.config.actor_rollout_ref.model)
        ends = getattr(model.generation_config, "eos_token_id", None)
        self.end_tokens = {self.tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}

    def _init_dataloader(self) -> None:
        trainer, batch, n = self.config.trainer, self.config.data.train_batch_size, self.settings.prompts_per_epoch
        steps = n // batch
        with open_dict(self.config):
            if trainer.total_training_steps is None:
                trainer.total_training_steps = steps * trainer.total_epochs
            else:
                trainer.total_epochs = -(-trainer.total_training_steps // steps)
        super()._init_dataloader()
        self.steps_per_epoch = steps
        rows = Rows(self.train_dataset)
        schedule = build_schedule(self.settings, rows)
        require_schedule(self.config, self.settings, schedule)
        if schedule.wants_angle:
            rows.find_questions(self.tokenizer)
        self.sampler = ScheduleSampler(schedule, n, self._drawn)
        self.train_dataloader = StatefulDataLoader(
            rows,
            batch_size=self.config.data.get("gen_batch_size") or batch,
            sampler=self.sampler,
            num_workers=0,
            drop_last=True,
            collate_fn=collate_fn,
        )

    def _drawn(self, epoch: int, rows_n: Ints) -> None:
        self.record.drawn(epoch, rows_n, self.sampler.schedule.ranks(rows_n))

    def on_train_begin(self) -> None:
        super().on_train_begin()
        before = self.global_steps - 1
        finished = before * self.optimizer_steps
        # Counted by steps: the loader hands a checkpoint's state to the sampler only when it is first iterated.
        self.record.cut_back(finished, draws=-(-before // self.steps_per_epoch))
        self.evaluated = self.record.accuracies()
        if self._is_due(finished):
            self._evaluate(finished)

    def on_step_begin(self) -> None:
        super().on_step_begin()
        self.began = time.perf_counter()

    def on_step_end(self) -> None:
        super().on_step_end()
        step = self.global_steps * self.optimizer_steps
        if self._is_due(step):
            logged = getattr(self, "_pending_sync_metrics", None) or {}
            self._pending_sync_metrics = {**logged, **self._evaluate(step)}

    def _compute_old_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        if self.sampler.schedule.wants_angle:
            batch.extra_info[REQUEST] = self.settings.signal.model_dump()
        batch = super()._compute_old_log_prob(batch, metrics)
        batch.extra_info.pop(REQUEST, None)
        return batch

    def _step_once(self, metrics: dict[str, Any], timing_raw: dict[str, float], sample_batch_size: int) -> Any:
        batch = super()._step_once(metrics, timing_raw, sample_batch_size)
        schedule, epoch = self.sampler.schedule, self.sampler.tally.epochs
        rollouts = trained(batch, angles=schedule.wants_angle)
        own = {"accuracy": mean_of(rollouts["correct"]), "angle": mean_of(rollouts.get("angles", []))}
        own |= {f"schedule/{name}": value for name, value in schedule.metrics().items()}  # those of the draw
        self.sampler.observe(rollouts["rows"], rollouts["correct"], rollouts["tokens"], rollouts.get("angles"))
        metrics.update({name: value for name, value in own.items() if value is not None})
        self.record.trained(
            {
                "step": self.global_steps * self.optimizer_steps,
                "epoch": epoch,
                "seconds": time.perf_counter() - self.began,
                "choosing_seconds": self.sampler.tally.choosing_seconds,
                "completion_tokens": sum(rollouts["tokens"]),
                "rollouts": len(rollouts["rows"]),
                "reward": float(np.mean(rollouts.pop("rewards"))),
                **{name: metrics[key] for name, key in METRICS.items() if key in metrics},
                **own,
                **rollouts,
            }
        )
        return batch

    def _build_replay_buffer(self) -> Any:
        """verl's buffer; what it hands over in an evaluation is looked at, because verl forgets where answers were cut."""
        buffer = super()._build_replay_buffer()
        sample_plainly = buffer.sample

        def sample(*args: Any, **kwargs: Any) -> Any:
            batch, metrics = sample_plainly(*args, **kwargs)
            if batch.partition_id == "val" and self.settings.evaluation is not None:
                self.answered |= answered(batch, self.config.data.max_response_length, self.end_tokens)
            return batch, metrics

        buffer.sample = sample
        return buffer

    def _is_due(self, step: int) -> bool:
        evaluation = self.settings.evaluation
        if evaluation is None:
            return False
        if not self.evaluated:
            return True
        latest = max(self.evaluated)
        last = self.total_training_steps * self.optimizer_steps
        return step >= evaluation.next_step(latest, list(self.evaluated.values())) or latest < step == last

    def _evaluate(self, step: int) -> dict[str, float]:
        """Accuracy on the benchmarks now, recorded as of ``step``; verl's own metrics of it."""
        began, self.answered, self.found = time.perf_counter(), {}, list[dict[str, Any]]()
        self.on_validate_begin()
        metrics: dict[str, float] = self._validate()
        self.on_validate_end()
        for row in self.found:
            self.record.evaluated({"step": step, **row, "seconds": time.perf_counter() - began})
        self.evaluated = self.record.accuracies()
        return metrics

    def _val_metrics_update(
        self, data_sources: Any, sample_uids: Any, infos: Any, turns: Any, expected_acc_counts: Any = None
    ) -> Any:
        if self.settings.evaluation is not None:
            self.found = accuracies(list(expected_acc_counts), sample_uids, infos, self.answered)
        return super()._val_metrics_update(
            data_sources, sample_uids, infos, turns, expected_acc_counts=expected_acc_counts
        )

"""The section ``gainrl`` of verl's config, and what of verl's own settings cannot be used with a schedule."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from gainrl.errors import InputError
from gainrl.runs.config import EvaluationConfig, Frozen, ScheduleConfig, Seed, SignalConfig
from gainrl.runs.schemas import first_fault
from gainrl.schedules import Schedule

VENDOR = "gainrl"
"""Name of the engine that reads the angle, for verl's VERL_ENGINE_VENDOR."""


class Settings(Frozen):
    """The section ``gainrl`` of verl's config."""

    schedule: ScheduleConfig
    prompts_per_epoch: int = Field(gt=0)
    """Problems of a draw (the paper's n)."""
    scores: Path | None = None
    """A scores file; None where neither order nor features need one."""
    seed: Seed = 0
    signal: SignalConfig = SignalConfig()
    record: Path | None = None
    """Folder for what was drawn, trained and evaluated (`gainrl.verl.record`); None writes nothing."""
    evaluation: EvaluationConfig | None = None
    """When to evaluate on ``data.val_files``; None leaves that to verl's own settings."""

    @classmethod
    def read(cls, config: Any) -> "Settings":
        """From verl's whole config. Raises InputError: the section is absent or has a fault (which)."""
        from omegaconf import OmegaConf

        section = config.get("gainrl")
        if section is None:
            raise InputError("trainer mode gainrl needs the section gainrl (schedule, scores, prompts_per_epoch)")
        try:
            return cls.model_validate(OmegaConf.to_container(section, resolve=True))
        except ValidationError as error:
            raise InputError(f"verl's config, gainrl.{first_fault(error)}") from error


def require_usable(config: Any, settings: Settings) -> None:
    """Raises InputError, one line, where verl (its whole config) would draw without the schedule, or the sizes do not fit."""
    _refuse_all(
        {
            "algorithm.filter_groups.enable": "verl would replace groups without asking the schedule; set it to False",
            "trainer.v1.sampler.sync_refill_failed_groups": (
                "verl would draw for the groups that failed without asking the schedule; set it to False"
            ),
            "trainer.v1.sampler.custom_sampler.path": "another replay buffer may draw by itself; leave it out",
            "skip.rollout_tq.enable": "stored rollouts are not those of the problems drawn; set it to False",
            "data.dataloader_num_workers": (
                "loading workers would draw an epoch before the schedule has seen the last one's results; set it to 0"
            ),
        },
        config,
    )
    if not _select(config, "actor_rollout_ref.hybrid_engine", True):
        raise InputError(
            "actor_rollout_ref.hybrid_engine is False: rollouts would run ahead of the schedule; set it to True"
        )
    batch, n = config.data.train_batch_size, settings.prompts_per_epoch
    if n % batch:
        raise InputError(
            f"gainrl.prompts_per_epoch is {n}, no multiple of data.train_batch_size {batch}; "
            "an epoch is a whole number of steps"
        )
    if settings.evaluation is not None:
        _require_evaluation(config, settings)


def require_schedule(config: Any, settings: Settings, schedule: Schedule) -> None:
    """Raises InputError where the schedule asks for what is not to be had with verl."""
    name = settings.schedule.name
    if schedule.redraws:
        instead = "set its option redraws to 0" if "redraws" in settings.schedule.options else "choose another"
        raise InputError(f"schedule {name!r} replaces groups that were sampled, which works with TRL alone; {instead}")
    if schedule.measures:
        raise InputError(
            f"schedule {name!r} measures pass rates before each draw, which works with TRL alone; choose another"
        )
    if schedule.wants_angle:
        _require_angle(config, settings)


def _require_angle(config: Any, settings: Settings) -> None:
    wants = f"schedule {settings.schedule.name!r} wants the angle during training"
    if settings.signal.definition == "released":
        raise InputError(f"{wants}, and definition 'released' orders problems only; use 'paper' or 'off-diagonal'")
    if os.environ.get("VERL_ENGINE_VENDOR") != VENDOR:
        raise InputError(
            f"{wants}: set VERL_ENGINE_VENDOR={VENDOR} in the environment of verl, on every node, "
            "or its option angle_term to false"
        )
    actor = "actor_rollout_ref.actor"
    if (strategy := _select(config, f"{actor}.strategy")) not in ("fsdp", "fsdp2"):
        raise InputError(
            f"{wants}, which is read with FSDP alone; {actor}.strategy is {strategy!r}, valid: fsdp, fsdp2"
        )
    for place in (f"{actor}.ulysses_sequence_parallel_size", f"{actor}.fsdp_config.ulysses_sequence_parallel_size"):
        if (parts := _select(config, place, 1)) not in (None, 1):
            raise InputError(f"{wants}, which needs whole sequences; {place} is {parts}, set it to 1")
    if _select(config, "algorithm.rollout_correction.bypass_mode"):
        raise InputError(
            f"{wants}, which is read where old_log_probs are computed; set algorithm.rollout_correction.bypass_mode to False"
        )


def _require_evaluation(config: Any, settings: Settings) -> None:
    assert settings.evaluation is not None
    if settings.record is None:
        raise InputError("gainrl.evaluation needs gainrl.record, a folder that keeps what was evaluated")
    tokens, limit = settings.evaluation.max_completion_tokens, config.data.max_response_length
    if tokens != limit:
        raise InputError(
            f"gainrl.evaluation allows {tokens} completion tokens, data.max_response_length {limit}; "
            "verl has one limit for both"
        )
    sampling = config.actor_rollout_ref.rollout.val_kwargs
    if sampling.temperature or sampling.n != 1:
        raise InputError("gainrl.evaluation is greedy; set actor_rollout_ref.rollout.val_kwargs temperature=0, n=1")
    if config.trainer.test_freq > 0 or config.trainer.val_before_train:
        raise InputError(
            "gainrl.evaluation says when to evaluate; set trainer.test_freq=-1 and trainer.val_before_train=False"
        )


def _refuse_all(reasons: Mapping[str, str], config: Any) -> None:
    """Raises InputError for the first of these settings that is on: name, value and reason."""
    for place, reason in reasons.items():
        if value := _select(config, place):
            raise InputError(f"{place} is {value}: {reason}")


def _select(config: Any, place: str, otherwise: Any = None) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.select(config, place, default=otherwise)

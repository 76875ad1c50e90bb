"""What defines a run: frozen, complete, validated. An invalid config raises; it never corrects itself."""

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from gainrl.errors import InputError, unknown_name
from gainrl.prompts import Prompt
from gainrl.schedules import ORDERS, SCHEDULES, Schedule

Definition = Literal["paper", "off-diagonal", "released"]
Engine = Literal["trl", "verl"]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Site = Literal["mlp_input", "neurons", "residual", "final_norm"]


Share = Annotated[float, Field(ge=0, lt=1)]


class Frozen(BaseModel):
    """Base of all configs: cannot be changed; unknown fields, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(Frozen):
    name: str
    revision: str | None = None


class ProblemsConfig(Frozen):
    """Which problems are trained and which benchmarks are held out; sizes of None mean all."""

    train: str
    heldout: tuple[str, ...] = Field(min_length=1)
    """Names of benchmarks."""
    train_size: int | None = Field(None, gt=0)
    heldout_size: int | None = Field(None, gt=1)
    """At most so many problems of each benchmark."""
    sample: bool = False
    """Take ``train_size`` problems at random (seeded) instead of the first ones."""
    longest_prompt: int | None = Field(None, gt=0)
    """Leave out training problems whose prompt has more tokens; with None a prompt that does not fit is an error."""
    revision: str | None = None


class SignalConfig(Frozen):
    """How angle concentration is read, both in scoring and during training."""

    definition: Definition = "paper"
    site: Site = "mlp_input"
    layer: int = -1


class ScheduleConfig(Frozen):
    """A schedule by name, its order, and all of its options (`complete_options` fills in the defaults).

    It is built once on made-up keys, so what its constructor refuses is refused here.
    """

    name: str
    order: str | None = None
    options: dict[str, bool | int | float | str | None] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("name") in [*SCHEDULES]:  # a list asks for no hash
            return {**data, "options": complete_options(data["name"], data.get("options", {}))}
        return data

    @model_validator(mode="after")
    def _known(self) -> "ScheduleConfig":
        if self.name not in SCHEDULES:
            raise unknown_name("schedule", self.name, SCHEDULES)
        own = SCHEDULES[self.name].orders
        valid, or_file = ((*ORDERS, "random"), "a .pt file of the release") if own is None else (own, "")
        if self.order is None and SCHEDULES[self.name].order_is_optional:
            return self
        if valid and self.order not in valid and not (or_file and str(self.order).endswith(".pt")):
            raise unknown_name(f"order of schedule {self.name!r}", str(self.order), valid, or_file)
        if not valid and self.order is not None:
            raise InputError(f"schedule {self.name!r} takes no order; leave {self.order!r} out")
        return self

    @model_validator(mode="after")
    def _can_be_built(self) -> "ScheduleConfig":
        try:
            self.example()
        except InputError as error:
            raise InputError(f"schedule {self.name!r}: {error}") from error
        return self

    def example(self) -> Schedule:
        """The schedule on keys that are made up, to ask what it needs."""
        return SCHEDULES[self.name].example(**self.options)


def complete_options(schedule: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options with the schedule's defaults filled in. Raises InputError for an unknown or ill-typed one."""
    checker = _options_model(SCHEDULES[schedule])
    try:
        return checker.model_validate(options).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        place = f"option {'.'.join(map(str, first['loc']))}" if first["loc"] else "options"
        raise InputError(
            f"schedule {schedule!r}, {place}: {first['msg']}; valid: {', '.join(checker.model_fields) or 'none'}"
        ) from error


@cache
def _options_model(schedule: type[Schedule]) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    return create_model("Options", __config__=config, **_option_fields(schedule))


def _option_fields(schedule: type[Schedule]) -> dict[str, Any]:
    """Option -> (type, default) of a schedule's constructor, and of its base's where it passes ``**options`` on."""
    fields: dict[str, Any] = {}
    for owner in (cls for cls in schedule.__mro__ if "__init__" in vars(cls)):
        parameters = inspect.signature(vars(owner)["__init__"]).parameters.values()
        own = {p.name: (p.annotation, p.default) for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "seed"}
        fields = own | fields
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return fields


class TrainingConfig(Frozen):
    """GRPO (or RLOO), in TRL's words. A step is one optimizer step; an epoch is one draw of the schedule."""

    steps: int = Field(gt=0)
    prompts_per_step: int = Field(gt=0)
    generations: int = Field(gt=1)
    prompts_per_epoch: int = Field(gt=0)
    prompts_per_generation: int | None = Field(None, gt=0)
    """Prompts whose completions are sampled with the same weights; None is the prompts of one step."""
    learning_rate: float = Field(gt=0)
    lr_scheduler: str = "constant"
    optimizer: str = "adamw_torch"
    adam_betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    algorithm: Literal["grpo", "rloo"] = "grpo"
    loss: Literal["grpo", "dr_grpo", "dapo", "bnpo"] = "grpo"
    """GRPO's loss by TRL's name; RLOO has its own."""
    kl: float = Field(0.0, ge=0)
    temperature: float = Field(1.0, gt=0)
    max_completion_tokens: int = Field(gt=0)
    bf16: bool = False
    """Multiply in bf16 (autocast); the weights and the optimizer have 32 bits."""
    generation: Literal["transformers", "vllm"] = "transformers"
    keep_every: int | None = Field(None, gt=0)
    """Keep the model before training and every so many steps, in checkpoints/step-N; None keeps only the last."""

    @property
    def steps_per_generation(self) -> int:
        """Optimizer steps on the completions of one generation."""
        return (self.prompts_per_generation or self.prompts_per_step) // self.prompts_per_step

    @model_validator(mode="after")
    def _whole_steps(self) -> "TrainingConfig":
        batch = self.prompts_per_generation or self.prompts_per_step
        if batch % self.prompts_per_step:
            raise InputError(
                f"prompts_per_generation {batch} is not a multiple of prompts_per_step {self.prompts_per_step}; "
                "a generation is a whole number of steps"
            )
        if self.prompts_per_epoch % batch:
            raise InputError(
                f"prompts_per_epoch {self.prompts_per_epoch} is not a multiple of the {batch} prompts of a generation; "
                "an epoch is a whole number of them"
            )
        if self.algorithm == "rloo" and self.loss != "grpo":
            raise InputError(f"RLOO has one loss; leave {self.loss!r} out")
        return self


class NearTargets(Frozen):
    """Evaluations are frequent where the accuracy comes near a target, and rare once all are reached.

    When a run reaches a target is thus known to within ``every`` steps, for about as many evaluations as on an even grid.
    """

    targets: tuple[float, ...] = Field(min_length=1)
    every: int = Field(gt=0)
    """Steps between evaluations while the latest accuracy is within ``margin`` of the next target, or above it."""
    afterwards: int = Field(gt=0)
    """Steps between evaluations once all targets are reached."""
    margin: float = Field(0.05, ge=0)


class EvaluationConfig(Frozen):
    """Greedy accuracy on the held-out benchmarks before training, every so many steps, and at the end."""

    every: int = Field(gt=0)
    max_completion_tokens: int = Field(gt=0)
    batch_size: int = Field(300, gt=0)
    near_targets: NearTargets | None = Field(None, exclude_if=lambda near: near is None)
    """Left out of the dump, and so of the hash, where it is not used."""

    def next_step(self, step: int, accuracies: Sequence[float]) -> int:
        """The step of the next evaluation, given the latest one's step and the accuracies of all so far (at least one)."""
        every, near = self.every, self.near_targets
        if near is not None:
            ahead = [target for target in near.targets if target > max(accuracies)]
            if not ahead:
                every = near.afterwards
            elif accuracies[-1] >= min(ahead) - near.margin:
                every = near.every
        return (step // every + 1) * every

    def steps(self, accuracies: Mapping[int, float], last: int) -> list[int]:
        """All steps at which a run of ``last`` steps is evaluated, given what it found; up to the first that is missing."""
        steps = [0]
        while steps[-1] in accuracies and steps[-1] < last:
            seen = [accuracies[step] for step in steps]
            steps.append(min(self.next_step(steps[-1], seen), last))
        return steps


class RunConfig(Frozen):
    """One run. The seed varies warm-up, problems, schedule and training together."""

    seed: Seed = 0
    engine: Engine = Field("trl", exclude_if=lambda engine: engine == "trl")
    """What trains: part of what a run is, but left out of the dump, and so of the hash, where it is TRL."""
    model: ModelConfig
    problems: ProblemsConfig
    prompt: Prompt = Prompt()
    signal: SignalConfig = SignalConfig()
    schedule: ScheduleConfig
    training: TrainingConfig
    evaluation: EvaluationConfig

    @model_validator(mode="after")
    def _consistent(self) -> "RunConfig":
        if self.evaluation.max_completion_tokens < self.training.max_completion_tokens:
            raise InputError(
                "evaluation allows shorter completions than training; it must allow at least as many tokens"
            )
        size = self.problems.train_size
        if size is not None and self.training.prompts_per_epoch > size:
            raise InputError(
                f"prompts_per_epoch is {self.training.prompts_per_epoch}, the training set has {size} problems"
            )
        screening, generations = self.schedule.example().screening, self.training.generations
        if screening is not None and screening >= generations:
            raise InputError(f"screening is {screening}; it must be less than the {generations} rollouts of a group")
        return self

    @property
    def hash(self) -> str:
        """12 hex digits that identify the run."""
        return hash_of(self.model_dump(mode="json"))

    def with_seed(self, seed: int) -> "RunConfig":
        return RunConfig.model_validate({**self.model_dump(), "seed": seed})


def hash_of(config: dict[str, Any]) -> str:
    """The hash of a config as config.json holds it, even one that another version wrote."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]

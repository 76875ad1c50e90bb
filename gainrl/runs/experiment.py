"""An experiment: its cells, and how each is executed, which does not define a run."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Literal

from pydantic import Field, model_validator

from gainrl.errors import InputError, unknown_name
from gainrl.runs.config import Frozen, RunConfig

Tracker = Literal["trackio", "tensorboard", "wandb"]


class Execution(Frozen):
    """Where and how a run is executed. None of it is part of the run's hash; results agree up to rounding."""

    gpus: int = Field(0, ge=0, le=1024)
    """One process each; 0 is one process, on whatever device there is."""
    nodes: int = Field(1, ge=1, le=128)
    """Machines that share the GPUs evenly; more than one only with verl."""
    completions_per_device: int | None = Field(None, gt=0)
    """Completions of one forward and backward pass; a step accumulates several. None is all of its process's."""
    gradient_checkpointing: bool = False
    share_prompts: bool = False
    """Compute a prompt once for all of its completions, and what all prompts begin with once; TRL only."""
    accelerate: str | None = None
    """File in gainrl/launch/accelerate/ with accelerate's settings (FSDP); None is data parallel."""
    vllm_mode: Literal["colocate", "server"] = "colocate"
    vllm_server: str | None = None
    """Address of ``trl vllm-serve`` in server mode, http://host:port; None is this machine, port 8000."""
    vllm_gpu_memory: float = Field(0.3, gt=0, le=1)
    vllm_tensor_parallel: int = Field(1, gt=0)
    vllm_sleep: bool = False
    """Let vLLM's engine release its memory to training between generations."""
    checkpoint_every: int = Field(20, gt=0)
    """Steps between checkpoints; rounded up to the end of a generation."""
    report_to: tuple[Tracker, ...] = ()
    """TRL's trackers, or verl's."""
    verl_options: tuple[str, ...] = ()
    """Settings of verl beyond the suite's, key=value as Hydra reads them. They have the last word, and must not change what
    the run is."""
    hours: float | None = Field(None, gt=0)
    """An estimate of a run's time, for Slurm's time limit; None leaves it to the command line."""


def require_trackers(names: Iterable[str]) -> None:
    """Raises InputError for a tracker whose package is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise InputError(f"tracker {name} is not installed; pip install {name}, or leave --report-to out")


class SlurmOptions(Frozen):
    """What every job requests from Slurm; anything left out is Slurm's default, or the cell's own."""

    partition: str | None = None
    """Partition; Slurm's default if left out."""
    account: str | None = None
    """Account that is charged."""
    gpus: int | None = Field(None, ge=0, le=1024)
    """GPUs of a run, all on one node unless --slurm.nodes says more; what the cell says if left out."""
    nodes: int = Field(1, ge=1, le=128)
    """Nodes of a run, which share its GPUs evenly; more than one only with --engine verl."""
    hours: float | None = Field(None, gt=0, le=10_000)
    """Time limit. A run that needs longer is requeued and resumes; what the cell says, or 24, if left out."""
    array_size: int = Field(100, gt=0, le=100_000)
    """Jobs of the array that may run at once."""
    cpus: int = Field(4, gt=0, le=1024)
    """Cores of a run, or of each of its GPUs."""
    memory_gb: int | None = Field(None, gt=0, le=100_000)
    """Memory of a run."""
    extra: tuple[str, ...] = ()
    """More options of sbatch: qos=high constraint=a100 exclusive."""


class Experiment(Frozen):
    """The cells of one table or figure. They differ in what is studied; trainer, budget and evaluation are the same."""

    name: str
    title: str
    cells: dict[str, RunConfig]
    labels: dict[str, str]
    execution: dict[str, Execution] = Field(default_factory=dict)
    """By cell, where it differs from the default."""
    baseline: str
    targets: tuple[float, ...]
    judged_by: Literal["speed-up", "average accuracy gained"] = "speed-up"
    """What decides whether a cell differs from its baseline: the speed-up in steps to the middle target, with a test; or,
    for few seeds, the accuracy gained on average over a run's evaluations, by its interval."""
    asked_in: dict[str, str] = Field(default_factory=dict)
    """Cell -> the experiment that compares it with the same baseline: there it has its test, here it has none."""
    leaderboard: bool = False
    """The cells are methods, the same on each training set: tables and page begin with a row a method."""
    reference: str = ""
    """What the paper says on the same question, with its source; printed under the table."""

    @model_validator(mode="after")
    def _complete(self) -> "Experiment":
        if self.baseline not in self.cells:
            raise unknown_name(f"baseline of {self.name}", self.baseline, self.cells)
        if set(self.labels) != set(self.cells):
            raise InputError(f"{self.name}: labels and cells must have the same names")
        if unknown := set(self.execution) - set(self.cells):
            raise unknown_name(f"cell of {self.name} in execution", sorted(unknown)[0], self.cells)
        if unknown := set(self.asked_in) - set(self.cells):
            raise unknown_name(f"cell of {self.name} in asked_in", sorted(unknown)[0], self.cells)
        if not all(0 < target <= 1 for target in self.targets):
            raise InputError(f"{self.name}: targets {self.targets} must be shares in (0, 1]")
        return self

    @property
    def primary_target(self) -> float:
        """The middle target."""
        return sorted(self.targets)[len(self.targets) // 2]

    @property
    def endpoint(self) -> tuple[str, float | None]:
        """The primary endpoint: quantity and target."""
        return self.judged_by, self.primary_target if self.judged_by == "speed-up" else None

    def cell(self, name: str) -> RunConfig:
        if name not in self.cells:
            raise unknown_name(f"cell of {self.name}", name, self.cells)
        return self.cells[name]

    def execution_of(self, name: str) -> Execution:
        return self.execution.get(name, Execution())

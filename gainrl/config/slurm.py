"""What Slurm is asked for. No part of what a run is."""

from pydantic import Field

from gainrl.config.run import Frozen


class SlurmOptions(Frozen):
    """Of every job; what is left out is Slurm's default, or the cell's own."""

    partition: str | None = None
    """Partition; Slurm's default if left out."""
    account: str | None = None
    """Account that is charged."""
    gpus: int | None = Field(None, ge=0)
    """GPUs of a run, all on one node; what the cell says if left out."""
    hours: float | None = Field(None, gt=0)
    """Time limit. A run that needs longer goes on in the same job, requeued; what the cell says, or 24, if left out."""
    array_size: int = Field(100, gt=0)
    """Jobs of the array that may run at once."""
    cpus: int = Field(4, gt=0)
    """Cores of a run, or of each of its GPUs."""
    memory_gb: int | None = Field(None, gt=0)
    """Memory of a run."""
    extra: tuple[str, ...] = ()
    """More options of sbatch: qos=high constraint=a100 exclusive."""

"""A study: problem sets on which a model's signal is measured beside its gradients. Nothing is trained."""

from pydantic import Field, model_validator

from gainrl.errors import unknown_name
from gainrl.runs.config import Frozen, Seed, Site


class Measurement(Frozen):
    """One problem set of a study, and what is measured on it: the supervised loss, and with ``samples`` the GRPO loss."""

    title: str
    problems: str
    """A registered set."""
    files: tuple[str, ...] = ()
    """Stems of the files that may hold it, in a folder of files; with none the set is generated or comes in a package."""
    skip: int = Field(0, ge=0)
    """The first so many problems of the set are left out."""
    size: int = Field(gt=0)
    """Most problems."""
    at_random: bool = False
    """Take them at random (seeded) instead of the first ones: for a set that is sorted."""
    samples: int = Field(0, ge=0)
    """Completions of each problem for the GRPO loss and the pass rate; 0 leaves both out."""
    temperature: float = Field(1.0, gt=0)
    max_completion_tokens: int = Field(32, gt=0)
    """Longest of these completions."""
    core_seconds: float = Field(ge=0)
    """A problem's time on one core, an estimate."""


class Study(Frozen):
    """What is measured of one model."""

    name: str
    title: str
    model: str
    measurements: dict[str, Measurement]
    primary: str
    """The measurement that the study's endpoint is about."""
    scheduled: str
    """The measurement with a GRPO loss on which angles are asked to predict what matters to a schedule."""
    sites: tuple[Site, ...] = ("mlp_input", "neurons", "residual", "final_norm")
    """Where hidden states are read; the paper's comes first."""
    longest: int = Field(1024, gt=1)
    """Problems whose prompt and completion have more tokens are left out."""
    folds: int = Field(10, gt=1)
    """Of the cross-validation."""
    resamples: int = Field(1000, gt=0)
    """Of the bootstrap."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _complete(self) -> "Study":
        for name in (self.primary, self.scheduled):
            self.measurement(name)
        return self

    def measurement(self, name: str) -> Measurement:
        """Raises InputError for an unknown name."""
        if name not in self.measurements:
            raise unknown_name(f"problem set of {self.name}", name, self.measurements)
        return self.measurements[name]

    def trial(self, limit: int) -> "Study":
        """The same with at most ``limit`` problems of each set, for a first look."""
        shorter = {
            name: measurement.model_copy(update={"size": min(limit, measurement.size)})
            for name, measurement in self.measurements.items()
        }
        return self.model_copy(
            update={"name": f"{self.name}-trial", "title": f"Trial: {self.title}", "measurements": shorter}
        )

"""What the files of a run hold. Keys and columns of other versions of the suite may stand beside these."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gainrl.columns import Column, Rows
from gainrl.errors import InputError

State = Literal["running", "finished", "failed"]

_COUNT = Column("whole number", low=0, never_falls=True)
_SHARE = Column(low=0, high=1)
METRICS = Rows(
    {
        "step": Column("whole number", low=1, never_falls=True),
        "epoch": _COUNT,
        "seconds": Column(low=0),
        "problems_seen": _COUNT,
        "completion_tokens": _COUNT,
        "rollouts": Column("whole number", low=0, never_falls=True, optional=True, nullable=True),
        "choosing_seconds": Column(low=0, never_falls=True, optional=True, nullable=True),
        "accuracy": Column(
            low=0, high=1, optional=True, nullable=True
        ),  # a row of several that share a generation has it
        "angle": Column(optional=True, nullable=True),
        "mu": Column(low=0, optional=True, nullable=True),
        "target": Column(optional=True, nullable=True),
    },
    unique=("step",),
)
EVALUATIONS = Rows(
    {
        "step": _COUNT,
        "benchmark": Column("text"),
        "metric": Column("text"),
        "value": _SHARE,
        "stderr": Column(low=0, high=1),
        "n": Column("whole number", low=1),
        "truncated": Column(low=0, high=1, optional=True),
        "unparseable": Column(low=0, high=1, optional=True),
    },
    unique=("step", "benchmark", "metric"),
)
DRAWS = Rows(
    {
        "epoch": _COUNT,
        "problem_id": Column("text"),
        "rank": Column("whole number", low=0, nullable=True),
        "pass_rate": Column(low=0, high=1, optional=True, nullable=True),  # drawn, but not trained: the run had ended
        "rollouts": Column("whole number", low=0, optional=True, nullable=True),
        "completion_tokens": Column("whole number", low=0, optional=True, nullable=True),
        "angle": Column(optional=True, nullable=True),
    }
)


class _Known(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class Status(_Known):
    state: State
    why: str | None = None


class Resolved(_Known):
    fingerprint: str | None = None


class Inputs(_Known):
    model: str | None = None
    train: Resolved = Resolved()
    heldout: dict[str, Resolved] = Field(default_factory=dict)


class Environment(_Known):
    git_commit: str | None = None
    git_dirty: bool | None = None
    cpus: int | None = None
    threads: int | None = None
    accelerator: str | None = None
    peak_gib: float | None = None
    resumed: list["Environment"] = Field(default_factory=list)
    inputs: Inputs = Inputs()


class Progress(_Known):
    what: str
    done: int = Field(ge=0)
    of: int = Field(ge=0)
    seconds_each: float | None = Field(None, ge=0)


JSON_FILES: dict[str, type[BaseModel]] = {
    "status.json": Status,
    "environment.json": Environment,
    "progress.json": Progress,
}
"""config.json is a `RunConfig`; it is also read as it stands, where another version wrote it."""


def validate(schema: type[BaseModel], values: dict[str, Any], where: object) -> None:
    """Raises InputError: a key is missing or holds what it cannot (which)."""
    try:
        schema.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{where}: {first_fault(error)}") from error


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, with its key."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, first['loc']))}: {message}" if first["loc"] else message

"""The protocol of a schedule: draw the problems of an epoch, then observe how they went.

A schedule is built from one number per problem, ``sort_key_N``: problems with small keys come first (rank 0 = smallest).
It returns row indices into that array. What else it may ask for, each by an attribute: the problems' features
(``wanted_features``), groups to be thrown away and replaced (``redraws``), pass rates measured afresh (``measures``).
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gainrl.errors import InputError
from gainrl.rng import generator
from gainrl.schedules.checks import checked_feedback, checked_options, feature_fault, numbers, restored, row_fault

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Outcome(NamedTuple):
    """How the rollouts of one problem went."""

    rollouts: int
    """With a verdict."""
    correct: float
    """How many of them were correct (their summed correctness)."""
    completion_tokens: int
    """Of all its rollouts together."""

    @property
    def pass_rate(self) -> float:
        """Share of the rollouts that were correct; NaN where none has a verdict."""
        return self.correct / self.rollouts if self.rollouts else float("nan")

    @property
    def has_gradient(self) -> bool:
        """Whether the rollouts differ; where all are right or all wrong, GRPO's advantages are 0."""
        return 0 < self.pass_rate < 1


@dataclass(frozen=True)
class Feedback:
    """What a schedule learns from a finished epoch.

    Attributes:
        accuracy: mean correctness of the epoch's trained rollouts, in [0, 1]; never a shaped reward.
        angle: mean angle concentration of the trained prompts; None where the schedule does not ask for it.
        trained: row of a trained problem -> its outcome.
        discarded: the same of problems that were sampled, then thrown away.
    """

    accuracy: float
    angle: float | None
    trained: Mapping[int, Outcome]
    discarded: Mapping[int, Outcome] = field(default_factory=dict)

    @property
    def sampled(self) -> dict[int, Outcome]:
        """Outcomes of all problems that were sampled, trained or not."""
        return {**self.discarded, **self.trained}

    @property
    def pass_rates(self) -> dict[int, float]:
        """Row of a trained problem -> share of its rollouts that were correct."""
        return {row: outcome.pass_rate for row, outcome in self.trained.items()}


class Schedule(ABC):
    """Draws the problems of each epoch. Every random number comes from its own generator."""

    wants_angle: bool = False
    """Whether `observe` reads ``feedback.angle``; if not, training does not compute it."""
    wanted_features: tuple[str, ...] = ()
    """Names of the features that `tell` must bring before the first draw: columns of the scores file or the problem set."""
    optional_features: tuple[str, ...] = ()
    """Features that it also uses where there are any."""
    redraws: int = 0
    """How often the trainer may replace the groups of a generation that `keeps` turns down; 0: every group is trained."""
    screening: int | None = None
    """Rollouts from which `keeps` judges a problem, before the rest is sampled; None: all of them."""
    measures: int = 0
    """Rollouts a problem with which the trainer measures all pass rates before a draw; see `measured`."""
    orders: ClassVar[tuple[str, ...] | None] = None
    """Names of the orders that it can follow; () if it follows none, None if any will do."""
    order_is_optional: ClassVar[bool] = False
    """Whether it can also do without an order."""
    state_fields: ClassVar[tuple[str, ...]] = ()
    """Attributes that change during training; `state_dict` holds them."""
    growing_fields: ClassVar[tuple[str, ...]] = ()
    """Arrays among them whose length changes, even if they are not empty at first; whole numbers in them are rows."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, checked in (("__init__", checked_options), ("observe", checked_feedback)):
            if name in vars(cls):
                setattr(cls, name, checked(vars(cls)[name]))

    @checked_options
    def __init__(self, sort_key_N: ArrayLike, *, seed: int = 0) -> None:
        if seed < 0:
            raise InputError(f"seed is {seed}; it must be 0 or more")
        self.sort_key_N: Floats = numbers(sort_key_N, "sort keys")
        if self.sort_key_N.ndim != 1 or not len(self.sort_key_N):
            raise InputError(f"a schedule needs one number per problem, got shape {self.sort_key_N.shape}")
        if missing := int(np.isnan(self.sort_key_N).sum()):
            raise InputError(f"{missing} of {len(self.sort_key_N)} sort keys are NaN; score these problems again")
        self.size = len(self.sort_key_N)
        self.rng = generator(seed, "schedule")
        self.features: dict[str, NDArray[Any]] = {}

    @classmethod
    def example(cls, **options: Any) -> Self:
        """The schedule on keys that are made up, to ask what it needs. Raises InputError: an option cannot be."""
        return cls(np.linspace(0, 1, 8), **options)

    def tell(self, features: Mapping[str, ArrayLike]) -> None:
        """Take note of the wanted ones among the features of the problems, each N numbers or N names.

        Raises InputError: a wanted one is missing, has another length, lacks a value, or has one that cannot be.
        """
        if missing := [name for name in self.wanted_features if name not in features]:
            raise InputError(
                f"the schedule needs the feature {missing[0]!r}; available: {', '.join(sorted(features)) or 'none'}"
            )
        used = [name for name in (*self.wanted_features, *self.optional_features) if name in features]
        told: dict[str, NDArray[Any]] = {}
        for name in used:
            try:
                told[name] = np.asarray(features[name])
            except ValueError as error:
                raise InputError(f"feature {name!r} is uneven; {self.size} values are needed") from error
            if told[name].shape != (self.size,):
                raise InputError(f"feature {name!r} has shape {told[name].shape}; {self.size} values are needed")
            if fault := feature_fault(told[name]):
                raise InputError(f"feature {name!r} {fault}")
        self.features = told
        self._told()

    def _told(self) -> None:  # noqa: B027 (only schedules with features prepare something)
        """Prepare what the features are used for."""

    def draw(self, n: int) -> Ints:
        """Rows of the next epoch's n problems, no row twice. Raises InputError unless 1 <= n <= N."""
        if not (isinstance(n, Integral) and 1 <= n <= self.size):
            raise InputError(f"cannot draw {n} different problems from a set of {self.size}; choose 1 to {self.size}")
        if untold := [name for name in self.wanted_features if name not in self.features]:
            raise InputError(
                f"the schedule draws by the feature {untold[0]!r}; call tell({{{untold[0]!r}: ...}}) first"
            )
        rows = np.asarray(self._draw(n))
        whole = rows.shape == (n,) and rows.dtype.kind in "iu"
        if not whole or rows.min() < 0 or rows.max() >= self.size or len(np.unique(rows)) < n:
            raise InputError(
                f"{type(self).__name__}._draw({n}) must return an array of {n} different rows, 0 to {self.size - 1}; "
                f"it returned {rows.dtype} of shape {rows.shape}: {rows.tolist()[:8] if rows.ndim else rows}"
            )
        return rows

    def redraw(self, n: int, sampled: Ints) -> Ints:
        """At most n more rows for this epoch, none of those that were sampled for it already.

        They are what `_draw` gives next: `observe` has not been called since, so a schedule that always takes the best
        overrides this, or gets back what it has.
        """
        rows = np.asarray(self._draw(min(n, self.size)))
        return rows[~np.isin(rows, sampled)]

    def keeps(self, outcome: Outcome) -> bool:
        """Whether a problem is trained, seeing how its rollouts went (the first ``screening`` of them)."""
        return outcome.has_gradient

    def measured(self, pass_rate_N: Floats) -> None:  # noqa: B027 (only an oracle measures)
        """Take note of the pass rates of all problems, measured by the current model; called before a draw."""

    @abstractmethod
    def _draw(self, n: int) -> Ints: ...

    @checked_feedback  # noqa: B027 (a schedule need not learn anything)
    def observe(self, feedback: Feedback) -> None:
        """Learn from a finished epoch; takes effect at the next draw.

        Raises InputError: the feedback cannot be (a row outside the set, more correct than rollouts, a mean that is NaN).
        """

    def metrics(self) -> dict[str, float]:
        """What to log: the values that the latest draw was made with."""
        return {}

    def ranks(self, rows: Ints) -> Ints | None:
        """Ranks of rows in the schedule's order, or None where it has no order."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What changes, to be kept as JSON. Raises InputError: a field would not come back from that as it is."""
        state = {name: getattr(self, name) for name in self.state_fields}
        if lost := [name for name, value in state.items() if not _survives_json(value)]:
            raise InputError(
                f"{type(self).__name__}.{lost[0]} would not come back from a checkpoint as it is: state_fields may name "
                "arrays, numbers, strings, lists of numbers or strings, and dicts with strings as keys"
            )
        return {"schedule": self._identity(), "rng": self.rng.bit_generator.state, **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where the state was saved.

        Raises InputError: it belongs to another schedule or order, lacks a field, or a field is not what `state_dict` gives.
        """
        if not isinstance(state, Mapping):
            raise InputError(f"a schedule's state is a mapping, not {str(state)[:40]!r}")
        identity = self._identity()
        if state.get("schedule", identity) != identity:
            raise InputError(f"the state belongs to schedule {state['schedule']}; this one is {identity}")
        if missing := [name for name in ("schedule", "rng", *self.state_fields) if name not in state]:
            raise InputError(f"the state lacks {', '.join(missing)}; take one that {type(self).__name__} saved")
        fields = {name: self._restored(name, state[name]) for name in self.state_fields}
        try:
            self.rng.bit_generator.state = state["rng"]
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise InputError("the state's rng is not a generator's state; take one that was saved") from error
        for name, value in fields.items():
            setattr(self, name, value)

    def _restored(self, name: str, saved: Any) -> Any:
        try:
            value = restored(getattr(self, name), saved, may_grow=name in self.growing_fields)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"the state's {name} {error}") from error
        is_rows = name in self.growing_fields and isinstance(value, np.ndarray) and value.dtype.kind in "iu"
        if is_rows and (fault := row_fault(value, self.size)):
            raise InputError(f"the state's {name} {fault}")
        return value

    def _identity(self) -> str:
        digest = hashlib.sha256(self.sort_key_N.tobytes())
        for name, values_N in sorted(self.features.items()):
            digest.update(name.encode() + np.array(values_N.tolist()).tobytes())
        return f"{type(self).__name__}/{digest.hexdigest()[:12]}"


def _survives_json(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufU"
    if type(value) is float:  # NaN, which equals nothing, too
        return True
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


class InOrder(Schedule):
    """Base of the schedules that follow ranks: ``order_N[rank]`` is a row, rank 0 first; ties keep the rows' order."""

    def __init__(self, sort_key_N: ArrayLike, *, seed: int = 0) -> None:
        super().__init__(sort_key_N, seed=seed)
        self.order_N: Ints = np.argsort(self.sort_key_N, kind="stable").astype(np.int64)
        self.rank_N: Ints = np.empty_like(self.order_N)
        self.rank_N[self.order_N] = np.arange(self.size)

    def ranks(self, rows: Ints) -> Ints:
        return self.rank_N[rows]

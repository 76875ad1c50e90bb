"""What enters a schedule, checked in one place for all of them, also for those that are written elsewhere."""

import functools
import inspect
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gainrl.errors import InputError, one_line

LARGEST = 1e100
"""A number of this size can still be squared."""
_OPTIONS: dict[Any, tuple[Any, str]] = {
    int: (Integral, "a whole number"),
    float: (Real, f"a number from {-LARGEST:g} to {LARGEST:g}"),
    bool: ((bool, np.bool_), "True or False"),
    str: (str, "a text"),
}
_SAVED_AS = {"f": "fiu", "i": "iu", "u": "iu"}
"""Kind of an array's numbers -> kinds as which JSON may give them back."""


def checked_options(init: Callable[..., None]) -> Callable[..., None]:
    """The constructor, after a look at its keyword-only arguments that are annotated as numbers, truth values or texts.

    It then raises InputError: one is of another type, or not a finite number.
    """
    options = [p for p in inspect.signature(init).parameters.values() if p.kind is p.KEYWORD_ONLY]

    @functools.wraps(init)
    def checked(self: Any, *arguments: Any, **given: Any) -> None:
        for option in options:
            if option.name in given and (needed := _needed(given[option.name], option.annotation)):
                raise InputError(f"{option.name} is {given[option.name]!r}; {needed} is needed")
        init(self, *arguments, **given)

    return checked


def _needed(value: Any, annotation: Any) -> str:
    """What is needed in place of an option's value; empty where it will do."""
    for kind, (types, needed) in _OPTIONS.items():
        if annotation in (kind, kind | None):
            if value is None and annotation != kind:
                return ""
            fits = isinstance(value, types) and (kind is bool or not isinstance(value, bool))
            return "" if fits and (kind in (bool, str) or abs(value) <= LARGEST) else needed
    return ""


def checked_feedback(observe: Callable[..., None]) -> Callable[..., None]:
    """A schedule's ``observe``, after a look at the feedback.

    It then raises InputError: a row or an outcome in it cannot be, the accuracy is not in [0, 1], or the angle not finite.
    """

    @functools.wraps(observe)
    def checked(self: Any, feedback: Any) -> None:
        _check_feedback(feedback, self.size)
        observe(self, feedback)

    return checked


def _check_feedback(feedback: Any, size: int) -> None:
    if not 0 <= numbers(feedback.accuracy, "the feedback's accuracy") <= 1:
        raise InputError(f"the feedback's accuracy is {feedback.accuracy}; it must lie in [0, 1]")
    if feedback.angle is not None and not np.isfinite(numbers(feedback.angle, "the feedback's angle")):
        raise InputError(f"the feedback's angle is {feedback.angle}; it must be finite, or None")
    if not (sampled := feedback.sampled):
        return
    if fault := row_fault(np.array([*sampled]), size):
        raise InputError(f"the feedback's rows {fault}")
    outcomes_n3 = numbers([*sampled.values()], "the feedback's outcomes")
    rollouts_n, correct_n, tokens_n = (
        outcomes_n3.T if outcomes_n3.shape == (len(sampled), 3) else np.full((3, 1), np.nan)
    )
    whole_n = np.isfinite(outcomes_n3).all(axis=-1) & (np.floor(rollouts_n) == rollouts_n)
    bad_n = ~(whole_n & (correct_n >= 0) & (correct_n <= rollouts_n) & (tokens_n >= 0))
    if bad_n.any():
        row, outcome = [*sampled.items()][int(bad_n.argmax())]
        raise InputError(
            f"row {row} has {outcome}; rollouts, a whole number, 0 to rollouts of them correct, and 0 or more tokens are needed"
        )


def row_fault(rows_n: NDArray[Any], size: int) -> str:
    """What is wrong with rows of a set of this size; empty where nothing is."""
    if rows_n.dtype.kind in "iu" and rows_n.min(initial=0) >= 0 and rows_n.max(initial=0) < size:
        return ""
    return f"are {rows_n.tolist()[:8]}; whole numbers from 0 to {size - 1} are needed"


def numbers(values: ArrayLike, what: str) -> NDArray[np.float64]:
    """As floats. Raises InputError: one is no number."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{what}: numbers are needed ({one_line(error, 120)})") from error


def feature_fault(values_N: NDArray[Any]) -> str:
    """What is wrong with the values of a feature; empty where all are numbers, or all names."""
    if missing := int(pd.isna(values_N).sum()):
        return f"is missing for {missing} of {len(values_N)} problems"
    if values_N.dtype.kind in "iuf":
        large_N = np.abs(values_N) > LARGEST
        return f"is {values_N[large_N][0]:g}; at most {LARGEST:g} is needed" if large_N.any() else ""
    kind = pd.api.types.infer_dtype(values_N)
    known = kind in ("string", "integer", "floating", "mixed-integer-float", "boolean")
    return "" if known else f"is {kind}; a number or a name for each problem is needed"


def restored(present: Any, saved: Any, *, may_grow: bool) -> Any:
    """What a checkpoint holds of a value, as the present one is kept.

    Raises ValueError: it is of another kind, not finite where the present one is, or an array of another shape.
    """
    if not isinstance(present, np.ndarray):
        if present is not None and _kind(saved) != _kind(present):
            raise ValueError(f"is {str(saved)[:40]!r}; a {_kind(present)} is needed")
        values = saved
    else:
        kind, values = present.dtype.kind, np.asarray(saved)
        if values.size and values.dtype.kind not in _SAVED_AS.get(kind, kind):
            raise ValueError(f"is {str(saved)[:40]!r}; an array of {present.dtype} is needed")
        values = np.array(saved, dtype="U" if kind == "U" else present.dtype)
        if values.ndim != present.ndim if may_grow else present.size and values.shape != present.shape:
            raise ValueError(f"has shape {values.shape}; {present.shape} is needed")
    if _is_finite(present) and not _is_finite(values):
        raise ValueError("is not finite")
    return values


def _kind(value: Any) -> str:
    kinds = {"truth value": bool, "number": int | float, "text": str, "list": list, "dict": dict}
    return next((name for name, kind in kinds.items() if isinstance(value, kind)), type(value).__name__)


def _is_finite(value: Any) -> bool:
    is_float = isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")
    return not is_float or bool(np.isfinite(value).all())

"""math-verify's part of the comparison, and the guards around it.

Its parser mistakes some names for something else, and some endings for units. Its equality accepts numbers that agree to
six *decimals*, hence 1.3e-27 for 1.4e-27; here they must agree to six significant *digits* as well.
"""

import re
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify
from mpmath import mpc
from sympy import Float, Interval, MatrixBase, N, Tuple, nan, zoo

from gainrl.grading.notation import compact

SIX_DIGITS = 5e-6
"""The largest relative error of a number rounded to six digits."""
TINY = 1e-60
"""Anything smaller may be a zero that was computed numerically."""

_LATEX = LatexExtractionConfig(boxed_match_priority=0)
_LATEX_WITH_UNITS = replace(_LATEX, normalization_config=replace(_LATEX.normalization_config, units=False))
"""By default math-verify strips units by their letters, and with them the variable of ``\\sin^2 t``; this strips none."""
_VERIFY = partial(verify, allow_set_relation_comp=True, timeout_seconds=None, raise_on_error=True)
_DERIVATIVE = r"\\frac\{d(?:\^\{?(\d)\}?)? ?\\?([a-zA-Z]+)(?:_\{?(\w+)\}?)?\}\{d ?\\?([a-zA-Z]+)(?:\^\{?(\d)\}?)?\}"
_NAMES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\bE(?=_)", r"\\Xi"),
        (r"\\gamma(?![a-zA-Z_])", r"\\Psi_{gamma}"),
        (r"([a-zA-Z])(?:'|\^\{?\\prime\}?)", r"\1_{prime}"),
        (_DERIVATIVE, r"\\Psi_{d\1\2\3d\4\5}"),
    )
)
"""Names that the parser mistakes for something else: E_0 (Euler's number), gamma (the function), x' (x), dM/dt (zero)."""


class UnparseableError(Exception):
    """A gold answer that is neither mathematics nor words."""


def same_mathematics(answer: str, gold: str) -> bool:
    """Equal values or expressions (cleaned text). Takes as long as sympy takes. Raises UnparseableError for the gold."""
    answer, gold = _right_hand_sides(answer, gold)
    if not _is_understood(gold):
        raise UnparseableError(gold)
    if "%" not in answer + gold and _far_apart(_values(expression(answer)), _values(expression(gold))):
        return False
    try:
        return bool(_VERIFY(list(_parsed(gold)), list(_parsed(answer))))
    except MemoryError:
        raise
    except Exception:
        return False


def difference(answer: str, gold: str) -> float | None:
    """Distance between the values of two texts; None if either has no value."""
    left, right = _values(expression(answer)), _values(expression(gold))
    if left is None or right is None or len(left) != 1 or len(right) != 1:
        return None
    return float(abs(left[0] - right[0]))


def expression(text: str) -> Any:
    """The sympy expression of a text; None if it has none, or divides by zero."""
    found = next((part for part in _parsed(text) if not isinstance(part, str)), None)
    return None if found is None or found.has(nan, zoo) else found


def _right_hand_sides(answer: str, gold: str) -> tuple[str, str]:
    """What follows the same ``y =`` in both texts; sympy would solve the two equations."""
    left, right = (re.split(r"(?<![<>!])=", text) for text in (answer, gold))
    same = len(left) == len(right) == 2 and compact(left[0]) == compact(right[0])
    return (left[1].strip(), right[1].strip()) if same else (answer, gold)


def _is_understood(gold: str) -> bool:
    """Whether it parses as mathematics, or is words that can be compared literally."""
    if expression(gold) is not None:
        return True
    return bool(_parsed(gold)) and "\\" not in re.sub(r"\\text(?=\{)", "", gold) and re.search(r"\w", gold) is not None


def _far_apart(left: list[Any] | None, right: list[Any] | None) -> bool:
    """Whether some corresponding numbers differ by more than rounding; for numbers next to zero this never holds."""
    if left is None or right is None or len(left) != len(right):
        return False
    sizes = ((abs(a - b), max(abs(a), abs(b))) for a, b in zip(left, right, strict=True))
    return any(size > TINY and distance > SIX_DIGITS * size for distance, size in sizes)


def _values(value: Any) -> list[Any] | None:
    """The numbers (mpmath's) of a number, tuple, matrix or interval; None if a variable is among them."""
    if isinstance(value, Tuple | MatrixBase):
        parts = list(value)
    else:
        parts = [value.start, value.end] if isinstance(value, Interval) else [value]
    try:
        return [mpc(*(Float(part) for part in N(part).as_real_imag())) for part in parts]
    except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError):
        return None


@lru_cache(maxsize=4_096)
def _parsed(text: str) -> tuple[Any, ...]:
    """math-verify's readings of a text: an expression and the text as it normalises it, or the text alone, or nothing."""
    for pattern, name in _NAMES:
        text = pattern.sub(name, text)
    readings = _parse(text, _LATEX)
    return readings if len(readings) > 1 else _parse(text, _LATEX_WITH_UNITS) or readings


def _parse(text: str, config: LatexExtractionConfig) -> tuple[Any, ...]:
    try:
        return tuple(parse(f"\\boxed{{{text}}}", [config], parsing_timeout=None, raise_on_error=True))
    except MemoryError:
        raise
    except Exception:
        return ()

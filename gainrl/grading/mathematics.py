"""math-verify's part of the comparison, and what it is kept from.

Its parser takes some names for something else, and some endings for units. Its equality takes numbers for equal that agree
to six *decimals*, and so 1.3e-27 and 1.4e-27; here they must agree to six *digits* as well.
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
"""What is smaller may be a zero that was computed numerically."""

_LATEX = LatexExtractionConfig(boxed_match_priority=0)
_LATEX_WITH_UNITS = replace(_LATEX, normalization_config=replace(_LATEX.normalization_config, units=False))
"""Units are taken off by their letters, and the variable of ``\\sin^2 t`` with them; then they are left where they are."""
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
"""Names that the parser takes for something else: E_0 (Euler's number), gamma (the function), x' (x), dM/dt (zero)."""


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
    """How far apart the values of two texts are; None if one of them has none."""
    left, right = _values(expression(answer)), _values(expression(gold))
    if left is None or right is None or len(left) != 1 or len(right) != 1:
        return None
    return float(abs(left[0] - right[0]))


def expression(text: str) -> Any:
    """The mathematics of a text; None if it is none, or divides by zero."""
    read = next((part for part in _parsed(text) if not isinstance(part, str)), None)
    return None if read is None or read.has(nan, zoo) else read


def _right_hand_sides(answer: str, gold: str) -> tuple[str, str]:
    """What stands after the same ``y =`` in both; sympy would solve the two equations."""
    left, right = (re.split(r"(?<![<>!])=", text) for text in (answer, gold))
    same = len(left) == len(right) == 2 and compact(left[0]) == compact(right[0])
    return (left[1].strip(), right[1].strip()) if same else (answer, gold)


def _is_understood(gold: str) -> bool:
    """It became mathematics, or is words that can be compared as they stand."""
    if expression(gold) is not None:
        return True
    return bool(_parsed(gold)) and "\\" not in re.sub(r"\\text(?=\{)", "", gold) and re.search(r"\w", gold) is not None


def _far_apart(left: list[Any] | None, right: list[Any] | None) -> bool:
    """Some of the numbers that correspond differ by more than rounding. Nothing is said about numbers next to zero."""
    if left is None or right is None or len(left) != len(right):
        return False
    sizes = ((abs(a - b), max(abs(a), abs(b))) for a, b in zip(left, right, strict=True))
    return any(size > TINY and apart > SIX_DIGITS * size for apart, size in sizes)


def _values(read: Any) -> list[Any] | None:
    """The numbers (mpmath's) of a number, tuple, matrix or interval; None if a variable is among them."""
    if isinstance(read, Tuple | MatrixBase):
        parts = list(read)
    else:
        parts = [read.start, read.end] if isinstance(read, Interval) else [read]
    try:
        return [mpc(*(Float(part) for part in N(part).as_real_imag())) for part in parts]
    except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError):
        return None


@lru_cache(maxsize=4_096)
def _parsed(text: str) -> tuple[Any, ...]:
    """math-verify's readings of a text: an expression and the text as it normalises it, or the text alone, or nothing."""
    for pattern, name in _NAMES:
        text = pattern.sub(name, text)
    read = _parse(text, _LATEX)
    return read if len(read) > 1 else _parse(text, _LATEX_WITH_UNITS) or read


def _parse(text: str, config: LatexExtractionConfig) -> tuple[Any, ...]:
    try:
        return tuple(parse(f"\\boxed{{{text}}}", [config], parsing_timeout=None, raise_on_error=True))
    except MemoryError:
        raise
    except Exception:
        return ()

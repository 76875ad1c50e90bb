"""Whether an answer is finished: a number where the gold answer is one, not an expression that is left to be worked out.

The rule (`left_to_work_out`) stands before any algebra, which would give ``80 + 4 + 3 + 2`` the reward of 89. It looks at
the text alone, part by part where an answer is a tuple, an interval or a matrix:

- Where the gold part is a number, so must be the answer's: an integer, decimal, fraction of two such, mixed number, percent or
  power of ten, with a name before it (``x = 5``) or a unit. A root or a multiple of pi is one only where the gold is rounded
  (a decimal, or with a tolerance): a root that equals 8 is not yet worked out.
- Where the gold is an expression itself, as many of MATH's are (``3+2\\sqrt{2}``, ``10\\pi``, ``2^{10}``, ``x^2+1``), algebra
  decides as it always does, so that every other way of writing it stays right, but for functions to be evaluated (a sine,
  a sum, a binomial) that the gold itself does not have.
"""

import re
from collections.abc import Iterator

from gainrl.grading.lists import items, unwrapped
from gainrl.grading.wording import split_unit

_TEXT = r"\\(?:text|mathrm|mbox)\{[^{}]+\}"
_PLAIN = r"(?:\d+(?:,\d{3})*(?:\.\d*)?|\.\d+)(?:\\overline\{\d+\})?(?: ?\\?[ld]?dots|\.\.\.)?"
_TEN = r"10\^(?:\{ ?[+-]? ?\d+ ?\}|\d)"
_DECIMAL = rf"-? ?(?:(?:{_PLAIN} ?(?:\\times|\\cdot|\*|x|\u00b7) ?)?{_TEN}|{_PLAIN})"
_ROOT = rf"(?:{_PLAIN} ?)?(?:\\sqrt(?:\[\d+\])? ?(?:\{{ ?{_PLAIN} ?\}}|\d)|\\pi)"
_WORD = rf"(?:{_TEXT}|[a-zA-Z.]{{2,}} ) ?"
_UNIT = rf"(?:{_TEXT}|\^\{{\\circ\}}|(?<![a-zA-Z])(?![ei](?![a-zA-Z]))[a-zA-Z]++|(?<=[a-zA-Z}}])\^\{{?-?\d\}}?|\\?%|[/ .'])*"


def _value(part: str) -> str:
    """A number that is made of such parts."""
    fraction = rf"(?:\d+ ?)?\\frac\{{ ?{part} ?\}}\{{ ?{part} ?\}}|(?:\d+ )?{part} ?/ ?{part}|{part} ?: ?{part}"
    return rf"(?![+-] ?-)[+-]? ?(?:\\\$|[\u20ac\u00a3])? ?(?:{fraction}|{part}|\( ?(?:{fraction}|{part}) ?\))"


_NUMBER = re.compile(rf"{_value(_DECIMAL)} ?(?:\\?%|\^\{{\\circ\}})?")
_EXACT = re.compile(rf"(?:{_WORD})?{_value(_DECIMAL)}{_UNIT}")
_ROUNDED = re.compile(rf"(?:{_WORD})?{_value(rf'(?:-? ?{_ROOT}|{_DECIMAL})')}{_UNIT}")
"""What an answer may be where the gold is a number: one, with a word or a currency before it and a unit after it."""
_GREEK = r"\\(?:alpha|beta|gamma|delta|theta|[a-z]*phi|lambda|mu|omega|sigma)(?![a-z])"
_NAME = re.compile(
    rf"[+-]? ?(?:{_TEXT}|\\(?:infty|emptyset|[a-z]*angle)(?![a-z])|{_GREEK}|[a-zA-Z '.])+"
    r"(?:_\{?\w+\}?)?(?: ?\( ?[a-zA-Z] ?\))?"
)
_RELATION = re.compile(r"\\(?:leq?|geq?|lt|gt|leqslant|geqslant|in|cup)(?![a-zA-Z])|[<>\u2264\u2265]")
_SAME = re.compile(r"(?<![<>!])=|\\approx(?![a-zA-Z])|\u2248")
_MATRIX = re.compile(r"\\begin\{([a-z]*matrix|array)\}(?:\{[clr|]+\})?(.*)\\end\{\1\}", re.DOTALL)
_BRACKETS = [(a, b) for a in ("(", "[") for b in (")", "]")] + [("\\{", "\\}"), ("\\lbrace", "\\rbrace"), ("{", "}")]
_FUNCTIONS = {
    "trigonometry": r"\\(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?(?![a-z])",
    "logarithm": r"\\(?:ln|log|lg|exp)(?![a-z])",
    "count": r"\\[dt]?binom(?![a-z])|!",
    "rounding": r"\\(?:lfloor|lceil)",
    "size": r"\||\\[lr]?vert(?![a-z])|\\det(?![a-z])",
    "choice": r"\\(?:max|min|gcd|lcm|operatorname\*?|mathop|inf|sup)(?![a-z])",
    "remainder": r"\\[bp]?mod(?![a-z])",
}
_SUMS = r"\\(?:sum|prod|i*int|oint|lim)(?![a-z])"
_VARIABLE = re.compile(r"(?<![a-zA-Z\\])[a-df-hj-zA-Z](?![a-zA-Z])|" + _GREEK)


def left_to_work_out(answer: str, gold: str, *, tolerance: float = 0.0) -> bool:
    """Whether an answer must be wrong, whatever its value, since it is less finished than the gold. Both cleaned."""
    given, wanted = list(_parts(answer)), list(_parts(gold, names_only=True))
    numbers = [is_number(part) for part in wanted]
    finished = _ROUNDED if tolerance or any("." in part for part in wanted) else _EXACT
    if all(numbers) and numbers:
        return not all(finished.fullmatch(part) for part in given)
    if len(given) == len(wanted):
        pairs = zip(given, numbers, strict=True)
        if any(number and not finished.fullmatch(part) for part, number in pairs):
            return True
    functions = [_SUMS] if _VARIABLE.search(re.sub(_TEXT, "", gold)) else [_SUMS, *_FUNCTIONS.values()]
    return any(re.search(function, answer) and not re.search(function, gold) for function in functions)


def is_number(text: str) -> bool:
    """Whether a cleaned text is a number that is worked out, perhaps with a unit."""
    return _NUMBER.fullmatch(text) is not None or _NUMBER.fullmatch(split_unit(text)[0]) is not None


def sides(text: str) -> list[str]:
    """What stands between the equality signs of ``x = 0.56 = 56\\%``."""
    return [side.strip() for side in _SAME.split(text)]


def is_unknown(text: str) -> bool:
    """Whether a side of an equation is what the equation gives the value of: ``x``, ``a+b``, ``\\angle ABC``."""
    letter = rf"(?<![a-zA-Z\\])[a-zA-Z]|\\text|\\[a-z]*angle|{_GREEK}"
    return not is_number(text) and re.search(letter, text) is not None


def _parts(text: str, *, names_only: bool = False) -> Iterator[str]:
    """The texts between the brackets, commas and relations of an answer; bare names and infinities are none.

    Args:
        names_only: of ``y = 2`` take what ``y`` is, but leave ``x^2 + y = 2`` as it is; else take the last side of both.
    """
    matrix = _MATRIX.fullmatch(text)
    inside = next((inner for pair in _BRACKETS if (inner := unwrapped(text, *pair)) is not None), None)
    if matrix is not None:
        parts = re.split(r"&|\\\\", matrix[2])
    elif inside is not None:
        parts = [inside]
    else:
        parts = items(text, thousands=True)
        *before, last = sides(text)
        if len(parts) < 2 and not (names_only and not all(_NAME.fullmatch(side) or is_number(side) for side in before)):
            parts = [part.strip() for part in _RELATION.split(last)]
    if len(parts) == 1 and parts[0] == text:
        if _NAME.fullmatch(text) is None:
            yield text
        return
    for part in parts:
        if part.strip():
            yield from _parts(part.strip(), names_only=names_only)

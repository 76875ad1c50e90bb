"""Ways of writing the same answer, and exact numbers. No algebra.

Every pattern here takes time linear in the text, since this part runs outside the worker's limits.
"""

import re
from fractions import Fraction

_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\u2212", "-"),
        (r"\u00d7", r"\\times "),
        (r"\u00b0", r"^{\\circ}"),
        (r"\u03c0", r"\\pi "),
        (r"\u221e", r"\\infty "),
        (r"\u00b2", "^2"),
        (r"\u00b3", "^3"),
        (r"(?<!\\)\$|(?<!\\)\\[()\[\]]|\\displaystyle|\\phantom\s*(?:\{[^{}]*\}|.)", ""),
        (r"(?<=\d)(?:\{,\}|,\\!|\\,)\s*(?=\d{3}(?!\d))", ""),
        (r"(?<!\\)\\[!,;: ]|\\q?quad(?![a-zA-Z])|~", " "),
        (r"\\(?:left|right)(?:\.|(?![a-zA-Z]))", ""),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\frac\s*(\d|\\pi(?![a-zA-Z]))\s*(?=[\da-zA-Z{\\])", r"\\frac{\1}"),
        (r"(\\frac\{[^{}]*\})\s*(\d|[a-zA-Z]|\\pi(?![a-zA-Z]))", r"\1{\2}"),
        (r"_\{ ?\\([a-zA-Z]+) ?\}", r"_{\1}"),
        (r"\\(?:mbox|textnormal|textbf|textrm|textit)(?=\{)", r"\\text"),
        (r"\\math(?:bf|rm)\{(-?[\d.]+)\}", r"\1"),
        (r"^\s*\\text\{\s*(-?[\d.,/]+)([^{}]*)\}", r"\1\\text{\2}"),
        (r"\\text\{\s*\}", ""),
        (r"\\varnothing(?![a-zA-Z])", r"\\emptyset"),
        (r"(?<=\d)\s*(?:\\text\{\s*percent\s*\}|percent(?![a-z]))", r"\\%"),
        (r"\^(?:\{\\circ\}|\\circ(?![a-zA-Z]))", r"^{\\circ}"),
        (r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?![\w.])", r"\1 \\times 10^{\2}"),
        (r"\s+", " "),
    )
)
_LOOSE_SPACE = re.compile(r" (?!\w)|(?<!\w) ")


def clean(text: str) -> str:
    """The same answer without typography: ``1{,}000`` becomes ``1000``, ``\\dfrac 12`` ``\\frac{1}{2}``, ``3e-5`` a power."""
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = text.strip().rstrip(".,;").rstrip()
    return text.removeprefix("\\approx").lstrip()


def compact(text: str) -> str:
    """Cleaned text without the spaces that separate nothing."""
    return _LOOSE_SPACE.sub("", text)


_INTEGER = r"(?:\d{1,3}(?:,\d{3})+|\d{1,60})"
_POWER_OF_TEN = r" ?\\(?:times|cdot) ?10\^(?:\{(?P<power>[+-]?\d{1,3})\}|(?P<digit>\d))"
_DECIMAL = rf"(?P<decimal>{_INTEGER}?\.\d{{1,60}}|{_INTEGER}\.?)(?:{_POWER_OF_TEN})?"
_REPEATING = r"(?P<before>\d{0,30}\.\d{0,30})\\overline\{(?P<period>\d{1,30})\}"
_FRACTION = r"(?:(?P<whole>\d{1,9}) ?)?\\frac\{(?P<minus>-?)(?P<above>\d{1,60})\}\{(?P<below>\d{1,60})\}"
_SLASHED = r"(?:(?P<units>\d{1,9}) )?(?P<over>\d{1,60}) ?/ ?(?P<under>\d{1,60})"
_NUMBER = re.compile(rf"(?P<sign>[+-]?) ?(?:\\\$)? ?(?:{_REPEATING}|{_DECIMAL}|{_FRACTION}|{_SLASHED})")


def number(text: str) -> Fraction | None:
    """The exact value of an integer, (repeating) decimal, power of ten, fraction or mixed number; None for anything else.

    The text must be cleaned.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    part = match.groupdict()
    if part["period"] is not None:
        places = len(part["before"].partition(".")[2])
        tail = Fraction(int(part["period"]), (10 ** len(part["period"]) - 1) * 10**places)
        value = Fraction(f"0{part['before']}0") + tail
    elif part["decimal"] is not None:
        power = int(part["power"] or part["digit"] or 0)
        value = Fraction(part["decimal"].replace(",", "").rstrip(".")) * Fraction(10) ** power
    else:
        above, below = part["above"] or part["over"], part["below"] or part["under"]
        if int(below) == 0 or (part["minus"] and part["whole"]):
            return None
        value = int(part["whole"] or part["units"] or 0) + Fraction(int(above), int(below))
    return -value if (part["sign"] == "-") != (part["minus"] == "-") else value


_INTEGERS_IN_BRACKETS = re.compile(r"\( ?-?\d{1,60}(?: ?, -?\d{1,60})+ ?\)")


def integer_tuple(text: str) -> tuple[int, ...] | None:
    """The integers of ``(3, 10, 2)`` in cleaned text, else None. Without the spaces a comma could separate thousands."""
    if _INTEGERS_IN_BRACKETS.fullmatch(text) is None:
        return None
    return tuple(int(part) for part in text.strip("()").split(","))


def quick_verdict(answer: str, gold: str) -> bool | None:
    """Whether two cleaned texts are equal, if the texts or exact numbers decide it; None where algebra is needed.

    Numbers closer than a part in 100,000 are left undecided: one may be the other, rounded.
    """
    if compact(answer) == compact(gold):
        return True
    tuples = integer_tuple(answer), integer_tuple(gold)
    if None not in tuples:
        return tuples[0] == tuples[1]
    left, right = number(answer), number(gold)
    if left is None or right is None:
        return None
    if left == right:
        return True
    both_whole = left.denominator == right.denominator == 1
    return None if not both_whole and abs(left - right) < max(abs(left), abs(right)) / 100_000 else False

"""What the worker does: is this answer one of the right ones?

Lists, units, bases, times of day and words are told apart here, because math-verify's equality lets them through: it takes
{-1, 3} for -1, 3, 3, metres for centimetres, and 12 in base 5 for 12 in base 6. The mathematics is its own.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from gainrl.grading.gold import Gold
from gainrl.grading.lists import items, unwrapped
from gainrl.grading.mathematics import UnparseableError, difference, same_mathematics
from gainrl.grading.notation import clean, number, quick_verdict
from gainrl.grading.wording import clock, in_base, is_wording, known_unit, split_unit, words

Outcome = Literal["match", "differs", "unparseable_gold"]


def compare(answer: str, gold: Gold) -> Outcome:
    """Compare an answer, as it stands in its box, with the gold answers. Takes as long as sympy takes."""
    answer, accepted = clean(answer), [clean(text) for text in gold.answers]
    compared = _Comparison(gold.tolerance, _unit(gold, accepted), "%" in (gold.unit or ""))
    attempts: list[Callable[[], bool]] = [partial(compared.is_right, answer, text) for text in accepted]
    if gold.need == "all":
        attempts = [partial(compared.lists_equal, answer, accepted)]
    unparseable = 0
    for attempt in attempts:
        try:
            if attempt():
                return "match"
        except UnparseableError:
            unparseable += 1
    return "unparseable_gold" if unparseable == len(attempts) else "differs"


def _unit(gold: Gold, accepted: Sequence[str]) -> str | None:
    """What the question asks for, or what any of the alternatives carries."""
    if gold.unit is not None:
        return known_unit(gold.unit)
    units = (split_unit(text)[1] for text in accepted) if gold.need == "any" else ()
    return next((unit for unit in units if unit is not None), None)


@dataclass(frozen=True)
class _Comparison:
    tolerance: float = 0.0
    unit: str | None = None
    percent: bool = False

    def is_right(self, answer: str, gold: str) -> bool:
        """One gold answer, which may itself be written as a list (``-1, 3, 3``)."""
        if quick_verdict(answer, gold):
            return True
        parts = items(gold, thousands=True)
        if len(parts) > 1:
            return self.lists_equal(answer, parts)
        if number(answer) is None and len(items(answer, thousands=True)) > 1:
            return unwrapped(gold, "(", ")") is not None and self.equal(f"({answer})", gold)
        return self.equal(answer, gold)

    def lists_equal(self, answer: str, gold_parts: Sequence[str]) -> bool:
        """Every gold answer has its own counterpart, and nothing is left over."""
        bare = unwrapped(answer, "(", ")")
        texts = [answer] if bare is None or len(gold_parts) == 1 else [answer, bare]
        readings = {tuple(items(text, thousands=thousands)) for text in texts for thousands in (False, True)}
        return any(self._pairs_up(list(parts), gold_parts) for parts in readings if len(parts) == len(gold_parts))

    def _pairs_up(self, answers: list[str], gold_parts: Sequence[str]) -> bool:
        for gold in gold_parts:
            partner = next((answer for answer in answers if self.equal(answer, gold)), None)
            if partner is None:
                return False
            answers.remove(partner)
        return True

    def equal(self, answer: str, gold: str) -> bool:
        """One answer and one gold answer, neither a list. Raises UnparseableError for the gold."""
        if self.percent:
            answer, gold = (text.removesuffix("%").removesuffix("\\").rstrip() for text in (answer, gold))
        verdict = quick_verdict(answer, gold)
        if verdict or (verdict is False and self.tolerance == 0):
            return verdict
        for rule in _RULES:
            verdict = rule(answer, gold)
            if verdict is not None:
                return verdict
        return self._quantities_equal(*split_unit(answer), *split_unit(gold))

    def _quantities_equal(self, answer: str, answer_unit: str | None, gold: str, gold_unit: str | None) -> bool:
        if answer_unit is not None and (self.unit or gold_unit) not in (None, answer_unit):
            return False
        apart = difference(answer, gold) if self.tolerance else None
        if apart is not None:
            return apart <= self.tolerance * (1 + 1e-9)
        verdict = quick_verdict(answer, gold)
        return same_mathematics(answer, gold) if verdict is None else verdict


def _same_chain(answer: str, gold: str) -> bool | None:
    """``0.56 = 56\\%`` and ``\\frac{2}{3} \\approx 0.67``: any side of the gold answer is right, and every side must be."""
    left, right = _numeric_sides(answer), _numeric_sides(gold)
    if max(len(left), len(right)) < 2:
        return None
    return all(any(_Comparison().equal(side, accepted) for accepted in right) for side in left)


def _numeric_sides(text: str) -> list[str]:
    sides = [side.strip() for side in re.split(r"=|\\approx", text)]
    return sides if all(number(re.sub(r" ?\\?%$", "", side)) is not None for side in sides) else [text]


def _same_digits(answer: str, gold: str) -> bool | None:
    """``12_5``: the base may be left out, but is no other."""
    wanted, given = in_base(gold), in_base(answer)
    if wanted is None:
        return None
    return given == wanted if given is not None else answer == wanted[0]


def _same_time(answer: str, gold: str) -> bool | None:
    """``8:34 p.m.``: the half of the day may be left out, but is no other. Without one, ``1:2`` is a ratio."""
    given, wanted = clock(answer), clock(gold)
    if given is None or wanted is None or not (wanted[1] or 0 in wanted[0]):
        return None
    return given[0] == wanted[0] and (given[1] == wanted[1] or not (given[1] and wanted[1]))


def _same_words(answer: str, gold: str) -> bool | None:
    given, wanted = _words_or_numeral(answer), _words_or_numeral(gold)
    if wanted is None:
        return None
    if given == wanted and (len(wanted) > 3 or wanted.isdigit() or is_wording(gold) or is_wording(answer)):
        return True
    return False if is_wording(gold) else None


def _words_or_numeral(text: str) -> str | None:
    value = number(text)
    return words(text) if value is None else str(value)


_RULES: tuple[Callable[[str, str], bool | None], ...] = (_same_chain, _same_digits, _same_time, _same_words)
"""Each decides the kind of answer that it knows, and says None to all others."""

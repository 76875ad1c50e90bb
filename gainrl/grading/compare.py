"""What the worker does: is this answer one of the right ones?

Lists, units, bases, times of day and words are compared here, because math-verify's equality is too lenient with them: it
accepts {-1, 3} for -1, 3, 3, metres for centimetres, and 12 in base 5 for 12 in base 6. The rest is math-verify's.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from gainrl.errors import InputError
from gainrl.grading.finished import is_number, is_unknown, left_to_work_out, sides
from gainrl.grading.gold import Gold
from gainrl.grading.gym import is_full_score
from gainrl.grading.lists import items, unwrapped
from gainrl.grading.mathematics import UnparseableError, difference, same_mathematics
from gainrl.grading.notation import clean, number, quick_verdict
from gainrl.grading.wording import clock, in_base, is_wording, known_unit, split_unit, words

Outcome = Literal["match", "differs", "unparseable_gold"]


def compare(answer: str, gold: Gold) -> Outcome:
    """Compare an answer, as written in its box, with the gold answers. Takes as long as sympy takes."""
    if gold.scorer is not None:
        try:
            return "match" if is_full_score(gold.scorer, answer, gold.entry or {}) else "differs"
        except InputError:
            return "unparseable_gold"
    answer, accepted = clean(answer), [clean(text) for text in gold.answers]
    comparison = _Comparison(gold.tolerance, _unit(gold, accepted), "%" in (gold.unit or ""))
    attempts: list[Callable[[], bool]] = [partial(comparison.is_right, answer, text) for text in accepted]
    if gold.need == "all":
        attempts = [partial(comparison.lists_equal, answer, accepted)]
    unparseable = 0
    for attempt in attempts:
        try:
            if attempt():
                return "match"
        except UnparseableError:
            unparseable += 1
    return "unparseable_gold" if unparseable == len(attempts) else "differs"


def _unit(gold: Gold, accepted: Sequence[str]) -> str | None:
    """The unit that the question asks for, else the first that an alternative carries."""
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
        if left_to_work_out(answer, gold, tolerance=self.tolerance) or self._contradicts(answer, gold):
            return False
        for rule in _RULES:
            verdict = rule(answer, gold)
            if verdict is not None:
                return verdict
        return self._quantities_equal(*split_unit(answer), *split_unit(gold))

    def _contradicts(self, answer: str, gold: str) -> bool:
        """``x = 6 = 5``: the sides of an equation, but for the unknown that it may begin with, must all be the number."""
        given = sides(answer)
        given = given[1:] if is_unknown(given[0]) else given
        if len(given) < 2 or not is_number(sides(gold)[-1]):
            return False
        return not all(self._quantities_equal(*split_unit(side), *split_unit(sides(gold)[-1])) for side in given)

    def _quantities_equal(self, answer: str, answer_unit: str | None, gold: str, gold_unit: str | None) -> bool:
        if answer_unit is not None and (self.unit or gold_unit) not in (None, answer_unit):
            return False
        distance = difference(answer, gold) if self.tolerance else None
        if distance is not None:
            return distance <= self.tolerance * (1 + 1e-9)
        verdict = quick_verdict(answer, gold)
        return same_mathematics(answer, gold) if verdict is None else verdict


def _same_chain(answer: str, gold: str) -> bool | None:
    """``0.56 = 56\\%`` and ``\\frac{2}{3} \\approx 0.67``: every side of the answer must equal some side of the gold answer."""
    given, accepted = _numeric_sides(answer), _numeric_sides(gold)
    if max(len(given), len(accepted)) < 2:
        return None
    return all(any(_Comparison().equal(side, gold_side) for gold_side in accepted) for side in given)


def _numeric_sides(text: str) -> list[str]:
    sides = [side.strip() for side in re.split(r"=|\\approx", text)]
    return sides if all(number(re.sub(r" ?\\?%$", "", side)) is not None for side in sides) else [text]


def _same_digits(answer: str, gold: str) -> bool | None:
    """``12_5``: the base may be left out, but must not be another."""
    wanted, given = in_base(gold), in_base(answer)
    if wanted is None:
        return None
    return given == wanted if given is not None else answer == wanted[0]


def _same_time(answer: str, gold: str) -> bool | None:
    """``8:34 p.m.``: a.m. or p.m. may be left out, but must not differ. Where the gold has neither, ``1:2`` is a ratio."""
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
"""Each rule decides one kind of answer, and returns None for all others."""

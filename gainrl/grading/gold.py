"""`Gold`: which answers are right, as text that survives JSON, Parquet, a datasets column and TRL's reward call."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gainrl.errors import InputError


@dataclass(frozen=True)
class Gold:
    """One gold answer, or several.

    ``str(gold)`` is the answer itself if it `is_plain`, so that plain gold answers stay as they are, else a JSON object:
    ``{"any": ["0.01", "0.02"]}``, ``{"all": ["1", "3"], "unit": "km"}``. `Gold.parse` reads both. No LaTeX answer can be
    mistaken for such an object: it would have to be valid JSON with exactly these keys.

    An answer that only a task of reasoning-gym can judge names its ``scorer`` and the task's item, ``entry``.

    Raises InputError: no answer (where there is no scorer) or an empty one, a tolerance that is not a finite number of 0 or
    more, a unit that is no text.
    """

    answers: tuple[str, ...]
    need: Literal["any", "all"] = "any"
    """Whether one of them is enough, or all are required: in any order, each as often as it is listed."""
    tolerance: float = 0.0
    """Largest accepted absolute difference of a number from the gold one."""
    unit: str | None = None
    """The unit that the question asks for. An answer may carry it or leave it out; another unit is wrong."""
    scorer: str | None = None
    """Name of the task whose scorer judges (`gainrl.grading.gym`); the answers are then examples, if any is known."""
    entry: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if (self.scorer is None and not self.answers) or not all(
            isinstance(text, str) and text.strip() for text in self.answers
        ):
            raise InputError("a gold answer is missing or empty")
        number = isinstance(self.tolerance, int | float) and not isinstance(self.tolerance, bool)
        if not number or not 0 <= self.tolerance < math.inf:
            raise InputError(f"a gold answer's tolerance is {self.tolerance!r:.40}; a number of 0 or more is needed")
        if self.unit is not None and not isinstance(self.unit, str):
            raise InputError(f"a gold answer's unit is {self.unit!r:.40}; a text is needed")

    def __str__(self) -> str:
        if self.is_plain:
            return self.answers[0]
        content: dict[str, Any] = {self.need: list(self.answers)}
        content |= {"tolerance": self.tolerance} if self.tolerance else {}
        content |= {"unit": self.unit} if self.unit else {}
        content |= {"scorer": self.scorer, "entry": self.entry} if self.scorer else {}
        return json.dumps(content, ensure_ascii=False)

    @property
    def is_plain(self) -> bool:
        """One answer, no tolerance, no unit, no scorer."""
        return len(self.answers) == 1 and not self.tolerance and self.unit is None and self.scorer is None

    @property
    def written(self) -> str:
        """What a model that knows the answer could write into its box. Raises InputError: no right answer is known."""
        if not self.answers:
            raise InputError(f"{self.scorer} judges answers but names none, so there is no completion to learn from")
        return ", ".join(self.answers) if self.need == "all" else self.answers[0]

    @classmethod
    def parse(cls, text: str) -> "Gold":
        """The inverse of ``str``. Any text that is not such a JSON object is one plain answer.

        Raises InputError: it is such an object, but no gold answer (no answers, a list inside the list, a bad tolerance).
        """
        content = _json_object(text)
        need: Literal["any", "all"] = "all" if "all" in content else "any"
        answers = content.get(need)
        if not isinstance(answers, list) or not set(content) <= {need, "tolerance", "unit", "scorer", "entry"}:
            return cls((text,))
        if not all(isinstance(answer, str) or _is_number(answer) for answer in answers):
            raise InputError(f"a gold answer holds {json.dumps(answers)[:40]}; texts and numbers are needed")
        scorer, entry = content.get("scorer"), content.get("entry")
        if (
            (scorer is None) != (entry is None)
            or not isinstance(scorer or "", str)
            or not isinstance(entry or {}, dict)
        ):
            raise InputError("a gold answer needs both scorer, a task's name, and entry, the task's item, or neither")
        accepted = tuple(map(str, answers))
        return cls(accepted, need, content.get("tolerance", 0.0), content.get("unit"), scorer, entry)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _json_object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text) if text.startswith('{"') else {}
    except json.JSONDecodeError:
        return {}
    except (RecursionError, ValueError) as error:  # lists within lists without end, an integer of 5,000 digits
        raise InputError(f"a gold answer cannot be read: {str(error)[:80]}") from error
    return content if isinstance(content, dict) else {}

"""Problem sets by name: generated families, tasks of reasoning-gym, hub sets, files. One shape: `Problem`."""

from numbers import Integral
from pathlib import Path

from gainrl.errors import InputError, unknown_name
from gainrl.grading.gym import PREFIX
from gainrl.problems.arithmetic import Arithmetic
from gainrl.problems.base import Problem, ProblemSet
from gainrl.problems.coding import CODING_SETS, load_coding
from gainrl.problems.family import Family
from gainrl.problems.files import SUFFIXES, load_file
from gainrl.problems.gym import load_gym
from gainrl.problems.hub import HUB_SETS, load_hub
from gainrl.problems.lists import Lists
from gainrl.problems.mixture import Mixture
from gainrl.problems.programs import Programs
from gainrl.problems.skills import Skills

__all__ = ["FAMILIES", "Family", "Problem", "ProblemSet", "load_problems", "problem_sets"]

FAMILIES: dict[str, Family] = {
    family.name: family for family in (Arithmetic(), Lists(), Mixture(), Programs(), Skills())
}
GENERATED = {
    name: make
    for family in FAMILIES.values()
    for name, make in ((family.name, family.training), (f"{family.name}-heldout", family.held_out))
}


def problem_sets() -> list[str]:
    """Every registered name."""
    return [*GENERATED, *HUB_SETS, *CODING_SETS]


def load_problems(
    name: str | Path,
    *,
    limit: int | None = None,
    seed: int = 0,
    revision: str | None = None,
    drop_null_answers: bool = False,
) -> ProblemSet:
    """A problem set by registered name or path.

    Args:
        limit: keep (or generate) this many problems; None for all.
        seed: of a generated set.
        revision: commit, tag or branch of a hub set; the commit that it resolves to is in ``source``.
        drop_null_answers: leave rows with a null or empty answer out and count them in ``source``, instead of raising.

    Raises:
        InputError: the name is unknown (with the valid ones), a row cannot be used (file, row, what is missing), there are
            fewer problems than ``limit``, or limit or seed is no such number.
    """
    for what, number in (("limit", 1 if limit is None else limit), ("seed", seed)):
        if not isinstance(number, Integral) or isinstance(number, bool) or (what == "seed" and number < 0):
            raise InputError(f"{what} is {number!r}; a whole number of {0 if what == 'seed' else 1} or more is needed")
    name = str(name)
    if name in GENERATED:
        return GENERATED[name](seed, limit)
    if name.startswith(PREFIX):
        return load_gym(name, seed, limit)
    if name in HUB_SETS:
        return load_hub(name, HUB_SETS[name], revision, drop_null_answers).head(limit)
    if name in CODING_SETS:
        return load_coding(name, revision=revision).head(limit)
    path = Path(name)
    if path.suffix in SUFFIXES or path.exists():
        return load_file(path, drop_null_answers).head(limit)
    or_else = f"{PREFIX} and a task of reasoning-gym, or a file ({', '.join(SUFFIXES)})"
    raise unknown_name("problem set", name, problem_sets(), or_else)

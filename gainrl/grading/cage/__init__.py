"""Where programs run that a model wrote: never in the suite's own process.

A **keeper** (`inside`, started by `keepers`) stands in the cage and forks a process for each program; `confine` is what such a
process takes from itself; `values` is what may cross; `trials` are the three ways to try a program; `levels` finds out
which cage there is. A program is never in one process with its tests, nor with the outputs that are expected of it.
"""

from gainrl.grading.cage.levels import LEVELS, VARIABLE, demand, is_remote, level, weakness
from gainrl.grading.cage.trials import Ending, functions, run_asserts, run_stream

__all__ = [
    "LEVELS", "VARIABLE", "Ending", "demand", "functions", "is_remote", "level", "run_asserts", "run_stream", "weakness",
]  # fmt: skip

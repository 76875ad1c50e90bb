"""Where programs run that a model wrote: never in the suite's own process.

A **keeper** (`inside`, started by `keepers`) stands in the cage and forks a process for each program; `confine` is what such a
process takes from itself; `values` is what may cross; `trials` are the three ways to try a program; `levels` finds out
which cage there is. A program is never in one process with its tests, nor with the outputs that are expected of it.
"""

from gainrl.grading.cage.endings import KEEPER_GONE, TOGETHER, Calls, Ending
from gainrl.grading.cage.levels import LEVELS, VARIABLE, demand, level, recorded, weakness
from gainrl.grading.cage.trials import call_functions, run_asserts, run_stream

__all__ = [
    "KEEPER_GONE", "LEVELS", "TOGETHER", "VARIABLE", "Calls", "Ending", "call_functions", "demand", "level", "recorded",
    "run_asserts", "run_stream", "weakness",
]  # fmt: skip

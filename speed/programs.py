"""Programs a second in the cage, at one core and at all, beside an interpreter that is started for each.

Every program is another one, so that no verdict is known, and the keepers are started before the clock is. The programs are
short functions that are called three times, and what they are compared with is the same function in a new interpreter
without any cage: the least that running it otherwise takes.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import tyro

from gainrl.grading import Tests, cage, grade
from gainrl.rng import generator
from speed.report import publish

TESTS = Tests("f", calls=(([3], 12), ([4], 20), ([10], 110)))
PROGRAM = "def f(n):\n    total = {noise} - {noise}\n    for k in range(1, n + 1):\n        total += 2 * k\n    return total\n"


def programs(size: int) -> list[str]:
    """Distinct programs that pass."""
    noise = generator(0, "benchmark").permutation(10 * size)[:size]
    return [PROGRAM.format(noise=number) for number in noise]


def in_cage(program: str) -> bool:
    """The verdict, which no other program has given."""
    return grade(f"```python\n{program}```", str(TESTS)).correct


def in_new_interpreter(program: str) -> bool:
    """The same calls in a process of its own, which has the expected values beside the program."""
    calls = "\n".join(f"assert f(*{arguments}) == {expected}" for arguments, expected in TESTS.calls)
    return subprocess.run([sys.executable, "-I", "-S", "-c", f"{program}\n{calls}"], check=False).returncode == 0


def programs_a_second(run: Callable[[str], bool], sources: list[str], workers: int) -> float:
    with ThreadPoolExecutor(workers) as threads:
        began = time.perf_counter()
        passed = list(threads.map(run, sources))
        seconds = time.perf_counter() - began
    assert all(passed), "a right program fails, so these numbers would mean nothing"
    return len(sources) / seconds


def main(size: int = 400) -> None:
    """Measure and publish.

    Args:
        size: Programs of each measurement.
    """
    cores = len(os.sched_getaffinity(0))
    distinct = iter(programs(size * 2 * len({1, cores}) + 4 * cores))

    def take(count: int) -> list[str]:
        return [next(distinct) for _ in range(count)]

    programs_a_second(in_cage, take(4 * cores), cores)  # starts the keepers
    rows = []
    for workers in sorted({1, cores}):
        alone = programs_a_second(in_new_interpreter, take(size), workers)
        ours = programs_a_second(in_cage, take(size), workers)
        for name, rate in (("a new interpreter for each", alone), (f"the cage ({cage.recorded()})", ours)):
            rows.append(
                {"cores": workers, "how": name, "programs a second": rate, "times a new interpreter's": rate / alone}
            )
    note = (
        f"{size} distinct programs for each number, three calls each, all of which pass. The new interpreter has no cage, no "
        "limits and no numpy, and holds program and expected values in one process."
    )
    publish("programs", "Programs a second", pd.DataFrame(rows), note)


if __name__ == "__main__":
    tyro.cli(main)

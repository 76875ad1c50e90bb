"""All runs of a plan, through a launcher: finished ones are skipped, a failed one does not stop the others."""

from collections.abc import Sequence
from contextlib import closing

from gainrl.launch.failure import Failure
from gainrl.launch.launchers import Launcher
from gainrl.launch.plan import Run, claim, unfinished
from gainrl.launch.watch import Watch


def run_all(runs: Sequence[Run], launcher: Launcher, overwrite: bool = False) -> list[Failure]:
    """Train what is left to do, with a live table; says what failed as it fails, and returns it.

    Raises:
        InputError: a finished run of another config is in the way and ``overwrite`` is off, or the launcher cannot
            be used here; checked before any run.
    """
    todo = unfinished(runs, overwrite)
    for run in todo:
        claim(run, overwrite)
    for run in runs:
        claim(run)
    failures = []
    with Watch(runs[0].experiment, todo) as watch, closing(launcher.train(todo, watch.tick)) as outcomes:
        if len(todo) < len(runs):
            watch.say(f"{len(runs) - len(todo)} of {len(runs)} runs are finished already")
        for run, failed in outcomes:
            watch.ended(run, failed is not None)
            if failed is not None:
                failures.append(failed)
                watch.say(str(failed))
    return failures

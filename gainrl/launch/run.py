"""All runs of a plan, through a launcher: finished ones are skipped, a failed one does not stop the others."""

from collections.abc import Sequence
from contextlib import closing

from gainrl.launch.failure import Failure
from gainrl.launch.job import Job
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
        left = {run.hash for run in todo}
        if done := sum(run.hash not in left for run in runs):
            watch.say(f"{done} of {len(runs)} runs are finished already")
        for run, failed in outcomes:
            watch.ended(run, failed is not None)
            if failed is not None:
                failures.append(failed)
                watch.say(str(failed))
    return failures


def train_here(run: Run, overwrite: bool = False, worker: bool = False) -> None:
    """Train one run in this process, or under accelerate; what is raised is not caught. A worker stays silent.

    Raises InputError: as `run_all`.
    """
    if worker:  # the first process has made the link, and shows how it goes
        Job(run)()
    elif overwrite or not run.is_finished():
        claim(run, overwrite)
        with Watch(run.experiment, [run]) as watch:
            Job(run, watch.tick)()
            watch.ended(run, failed=False)
    else:
        claim(run)

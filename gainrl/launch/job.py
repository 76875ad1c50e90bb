"""One run, trained here (on several GPUs, by accelerate's processes), and the job that trains it elsewhere."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from submitit.helpers import DelayedSubmission

from gainrl.progress import Report
from gainrl.runs.plan import Run
from gainrl.runs.records import RunFolder
from gainrl.runs.state import ProgressFile

ACCELERATE = Path(__file__).parent / "accelerate"
"""accelerate's settings that an execution names: FSDP."""
LONGEST_GRACE = 600
"""Longest wait, in seconds, of a preempted job for Slurm to end it."""


def train(run: Run, tick: Callable[[], None] | None = None) -> None:
    """Train a run here, calling ``tick`` at every report of progress. Exceptions are not caught."""
    if run.config.engine == "trl" and run.execution.gpus > 1 and "WORLD_SIZE" not in os.environ:
        return train_with_accelerate(run)
    if run.config.engine == "verl":
        from gainrl.training.verl.cluster import is_further_node, join

        if is_further_node(run.execution):
            return join(run.config, run.execution, run.home)
    from gainrl.training.run import train_run

    train_run(
        run.config,
        run.home,
        run.runs_dir / "shared",
        _reporter(run, tick),
        execution=run.execution,
        overwrite=run.overwrite,
        command=run.record,
    )


def _reporter(run: Run, tick: Callable[[], None] | None) -> Report:
    write, is_first = ProgressFile(run.home), os.environ.get("RANK", "0") == "0"

    def report(what: str, done: int, of: int) -> None:
        if is_first:
            write(what, done, of)
        if tick is not None:
            tick()

    return report


@dataclass(frozen=True)
class Job:
    """Trains a run where it is called, calling ``tick`` as `train` does; a job that is sent elsewhere has none."""

    run: Run
    tick: Callable[[], None] | None = None

    def __call__(self) -> None:
        requeue = signal.getsignal(signal.SIGUSR2)  # submitit's, in its jobs
        from gainrl.training.interruption import Interrupted

        try:
            train(self.run, self.tick)
        except Interrupted as interrupted:
            if interrupted.signum == signal.SIGUSR2 and callable(requeue):
                requeue(interrupted.signum, None)
            if interrupted.signum == signal.SIGTERM and os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
                _wait_for_the_end()
            raise

    def checkpoint(self) -> DelayedSubmission:
        """What submitit runs when the job is requeued: the same job, which resumes from the run's checkpoint."""
        return DelayedSubmission(self)


def train_with_accelerate(run: Run) -> None:
    """Raises Interrupted if a signal ended it, RuntimeError or CalledProcessError if it failed."""
    from gainrl.training.interruption import Interrupted

    signum = _call(accelerate_command(run))
    if signum is not None:
        raise Interrupted(signum)
    state, why = RunFolder(run.home).status()
    if state != "finished":
        raise RuntimeError(why or f"accelerate ended, but {run.home} does not hold a finished run")


def accelerate_command(run: Run) -> list[str]:
    """One process per GPU of this machine; port 0 is any free one, so that jobs on one machine do not collide."""
    config_file = run.execution.accelerate
    settings = ["--multi_gpu"] if config_file is None else ["--config_file", str(ACCELERATE / config_file)]
    return [
        *(sys.executable, "-m", "accelerate.commands.launch", *settings),
        *("--num_processes", str(run.execution.gpus), "--num_machines", "1", "--main_process_port", "0"),
        *("-m", "gainrl.cli", *run.train_arguments),
    ]


def _call(command: list[str]) -> int | None:
    """Run a command to its end; SIGTERM and SIGUSR2 are passed on to its workers as SIGUSR2, and the first is returned.

    accelerate's own process ignores SIGUSR2; at SIGTERM it would kill its workers before they have a checkpoint.
    Raises CalledProcessError if it fails by itself.
    """
    received: list[int] = []
    before = {signum: signal.signal(signum, signal.SIG_IGN) for signum in (signal.SIGTERM, signal.SIGUSR2)}
    process = subprocess.Popen(command, start_new_session=True)

    def pass_on(signum: int, frame: object) -> None:
        received.append(signum)
        os.killpg(process.pid, signal.SIGUSR2)

    try:
        for signum in before:
            signal.signal(signum, pass_on)
        code = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    if code and not received:
        raise subprocess.CalledProcessError(code, command)
    return received[0] if code else None


def _wait_for_the_end() -> None:
    """Slurm requeues a preempted job that it ended itself; one that exits within the grace time counts as failed."""
    sys.stdout.flush()
    sys.stderr.flush()
    time.sleep(LONGEST_GRACE)

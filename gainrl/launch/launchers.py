"""Where runs are trained: in this process, or in processes of this machine. `gainrl.launch.slurm` is the third."""

import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import submitit

from gainrl.errors import InputError, one_line
from gainrl.launch.job import Job
from gainrl.launch.outcome import Failure, failure, outcome
from gainrl.launch.watch import Watch
from gainrl.runs.plan import Run, claim, unfinished

Outcomes = Generator[tuple[Run, Failure | None]]
Tick = Callable[[], None]
WAIT = 0.2
"""Seconds between two checks of the jobs."""


class Launcher(Protocol):
    def describe(self) -> str:
        """Where runs are trained, in words."""

    def at_once(self) -> int:
        """The most runs that are trained at a time."""

    def train(self, runs: Sequence[Run], tick: Tick) -> Outcomes:
        """Train all runs, calling ``tick`` now and then; yields each as it ends."""


class Debug:
    """In this process, one run after the other."""

    def describe(self) -> str:
        return "in this process"

    def at_once(self) -> int:
        return 1

    def train(self, runs: Sequence[Run], tick: Tick) -> Outcomes:
        for run in runs:
            job: submitit.Job[None] = submitit.DebugExecutor(jobs_folder(run)).submit(Job(run, tick))
            error = job.exception()
            trace = "" if isinstance(error, InputError) else "".join(traceback.format_exception(error))
            yield run, None if error is None else failure(run, one_line(error), trace)


@dataclass(frozen=True)
class Local:
    """In ``jobs`` processes of this machine at once, which share out its cores and its GPUs."""

    jobs: int = 1

    def describe(self) -> str:
        return f"on this machine, {self.jobs} at once with {self.threads} threads each"

    def at_once(self) -> int:
        return self.jobs

    @property
    def threads(self) -> int:
        """Of each job: what OMP_NUM_THREADS says, else an equal share of the cores."""
        wanted = os.environ.get("OMP_NUM_THREADS", "")
        return int(wanted) if wanted.isdigit() and int(wanted) else max(1, len(os.sched_getaffinity(0)) // self.jobs)

    def train(self, runs: Sequence[Run], tick: Tick) -> Outcomes:
        gpus = _gpus(runs)
        waiting, active = deque(runs), dict[str, tuple[submitit.Job[None], Run, list[int]]]()
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
        try:
            while waiting or active:
                while waiting and len(active) < self.jobs and len(gpus) >= waiting[0].execution.gpus:
                    run = waiting.popleft()
                    run_gpus = [gpus.pop() for _ in range(run.execution.gpus)]
                    job = self._submit(run, run_gpus)
                    active[job.job_id] = job, run, run_gpus
                for job, run, run_gpus in [entry for entry in active.values() if entry[0].done()]:
                    del active[job.job_id]
                    gpus += run_gpus
                    yield run, outcome(job, run, "its process was killed")
                tick()
                time.sleep(WAIT)
        except BaseException:
            _end([job for job, _, _ in active.values()])
            raise
        finally:
            signal.signal(signal.SIGTERM, before)

    def _submit(self, run: Run, gpus: list[int]) -> "submitit.Job[None]":
        executor = submitit.LocalExecutor(jobs_folder(run))
        executor.update_parameters(timeout_min=60 * 24 * 365, gpus_per_node=len(gpus), visible_gpus=gpus)
        with submitit.helpers.environment_variables(OMP_NUM_THREADS=self.threads), _deaf_to_ctrl_c():
            return executor.submit(Job(run))


def _gpus(runs: Sequence[Run]) -> list[int]:
    """The numbers of this machine's GPUs, none if no run needs one. Raises InputError: a run takes more than there are."""
    most = max((run.execution.gpus for run in runs), default=0)
    if most == 0:
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = [int(name) for name in visible.split(",") if name.isdigit()] if visible else []
    gpus = numbers or list(range(torch.cuda.device_count()))
    if most > len(gpus):
        names = ", ".join(sorted({run.cell for run in runs if run.execution.gpus > len(gpus)}))
        raise InputError(f"{names}: a run takes {most} GPUs, this machine has {len(gpus)}; use --launcher slurm")
    return gpus


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Jobs started within ignore Ctrl-C, which reaches every process of a terminal: they end by SIGTERM, with a checkpoint."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(jobs: "Sequence[submitit.Job[None]]") -> None:
    """End jobs with SIGTERM and wait until they are gone."""
    if any(not job.done() for job in jobs):
        print("gainrl: ending the running jobs, each after a checkpoint", file=sys.stderr)
    while running := [job for job in jobs if not job.done()]:
        for job in running:
            os.kill(int(job.job_id), signal.SIGTERM)  # repeatedly: a process that is just starting may miss it
        time.sleep(1)


_BEGAN = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"


def jobs_folder(run: Run) -> Path:
    """Where submitit keeps the jobs of this launch: a new folder each time, since process ids are reused."""
    return run.runs_dir.absolute() / "shared" / "jobs" / _BEGAN


def run_all(runs: Sequence[Run], launcher: Launcher) -> list[Failure]:
    """Train the runs that are not finished, with a live table; failures are shown as they happen, and returned.

    Raises:
        InputError: a finished run of another config is in the way of one that does not overwrite, or the launcher cannot
            be used here; checked before any run.
    """
    todo = unfinished(runs)
    for run in runs:
        claim(run)
    failures = []
    with Watch(runs[0].experiment, todo) as watch, closing(launcher.train(todo, watch.tick)) as outcomes:
        todo_hashes = {run.hash for run in todo}
        if finished := sum(run.hash not in todo_hashes for run in runs):
            watch.say(f"{finished} of {len(runs)} runs are finished already")
        for run, failed in outcomes:
            watch.ended(run, failed is not None)
            if failed is not None:
                failures.append(failed)
                watch.say(str(failed))
    return failures

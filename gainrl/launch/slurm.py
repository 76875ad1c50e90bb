"""Runs as Slurm job arrays. Jobs outlive the launcher: the same command watches them again."""

import contextlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import submitit

from gainrl.errors import InputError, one_line
from gainrl.files import write_atomically
from gainrl.launch.job import Job
from gainrl.launch.launchers import Outcomes, Tick, jobs_folder
from gainrl.launch.outcome import outcome
from gainrl.runs.experiment import SlurmOptions
from gainrl.runs.plan import Run

HOURS = 24.0
GRACE = 90
"""Seconds before the time limit at which Slurm signals a job to write a checkpoint."""
REQUEUES = 1000
POLL, LOST_AFTER = 5.0, 15.0
"""Seconds between two queries to Slurm; seconds after which a job that Slurm no longer runs, without result, is lost."""
ALIVE = ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED",
         "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "PREEMPTED")  # fmt: skip


@dataclass(frozen=True)
class Slurm:
    options: SlurmOptions

    def describe(self) -> str:
        partition = f" partition {self.options.partition}" if self.options.partition else ""
        return f"on Slurm{partition}, at most {self.options.array_size} jobs at once"

    def at_once(self) -> int:
        return self.options.array_size

    def train(self, runs: Sequence[Run], tick: Tick) -> Outcomes:
        active = self._jobs(runs)
        queue = _Queue()
        try:
            while active:
                for job_id, (job, run) in list(active.items()):
                    lost = queue.lost(job_id)
                    if lost is not None or job.paths.result_pickle.exists():
                        del active[job_id]
                        _record(run).unlink(missing_ok=True)
                        yield run, outcome(job, run, f"Slurm's job {job_id} left no result; its state is {lost}")
                tick()
                time.sleep(0.5)
        except KeyboardInterrupt:
            ids = " ".join(sorted({job_id.split("_")[0] for job_id in active}))
            print(
                f"gainrl: the jobs continue on Slurm; scancel {ids} ends them, the same command watches them again",
                file=sys.stderr,
            )
            raise

    def _jobs(self, runs: Sequence[Run]) -> dict[str, tuple["submitit.Job[None]", Run]]:
        """Jobs by id: those that Slurm still has from an earlier launch, and new arrays, each for runs with equal needs."""
        states = squeue()
        jobs = {job.job_id: (job, run) for run in runs for job in _recorded(run, states)}
        known = {run.hash for _, run in jobs.values()}
        new = sorted((run for run in runs if run.hash not in known), key=self._needs)
        for _, alike in groupby(new, key=self._needs):
            group = list(alike)
            for job, run in zip(self._submit(group), group, strict=True):
                _remember(run, job)
                jobs[job.job_id] = job, run
        return jobs

    def _needs(self, run: Run) -> tuple[int, int, float]:
        return run.execution.nodes, run.execution.gpus, self.options.hours or run.execution.hours or HOURS

    def _submit(self, runs: Sequence[Run]) -> "list[submitit.Job[None]]":
        try:
            executor = submitit.SlurmExecutor(jobs_folder(runs[0]), max_num_timeout=REQUEUES)
            executor.update_parameters(**self._parameters(runs[0]))
            return executor.submit_array([Job(run) for run in runs])
        except (RuntimeError, subprocess.SubprocessError) as error:
            raise InputError(f"Slurm does not accept the jobs: {one_line(error)}") from error

    def _parameters(self, run: Run) -> dict[str, Any]:
        options, (nodes, gpus, hours) = self.options, self._needs(run)
        gpus //= nodes
        requested = {
            "partition": options.partition,
            "account": options.account,
            "gpus_per_node": gpus or None,
            "nodes": nodes if nodes > 1 else None,
            "ntasks_per_node": 1 if nodes > 1 else None,
            "mem": None if options.memory_gb is None else f"{options.memory_gb}GB",
        }
        extra = {name: value or True for name, _, value in (option.partition("=") for option in options.extra)}
        return {name: value for name, value in requested.items() if value is not None} | {
            "job_name": f"gainrl-{run.experiment}",
            "time": math.ceil(60 * hours),
            "cpus_per_task": options.cpus * max(1, gpus),
            "array_parallelism": options.array_size,
            "signal_delay_s": GRACE,
            "setup": ["export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}"],
            "additional_parameters": {"requeue": True, **extra},
        }


def squeue() -> dict[str, str]:
    """State of this user's jobs by id (array_task), including those that ended minutes ago.

    Raises InputError: this machine has no Slurm, or it does not answer.
    """
    command = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i %T"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    except FileNotFoundError:
        raise InputError("--launcher slurm needs Slurm's commands, but this machine has no squeue") from None
    except (subprocess.SubprocessError, OSError) as error:
        said = " ".join(str(getattr(error, "stderr", None) or error).split())
        raise InputError(f"Slurm does not answer: {said}") from error
    return dict(line.split(maxsplit=1) for line in lines if " " in line)


class _Queue:
    """The jobs' states, queried every `POLL` seconds. Works with and without Slurm's accounting."""

    def __init__(self) -> None:
        self.states: dict[str, str] | None = None
        self.asked = float("-inf")
        self.gone_since: dict[str, float] = {}

    def lost(self, job_id: str) -> str | None:
        """The last state of a job that has been gone from Slurm's queue for a while, None for any other job."""
        now = time.monotonic()
        if now - self.asked > POLL:
            self.asked = now
            with contextlib.suppress(InputError):  # Slurm may be unreachable for a while without losing jobs
                self.states = squeue()
        if self.states is None:
            return None
        state = self.states.get(job_id, "unknown to Slurm")
        if state in ALIVE:
            self.gone_since.pop(job_id, None)
            return None
        return state if now - self.gone_since.setdefault(job_id, now) > LOST_AFTER else None


def _record(run: Run) -> Path:
    """The file that says which job trains a run."""
    return run.runs_dir / "shared" / "jobs" / f"{run.hash}.json"


def _remember(run: Run, job: "submitit.Job[None]") -> None:
    text = json.dumps({"folder": str(job.paths.folder), "job": job.job_id})
    write_atomically(_record(run), lambda path: path.write_text(text))


def _recorded(run: Run, states: dict[str, str]) -> "list[submitit.Job[None]]":
    """The job of an earlier launch that trains the run, if Slurm still has it."""
    try:
        record = json.loads(_record(run).read_text())
        return [submitit.SlurmJob(record["folder"], record["job"])] if states.get(record["job"]) in ALIVE else []
    except (OSError, ValueError, KeyError):
        return []

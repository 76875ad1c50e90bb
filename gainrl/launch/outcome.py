"""How a run ended: why it failed, the end of its log, and the command that reproduces the failure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit

from gainrl.runs.plan import Run
from gainrl.runs.records import RunFolder

LINES = 20


@dataclass(frozen=True)
class Failure:
    run: Run
    reason: str
    log: str
    """Its last lines."""
    log_path: Path | None = None

    def __str__(self) -> str:
        lines = [f"gainrl: {self.run.experiment}, {self.run.label} failed: {self.reason}"]
        lines += [f"    {line}" for line in self.log.rstrip().splitlines()[-LINES:]]
        if self.log_path is not None:
            lines.append(f"  the whole log: {self.log_path}")
        return "\n".join([*lines, f"  to reproduce it: {self.run.command}"])


def failure(run: Run, launchers_reason: str, log: str, log_path: Path | None = None) -> Failure:
    """A failure with the reason in the run's own folder, else with the launcher's."""
    state, why = RunFolder(run.home).status()
    return Failure(run, why if state == "failed" and why else launchers_reason, log, log_path)


def tail(path: Path) -> str:
    """The last lines of a file, empty if there is no file."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-LINES:])
    except OSError:
        return ""


def outcome(job: "submitit.Job[Any]", run: Run, if_lost: str) -> Failure | None:
    """The failure of a job that has ended, None if it succeeded; ``if_lost`` is the reason if it left no result."""
    if not job.paths.result_pickle.exists():
        _, why = RunFolder(run.home).status()
        return Failure(run, f"{if_lost} ({why})" if why else if_lost, tail(job.paths.stderr), job.paths.stderr)
    error = job.exception()
    if error is not None or RunFolder(run.home).status()[0] != "finished":
        reason = "its job ended " + ("with an error" if error is not None else "without a finished run")
        return failure(run, reason, tail(job.paths.stderr), job.paths.stderr)
    return None

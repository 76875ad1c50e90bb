"""The run folder: a run leaves a folder that explains itself, and every file in it is whole at any moment.

config.json  environment.json  metrics.jsonl  draws.parquet  evals.jsonl  status.json  checkpoints/
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import ValidationError

from gainrl.columns import read_rows
from gainrl.errors import InputError
from gainrl.files import (
    append_json_line,
    parse_json_object,
    read_json_lines,
    write_atomically,
    write_json_lines,
    write_text,
)
from gainrl.runs.config import RunConfig, hash_of
from gainrl.runs.schemas import DRAWS, EVALUATIONS, JSON_FILES, METRICS, State, first_fault, validate

_FIRST_FILES = ("config.json", "environment.json", "progress.json")
_WAYS_OUT = "move the folder away, or give --overwrite"
_PACKAGES = ("gainrl", "torch", "transformers", "trl", "datasets", "accelerate", "lm-eval", "math-verify", "numpy")


class RunRecord(ABC):
    """What can be read of a run, in its folder or where it is published.

    Whatever is read is checked (`gainrl.runs.schemas`). All readers raise InputError for what is missing or damaged, with
    the file, and row and column where there are any.
    """

    @property
    @abstractmethod
    def known_as(self) -> str | None:
        """The hash under which the run is stored; None where it has none."""

    @abstractmethod
    def where(self, name: str) -> str:
        """Where a file of the run lies, for errors."""

    @abstractmethod
    def text(self, name: str) -> str:
        """A JSON file of the run as it was written."""

    @abstractmethod
    def metrics(self) -> pd.DataFrame:
        """A row an optimizer step."""

    @abstractmethod
    def evals(self) -> pd.DataFrame:
        """A row a (step, benchmark, metric)."""

    @abstractmethod
    def draws(self, columns: list[str] | None = None) -> pd.DataFrame:
        """A row a drawn problem, of these columns or all; empty before the first epoch's end."""

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file as it stands; config.json also where another version of the suite wrote it."""
        values = parse_json_object(self.text(name), self.where(name))
        if name in JSON_FILES:
            validate(JSON_FILES[name], values, self.where(name))
        return values

    @property
    def hash(self) -> str:
        """12 hex digits by which the run is known: of its config as it stands."""
        return hash_of(self.read_json("config.json"))

    def config(self) -> RunConfig:
        """The config, without keys that this version does not know."""
        try:
            return RunConfig.model_validate(self.read_json("config.json"), extra="ignore")
        except ValidationError as error:
            raise InputError(f"{self.where('config.json')}: {first_fault(error)}") from error

    def status(self) -> tuple[State | None, str | None]:
        """State and, if it failed, why; (None, None) where nothing has begun or the file cannot be read."""
        try:
            status = self.read_json("status.json")
        except InputError:
            return None, None
        return status["state"], status.get("why")


class RunFolder(RunRecord):
    """One run's files. The writers are used by the process that trains, the readers by anybody."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"

    @property
    def known_as(self) -> str | None:
        """The name of its folder, where that is the one which all runs of a config share."""
        home = Path(os.path.realpath(self.path))
        return home.name if home.parent.parts[-2:] == ("shared", "runs") else None

    def where(self, name: str) -> str:
        return str(self.path / name)

    def start(self, config: RunConfig, command: str | None = None) -> None:
        """Start over: remove what an earlier, unfinished attempt at this run left, then write config, environment and status.

        An unfinished attempt at another run is moved aside, and stderr says where.

        Raises InputError: a finished run lies here, one that cannot be read, or files that are no run's; nothing is removed.
        """
        if self.path.is_dir() and self._has_begun():
            self._require_unfinished()
            if self.read_json("config.json") != config.model_dump(mode="json"):
                aside = self.path.with_name(f"{self.path.name}.aside-{time.time_ns()}")
                self.path.rename(aside)
                print(
                    f"gainrl: {self.path} held an unfinished run of another config; it is now {aside}", file=sys.stderr
                )
        if self.path.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True)
        self._write_json("config.json", config.model_dump(mode="json"))
        self._write_json("environment.json", environment(command))
        self._write_status("running")

    def _has_begun(self) -> bool:
        """Whether there is more than what a process that is killed as it begins leaves."""
        return any(path.name not in _FIRST_FILES and path.name[0] != "." for path in self.path.iterdir())

    def _require_unfinished(self) -> None:
        """Raises InputError: the folder holds anything but an unfinished run whose files can be read."""
        try:
            state = self.read_json("status.json")["state"]
            for name in ("config.json", "environment.json"):
                self.read_json(name)
        except InputError as error:
            raise InputError(f"{error}; nothing was removed: {_WAYS_OUT}") from error
        if state == "finished":
            raise InputError(f"{self.path} holds a finished run; nothing was removed: {_WAYS_OUT}")

    def is_broken_off(self, config: RunConfig) -> bool:
        """Whether an unfinished attempt at this very run lies here."""
        try:
            existing = self.read_json("config.json")
        except InputError:
            return False
        return self.status()[0] not in (None, "finished") and existing == config.model_dump(mode="json")

    def can_resume(self, config: RunConfig) -> bool:
        """Whether `resume` can use all that lies here."""
        try:
            self._require_unfinished()
            self.metrics(), self.evals(), self.draws()
        except InputError:
            return False
        return self.is_broken_off(config)

    def resume(self, command: str | None = None) -> None:
        """Continue what lies here; environment.json says so. Raises InputError: a file cannot be read."""
        self._require_unfinished()
        before = self.read_json("environment.json")
        self._write_json("environment.json", {**before, "resumed": [*before.get("resumed", []), environment(command)]})
        self._write_status("running")

    def cut_back(self, step: int, epochs: int) -> None:
        """Forget what was written after a step and after so many epochs: it will be done again.

        Raises InputError: a file is damaged, or lacks rows of steps or epochs until then; nothing is changed.
        """
        self.metrics(), self.evals()
        names = ("metrics.jsonl", "evals.jsonl")
        kept = {name: [row for row in self._json_rows(name) if row["step"] <= step] for name in names}
        if len(kept["metrics.jsonl"]) < step:
            raise InputError(f"{self.where('metrics.jsonl')} lacks some of the {step} steps until now; {_WAYS_OUT}")
        draws = self.draws()
        if epochs and (draws.empty or draws.epoch.nunique() < epochs):
            raise InputError(f"{self.where('draws.parquet')} lacks draws of the first {epochs} epochs; {_WAYS_OUT}")
        for name, rows in kept.items():
            write_json_lines(self.path / name, rows)
        if epochs == 0:
            (self.path / "draws.parquet").unlink(missing_ok=True)
        else:
            self.write_draws(draws.query("epoch < @epochs"))

    def record_inputs(self, **inputs: Any) -> None:
        """Add to environment.json what the config's names resolved to: hub commits, hashes of weights and problems."""
        self._write_json("environment.json", {**self.read_json("environment.json"), "inputs": inputs})

    def record_memory(self, peak_gib: float) -> None:
        """Add to environment.json the most memory that the run's first process had, in GiB, before an interruption or after."""
        before = self.read_json("environment.json")
        self._write_json("environment.json", {**before, "peak_gib": max(peak_gib, before.get("peak_gib", 0.0))})

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        append_json_line(self.path / "metrics.jsonl", dict(row))

    def append_eval(self, row: Mapping[str, Any]) -> None:
        append_json_line(self.path / "evals.jsonl", dict(row))

    def write_draws(self, draws: pd.DataFrame) -> None:
        write_atomically(self.path / "draws.parquet", lambda path: draws.to_parquet(path, index=False))

    def replace(self, metrics: list[dict[str, Any]], evals: list[dict[str, Any]], draws: pd.DataFrame) -> None:
        """Write all rows anew, where another program's record is the source of them."""
        write_json_lines(self.path / "metrics.jsonl", metrics)
        write_json_lines(self.path / "evals.jsonl", evals)
        if len(draws):
            self.write_draws(draws)

    def finish(self) -> None:
        self._write_status("finished")

    def fail(self, why: str) -> None:
        self._write_status("failed", why)

    def text(self, name: str) -> str:
        path = self.path / name
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error

    def metrics(self) -> pd.DataFrame:
        return METRICS.check(pd.DataFrame(self._json_rows("metrics.jsonl")), self.where("metrics.jsonl"))

    def evals(self) -> pd.DataFrame:
        return EVALUATIONS.check(pd.DataFrame(self._json_rows("evals.jsonl")), self.where("evals.jsonl"))

    def draws(self, columns: list[str] | None = None) -> pd.DataFrame:
        path = self.path / "draws.parquet"
        draws = read_rows(path, DRAWS) if os.path.lexists(path) else pd.DataFrame(columns=columns)
        return draws if columns is None else draws[columns]

    def _json_rows(self, name: str) -> list[dict[str, Any]]:
        path = self.path / name
        try:
            rows = read_json_lines(path)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        for number, row in enumerate(rows, 1):
            if not isinstance(row, dict):
                raise InputError(f"{path}, row {number}: is {str(row)[:40]!r}; a JSON object is needed")
        return rows

    def _write_json(self, name: str, value: object) -> None:
        write_text(self.path / name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def _write_status(self, state: State, why: str | None = None) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._write_json("status.json", {"state": state, "why": why, "at": at})


def find_run(path: Path, config: RunConfig) -> Literal["finished", "unfinished"]:
    """Whether this very run is finished there.

    Raises:
        InputError: a finished run of another config lies there (both hashes and the keys that differ), or of one that
            cannot be read.
    """
    folder = RunFolder(path)
    if folder.status()[0] != "finished":
        return "unfinished"
    try:
        existing, expected = folder.read_json("config.json"), config.model_dump(mode="json")
    except InputError as error:
        raise InputError(
            f"{path} holds a finished run whose config.json cannot be read; --overwrite replaces it"
        ) from error
    if existing == expected:
        return "finished"
    raise InputError(
        f"{path} holds a finished run of another config ({hash_of(existing)}, now {config.hash}; they differ in "
        f"{', '.join(sorted(differences(existing, expected)))}); --overwrite replaces it"
    )


def differences(one: Any, other: Any, prefix: str = "") -> list[str]:
    """The keys in which two configs differ: training.steps."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            key
            for name in {*one, *other}
            for key in differences(one.get(name), other.get(name), f"{prefix}.{name}" if prefix else name)
        ]
    return [] if one == other else [prefix or "everything"]


def environment(command: str | None = None) -> dict[str, Any]:
    """What a run depends on beside its config. Names no host and no user.

    Args:
        command: What repeats the run, where it is not this process's own command line: in a launcher's job.
    """
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "packages": {**_packages()},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "threads": _torch_threads(),
        "accelerator": _accelerator(),
        "command": command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


@cache
def _packages() -> dict[str, str]:
    return {name: version(name) for name in _PACKAGES}


@cache
def _git(*arguments: str) -> str | None:
    """As it was when the process first asked: of the code that it runs."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def _accelerator() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None

"""The run folder: a run leaves a folder that explains itself, and every file in it is whole at any moment.

config.json  environment.json  metrics.jsonl  draws.parquet  evals.jsonl  status.json  checkpoints/
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gainrl.errors import InputError
from gainrl.files import append_json_line, read_json_lines, write_atomically, write_json_lines, write_text
from gainrl.runs.config import RunConfig, hash_of

State = Literal["running", "finished", "failed"]
_PACKAGES = ("gainrl", "torch", "transformers", "trl", "datasets", "accelerate", "lm-eval", "math-verify", "numpy")


class RunRecord(ABC):
    """What can be read of a run, in its folder or where it is published."""

    @abstractmethod
    def text(self, name: str) -> str:
        """A JSON file of the run as it was written. Raises FileNotFoundError where the run has none of that name."""

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
        """config.json or environment.json as it stands, also where another version of the suite wrote it."""
        values: dict[str, Any] = json.loads(self.text(name))
        return values

    @property
    def hash(self) -> str:
        """12 hex digits by which the run is known: of its config as it stands."""
        return hash_of(self.read_json("config.json"))

    def config(self) -> RunConfig:
        return RunConfig.model_validate_json(self.text("config.json"))

    def status(self) -> tuple[State | None, str | None]:
        """State and, if it failed, why; (None, None) where nothing has begun or the file cannot be read."""
        try:
            status = self.read_json("status.json")
            return status["state"], status.get("why")
        except (OSError, ValueError, KeyError, TypeError):
            return None, None


class RunFolder(RunRecord):
    """One run's files. The writers are used by the process that trains, the readers by anybody."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"

    def start(self, config: RunConfig, command: str | None = None, *, overwrite: bool = False) -> None:
        """Start over: remove what an earlier, unfinished attempt left, then write config, environment and status.

        Raises InputError: a run lies here whose state cannot be known, and ``overwrite`` is off; nothing is removed.
        """
        begun = any((self.path / name).exists() for name in ("status.json", "metrics.jsonl", "checkpoints"))
        if begun and self.status()[0] is None and not overwrite:
            raise InputError(
                f"{self.path} holds a run whose status.json cannot be read; nothing was removed: move the folder away, "
                "or give --overwrite"
            )
        if self.path.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True)
        self._write_json("config.json", config.model_dump(mode="json"))
        self._write_json("environment.json", environment(command))
        self._write_status("running")

    def is_broken_off(self, config: RunConfig) -> bool:
        """Whether an unfinished attempt at this very run lies here."""
        try:
            there = self.read_json("config.json")
        except (OSError, ValueError):
            return False
        return self.status()[0] not in (None, "finished") and there == config.model_dump(mode="json")

    def resume(self, command: str | None = None) -> None:
        """Continue what lies here; environment.json says so."""
        there = self.read_json("environment.json")
        self._write_json("environment.json", {**there, "resumed": [*there.get("resumed", []), environment(command)]})
        self._write_status("running")

    def cut_back(self, step: int, epochs: int) -> None:
        """Forget what was written after a step and after so many epochs: it will be done again."""
        for name in ("metrics.jsonl", "evals.jsonl"):
            rows = [row for row in read_json_lines(self.path / name) if row["step"] <= step]
            write_json_lines(self.path / name, rows)
        if epochs == 0:
            (self.path / "draws.parquet").unlink(missing_ok=True)
        else:
            self.write_draws(self.draws().query("epoch < @epochs"))

    def record_inputs(self, **inputs: Any) -> None:
        """Add to environment.json what the config's names resolved to: hub commits, hashes of weights and problems."""
        self._write_json("environment.json", {**self.read_json("environment.json"), "inputs": inputs})

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        append_json_line(self.path / "metrics.jsonl", dict(row))

    def append_eval(self, row: Mapping[str, Any]) -> None:
        append_json_line(self.path / "evals.jsonl", dict(row))

    def write_draws(self, draws: pd.DataFrame) -> None:
        write_atomically(self.path / "draws.parquet", lambda path: draws.to_parquet(path, index=False))

    def finish(self) -> None:
        self._write_status("finished")

    def fail(self, why: str) -> None:
        self._write_status("failed", why)

    def text(self, name: str) -> str:
        return (self.path / name).read_text()

    def metrics(self) -> pd.DataFrame:
        return pd.DataFrame(read_json_lines(self.path / "metrics.jsonl"))

    def evals(self) -> pd.DataFrame:
        return pd.DataFrame(read_json_lines(self.path / "evals.jsonl"))

    def draws(self, columns: list[str] | None = None) -> pd.DataFrame:
        path = self.path / "draws.parquet"
        return pd.read_parquet(path, columns=columns) if path.exists() else pd.DataFrame(columns=columns)

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
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} holds a finished run whose config.json cannot be read; --overwrite replaces it"
        ) from error
    if existing == expected:
        return "finished"
    raise InputError(
        f"{path} holds a finished run of another config ({hash_of(existing)}, now {config.hash}; they differ in "
        f"{', '.join(sorted(_differences(existing, expected)))}); --overwrite replaces it"
    )


def _differences(one: Any, other: Any, prefix: str = "") -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            key
            for name in {*one, *other}
            for key in _differences(one.get(name), other.get(name), f"{prefix}.{name}" if prefix else name)
        ]
    return [] if one == other else [prefix]


def environment(command: str | None = None) -> dict[str, Any]:
    """What a run depends on beside its config. Names no host and no user.

    Args:
        command: What repeats the run, where it is not this process's own command line: in a launcher's job.
    """
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "packages": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "threads": _torch_threads(),
        "accelerator": _accelerator(),
        "command": command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def _accelerator() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None

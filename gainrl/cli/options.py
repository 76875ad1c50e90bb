"""What the commands share: the app that they are entered in, and the options that several of them take, each written once."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gainrl.errors import InputError

if TYPE_CHECKING:
    import torch

    from gainrl.models.loading import LoadedModel
    from gainrl.problems import ProblemSet
    from gainrl.progress import Report
    from gainrl.prompts import Prompt
    from gainrl.runs.experiment import Experiment

app = tyro.extras.SubcommandApp()

ModelName = Annotated[tyro.conf.Positional[str], tyro.conf.arg(help="Model: registered name, hub id or folder.")]
DataName = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        help="Problems: a registered set, or a JSON, JSONL or Parquet file with problem (or question) and answer."
    ),
]
ExperimentName = Annotated[
    tyro.conf.Positional[str], tyro.conf.arg(help="Name of an experiment; `gainrl list` shows them.")
]
Scale = Annotated[str, tyro.conf.arg(help="tiny (minutes on a CPU) or, where the experiment has it, paper (GPUs).")]
RunsDir = Annotated[Path | None, tyro.conf.arg(help="Folder of the runs. Default: $GAINRL_RUNS, or runs/ here.")]
SiteName = Annotated[
    Literal["mlp_input", "neurons", "residual", "final_norm"],
    tyro.conf.arg(
        help="Where hidden states are read: the MLP's input, its neurons (hidden units), the residual stream, or after "
        "the final norm."
    ),
]


@dataclass(frozen=True)
class ProblemOptions:
    """Which problems, and in which prompt."""

    limit: Annotated[int | None, tyro.conf.arg(help="Only the first so many problems.")] = None
    seed: Annotated[
        int, tyro.conf.arg(help="Seed of tiny models, generated problems, sampled completions and the bootstrap.")
    ] = 0
    prompt: Annotated[str | None, tyro.conf.arg(help="JSON file with another prompt (system, example).")] = None
    drop_null_answers: Annotated[
        bool, tyro.conf.arg(help="Leave out rows whose answer is null or empty, and say how many.")
    ] = False

    def load(self, data: str) -> "ProblemSet":
        from gainrl.problems import load_problems

        return load_problems(data, limit=self.limit, seed=self.seed, drop_null_answers=self.drop_null_answers)

    def load_prompt(self) -> "Prompt":
        from gainrl.prompts import load_prompt

        return load_prompt(self.prompt)


@dataclass(frozen=True)
class DeviceOptions:
    """Where the model runs, and in which type of number."""

    device: Annotated[str, tyro.conf.arg(help="auto, cpu, cuda, cuda:1, ...")] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        tyro.conf.arg(help="auto is bfloat16 on a GPU and float32 on a CPU."),
    ] = "auto"

    def resolve(self) -> tuple[str, "torch.dtype"]:
        """Device and type, auto resolved. Raises InputError for a device that is not there."""
        import torch

        gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        valid = ["auto", "cpu", *(["cuda"] if gpus else []), *gpus, *(["mps"] if torch.mps.is_available() else [])]
        if self.device not in valid:
            raise InputError(f"--device is {self.device!r}; torch sees no such device; valid here: {', '.join(valid)}")
        device = ("cuda" if gpus else "cpu") if self.device == "auto" else self.device
        dtype = ("bfloat16" if device.startswith("cuda") else "float32") if self.dtype == "auto" else self.dtype
        return device, getattr(torch, dtype)

    def load_model(self, name: str, seed: int, runs_dir: Path | None, report: "Report") -> "LoadedModel":
        """The model by name, where and as it was asked for."""
        from gainrl.models.loading import load_model

        device, dtype = self.resolve()
        loaded = load_model(
            name,
            cache=runs_folder(runs_dir) / "shared" / "models",
            seed=seed,
            dtype=dtype,
            progress=lambda done, of: report("warm-up", done, of),
        )
        loaded.model.to(device)
        return loaded


Problems = Annotated[ProblemOptions, tyro.conf.arg(name="")]
Device = Annotated[DeviceOptions, tyro.conf.arg(name="")]
PROBLEMS, DEVICE = ProblemOptions(), DeviceOptions()
"""The groups' defaults; their names have no prefix on the command line."""


def runs_folder(given: Path | None, scale: str = "tiny") -> Path:
    """Where runs work; those of another scale than tiny have a folder of their own there, unless one is given."""
    return given or of_scale(Path(os.environ.get("GAINRL_RUNS") or "runs"), scale)


def of_scale(folder: Path, scale: str) -> Path:
    """The same cells at another scale are other runs."""
    return folder if scale == "tiny" else folder / scale


def load_plan(experiment: str, scale: str) -> "Experiment":
    """An experiment by name."""
    from experiments import load_experiment

    return load_experiment(experiment, scale)

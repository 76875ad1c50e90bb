"""What the commands share: the app that they are entered in, and the options that several of them take, each written once."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro
from pydantic import AfterValidator, Field, validate_call
from pydantic.dataclasses import dataclass

from experiments import SCALES, of_scale
from gainrl.errors import InputError, unknown_name
from gainrl.runs.config import Seed

if TYPE_CHECKING:
    import torch

    from gainrl.models.loading import LoadedModel
    from gainrl.problems import ProblemSet
    from gainrl.progress import Report
    from gainrl.prompts import Prompt
    from gainrl.runs.experiment import Experiment

app = tyro.extras.SubcommandApp()
Command = TypeVar("Command", bound=Callable[..., None])


def command(function: Command) -> Command:
    """Enter a command in the app. Its arguments are checked against their types' bounds before it runs.

    Raises pydantic's ValidationError, which `gainrl.cli.main` prints as one line.
    """
    return app.command(validate_call(function))


def _known_scale(name: str) -> str:
    if name not in SCALES:
        raise unknown_name("scale", name, SCALES)
    return name


def _temperature(value: float) -> float:
    if not (value == 0 or COLDEST <= value <= HOTTEST):
        raise ValueError(f"{value:g} is neither 0 (greedy) nor from {COLDEST:g} to {HOTTEST:g}")
    return value


COLDEST, HOTTEST = 0.01, 100.0
"""Temperatures beyond these overflow half precision, or are greedy or uniform sampling by another name."""

# Numbers: every option has one of these types, so that none takes NaN, infinity, or a number that means nothing.
Layer = Annotated[int, Field(ge=-10_000, le=10_000)]
Count = Annotated[int, Field(ge=1, le=10_000)]
"""Of seeds, jobs, samples, evaluations, resamples."""
CountOrZero = Annotated[int, Field(ge=0, le=10_000)]
LargeCount = Annotated[int, Field(ge=1, le=1_000_000)]
"""Of tokens, problems."""
LargeCountOrZero = Annotated[int, Field(ge=0, le=1_000_000)]
Temperature = Annotated[float, Field(ge=COLDEST, le=HOTTEST)]
TemperatureOrGreedy = Annotated[float, AfterValidator(_temperature)]

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
Scale = Annotated[
    str,
    AfterValidator(_known_scale),
    tyro.conf.arg(
        help="tiny (minutes on a CPU) or, where the experiment has it, small (a real model, an hour a run) or paper (GPUs)."
    ),
]
RunsDir = Annotated[
    Path | None,
    tyro.conf.arg(help="Folder of the runs. Default: $GAINRL_RUNS or runs/; by verl its verl/."),
]
Sandbox = Annotated[
    str | None,
    tyro.conf.arg(
        help="Where programs that the model writes run: bubblewrap, landlock, limits, or the http address of a remote "
        "sandbox. Default: $GAINRL_SANDBOX, or the strongest that this machine has."
    ),
]
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

    limit: Annotated[LargeCount | None, tyro.conf.arg(help="Only the first so many problems.")] = None
    seed: Annotated[
        Seed, tyro.conf.arg(help="Seed of tiny models, generated problems, sampled completions and the bootstrap.")
    ] = 0
    prompt: Annotated[str | None, tyro.conf.arg(help="JSON file with another prompt (system, example).")] = None
    drop_null_answers: Annotated[
        bool, tyro.conf.arg(help="Leave out rows whose answer is null or empty, and say how many.")
    ] = False

    def load(self, data: str) -> "ProblemSet":
        from gainrl.problems import load_problems

        return load_problems(data, limit=self.limit, seed=self.seed, drop_null_answers=self.drop_null_answers)

    def load_prompt(self, problems: "ProblemSet") -> "Prompt":
        from gainrl.prompts import load_prompt

        return load_prompt(self.prompt, problems.prompt)


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


def runs_folder(given: Path | None, scale: str = "tiny", *parts: str) -> Path:
    """Where runs work. Those of another scale than tiny, by verl, or for a trial have a folder of their own there (``parts``),
    unless one is given."""
    return given or of_scale(Path(os.environ.get("GAINRL_RUNS") or "runs"), scale).joinpath(*parts)


def share_with_others(root: Path, parts: Sequence[str]) -> None:
    """Let the runs in ``root``, which ends in these parts, have models, scores and runs in one place with all others."""
    for folder in [root, *root.parents][: len(parts)][::-1]:
        (folder.parent / "shared").mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        with suppress(FileExistsError):  # made before, or by another process just now
            (folder / "shared").symlink_to(Path("..") / "shared")


def folder_to_write(path: Path) -> None:
    """Make a folder. Raises InputError, before any work is done, if files cannot be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except FileExistsError as error:
        raise InputError(f"{path} is a file where a folder is written; choose another --out") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; choose another --out") from error


def file_to_write(path: Path) -> None:
    """Make a file's folder. Raises InputError, before any work is done, if the file cannot be written there."""
    if path.is_dir():
        raise InputError(f"{path} is a folder where a file is written; choose another --out")
    folder_to_write(path.parent)


def demand_sandbox(name: str | None, problem_sets: Iterable["ProblemSet"]) -> None:
    """Find the cage before any work is done, if programs will run. Raises InputError: it cannot be had."""
    from gainrl.grading import cage, is_program

    cage.demand(name)
    if any(is_program(problem.answer) for problems in problem_sets for problem in problems.problems[:1]):
        cage.level()


def load_plan(experiment: str, scale: str) -> "Experiment":
    """An experiment by name."""
    from experiments import load_experiment

    return load_experiment(experiment, scale)

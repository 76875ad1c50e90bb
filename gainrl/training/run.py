"""One run, from its config to a finished run folder; an interrupted one resumes from its newest checkpoint."""

import importlib
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers.trainer_callback import PrinterCallback

from gainrl.errors import InputError, one_line
from gainrl.evaluation.heldout import HeldOut
from gainrl.files import exclusive, replacing
from gainrl.grading import accuracy_reward, cage, is_program
from gainrl.models.generation.trl import let_vllm_take_new_weights
from gainrl.models.loading import LoadedModel, load_model
from gainrl.problems import ProblemSet
from gainrl.progress import Report
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Execution, require_trackers
from gainrl.runs.records import RunFolder
from gainrl.runs.verl import checkpoint_step, require_supported
from gainrl.training.arguments import trl_arguments
from gainrl.training.checkpoints import newest, remove_all
from gainrl.training.inputs import build_schedule, held_out_problems, training_problems
from gainrl.training.interruption import Interrupted, Interruption
from gainrl.training.recorder import Recorder, save_model
from gainrl.training.trainer import Scheduled, ScheduledGRPOTrainer, ScheduledRLOOTrainer, training_dataset
from gainrl.training.verl.process import verl_python, versions
from gainrl.training.verl.run import prepare

TRAINERS = {"grpo": ScheduledGRPOTrainer, "rloo": ScheduledRLOOTrainer}


def train_run(
    config: RunConfig,
    path: Path,
    shared: Path,
    report: Report,
    *,
    execution: Execution | None = None,
    overwrite: bool = False,
    command: str | None = None,
) -> None:
    """Train one run into the folder ``path``, from its newest checkpoint if it was interrupted, else from the beginning.

    Args:
        shared: folder for what runs share: warmed-up models and scores.
        overwrite: start over also where a finished run lies, or one that cannot resume. It goes when the new one is finished.
        command: the command that repeats the run, for its record; by default this process's command line.

    Raises:
        InputError: something that the config names cannot be used, or another process trains this run.
        Interrupted: SIGTERM or SIGUSR2 was received; KeyboardInterrupt after Ctrl-C. Whatever is raised, the folder's status
            says why.
    """
    execution, folder = execution or Execution(), RunFolder(path)
    with ExitStack() as stack:
        interruption = stack.enter_context(Interruption())
        if not int(os.environ.get("RANK", "0")):  # the first process of a run keeps its folder
            stack.enter_context(_recorded(folder, config, overwrite, command))
        train = _train_with_verl if config.engine == "verl" else _train_with_trl
        train(config, execution, folder, shared, report, interruption)


def _train_with_trl(
    config: RunConfig, execution: Execution, folder: RunFolder, shared: Path, report: Report, interruption: Interruption
) -> None:
    if config.training.generation == "vllm":
        _require_vllm()
    require_trackers(execution.report_to)
    loaded, problems, held_out = _load(config, shared, report)
    trainer = _trainer(config, execution, folder, loaded, problems, shared, report)
    trainer.add_callback(Recorder(config, execution, folder, trainer, held_out, problems.ids, report, interruption))
    interruption.training = True
    checkpoint: list[str | None] = [None]
    if trainer.accelerator.is_main_process:
        folder.record_inputs(**_inputs(loaded, problems, held_out, execution))
        checkpoint = [newest(folder.checkpoints)]
    trainer.train(resume_from_checkpoint=broadcast_object_list(checkpoint)[0])
    if trainer.accelerator.is_main_process:
        folder.record_memory(_peak_gib())
    interruption.raise_if_ended()
    save_model(trainer, folder, config.training.steps)


def _peak_gib() -> float:
    """The most memory that this process had so far: on its GPU, or its own where there is none."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved() / 2**30
    unit = 1 if sys.platform == "darwin" else 2**10  # elsewhere in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _train_with_verl(
    config: RunConfig, execution: Execution, folder: RunFolder, shared: Path, report: Report, interruption: Interruption
) -> None:
    require_supported(config, execution)
    packages = versions(verl_python())
    loaded, problems, held_out = _load(config, shared, report)
    run = prepare(config, execution, folder, loaded, problems, held_out, shared, report)
    folder.record_inputs(**_inputs(loaded, problems, held_out, execution), verl=packages)
    del loaded, held_out  # verl has its own
    torch.cuda.empty_cache()
    interruption.training = True
    run.train(report, interruption)


def _load(config: RunConfig, shared: Path, report: Report) -> tuple[LoadedModel, ProblemSet, dict[str, HeldOut]]:
    """What the run starts from: model, training problems, benchmarks by name.

    Weights have 32 bits, in bf16 too, where forward and backward passes multiply in 16: a step of 1e-6 is lost in the rounding
    of most 16-bit weights.
    """
    loaded = load_model(
        config.model.name,
        cache=shared / "models",
        seed=config.seed,
        revision=config.model.revision,
        progress=lambda done, of: report("warm-up", done, of),
    )
    held_out = {name: held_out_problems(name, config, loaded) for name in config.problems.heldout}
    return loaded, training_problems(config, loaded), held_out


@contextmanager
def _recorded(folder: RunFolder, config: RunConfig, overwrite: bool, command: str | None) -> Iterator[None]:
    """While open, the folder belongs to this process alone; its status says that the run is on, and afterwards how it ended."""
    lock = folder.path.with_name(f".{folder.path.name}.lock")
    with ExitStack() as stack:
        stack.enter_context(exclusive(lock, f"trains the run in {folder.path}"))
        resumes = folder.can_resume(config) if overwrite else folder.is_broken_off(config)
        goes_on = resumes or not overwrite
        stack.enter_context(replacing(folder.path, goes_on=goes_on, has_begun=lambda: _has_checkpoint(folder, config)))
        if resumes:
            folder.resume(command)
        else:
            folder.start(config, command)
        try:
            yield
        except BaseException as error:
            with suppress(OSError):  # a full disk must not hide what happened
                folder.fail(_reason(error))
            raise
        folder.finish()
        remove_all(folder.checkpoints)


def _has_checkpoint(folder: RunFolder, config: RunConfig) -> bool:
    return checkpoint_step(folder.path) > 0 if config.engine == "verl" else newest(folder.checkpoints) is not None


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by Ctrl-C; the same command resumes the run"
    if isinstance(error, Interrupted):
        return f"interrupted by {signal.Signals(error.signum).name}; the same command resumes the run"
    return one_line(error)


def _trainer(
    config: RunConfig,
    execution: Execution,
    folder: RunFolder,
    loaded: LoadedModel,
    problems: ProblemSet,
    shared: Path,
    report: Report,
) -> Scheduled:
    trainer = TRAINERS[config.training.algorithm](
        model=loaded.model,
        processing_class=loaded.tokenizer,
        reward_funcs=accuracy_reward,
        args=trl_arguments(config, folder.checkpoints, execution),
        train_dataset=training_dataset(problems, config.prompt),
        schedule=build_schedule(config, loaded, problems, shared / "scores", report),
        prompts_per_epoch=config.training.prompts_per_epoch,
        signal=config.signal,
        share_prompts=execution.share_prompts,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _require_vllm() -> None:
    try:
        let_vllm_take_new_weights()
        importlib.import_module("vllm")
    except ModuleNotFoundError as error:
        raise InputError(
            "vLLM is not installed; pip install 'gainrl[vllm]' on a GPU machine, or choose --generation transformers"
        ) from error


def _inputs(
    loaded: LoadedModel, problems: ProblemSet, held_out: dict[str, HeldOut], execution: Execution
) -> dict[str, Any]:
    """What the config's names resolved to."""
    sandbox = {"sandbox": cage.recorded()} if is_program(problems.problems[0].answer) else {}
    return {
        "model": loaded.version,
        "train": _resolved(problems),
        "heldout": {name: _resolved(benchmark.problems) for name, benchmark in held_out.items()},
        "execution": execution.model_dump(mode="json"),
        **sandbox,
    }


def _resolved(problems: ProblemSet) -> dict[str, Any]:
    return {"fingerprint": problems.fingerprint, **problems.source}

"""One run, from its config to a finished run folder; a broken-off one goes on from its newest checkpoint."""

import importlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout
from transformers.trainer_callback import PrinterCallback

from gainrl.config import Execution, RunConfig
from gainrl.errors import InputError, one_line
from gainrl.grading import accuracy_reward
from gainrl.models.loading import load_model
from gainrl.problems import ProblemSet
from gainrl.records import Report, RunFolder
from gainrl.train.arguments import trl_arguments
from gainrl.train.inputs import build_schedule, held_out_problems, training_problems
from gainrl.train.recorder import Recorder, save_model
from gainrl.trainer import (
    ScheduledGRPOTrainer,
    ScheduledRLOOTrainer,
    let_vllm_take_new_weights,
    newest,
    remove_all,
    training_dataset,
)

TRAINERS = {"grpo": ScheduledGRPOTrainer, "rloo": ScheduledRLOOTrainer}
SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


class Interrupted(SystemExit):
    """SIGTERM or SIGUSR2 came: there is a checkpoint (or nothing worth one), and the same command goes on."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


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
    """Train one run into the folder ``path``, from its newest checkpoint if it was broken off, else from the beginning.

    Args:
        shared: folder of what runs share: warmed-up models and scores.
        overwrite: begin anew, whatever is there.
        command: what repeats the run, for its record; this process's command line, where it is not given.

    Raises:
        InputError: what the config names cannot be used, or another process trains this run.
        Interrupted: SIGTERM or SIGUSR2 came. Whatever is raised, the folder's status says why.
    """
    execution, folder = execution or Execution(), RunFolder(path)
    if int(os.environ.get("RANK", "0")):  # the first process of a run keeps its folder
        with _signals() as stop:
            return _train(config, folder, shared, report, execution, stop)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _only_here(path), _signals() as stop:
        if folder.is_broken_off(config) and not overwrite:
            folder.resume(command)
        else:
            folder.start(config, command)
        try:
            _train(config, folder, shared, report, execution, stop)
        except BaseException as error:
            with suppress(OSError):  # a full disk must not hide what happened
                folder.fail(_reason(error))
            raise
        folder.finish()
        remove_all(folder.checkpoints)


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "broken off by the user (Ctrl-C)"
    if isinstance(error, Interrupted):
        return f"interrupted by {signal.Signals(error.signum).name}; the same command goes on"
    return one_line(error)


@contextmanager
def _only_here(path: Path) -> Iterator[None]:
    """A lock that ends with its process, however that ends."""
    try:
        with FileLock(path.parent / f".{path.name}.lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"another process trains the run in {path}; wait for it, or end it") from None


class _Stop:
    """What a signal leaves behind: training ends after a checkpoint; before training there is nothing to lose."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self.recorder: Recorder | None = None

    def __call__(self, signum: int, frame: Any) -> None:
        self.signum = signum
        if self.recorder is None:
            raise Interrupted(signum)
        self.recorder.stop = True


@contextmanager
def _signals() -> Iterator[_Stop]:
    stop = _Stop()
    try:
        before = {one: signal.signal(one, stop) for one in SIGNALS}
    except ValueError:  # only the main thread can; elsewhere signals keep their meaning
        before = {}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _train(
    config: RunConfig, folder: RunFolder, shared: Path, report: Report, execution: Execution, stop: _Stop
) -> None:
    loaded = load_model(
        config.model.name,
        cache=shared / "models",
        seed=config.seed,
        revision=config.model.revision,
        dtype=torch.bfloat16 if config.training.bf16 else torch.float32,
        progress=lambda done, of: report("warm-up", done, of),
    )
    problems = training_problems(config, loaded)
    held_out = {name: held_out_problems(name, config, loaded) for name in config.problems.heldout}
    if config.training.generation == "vllm":
        _require_vllm()
    trainer = TRAINERS[config.training.algorithm](
        model=loaded.model,
        processing_class=loaded.tokenizer,
        reward_funcs=accuracy_reward,
        args=trl_arguments(config, folder.checkpoints, execution),
        train_dataset=training_dataset(problems, config.prompt),
        schedule=build_schedule(config, loaded, problems, shared / "scores", report),
        prompts_per_epoch=config.training.prompts_per_epoch,
        signal=config.signal,
    )
    trainer.remove_callback(PrinterCallback)
    recorder = Recorder(config, execution, folder, trainer, held_out, problems.ids, report)
    trainer.add_callback(recorder)
    stop.recorder = recorder
    found: list[str | None] = [None]
    if recorder.writes:
        folder.record_inputs(
            model=loaded.version,
            train=_resolved(problems),
            heldout={name: _resolved(one.problems) for name, one in held_out.items()},
            execution=execution.model_dump(mode="json"),
        )
        found = [newest(folder.checkpoints)]
    trainer.train(resume_from_checkpoint=broadcast_object_list(found)[0])
    if recorder.stopped:
        raise Interrupted(stop.signum or signal.SIGTERM)
    save_model(trainer, folder, config.training.steps)


def _require_vllm() -> None:
    try:
        let_vllm_take_new_weights()
        importlib.import_module("vllm")
    except ModuleNotFoundError as error:
        raise InputError(
            "vLLM is not installed; pip install 'gainrl[vllm]' on a GPU machine, or choose --generation transformers"
        ) from error


def _resolved(problems: ProblemSet) -> dict[str, Any]:
    return {"fingerprint": problems.fingerprint, **problems.source}

"""One run by verl: prepared here, trained in verl's environment, recorded in the run folder as TRL's runs are."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from gainrl.evaluation.heldout import HeldOut
from gainrl.files import replace_folder, write_text
from gainrl.models.loading import LoadedModel
from gainrl.problems import ProblemSet
from gainrl.progress import Report
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Execution
from gainrl.runs.records import RunFolder
from gainrl.runs.verl import (
    CONFIG_NAME,
    FOLDER,
    as_yaml,
    checkpoint_step,
    checkpoints,
    command,
    environment,
    require_supported,
    verl_config,
)
from gainrl.training.inputs import build_schedule
from gainrl.training.interruption import Interruption
from gainrl.training.verl.cluster import own_cluster
from gainrl.training.verl.inputs import model_folder, write_schedule, write_sets
from gainrl.training.verl.process import follow, reason, started, verl_python
from gainrl.training.verl.record import Record


@dataclass(frozen=True)
class VerlRun:
    """A run whose inputs are written; ``train`` may be called again after an interruption."""

    config: RunConfig
    execution: Execution
    folder: RunFolder
    record: Record
    start: Path
    """Folder of the start model."""
    python: str

    def train(self, report: Report, interruption: Interruption) -> None:
        """Train to the end, from verl's newest checkpoint if there is one.

        Raises:
            InputError: the plug-in refuses the run.
            Interrupted: a signal ended it; KeyboardInterrupt after Ctrl-C.
            RuntimeError: verl failed, with the last error of its log.
        """
        place, steps = self.folder.path, self.config.training.steps
        log = place / FOLDER / "log.txt"
        began = log.stat().st_size if log.exists() else 0

        def look() -> bool:
            if self.record.has_changed():
                report("training", self.record.write(self.folder), steps)
            interruption.ends = interruption.signum is not None
            return interruption.ends

        report("starting verl", 0, steps)
        with own_cluster(self.config, self.execution, self.python, place) as cluster:
            words = command(place, self.execution, cluster and cluster.address, self.python)
            variables = environment(self.config) | (cluster.environment if cluster else {})
            with started(words, variables, log) as process:
                code = follow(process, look)
        look()
        interruption.raise_if_ended()
        done = self.record.write(self.folder)
        if code or done < steps:
            raise RuntimeError(
                f"verl ended with exit code {code} at step {done} of {steps}: {reason(log, began)}; its log: {log}"
            )
        self._keep_model()

    def _keep_model(self) -> None:
        """Move the trained model out of verl's last checkpoint into checkpoints/step-N, with the tokenizer it began with."""
        last = checkpoints(self.folder.path) / f"global_step_{checkpoint_step(self.folder.path)}"
        model = last / "actor" / "huggingface"
        if not (model / "config.json").is_file():
            raise RuntimeError(f"verl left no model in {model}")
        shutil.copytree(self.start / "tokenizer", model, dirs_exist_ok=True)
        replace_folder(self.folder.checkpoints / f"step-{self.config.training.steps}", model)


def prepare(
    config: RunConfig,
    execution: Execution,
    folder: RunFolder,
    loaded: LoadedModel,
    problems: ProblemSet,
    held_out: dict[str, HeldOut],
    shared: Path,
    report: Report,
) -> VerlRun:
    """Write all that verl reads into the run's folder. What the model is needed for is done here, so that it can be let go.

    Raises InputError: verl does not do what the run asks for, or is not installed.
    """
    require_supported(config, execution)
    python = verl_python()
    schedule = build_schedule(config, loaded, problems, shared / "scores", report)
    own = folder.path / FOLDER
    own.mkdir(parents=True, exist_ok=True)
    longest = write_sets(own, config.problems.train, problems, held_out, config.prompt, loaded)
    write_schedule(own / "schedule.parquet", schedule, problems.ids)
    start = model_folder(loaded, shared / "models")
    settings = verl_config(config, execution, folder.path, start, longest)
    write_text(own / f"{CONFIG_NAME}.yaml", as_yaml(settings))
    return VerlRun(config, execution, folder, Record(own / "record", config, schedule, problems.ids), start, python)

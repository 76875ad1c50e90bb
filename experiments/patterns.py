"""The signal along layers, training and problems (PAPER.md's first three observations): GRPO and GAIN-RL, checkpoints kept.

Layer-wise: cosines between the tokens of one prompt, before training and after. Epoch-wise and data-wise: concentration
and greedy answers of fixed training problems at every checkpoint.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cells import assemble, cell, methods
from gainrl.config import Experiment

if TYPE_CHECKING:
    from gainrl.config import RunConfig
    from gainrl.records import Report

KEEP_EVERY = {"tiny": 10, "paper": 40}
PROBLEMS = 1024
"""Training problems that are followed, the first ones."""


def experiment(scale: str = "tiny") -> Experiment:
    training = {"keep_every": KEEP_EVERY[scale]}
    cells = {
        name: (label, cell(scale, schedule, training=training))
        for name, (label, schedule) in methods(scale).items()
        if name != "adarft"
    }
    return assemble(scale, "patterns", "Angle and accuracy along training", cells, baseline="grpo")


def follow_up(plan: Experiment, runs_dir: Path, report: "Report") -> str:
    """The patterns of every finished run, in <experiment>/patterns/<cell>-seed-<k>/, and summary.md over seeds beside them."""
    from analysis.patterns import over_seeds
    from experiments.measurements import DEVICE, each_run, first_problems, load_of_run, write_patterns
    from gainrl.patterns import checkpoints, trace
    from gainrl.records import write_atomically

    lines = []
    for name, run, config in each_run(plan, runs_dir):
        out = runs_dir / plan.name / "patterns" / name
        if not (out / "report.md").exists():
            folders = checkpoints(run.checkpoints)
            first = load_of_run(config, folders[min(folders)], runs_dir)
            problems = first_problems(config, first, PROBLEMS)
            for step in (min(folders), max(folders)):
                _draw_layers(config, folders[step], out / f"cosine_layers_step-{step}")
            frame = trace(
                folders,
                problems,
                out,
                config.prompt,
                signal=config.signal,
                max_completion_tokens=config.training.max_completion_tokens,
                device=DEVICE,
                dtype=first.model.dtype,
                report=report,
            )
            write_patterns(out, frame, config.seed)
        lines.append(f"- {name}: {(out / 'report.md').read_text().splitlines()[0]} ({out / 'report.md'})")
    summary = runs_dir / plan.name / "patterns" / "summary.md"
    write_atomically(summary, lambda path: path.write_text(over_seeds(summary.parent, plan.labels)))
    return "\n".join(["Patterns along training:", "", *lines, "", summary.read_text(), str(summary)])


def _draw_layers(config: "RunConfig", folder: Path, stem: Path) -> None:
    from experiments.measurements import first_problems, load_of_run
    from gainrl.correlate import cosine_matrices
    from paper_figures import cosine_layers, style

    loaded = load_of_run(config, folder, folder)
    (problem,) = first_problems(config, loaded, 1).problems
    shown = cosine_matrices(loaded.model, loaded.tokenizer, problem, config.prompt, config.signal)
    style.save_all(cosine_layers.plot(*shown, title=f"Cosines between tokens, {folder.name}"), stem)

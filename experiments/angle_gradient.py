"""Angle against gradient norm at warm-up and along training with GRPO, for the same training problems.

The schedule is uniform, so that what is trained does not depend on what is measured.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cells import UNIFORM, assemble, cell
from gainrl.config import Experiment

if TYPE_CHECKING:
    from gainrl.config import RunConfig
    from gainrl.records import Report

KEEP_EVERY = 40
"""Optimizer steps."""
PROBLEMS = 300
"""The first training problems."""
SAMPLES = 8
"""Completions a problem for the GRPO loss."""


def experiment(scale: str = "tiny") -> Experiment:
    cells = {"grpo": ("GRPO (uniform)", cell(scale, UNIFORM, training={"keep_every": KEEP_EVERY}))}
    return assemble(scale, "angle_gradient", "Angle against gradient along training", cells, baseline="grpo")


def follow_up(plan: Experiment, runs_dir: Path, report: "Report") -> str:
    """A measurement a kept checkpoint, in <experiment>/gradients/<cell>-seed-<k>-step-<n>/, and summary.md beside them."""
    from analysis.angle_gradient.summary import side_by_side
    from experiments.measurements import each_run
    from gainrl.patterns import checkpoints

    measured = []
    for name, run, config in each_run(plan, runs_dir):
        for step, folder in checkpoints(run.checkpoints).items():
            out = runs_dir / plan.name / "gradients" / f"{name}-step-{step}"
            if not (out / "report.md").exists():
                _measure(config, folder, out, report)
            measured.append(out)
    return f"{side_by_side(measured)}\n{measured[0].parent / 'summary.md'}"


def _measure(config: "RunConfig", folder: Path, out: Path, report: "Report") -> None:
    from experiments.measurements import first_problems, load_of_run, write_correlation
    from gainrl.correlate import Settings, measure_into

    loaded = load_of_run(config, folder, folder)
    problems = first_problems(config, loaded, PROBLEMS)
    settings = Settings(
        config.signal, SAMPLES, config.training.temperature, config.training.max_completion_tokens, config.seed
    )
    out.mkdir(parents=True, exist_ok=True)
    measured = measure_into(out, loaded, problems, config.prompt, settings, None, report)
    write_correlation(out, measured, loaded, problems, config.prompt, settings)
